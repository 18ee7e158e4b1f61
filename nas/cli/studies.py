"""What is known of studies: nas top, rescore, show, proxies, export."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._shared import (
    Json,
    StoreUrl,
    StudyName,
    new_console,
    print_json,
    print_table,
    sayer,
    verb,
)
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.study.ranking import Front, Rescored, RescoredTrial

app = typer.Typer()


@app.command()
@verb
def top(
    study: StudyName = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many: 5.")] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="The front of metric and cost instead.")
    ] = False,
    cost: Annotated[str | None, typer.Option(help="With --pareto, macs or params: macs.")] = None,
    out: Annotated[
        str | None, typer.Option(help="With --pareto, a picture to write, .svg or .png.")
    ] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show a study's best trials, or with --pareto those that no other beats in metric and cost."""
    from nas.commands import studies as commands
    from nas.report import terminal

    _check_top(n, pareto, {"--cost": cost, "--out": out})
    if pareto:
        _print_front(commands.front(study, cost=cost or "macs", out=out, store=store), out, json_)
        return
    trials = commands.top(study, store=store, n=5 if n is None else n)
    if json_:
        print_json([trial_json(trial) for trial in trials])
        return
    metric = commands.status(study or commands.newest(store), store=store)[0].config["recipe"][
        "metric"
    ]
    new_console().print(terminal.top_table(trials, metric))


def _check_top(n: int | None, pareto: bool, others: Mapping[str, str | None]) -> None:
    """Refuse options that could have no effect beside the others."""
    if pareto and n is not None:
        raise UserError(f"--pareto shows the whole front; --n {n} is for the best by score.")
    for option, value in others.items():
        if value is not None and not pareto:
            raise UserError(f"{option} {value} is for the front; give --pareto too.")


def _print_front(front: "Front", picture: str | None, as_json: bool) -> None:
    from nas.report import terminal

    if as_json:
        print_json(_front_json(front) | {"picture": picture})
        return
    typer.echo("\n".join(terminal.front_lines(front)))
    print_table(terminal.front_table(front))
    if picture is not None:
        typer.echo(f"picture: {picture}")


@app.command()
@verb
def rescore(
    target_flops: Annotated[str, typer.Option(help="The FLOPs target to rank by, such as 50M.")],
    study: StudyName = None,
    w: Annotated[float | None, typer.Option("--w", help="Weight of FLOPs / T: its own.")] = None,
    objective: Annotated[str | None, typer.Option(help="soft or hard: its own.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="How many.")] = 10,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Rank a study's trials by another target, weight or kind of objective; nothing is trained."""
    from nas.commands import studies as commands
    from nas.report import terminal

    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    found = commands.rescore(
        study, target_flops=target_flops, w=w, objective=objective, store=store
    )
    if json_:
        print_json(_rescored_json(found, n))
        return
    typer.echo("\n".join(terminal.rescored_lines(found)))
    print_table(terminal.rescored_table(found, n))
    if found.extrapolated:
        typer.echo(f"nas: {terminal.extrapolation(found)}", err=True)


@app.command()
@verb
def show(
    study: StudyName = None,
    trial: Annotated[int | None, typer.Option(help="Number; the best if left out.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show one trial: its network, its numbers, its learning curve."""
    from nas.commands import studies as commands
    from nas.report import terminal
    from nas.study.progress import trial_line

    view = commands.show(study, trial, store=store)
    if json_:
        curve = [dataclasses.asdict(point) for point in view.curve]
        print_json(trial_json(view.trial) | {"architecture": view.architecture, "curve": curve})
        return
    typer.echo(f"{trial_line(view.trial, view.metric)} ({view.trial.state})")
    typer.echo(view.trial.notation)
    if view.trial.reason:
        typer.echo(view.trial.reason)
    new_console().print(terminal.curve_table(view.curve, view.metric))


@app.command()
@verb
def proxies(
    study: StudyName = None,
    proxies: Annotated[str | None, typer.Option(help="Such as naswot,synflow; else all.")] = None,
    out: Annotated[str | None, typer.Option(help="Picture to draw, .svg or .png.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Compare zero-cost proxies with what a study's trainings showed."""
    from nas.commands import proxies as commands
    from nas.report import terminal

    say = sayer(new_console(stderr=True))
    report = commands.compare_proxies(study, proxies=proxies, out=out, store=store, say=say)
    if json_:
        print_json(report.to_json())
        return
    print_table(terminal.proxies_table(report.comparisons, report.metric))
    typer.echo(terminal.proxies_note(report.comparisons))
    if report.picture:
        typer.echo(f"picture: {report.picture}")


@app.command()
@verb
def export(
    out: Annotated[str, typer.Option(help="Folder to write to.")],
    study: StudyName = None,
    format_: Annotated[str, typer.Option("--format", help="python.")] = "python",
    trial: Annotated[int | None, typer.Option(help="Number; the best if left out.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Write a trial's network as code, with its weights."""
    from nas.commands import export as commands

    path = commands.export_model(study, out=out, format=format_, trial=trial, store=store)
    print_json({"code": str(path)}) if json_ else typer.echo(path)


def trial_json(trial: Any) -> dict[str, Any]:
    """Return a `nas.store.queries.TrialInfo` as plain data."""
    data: dict[str, Any] = trial.to_json()
    return data


def _front_json(front: "Front") -> dict[str, Any]:
    return {
        "study": front.study,
        "metric": front.metric,
        "cost": front.cost,
        "best": front.best.number,
        "hypervolume": front.hypervolume,
        "reference": front.reference._asdict(),
        "front": [trial_json(trial) for trial in front.trials],
        "worth_training_whole": [trial_json(trial) for trial in front.promising],
        "growth": [step._asdict() for step in front.growth],
    }


def _rescored_json(found: "Rescored", n: int) -> dict[str, Any]:
    return {
        "study": found.study,
        "metric": found.metric,
        "objective": found.objective.to_json(),
        "own_objective": found.own.to_json(),
        "evaluated_macs": found.evaluated,
        "near_target": found.near,
        "complete": found.count,
        "pruned": found.pruned,
        "extrapolated": found.extrapolated,
        "unmoved": found.unmoved,
        "trials": [_ranked_json(one) for one in found.trials[:n]],
    }


def _ranked_json(one: "RescoredTrial") -> dict[str, Any]:
    """Return a trial with its score under the new objective, and that under its own beside."""
    own = {"own_rank": one.own_rank, "own_score": one.trial.score}
    return trial_json(one.trial) | {"rank": one.rank, "score": one.score} | own
