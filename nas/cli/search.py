"""nas search and nas resume."""

from typing import Annotated

import typer

from nas import pruners, samplers
from nas.cli._shared import Json, StoreUrl, callbacks, live_progress, show, verb

app = typer.Typer()

# What nas search is told, where one line is too short for it.
Space = Annotated[str, typer.Option(help="Name, or path of a .py or .json file.")]
TimeLimit = Annotated[str | None, typer.Option(help="Time limit, such as 30m.")]
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

    with callbacks("say", "watch", display=live_progress) as functions:
        result = commands.search(
            space, data, target_flops, target_latency=target_latency, latency_table=latency_table,
            latency_batch=latency_batch, latency_seconds=latency_seconds, objective=objective, w=w,
            max_flops=max_flops, max_params=max_params, metric=metric, trials=trials, time=time,
            epochs=epochs, resolution=resolution, workers=workers, executor=executor,
            address=address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
            max_concurrent=max_concurrent, sampler=sampler, pruner=pruner,
            fidelity=fidelity, reduction=reduction, warm_start=warm_start, prefilter=prefilter,
            features=features, seed=seed, showcase=showcase, study=study, store=store, out=out,
            checkpoints=checkpoints, **functions,
        )  # fmt: skip
    show(result, as_json=json_)


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

    with callbacks("watch", display=live_progress) as functions:
        result = commands.resume(
            study, store=store, trials=trials, time=time, workers=workers, executor=executor,
            address=address, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
            max_concurrent=max_concurrent, **functions,
        )  # fmt: skip
    show(result, as_json=json_)
