"""nas space: look at, sample and check search spaces."""

from typing import Annotated

import typer

from nas.cli._shared import (
    Channels,
    Classes,
    Count,
    Json,
    Resolution,
    new_console,
    print_json,
    verb,
)

app = typer.Typer(help="Look at, sample and check search spaces.", no_args_is_help=True)


@app.command("list")
@verb
def space_list(json_: Json = False) -> None:
    """List the search spaces and family members that come with nas."""
    from nas.commands import space as commands
    from nas.report import terminal

    found = commands.spaces()
    if json_:
        print_json(found)
        return
    rows = ([one["name"], one["kind"], f"{one['size']:.3g}"] for one in found)
    new_console().print(terminal.table(["name", "kind", "#size"], rows))


@app.command("show")
@verb
def space_show(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    target_flops: Count = None,
    max_flops: Count = None,
    max_params: Count = None,
    resolution: Annotated[int | None, typer.Option(help="Fix the image size.")] = None,
    in_channels: Channels = None,
    classes: Classes = None,
    json_: Json = False,
) -> None:
    """Show a space: its parameters, size, cost range, and the share of it near a target."""
    from nas.commands import space as commands
    from nas.quantities import short

    space, flight = commands.space_preflight(
        name, target_flops=target_flops, max_flops=max_flops, max_params=max_params,
        resolution=resolution, in_channels=in_channels, classes=classes,
    )  # fmt: skip
    if json_:
        print_json(flight.to_json())
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


@app.command("sample")
@verb
def space_sample(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    n: Annotated[int, typer.Option("--n", "-n", help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    json_: Json = False,
) -> None:
    """Draw random architectures of a space."""
    from nas.blocks.notation import notation
    from nas.commands import space as commands

    found = commands.space_sample(name, n=n, seed=seed)
    if json_:
        print_json([architecture.to_json() for architecture in found])
        return
    for architecture in found:
        size = f"{architecture.resolution} px"
        typer.echo(f"{architecture.id} {size}: {' | '.join(notation(architecture))}")


@app.command("diagram")
@verb
def space_diagram(
    name: Annotated[
        str, typer.Argument(help="Family member, architecture's JSON file, or search space.")
    ],
    out: Annotated[
        str | None, typer.Option(help="File to write, .svg or .png; both, named after NAME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw from a space.")] = 0,
    resolution: Resolution = None,
    classes: Classes = None,
    in_channels: Channels = None,
    json_: Json = False,
) -> None:
    """Draw one architecture: its layers, kernel groups, widths to scale, and what they cost."""
    from nas.commands import space as commands

    files, title = commands.space_diagram(
        name, out=out, seed=seed, resolution=resolution, classes=classes, in_channels=in_channels
    )
    if json_:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        typer.echo(f"{title}: {path}")


@app.command("validate")
@verb
def space_validate(
    name: Annotated[str, typer.Argument(help="Name, or path of a .py or .json file.")],
    json_: Json = False,
) -> None:
    """Check a space; with --json print it as JSON, as it travels over a wire."""
    from nas.commands import space as commands

    space = commands.space_validate(name)
    if json_:
        print_json(space.to_json())
    else:
        typer.echo(f"{space.name} is valid: {space.size():,} assignments.")
