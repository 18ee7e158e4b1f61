"""How verbs become commands: options from their signatures, printing, errors and exit codes."""

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import wraps
from itertools import chain
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Protocol,
    get_args,
    get_origin,
    runtime_checkable,
)

import typer

from nas.commands._options import Help, checked, parameters
from nas.commands._values import Value
from nas.errors import Interrupted, NasError, UserError, printable
from nas.executors._processors import granted

if TYPE_CHECKING:
    from rich.console import Console

    from nas.report.tables import Lines

# A worker whose OpenMP threads spin while they wait takes the cores from the others; this has to
# be said before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if granted() < (os.cpu_count() or 1):  # torch would take a thread for each of the machine's
    os.environ.setdefault("OMP_NUM_THREADS", str(granted()))

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", help="Database URL; else NAS_STORE, else sqlite:///studies/nas.db."),
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(help="Another name that the server is reached by, a proxy's say; repeatable."),
]
Display = Callable[["Console"], AbstractContextManager[Callable[..., None]]]
"""Opens a page that is drawn again and again, and hands out the function that draws it."""


@runtime_checkable
class Fallible(Protocol):
    """A value that may be a failure: the command prints it and ends with the error's exit code."""

    @property
    def failure(self) -> NasError | None:
        """Return the error, if it is one."""


def add(
    group: typer.Typer, name: str, verb: Callable[..., Any], display: Display | None = None
) -> None:
    """Make a command of a verb of `nas.commands` that prints the verb's value, or with --json JSON.

    The verb's `say` prints lines on standard error, its `watch` is shown there by `display`. A verb
    that returns an iterator has its values printed one by one, or shown by `display`, until Ctrl-C.
    """
    hints = dict(parameters(verb))
    options = [_option(key, *hint) for key, hint in hints.items() if _is_option(hint[0])]
    wanted = [key for key in ("say", "watch") if key in hints and not _is_option(hints[key][0])]

    @told_errors()
    def run(*, context: typer.Context, json_: bool, **given: Any) -> None:
        words = {key: value for key, value in given.items() if value is not None}
        with callbacks(*wanted, display=display) as functions:
            if context.obj is None:
                value = checked(verb)(**words, **functions)
            else:
                chosen = {k: v for k, v in words.items() if v != usual[k]}
                value = context.obj.run(words_of(context), chosen, functions)
        _show(value, display, as_json=json_)

    usual = {option.name: option.default for option in options}
    as_json = inspect.Parameter("json_", _KEYWORD, annotation=Json, default=False)
    vars(run)["__signature__"] = inspect.Signature([*options, as_json, _CONTEXT])
    text = inspect.cleandoc(verb.__doc__ or "").partition("\n\n")[0]
    group.command(name, help=text)(run)


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_CONTEXT = inspect.Parameter("context", _KEYWORD, annotation=typer.Context)


def words_of(context: typer.Context) -> str:
    """Return the words that call a command, without the program's."""
    names: list[str] = []
    at: Any = context
    while at.parent is not None:
        names.insert(0, at.info_name or "")
        at = at.parent
    return " ".join(names)


def _is_option(hint: Any) -> bool:
    return get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Help)


def _option(name: str, hint: Any, default: Any) -> inspect.Parameter:
    """Make typer's parameter of a verb's; a number or a text is read as text."""
    base, note = get_args(hint)[:2]
    if isinstance(base, UnionType) and str in get_args(base):
        base = str | None if NoneType in get_args(base) else str
    flag = f"--{name.replace('_', '-')}"
    flags = note.flags or (f"{flag}/--no-{flag[2:]}" if default is True else flag,)
    info = typer.Argument(help=note.text) if note.argument else typer.Option(*flags, help=note.text)
    annotation = Annotated[base, info]  # type: ignore[valid-type] # it is made here
    default = default if note.default is None else note.default
    return inspect.Parameter(name, _KEYWORD, annotation=annotation, default=default)


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn errors into one message on standard error and an exit code: 2 for a user's mistake."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("nas: stopped.", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except NasError as error:
        typer.echo(f"nas: {error}", err=True)
        codes = {UserError: 2, Interrupted: 130}
        code = next((code for kind, code in codes.items() if isinstance(error, kind)), 1)
        raise typer.Exit(code) from None


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command that prints for itself, so that its errors are told as all are.

    One that takes a `context` can run on a server; any other is refused there.
    """
    signature = inspect.signature(function)
    if "context" in signature.parameters:
        return told_errors()(function)

    @told_errors()
    @wraps(function)
    def run(*, context: typer.Context, **given: Any) -> None:
        if context.obj is not None:
            context.obj.run(words_of(context), {}, {})
        function(**given)

    parameters = [each.replace(kind=_KEYWORD) for each in signature.parameters.values()]
    vars(run)["__signature__"] = inspect.Signature([*parameters, _CONTEXT])
    return run


@contextmanager
def callbacks(*names: str, display: Display | None = None) -> Iterator[dict[str, Any]]:
    """Open what a verb's callbacks of these names, `say` and `watch`, show on standard error."""
    if not names:
        yield {}
        return
    console = new_console(stderr=True)
    with display(console) if display else nullcontext() as show_on_page:
        functions = {"say": sayer(console), "watch": show_on_page}
        yield {name: functions[name] for name in names}


def live_progress(console: "Console") -> AbstractContextManager[Callable[..., None]]:
    """Show how far a search is."""
    from nas.commands.watch import search_page

    return search_page(console)


def _show(value: Any, display: Display | None, *, as_json: bool) -> None:
    """Print a verb's value, or the values that it yields until Ctrl-C, which is no failure."""
    if not isinstance(value, Iterator):
        show(value, as_json=as_json)
        return
    with suppress(KeyboardInterrupt):
        if as_json or display is None:
            for each in value:
                show(each, as_json=as_json)
            return
        first = next(value)  # a mistake is told before the page begins
        with display(new_console()) as show_on_page:
            for each in chain([first], value):
                show_on_page(each)


def show(value: Value, *, as_json: bool) -> None:
    """Print a value; raise its failure, at once where it was interrupted and is no result."""
    failure = value.failure if isinstance(value, Fallible) else None
    if isinstance(failure, Interrupted):
        raise failure
    if as_json:
        typer.echo(json.dumps(value.to_json(), allow_nan=False))
    else:
        _print(value.lines())
    if failure is not None:
        raise failure


def _print(lines: "Lines") -> None:
    from nas.report.tables import Remark, Table

    for line in lines:
        if isinstance(line, Table):
            new_console().print(line, crop=False)
        elif isinstance(line, Remark):
            typer.echo(f"nas: {printable(line)}", err=True)
        else:
            typer.echo(printable(line))


def new_console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def sayer(console: "Console") -> Callable[[str], None]:
    """Return what prints a line as it is."""
    return lambda line: console.print(
        printable(line), markup=False, highlight=False, soft_wrap=True
    )
