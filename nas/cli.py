"""The command line: argv -> commands -> print or JSON. The only place that prints errors."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import pruners, samplers
from nas.errors import NasError, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nas.commands import Study
    from nas.ranking import Front, Ranked, Rescored

# A worker whose OpenMP threads spin while they wait takes the cores from the others; this has to
# be said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

app = typer.Typer(
    help="Search for an efficient ConvNet on your own images; get it back as PyTorch code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
space_app = typer.Typer(help="Look at, sample and check search spaces.", no_args_is_help=True)
app.add_typer(space_app, name="space")
latency_app = typer.Typer(help="Measure latency here; make tables of it.", no_args_is_help=True)
app.add_typer(latency_app, name="latency")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="Database URL; else NAS_STORE, else sqlite:///studies/nas.db."),
]
StudyName = Annotated[
    str | None, typer.Option("--study", help="Name; the newest study if left out.")
]
# What nas search is told, where one line is too short for it.
LatencyTarget = Annotated[str | None, typer.Option(help="Latency target T instead, such as 5ms.")]
LatencyTableFile = Annotated[
    str | None, typer.Option(help="File of nas latency table; else one is made first.")
]
Metric = Annotated[str, typer.Option(help="accuracy, balanced_accuracy, macro_f1 or auroc.")]
Sampler = Annotated[
    str, typer.Option(help="nas, tpe, evolution, local_search, gp, nsga2, random or grid.")
]
Pruner = Annotated[str, typer.Option(help="median, hyperband, successive_halving or none.")]
Fidelity = Annotated[str | None, typer.Option(help="What rungs save: epochs, data or resolution.")]
Count = Annotated[str | None, typer.Option(help="A number such as 300M.")]


def _verb(function: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one message on standard error and an exit code: 2 for a user's mistake."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except UserError as error:
            typer.echo(f"nas: {error}", err=True)
            raise typer.Exit(2) from None
        except NasError as error:
            typer.echo(f"nas: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("nas: stopped.", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return run


@app.command()
@_verb
def search(
    space: Annotated[str, typer.Option(help="Name, or path of a .py or .json file.")] = "mixconv",
    target_flops: Annotated[str | None, typer.Option(help="FLOPs target T, such as 300M.")] = None,
    target_latency: LatencyTarget = None,
    latency_table: LatencyTableFile = None,
    latency_batch: Annotated[int | None, typer.Option(help="Images at once in it: 1.")] = None,
    latency_seconds: Annotated[float | None, typer.Option(help="To make it in: 60.")] = None,
    data: Annotated[
        str, typer.Option(help="Name, .npz file, or folder of images per class.")
    ] = "digits",
    objective: Annotated[str, typer.Option(help="soft, hard, or pareto: the front.")] = "soft",
    w: Annotated[float | None, typer.Option("--w", help="Weight of cost / T: -0.07.")] = None,
    max_flops: Annotated[str | None, typer.Option(help="Hard limit: 1.5 times the target.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Hard limit, such as 5M.")] = None,
    metric: Metric = "accuracy",
    trials: Annotated[int | None, typer.Option(help="Number of trials: 24.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit, such as 30m.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a trial; by the data's size.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size in pixels.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes: one per core; 0: in this one.")
    ] = None,
    sampler: Sampler = samplers.DEFAULT,
    pruner: Pruner = pruners.DEFAULT,
    fidelity: Fidelity = None,
    reduction: Annotated[int | None, typer.Option(help="1 in so many goes on: 3.")] = None,
    warm_start: Annotated[
        bool, typer.Option(help="Begin with what other studies of the store know.")
    ] = True,
    prefilter: Annotated[str | None, typer.Option(help="Proxy that ranks the first draws.")] = None,
    features: Annotated[str | None, typer.Option(help="Proxies that --sampler nas sees.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of proposals and trainings.")] = 0,
    study: Annotated[str | None, typer.Option(help="Name; else space, data and target.")] = None,
    store: StoreUrl = None,
    out: Annotated[str, typer.Option(help="Folder of the study folders.")] = "studies",
    json_: Json = False,
) -> None:
    """Search a space for the best network near a FLOPs or latency target, or go on searching."""
    from nas import commands

    with _progress() as (console, watch):
        result = commands.search(
            space, data, target_flops, target_latency=target_latency, latency_table=latency_table,
            latency_batch=latency_batch, latency_seconds=latency_seconds, objective=objective, w=w,
            max_flops=max_flops, max_params=max_params, metric=metric, trials=trials, time=time,
            epochs=epochs, resolution=resolution, workers=workers, sampler=sampler, pruner=pruner,
            fidelity=fidelity, reduction=reduction, warm_start=warm_start, prefilter=prefilter,
            features=features, seed=seed, study=study, store=store, out=out, say=_say(console),
            watch=watch,
        )  # fmt: skip
    _print_result(result, as_json=json_)


@app.command()
@_verb
def resume(
    study: Annotated[str, typer.Option(help="Name of the study.")],
    trials: Annotated[int | None, typer.Option(help="New number of trials.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit, such as 30m.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes: one per core; 0: in this one.")
    ] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Go on with a study as it was configured."""
    from nas import commands

    with _progress() as (_, watch):
        result = commands.resume(
            study, store=store, trials=trials, time=time, workers=workers, watch=watch
        )
    _print_result(result, as_json=json_)


@app.command()
@_verb
def status(
    study: Annotated[str | None, typer.Option("--study", help="Name; all if left out.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show how far a study is, or all of them."""
    from nas import commands
    from nas.report import terminal

    found = commands.status(study, store=store)
    if json_:
        objects = [_status_json(one) for one in found]
        _print_json(objects[0] if study else objects)
        return
    for one in found:
        typer.echo(f"{one.study}: {terminal.counts_line(one.counts)}")
        metric = one.config["recipe"]["metric"]
        if len(one.fidelities) > 1:
            typer.echo(f"  {terminal.rungs_line(one.fidelities)}")
        if one.best:
            typer.echo(f"  best {terminal.trial_line(one.best, metric)}")
        for trial, epochs in one.running:
            state = "stopped, nas resume goes on" if trial.stopped else "runs"
            typer.echo(f"  trial {trial.number} {state}: epoch {epochs} of {trial.fidelity}")
        for reason, count in one.failures.items():
            typer.echo(f"  {count} failed: {reason}")


@app.command()
@_verb
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
    from nas import commands
    from nas.report import terminal

    _check_top(n, pareto, {"--cost": cost, "--out": out})
    if pareto:
        _print_front(commands.front(study, cost=cost or "macs", out=out, store=store), out, json_)
        return
    trials = commands.top(study, store=store, n=5 if n is None else n)
    if json_:
        _print_json([_trial_json(trial) for trial in trials])
        return
    metric = commands.status(study or commands.newest(store), store=store)[0].config["recipe"][
        "metric"
    ]
    _console().print(terminal.top_table(trials, metric))


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
        _print_json(_front_json(front) | {"picture": picture})
        return
    typer.echo("\n".join(terminal.front_lines(front)))
    _print_table(terminal.front_table(front))
    if picture is not None:
        typer.echo(f"picture: {picture}")


@app.command()
@_verb
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
    from nas import commands
    from nas.report import terminal

    if n < 1:
        raise UserError(f"The number of trials to show is at least 1, not {n}.")
    found = commands.rescore(
        study, target_flops=target_flops, w=w, objective=objective, store=store
    )
    if json_:
        _print_json(_rescored_json(found, n))
        return
    typer.echo("\n".join(terminal.rescored_lines(found)))
    _print_table(terminal.rescored_table(found, n))
    if found.extrapolated:
        typer.echo(f"nas: {terminal.extrapolation(found)}", err=True)


@app.command()
@_verb
def show(
    study: StudyName = None,
    trial: Annotated[int | None, typer.Option(help="Number; the best if left out.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show one trial: its network, its numbers, its learning curve."""
    from nas import commands
    from nas.report import terminal

    view = commands.show(study, trial, store=store)
    if json_:
        curve = [dataclasses.asdict(point) for point in view.curve]
        _print_json(_trial_json(view.trial) | {"architecture": view.architecture, "curve": curve})
        return
    typer.echo(f"{terminal.trial_line(view.trial, view.metric)} ({view.trial.state})")
    typer.echo(view.trial.notation)
    if view.trial.reason:
        typer.echo(view.trial.reason)
    _console().print(terminal.curve_table(view.curve, view.metric))


@app.command()
@_verb
def proxies(
    study: StudyName = None,
    proxies: Annotated[str | None, typer.Option(help="Such as naswot,synflow; else all.")] = None,
    out: Annotated[str | None, typer.Option(help="Picture to draw, .svg or .png.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Compare zero-cost proxies with what a study's trainings showed."""
    from nas import commands
    from nas.report import terminal

    say = _say(_console(stderr=True))
    report = commands.compare_proxies(study, proxies=proxies, out=out, store=store, say=say)
    if json_:
        _print_json(report.to_json())
        return
    _print_table(terminal.proxies_table(report.comparisons, report.metric))
    typer.echo(terminal.proxies_note(report.comparisons))
    if report.picture:
        typer.echo(f"picture: {report.picture}")


@app.command()
@_verb
def export(
    out: Annotated[str, typer.Option(help="Folder to write to.")],
    study: StudyName = None,
    format_: Annotated[str, typer.Option("--format", help="python.")] = "python",
    trial: Annotated[int | None, typer.Option(help="Number; the best if left out.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Write a trial's network as code, with its weights."""
    from nas import commands

    path = commands.export_model(study, out=out, format=format_, trial=trial, store=store)
    _print_json({"code": str(path)}) if json_ else typer.echo(path)


@app.command()
@_verb
def cost(
    names: Annotated[
        list[str], typer.Argument(help="Family members, or architectures' JSON files.")
    ],
    resolution: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Block by block.")] = False,
    json_: Json = False,
) -> None:
    """Count a network's macs, parameters, activations and memory, by stage; compare several."""
    from nas import commands
    from nas.report import terminal

    counted = [
        commands.cost_of(name, resolution=resolution, classes=classes, in_channels=in_channels)
        for name in names
    ]
    if json_:
        objects = [numbers for _, numbers in counted]
        _print_json(objects[0] if len(objects) == 1 else objects)
        return
    if len(counted) > 1:
        _print_table(terminal.comparison_table([numbers for _, numbers in counted]))
    for architecture, numbers in counted if blocks or len(counted) == 1 else []:
        size = f"{architecture.in_channels}x{architecture.resolution}x{architecture.resolution}"
        name = numbers["name"]
        typer.echo(f"{name} ({architecture.id}): {size} images, {architecture.classes} classes")
        _print_table(terminal.cost_table(numbers) if blocks else terminal.stage_table(numbers))
        typer.echo(f"peak activation memory {numbers['peak_activation_bytes']:,} bytes")


@app.command()
@_verb
def scale(
    source: Annotated[
        str, typer.Argument(help="A study's name, a family member, or an architecture's JSON file.")
    ],
    alpha: Annotated[float | None, typer.Option(help="Depth per phi, such as 1.2.")] = None,
    beta: Annotated[float | None, typer.Option(help="Width per phi, such as 1.1.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Resolution per phi, such as 1.15.")] = None,
    phi: Annotated[str | None, typer.Option(help="The members: 0,1,2,3.")] = None,
    target_flops: Annotated[
        str | None, typer.Option(help="Instead of phi: the member nearest, such as 300M.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Image size at phi 0.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    divisor: Annotated[int, typer.Option(help="Widths are multiples of it.")] = 8,
    resolution_multiple: Annotated[int, typer.Option(help="Resolutions, too.")] = 8,
    out: Annotated[str | None, typer.Option(help="Folder for the members' code.")] = None,
    data: Annotated[str | None, typer.Option(help="Data to search alpha, beta, gamma on.")] = None,
    step: Annotated[float | None, typer.Option(help="Of the grid: 0.1.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Of the product 2: 0.05.")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials: the whole grid.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit, such as 30m.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes: one per core.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As in nas search: grid.")] = None,
    study: Annotated[str | None, typer.Option(help="Name; else the source's, -scaling.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Scale a network into a family: by given coefficients, or by those a search finds."""
    from nas import commands
    from nas.report import terminal

    with _progress() as (console, watch):
        family = commands.scale(
            source, coefficients=(alpha, beta, gamma), phi=phi, target_flops=target_flops,
            resolution=resolution, classes=classes, in_channels=in_channels, divisor=divisor,
            resolution_multiple=resolution_multiple, out=out, data=data, step=step,
            tolerance=tolerance, trials=trials, time=time, epochs=epochs, workers=workers,
            sampler=sampler, study=study, store=store, say=_say(console), watch=watch,
        )  # fmt: skip
    if json_:
        _print_json(family.to_json())
        return
    typer.echo(terminal.family_line(family.to_json()))
    _print_table(terminal.family_table(family.to_json()["members"]))


@latency_app.command("measure")
@_verb
def latency_measure(
    names: Annotated[
        list[str], typer.Argument(help="Family members, or architectures' JSON files.")
    ],
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    resolution: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    json_: Json = False,
) -> None:
    """Measure how long networks take on this machine."""
    from nas import commands
    from nas.report import terminal

    found = commands.latency_of(
        names, batch_size=batch_size, threads=threads, device=device, resolution=resolution,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip
    if json_:
        _print_json(found[0] if len(found) == 1 else found)
        return
    _print_table(terminal.latency_table(found))
    typer.echo(terminal.setting_line(found[0]["setting"]))


@latency_app.command("table")
@_verb
def latency_table(
    out: Annotated[str, typer.Option(help="File to write, such as table.json.")],
    space: Annotated[str, typer.Option(help="Name, or path of a .py or .json file.")] = "mixconv",
    target_flops: Annotated[str | None, typer.Option(help="Measure near it: 300M.")] = None,
    target_latency: Annotated[str | None, typer.Option(help="Measure near it: 5ms.")] = None,
    data: Annotated[str | None, typer.Option(help="Images and classes as in nas search.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[float, typer.Option(help="To measure in.")] = 90,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    json_: Json = False,
) -> None:
    """Make a table that predicts the latency of a space's networks, and say how far it is off."""
    from nas import commands

    table = commands.latency_table(
        space, out, data=data, resolution=resolution, classes=classes, in_channels=in_channels,
        target_flops=target_flops, target_latency=target_latency, batch_size=batch_size,
        threads=threads, device=device, seconds=seconds, seed=seed,
        say=_say(_console(stderr=True)),
    )  # fmt: skip
    if json_:
        kept = {k: v for k, v in table.to_json().items() if k not in ("blocks", "operators")}
        _print_json({**kept, "table": out})
        return
    typer.echo(f"{out}: {table.setting.describe()}")
    typer.echo(f"{table.error.describe()}; {table.seconds:.0f} s")


@space_app.command("list")
@_verb
def space_list(json_: Json = False) -> None:
    """List the search spaces and family members that come with nas."""
    from nas import commands
    from nas.report import terminal

    found = commands.spaces()
    if json_:
        _print_json(found)
        return
    rows = ([one["name"], one["kind"], f"{one['size']:.3g}"] for one in found)
    _console().print(terminal.table(["name", "kind", "#size"], rows))


@space_app.command("show")
@_verb
def space_show(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    target_flops: Count = None,
    max_flops: Count = None,
    max_params: Count = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    json_: Json = False,
) -> None:
    """Show a space: its parameters, size, cost range, and the share of it near a target."""
    from nas import commands
    from nas.quantities import short

    space, flight = commands.space_preflight(
        name, target_flops=target_flops, max_flops=max_flops, max_params=max_params,
        resolution=resolution, in_channels=in_channels, classes=classes,
    )  # fmt: skip
    if json_:
        _print_json(flight.to_json())
        return
    if flight.parameters:
        typer.echo("\n".join(space.describe()) + "\n")
    many = "s" if flight.parameters != 1 else ""
    typer.echo(f"{space.name}: {flight.size:,} assignments of {flight.parameters} parameter{many}")
    for what, (low, high) in (("FLOPs", flight.macs), ("parameters", flight.params)):
        typer.echo(f"{short(low)} to {short(high)} {what}")
    if flight.near_target is not None:
        typer.echo(f"{flight.near_target:.1%} within 10 % of the target")
    typer.echo(f"{flight.within_limits:.1%} within the limits")
    typer.echo(f"example, {short(flight.example_macs)} FLOPs:")
    typer.echo("\n".join(f"  {line}" for line in flight.example_notation))


@space_app.command("sample")
@_verb
def space_sample(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    n: Annotated[int, typer.Option("--n", "-n", help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    json_: Json = False,
) -> None:
    """Draw random architectures of a space."""
    from nas import commands

    found = commands.space_sample(name, n=n, seed=seed)
    if json_:
        _print_json([architecture.to_json() for architecture in found])
        return
    for architecture in found:
        size = f"{architecture.resolution} px"
        typer.echo(f"{architecture.id} {size}: {' | '.join(architecture.notation())}")


@space_app.command("diagram")
@_verb
def space_diagram(
    name: Annotated[
        str, typer.Argument(help="Family member, architecture's JSON file, or search space.")
    ],
    out: Annotated[
        str | None, typer.Option(help="File to write, .svg or .png; both, named after NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw from a space.")] = 0,
    resolution: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels of the images.")] = None,
    json_: Json = False,
) -> None:
    """Draw one architecture: its layers, kernel groups, widths to scale, and what they cost."""
    from nas import commands

    files, title = commands.space_diagram(
        name, out=out, seed=seed, resolution=resolution, classes=classes, in_channels=in_channels
    )
    if json_:
        _print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        typer.echo(f"{title}: {path}")


@space_app.command("validate")
@_verb
def space_validate(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    json_: Json = False,
) -> None:
    """Check a space; with --json print it as JSON, as it travels over a wire."""
    from nas import commands

    space = commands.space_validate(name)
    if json_:
        _print_json(space.to_json())
    else:
        typer.echo(f"{space.name} is valid: {space.size():,} assignments.")


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def _print_table(table: "Table") -> None:
    """Print a table whole: a narrow terminal wraps its lines, no number loses a digit."""
    from rich.measure import Measurement

    console = _console()
    needed = Measurement.get(console, console.options.update(width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table, crop=False)


@contextmanager
def _progress() -> "Iterator[tuple[Console, Any]]":
    """Show a search's progress on standard error."""
    from nas.report.terminal import Progress

    console = _console(stderr=True)
    with Progress(console) as progress:
        yield console, progress.show


def _say(console: "Console") -> Callable[[str], None]:
    """Return what prints a line as it is."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, allow_nan=False))


def _trial_json(trial: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {k: v for k, v in vars(trial).items() if k != "cost"}
    cost: dict[str, int] = trial.cost._asdict()
    return {**fields, **cost, "one_class": trial.one_class}


def _front_json(front: "Front") -> dict[str, Any]:
    return {
        "study": front.study,
        "metric": front.metric,
        "cost": front.cost,
        "best": front.best.number,
        "hypervolume": front.hypervolume,
        "reference": front.reference._asdict(),
        "front": [_trial_json(trial) for trial in front.trials],
        "worth_training_whole": [_trial_json(trial) for trial in front.promising],
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


def _ranked_json(one: "Ranked") -> dict[str, Any]:
    """Return a trial with its score under the new objective, and that under its own beside."""
    own = {"own_rank": one.own_rank, "own_score": one.trial.score}
    return _trial_json(one.trial) | {"rank": one.rank, "score": one.score} | own


def _status_json(status: Any) -> dict[str, Any]:
    return {
        "study": status.study,
        "trials": vars(status.counts),
        "fidelities": {str(epochs): count for epochs, count in status.fidelities.items()},
        "running": [{"trial": trial.number, "epoch": epoch} for trial, epoch in status.running],
        "best": _trial_json(status.best) if status.best else None,
        "failures": status.failures,
    }


def _print_result(result: "Study", *, as_json: bool) -> None:
    """Print a search's end: the winner, the five best, where the code lies."""
    from nas.report import terminal

    if as_json and (result.completed or result.winner):
        _print_json(result.to_json())
    if not result.completed:
        typer.echo(
            f"nas: stopped; {terminal.counts_line(result.counts)} kept. The same command, or "
            f"nas resume --study {result.name}, goes on.",
            err=True,
        )
        raise typer.Exit(130)
    if result.winner is None:
        from nas import commands

        reasons = commands.status(result.name, store=result.store)[0].failures
        why = "; ".join(f"{count} failed: {reason}" for reason, count in reasons.items())
        typer.echo(f"nas: no trial was completed. {why or 'Give it more time.'}", err=True)
        raise typer.Exit(1)
    if not as_json:
        _print_winner(result)


def _print_winner(result: "Study") -> None:
    from nas.quantities import from_here
    from nas.report import terminal

    best = result.best
    typer.echo(f"trials: {terminal.counts_line(result.counts)}")
    _console().print(terminal.top_table(result.top(5), best.metric))
    if best.trial.one_class:
        typer.echo("nas: the winner predicts a single class: it has learnt nothing.", err=True)
    shown = {k: best.test.get(k) for k in ("accuracy", "balanced_accuracy", "auroc")}
    numbers = ", ".join(f"{name} {terminal.number(value)}" for name, value in shown.items())
    majority = terminal.number(best.test.get("majority_rate"))
    typer.echo(f"test, looked at {best.test_looks}x: {numbers} (majority class {majority})")
    if best.trial.latency_ms is not None:
        here = "not here" if best.measured_ms is None else f"{best.measured_ms:.3g} ms"
        typer.echo(f"latency: predicted {best.trial.latency_ms:.3g} ms, measured {here}")
    pictures = ["search.png"]
    if best.front:
        typer.echo("\n".join(terminal.front_lines(best.front)))
        _print_table(terminal.front_table(best.front))
        pictures.append("front.png")
    for picture in pictures:
        typer.echo(f"picture: {from_here(best.code.parent.parent / picture)}")
    typer.echo(f"code: {from_here(best.code)}")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
