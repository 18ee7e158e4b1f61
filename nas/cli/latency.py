"""nas latency: measure networks here, make tables."""

from typing import Annotated

import typer

from nas.cli._shared import (
    Channels,
    Classes,
    Json,
    Resolution,
    Space,
    new_console,
    print_json,
    print_table,
    sayer,
    verb,
)

app = typer.Typer(help="Measure latency here; make tables of it.", no_args_is_help=True)


@app.command("measure")
@verb
def latency_measure(
    names: Annotated[
        list[str], typer.Argument(help="Family members, or architectures' JSON files.")
    ],
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    resolution: Resolution = None,
    classes: Classes = None,
    in_channels: Channels = None,
    json_: Json = False,
) -> None:
    """Measure how long networks take on this machine."""
    from nas.commands import networks as network_commands
    from nas.report import terminal

    found = network_commands.latency_of(
        names, batch_size=batch_size, threads=threads, device=device, resolution=resolution,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip
    if json_:
        print_json(found[0] if len(found) == 1 else found)
        return
    print_table(terminal.latency_table(found))
    typer.echo(terminal.setting_line(found[0]["setting"]))


@app.command("table")
@verb
def latency_table(
    out: Annotated[str, typer.Option(help="File to write, such as table.json.")],
    space: Space = "mixconv",
    target_flops: Annotated[str | None, typer.Option(help="Measure near it: 300M.")] = None,
    target_latency: Annotated[str | None, typer.Option(help="Measure near it: 5ms.")] = None,
    data: Annotated[str | None, typer.Option(help="Images and classes as in nas search.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size in pixels.")] = None,
    classes: Classes = None,
    in_channels: Channels = None,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[float, typer.Option(help="To measure in.")] = 90,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    json_: Json = False,
) -> None:
    """Make a table that predicts the latency of a space's networks, and say how far it is off."""
    from nas.commands import networks as network_commands

    table = network_commands.latency_table(
        space, out, data=data, resolution=resolution, classes=classes, in_channels=in_channels,
        target_flops=target_flops, target_latency=target_latency, batch_size=batch_size,
        threads=threads, device=device, seconds=seconds, seed=seed,
        say=sayer(new_console(stderr=True)),
    )  # fmt: skip
    if json_:
        kept = {k: v for k, v in table.to_json().items() if k not in ("blocks", "operators")}
        print_json({**kept, "table": out})
        return
    typer.echo(f"{out}: {table.setting.describe()}")
    typer.echo(f"{table.error.describe()}; {table.seconds:.0f} s")
