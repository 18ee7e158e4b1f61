"""nas search, nas resume and nas train. Their options are declared in nas.study.options."""

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any

import typer

from nas.cli._shared import Json, callbacks, live_progress, show, verb
from nas.study import options

app = typer.Typer()
Command = Callable[..., None]


def takes(declared: Mapping[str, options.Declared]) -> Callable[[Command], Command]:
    """Give a command declared options; those that are not given are None."""

    def decorate(command: Command) -> Command:
        options.give_signature(command, [_parameter(option) for option in declared.values()])
        return command

    return decorate


def _parameter(option: options.Declared) -> Parameter:
    default = option.default_text
    known = typer.Option(
        "/".join(option.flags), help=option.help,
        metavar=f"<{option.unit}>" if option.unit else None,
        show_default=default != "none" and default, rich_help_panel=option.group,
    )  # fmt: skip
    kind: Any = list[str] if option.repeats else option.type
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
    context: typer.Context,
    **given: Any,
) -> None:
    """Search a space for the best network near a FLOPs or latency target, or go on searching."""
    from nas.commands import search as commands

    asked = options.given(config, given)
    with callbacks("say", "watch", display=live_progress) as functions:
        if context.obj is None:
            result = commands.search(**asked, **functions)
        else:
            result = context.obj.run("search", asked, functions)
    show(result, as_json=json_)


@app.command()
@verb
@takes(options.resumable())
def resume(
    *,
    study: Annotated[str, typer.Option(help="Name of the study.")],
    json_: Json = False,
    context: typer.Context,
    **given: Any,
) -> None:
    """Go on with a study as it was configured."""
    from nas.commands import search as commands

    asked = {name: value for name, value in given.items() if value is not None}
    if context.obj is None:
        with callbacks("watch", display=live_progress) as functions:
            result = commands.resume(study, **asked, **functions)
    else:
        with callbacks("say", "watch", display=live_progress) as functions:
            result = context.obj.run("resume", {"study": study, **asked}, functions)
    show(result, as_json=json_)


@app.command()
@verb
@takes(options.trainable())
def train(
    *,
    network: Annotated[
        str,
        typer.Argument(help="A published network, an architecture's JSON file, or STUDY:TRIAL."),
    ],
    out: Annotated[str, typer.Option(help="Folder for the code, the weights and the result.")],
    seeds: Annotated[int, typer.Option(help="Trainings, each with another seed.")] = 1,
    rounds: Annotated[
        int, typer.Option(help="Trainings one after another; each teaches the next.")
    ] = 1,
    json_: Json = False,
    **given: Any,
) -> None:
    """Train one network in full, or go on with its training."""
    from nas.commands import train as commands

    with callbacks("say", "watch", display=live_progress) as functions:
        result = commands.train(network, out=out, seeds=seeds, rounds=rounds, **given, **functions)
    show(result, as_json=json_)
