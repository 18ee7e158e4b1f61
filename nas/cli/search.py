"""nas search and nas resume. Their options are declared in nas.study.options."""

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._shared import Json, new_console, print_json, print_table, progress, sayer, verb
from nas.study import options

if TYPE_CHECKING:
    from nas.commands.search import Study

app = typer.Typer()
Command = Callable[..., None]


def takes(declared: Mapping[str, options.Option]) -> Callable[[Command], Command]:
    """Give a command declared options; those that are not given are None."""

    def decorate(command: Command) -> Command:
        options.give_signature(command, [_parameter(option) for option in declared.values()])
        return command

    return decorate


def _parameter(option: options.Option) -> Parameter:
    flags = option.flag + (f"/--no-{option.flag[2:]}" if option.type is bool else "")
    default = option.default_text
    known = typer.Option(
        flags, help=option.help, metavar=f"<{option.unit}>" if option.unit else None,
        show_default=default != "none" and default, rich_help_panel=option.group,
    )  # fmt: skip
    kind: Any = option.type
    hint: Any = Annotated[kind | None, known]
    return Parameter(option.name, Parameter.KEYWORD_ONLY, default=None, annotation=hint)


@app.command()
@verb
@takes(options.declared())
def search(
    *,
    config: Annotated[
        str | None, typer.Option(help="TOML file of options; the command line wins.")
    ] = None,
    json_: Json = False,
    **given: Any,
) -> None:
    """Search a space for the best network near a FLOPs or latency target, or go on searching."""
    from nas.commands import search as commands

    asked = options.given(config, given)
    with progress() as (console, watch):
        result = commands.search(**asked, say=sayer(console), watch=watch)
    _print_result(result, as_json=json_)


@app.command()
@verb
@takes(options.resumable())
def resume(
    *,
    study: Annotated[str, typer.Option(help="Name of the study.")],
    json_: Json = False,
    **given: Any,
) -> None:
    """Go on with a study as it was configured."""
    from nas.commands import search as commands

    with progress() as (_, watch):
        result = commands.resume(study, **given, watch=watch)
    _print_result(result, as_json=json_)


def _print_result(result: "Study", *, as_json: bool) -> None:
    """Print a search's end: the winner, the five best, where the code lies."""
    from nas.study.progress import counts_line

    if as_json and (result.completed or result.winner):
        print_json(result.to_json())
    if not result.completed:
        typer.echo(
            f"nas: stopped; {counts_line(result.counts)} kept. The same command, or "
            f"nas resume --study {result.name}, goes on.",
            err=True,
        )
        raise typer.Exit(130)
    if result.winner is None:
        from nas.commands import studies as commands

        reasons = commands.status(result.name, store=result.store)[0].failures
        why = "; ".join(f"{count} failed: {reason}" for reason, count in reasons.items())
        typer.echo(f"nas: no trial was completed. {why or 'Give it more time.'}", err=True)
        raise typer.Exit(1)
    if not as_json:
        _print_winner(result)


def _print_winner(result: "Study") -> None:
    from nas.quantities import from_here, number
    from nas.report import terminal
    from nas.study.progress import counts_line

    best = result.best
    typer.echo(f"trials: {counts_line(result.counts)}")
    new_console().print(terminal.top_table(result.top(5), best.metric))
    if best.trial.one_class:
        typer.echo("nas: the winner predicts a single class: it has learnt nothing.", err=True)
    shown = {k: best.test.get(k) for k in ("accuracy", "balanced_accuracy", "auroc")}
    numbers = ", ".join(f"{name} {number(value)}" for name, value in shown.items())
    majority = number(best.test.get("majority_rate"))
    typer.echo(f"test, looked at {best.test_looks}x: {numbers} (majority class {majority})")
    if best.trial.latency_ms is not None:
        here = "not here" if best.measured_ms is None else f"{best.measured_ms:.3g} ms"
        typer.echo(f"latency: predicted {best.trial.latency_ms:.3g} ms, measured {here}")
    pictures = ["search.png"]
    if best.front:
        typer.echo("\n".join(terminal.front_lines(best.front)))
        print_table(terminal.front_table(best.front))
        pictures.append("front.png")
    for picture in pictures:
        typer.echo(f"picture: {from_here(best.code.parent.parent / picture)}")
    typer.echo(f"code: {from_here(best.code)}")
