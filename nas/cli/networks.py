"""What networks cost, and families of them: nas cost and nas scale."""

from typing import Annotated

import typer

from nas.cli._shared import (
    Channels,
    Classes,
    Json,
    Resolution,
    StoreUrl,
    TimeLimit,
    print_json,
    print_table,
    progress,
    sayer,
    verb,
)

app = typer.Typer()


@app.command()
@verb
def cost(
    names: Annotated[
        list[str], typer.Argument(help="Family members, or architectures' JSON files.")
    ],
    resolution: Resolution = None,
    classes: Classes = None,
    in_channels: Channels = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Block by block.")] = False,
    json_: Json = False,
) -> None:
    """Count a network's macs, parameters, activations and memory, by stage; compare several."""
    from nas.commands import networks as network_commands
    from nas.report import terminal

    counted = [
        network_commands.cost_of(
            name, resolution=resolution, classes=classes, in_channels=in_channels
        )
        for name in names
    ]
    if json_:
        objects = [numbers for _, numbers in counted]
        print_json(objects[0] if len(objects) == 1 else objects)
        return
    if len(counted) > 1:
        print_table(terminal.comparison_table([numbers for _, numbers in counted]))
    for architecture, numbers in counted if blocks or len(counted) == 1 else []:
        size = f"{architecture.in_channels}x{architecture.resolution}x{architecture.resolution}"
        name = numbers["name"]
        typer.echo(f"{name} ({architecture.id}): {size} images, {architecture.classes} classes")
        print_table(terminal.cost_table(numbers) if blocks else terminal.stage_table(numbers))
        typer.echo(f"peak activation memory {numbers['peak_activation_bytes']:,} bytes")


@app.command()
@verb
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
    classes: Classes = None,
    in_channels: Channels = None,
    divisor: Annotated[int, typer.Option(help="Widths are multiples of it.")] = 8,
    resolution_multiple: Annotated[int, typer.Option(help="Resolutions, too.")] = 8,
    out: Annotated[str | None, typer.Option(help="Folder for the members' code.")] = None,
    data: Annotated[str | None, typer.Option(help="Data to search alpha, beta, gamma on.")] = None,
    step: Annotated[float | None, typer.Option(help="Of the grid: 0.1.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Of the product 2: 0.05.")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials: the whole grid.")] = None,
    time: TimeLimit = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes: one per core.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As in nas search: grid.")] = None,
    study: Annotated[str | None, typer.Option(help="Name; else the source's, -scaling.")] = None,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Scale a network into a family: by given coefficients, or by those a search finds."""
    from nas.commands import family as family_commands
    from nas.report import terminal

    with progress() as (console, watch):
        family = family_commands.scale(
            source, coefficients=(alpha, beta, gamma), phi=phi, target_flops=target_flops,
            resolution=resolution, classes=classes, in_channels=in_channels, divisor=divisor,
            resolution_multiple=resolution_multiple, out=out, data=data, step=step,
            tolerance=tolerance, trials=trials, time=time, epochs=epochs, workers=workers,
            sampler=sampler, study=study, store=store, say=sayer(console), watch=watch,
        )  # fmt: skip
    if json_:
        print_json(family.to_json())
        return
    typer.echo(terminal.family_line(family.to_json()))
    print_table(terminal.family_table(family.to_json()["members"]))
