"""How far studies are, once or again and again: nas status."""

from typing import Annotated

import typer

from nas.cli._shared import Json, StoreUrl, new_console, print_json, verb
from nas.errors import UserError

app = typer.Typer()

EVERY = 2.0  # seconds between two looks


@app.command()
@verb
def status(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Studies' names; all if left out.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="One name, as elsewhere.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    every: Annotated[float | None, typer.Option(help="With --watch, seconds: 2.")] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="With --watch, end when the budget is spent.")
    ] = False,
    store: StoreUrl = None,
    json_: Json = False,
) -> None:
    """Show how far a study is, or all of them, who works on it and how fast; --watch goes on."""
    from nas.commands import studies as commands
    from nas.commands.watch import lines

    names = [*(studies or ()), *([study] if study else ())]
    if watch:
        _watch(names, store, EVERY if every is None else every, until_done, as_json=json_)
        return
    for option, given in (("--every", every is not None), ("--until-done", until_done)):
        if given:
            raise UserError(f"{option} is for --watch; give --watch too.")
    found = [one for name in names or [None] for one in commands.status(name, store=store)]
    if json_:
        objects = [one.to_json() for one in found]
        print_json(objects[0] if len(names) == 1 else objects)
        return
    for one in found:
        typer.echo("\n".join(lines(one)))


def _watch(
    names: list[str], store: str | None, every: float, until_done: bool, *, as_json: bool
) -> None:
    """Show looks until Ctrl-C, which is the way to end it and so no failure."""
    from nas.commands.watch import LivePage, watch

    looks = watch(names, store=store, every=every, until_done=until_done)
    try:
        if as_json:
            for look in looks:
                print_json(look.to_json())
            return
        first = next(looks)  # a mistake is told before the page begins
        with LivePage(new_console()) as page:
            page.show(first)
            for look in looks:
                page.show(look)
    except KeyboardInterrupt:
        return
