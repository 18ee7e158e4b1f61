"""What the files of commands share: the app, its errors, what several commands are told."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.errors import NasError, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# A worker whose OpenMP threads spin while they wait takes the cores from the others; this has to
# be said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="Database URL; else NAS_STORE, else sqlite:///studies/nas.db."),
]
StudyName = Annotated[
    str | None, typer.Option("--study", help="Name; the newest study if left out.")
]
Count = Annotated[str | None, typer.Option(help="A number such as 300M.")]
Resolution = Annotated[int | None, typer.Option(help="Image size in pixels.")]
Classes = Annotated[int | None, typer.Option(help="Number of classes.")]
Channels = Annotated[int | None, typer.Option(help="Channels of the images.")]
TimeLimit = Annotated[str | None, typer.Option(help="Time limit, such as 30m.")]
Space = Annotated[str, typer.Option(help="Name, or path of a .py or .json file.")]


def verb(function: Callable[..., None]) -> Callable[..., None]:
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


def new_console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def print_table(table: "Table") -> None:
    """Print a table whole: a narrow terminal wraps its lines, no number loses a digit."""
    from rich.measure import Measurement

    console = new_console()
    needed = Measurement.get(console, console.options.update(width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table, crop=False)


@contextmanager
def progress() -> "Iterator[tuple[Console, Any]]":
    """Show a search's progress on standard error."""
    from nas.commands.watch import SearchPage

    console = new_console(stderr=True)
    with SearchPage(console) as page:
        yield console, page.show_progress


def sayer(console: "Console") -> Callable[[str], None]:
    """Return what prints a line as it is."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, allow_nan=False))
