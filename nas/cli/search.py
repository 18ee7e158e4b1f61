"""nas search and nas resume."""

from typing import TYPE_CHECKING, Annotated

import typer

from nas import pruners, samplers
from nas.cli._shared import (
    Json,
    Space,
    StoreUrl,
    TimeLimit,
    new_console,
    print_json,
    print_table,
    progress,
    sayer,
    verb,
)

if TYPE_CHECKING:
    from nas.commands.search import Study

app = typer.Typer()

# What nas search is told, where one line is too short for it.
LatencyTarget = Annotated[str | None, typer.Option(help="Latency target T instead, such as 5ms.")]
LatencyTableFile = Annotated[
    str | None, typer.Option(help="File of nas latency table; else one is made first.")
]
Data = Annotated[str, typer.Option(help="Name, .npz file, folder of images per class, or URL.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of a trial; by the data's size.")]
WarmStart = Annotated[bool, typer.Option(help="Begin with what other studies of the store know.")]
CheckpointsUrl = Annotated[
    str | None, typer.Option(help="Folder or URL that all machines see, for checkpoints.")
]
Metric = Annotated[str, typer.Option(help="accuracy, balanced_accuracy, macro_f1 or auroc.")]
Sampler = Annotated[
    str, typer.Option(help="nas, tpe, evolution, local_search, gp, nsga2, random or grid.")
]
Pruner = Annotated[str, typer.Option(help="median, hyperband, successive_halving or none.")]
Fidelity = Annotated[str | None, typer.Option(help="What rungs save: epochs, data or resolution.")]

# Where the workers of nas search and nas resume run.
Workers = Annotated[
    int | None, typer.Option(help="Worker processes: one per core; 0: in this one.")
]
Executor = Annotated[str | None, typer.Option(help="Where workers run: local, in-process or ray.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster; else RAY_ADDRESS, else one started here.")
]
Cpus = Annotated[float | None, typer.Option(help="CPUs of a worker on Ray: 1.")]
Gpus = Annotated[
    float | None, typer.Option(help="GPUs of a worker on Ray: 0.25, or 0 where there is none.")
]
MaxConcurrent = Annotated[
    int | None, typer.Option(help="Workers on Ray at once: as many as its nodes hold.")
]


@app.command()
@verb
def search(
    space: Space = "mixconv",
    target_flops: Annotated[str | None, typer.Option(help="FLOPs target T, such as 300M.")] = None,
    target_latency: LatencyTarget = None,
    latency_table: LatencyTableFile = None,
    latency_batch: Annotated[int | None, typer.Option(help="Images at once in it: 1.")] = None,
    latency_seconds: Annotated[float | None, typer.Option(help="To make it in: 60.")] = None,
    data: Data = "digits",
    objective: Annotated[str, typer.Option(help="soft, hard, or pareto: the front.")] = "soft",
    w: Annotated[float | None, typer.Option("--w", help="Weight of cost / T: -0.07.")] = None,
    max_flops: Annotated[str | None, typer.Option(help="Hard limit: 1.5 times the target.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Hard limit, such as 5M.")] = None,
    metric: Metric = "accuracy",
    trials: Annotated[int | None, typer.Option(help="Number of trials: 24.")] = None,
    time: TimeLimit = None,
    epochs: Epochs = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size in pixels.")] = None,
    workers: Workers = None,
    executor: Executor = None,
    address: Address = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: MaxConcurrent = None,
    sampler: Sampler = samplers.DEFAULT,
    pruner: Pruner = pruners.DEFAULT,
    fidelity: Fidelity = None,
    reduction: Annotated[int | None, typer.Option(help="1 in so many goes on: 3.")] = None,
    warm_start: WarmStart = True,
    prefilter: Annotated[str | None, typer.Option(help="Proxy that ranks the first draws.")] = None,
    features: Annotated[str | None, typer.Option(help="Proxies that --sampler nas sees.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of proposals and trainings.")] = 0,
    showcase: Annotated[bool, typer.Option(help="Notes and diagrams for the dashboard.")] = True,
    study: Annotated[str | None, typer.Option(help="Name; else space, data and target.")] = None,
    store: StoreUrl = None,
    out: Annotated[str, typer.Option(help="Folder of the study folders.")] = "studies",
    checkpoints: CheckpointsUrl = None,
    json_: Json = False,
) -> None:
    """Search a space for the best network near a FLOPs or latency target, or go on searching."""
    from nas.commands import search as commands

    with progress() as (console, watch):
        result = commands.search(
            space, data, target_flops, target_latency=target_latency, latency_table=latency_table,
            latency_batch=latency_batch, latency_seconds=latency_seconds, objective=objective, w=w,
            max_flops=max_flops, max_params=max_params, metric=metric, trials=trials, time=time,
            epochs=epochs, resolution=resolution, workers=workers, executor=executor,
            address=address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
            max_concurrent=max_concurrent, sampler=sampler, pruner=pruner,
            fidelity=fidelity, reduction=reduction, warm_start=warm_start, prefilter=prefilter,
            features=features, seed=seed, showcase=showcase, study=study, store=store, out=out,
            checkpoints=checkpoints, say=sayer(console), watch=watch,
        )  # fmt: skip
    _print_result(result, as_json=json_)


@app.command()
@verb
def resume(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    trials: Annotated[int | None, typer.Option(help="New number of trials.")] = None,
    time: TimeLimit = None,
    workers: Workers = None,
    executor: Executor = None,
    address: Address = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: MaxConcurrent = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Go on with a study as it was configured."""
    from nas.commands import search as commands

    with progress() as (_, watch):
        result = commands.resume(
            study, store=store, trials=trials, time=time, workers=workers, executor=executor,
            address=address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
            max_concurrent=max_concurrent, watch=watch,
        )  # fmt: skip
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
