"""The verbs of the command line on a server: each asks the route that runs the verb there.

A verb takes the options that mean something on a server, by the names of the verb here; what it
returns says itself as the verb's value does, because the server has sent its lines. A study is a
search there: by its id, by its title, or the newest. Importing this module imports no torch.
"""

import hashlib
import inspect
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

from nas.commands import report as report_verbs
from nas.commands import searches as search_verbs
from nas.commands import studies as study_verbs
from nas.commands._values import Answer, Several, Value
from nas.commands.logs import Event
from nas.errors import Interrupted, NotFound, UserError, unknown
from nas.files import check_folder, writing
from nas.files.reading import read_json, read_text, read_toml
from nas.report.tables import LINES, lines_from_json
from nas.service.client import ApiRequest, Client, RemoteSearch, Wish, read
from nas.study import options
from nas.study.progress import Progress

if TYPE_CHECKING:
    from nas.commands.export import Exported
    from nas.commands.watch import Reading

TOKEN = "NAS_TOKEN"  # the variable of the environment with the token
MOST_EVENTS = 10_000  # of a log
WEIGHTS = ".safetensors"
Said = Callable[[str], None]
Seen = Callable[[Progress], None]


@dataclass(frozen=True)
class RemotePlace:
    """A server's URL, and the file with the token; without a file the environment has it."""

    url: str
    token_file: str | None = None

    def token(self) -> str:
        """Return the token; raises UserError where there is none."""
        if self.token_file is not None:
            return read_text(Path(self.token_file).expanduser()).strip()
        if text := os.environ.get(TOKEN, "").strip():
            return text
        raise UserError(
            f"A server needs a token: {TOKEN} in the environment, or a file with --token-file."
        )

    def run(
        self, command: str, given: Mapping[str, Any], functions: Mapping[str, Any]
    ) -> Value | Iterator[Any]:
        """Run a command, by its words, with the options that were given; `functions` show it.

        Raises UserError for a command and for an option that are of this machine.
        """
        verb = _verb(command)
        takes = inspect.signature(verb).parameters
        if not any(each.kind is each.VAR_KEYWORD for each in takes.values()):
            _refuse_others(command, given, [*takes][1:])
        shown = {name: function for name, function in functions.items() if name in takes}
        with ExitStack() as stack:
            client = stack.enter_context(Client(self.url, self.token()))
            value = verb(client, **given, **shown)
            if isinstance(value, Iterator):
                return _until_closed(stack.pop_all(), value)
        return value


def _verb(command: str) -> Callable[..., Value | Iterator[Any]]:
    if command not in VERBS:
        raise UserError(unknown("command of a server", command, VERBS))
    return VERBS[command]


def _refuse_others(command: str, given: Iterable[str], takes: Iterable[str]) -> None:
    for name in given:
        if name not in takes:
            known = map(_flag, takes)
            raise UserError(
                f"{_flag(name)} is about this machine. On a server nas {command} takes: "
                f"{', '.join(known) or 'no options'}."
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _until_closed(stack: ExitStack, values: Iterator[Any]) -> Iterator[Any]:
    with stack:
        yield from values


def _asked(client: Client, request: ApiRequest) -> Answer:
    """Ask a route that runs a verb; return the verb's value as it says itself there."""
    said = client.ask(request._replace(headers={"Accept": LINES}))
    return Answer(said["value"], lines_from_json(said["lines"]))


def _named(client: Client, study: str | None) -> RemoteSearch:
    """Return a search by its id or its title, or the newest; raises NotFound."""
    if study is not None:
        try:
            return client.get(study)
        except UserError:  # a title may be no id at all
            pass
    for found in client.searches(study):
        return found
    raise NotFound("No search yet." if study is None else f"No search {study!r}.")


def search(client: Client, *, say: Said, watch: Seen, **given: Any) -> Answer:
    """Submit a search and watch it to its end; the same again goes on with it.

    Files of this machine, a space's, a recipe's and data, are sent. Raises UserError for an option
    that is the server's, NasError where the search ends without a winner.
    """
    for name in given:
        if name in options.servers():
            raise UserError(
                f"{options.declared()[name].flag} is set where the server is started, not by a "
                "search that is sent to it."
            )
    asked = {name: _sent(client, name, value, say) for name, value in given.items()}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    found = client.search(key=key, **asked)
    if found.state in ("paused", "pausing", "failed"):
        found.change("resume")
    return _watched(client, found, say, watch)


def _sent(client: Client, name: str, value: Any, say: Said) -> Any:
    """Return an option's value as a server reads it: files of this machine are sent."""
    path = Path(value) if isinstance(value, str) else None
    if path is None:
        return list(value) if isinstance(value, tuple) else value
    if name == "space" and path.suffix == ".json":
        return read_json(path)
    if name == "space" and path.suffix == ".py":
        from nas.search_space import load

        return load(path).to_json()
    if name == "recipe" and path.suffix == ".toml":
        return read_toml(path)
    if name == "data" and path.is_file():
        say(f"{path} is sent")
        return client.upload(path)
    return value


def _watched(client: Client, found: RemoteSearch, say: Said, watch: Seen) -> Answer:
    """Show a search until its end, and return what nas search prints at its end."""
    try:
        for event in found.watch():
            if event.kind == "state":
                say(f"search {found.id} ({found.facts['title']}) is {found.state}")
            elif event.kind == "progress":
                watch(Progress.from_json(event.data["finalists"] or event.data))
    except KeyboardInterrupt:
        raise Interrupted(
            f"search {found.id} goes on: the same command shows it again, "
            f"nas --server {client.url} searches cancel {found.id} ends it."
        ) from None
    found.check()
    answer = _asked(client, read(f"/searches/{found.id}/winner"))
    code, report = (f"{client.url}{found.path}/{name}" for name in ("code", "report"))
    best = answer.data["best"] | {"code": code}
    return Answer(
        answer.data | {"best": best}, [*answer.text, f"report: {report}", f"code: {code}"]
    )


def resume(client: Client, *, study: str, say: Said, watch: Seen) -> Answer:
    """Let a paused or failed search go on, and watch it to its end."""
    return _watched(client, _named(client, study).change("resume"), say, watch)


def status(
    client: Client,
    *,
    studies: Sequence[str] = (),
    study: str | None = None,
    watch: bool = False,
    every: float | None = None,
    until_done: bool = False,
) -> "Several[Progress] | Iterator[Reading]":
    """Show how far searches are, by default all that a worker has begun; --watch goes on."""
    names = [*studies, *([study] if study else ())]

    def look() -> list[Progress]:
        found = [_named(client, name) for name in names] or [*client.searches()]
        return [each for one in found for each in _progress(client, one, known=bool(names))]

    if watch:
        from nas.commands.watch import EVERY, readings

        return readings(look, every=EVERY if every is None else every, until_done=until_done)
    study_verbs.refuse_unwatched(every=every is not None, until_done=until_done)
    return study_verbs.statuses(look(), single=len(names) == 1)


def _progress(client: Client, found: RemoteSearch, *, known: bool) -> Iterator[Progress]:
    """Yield how far a search is; one that is not named and that nobody has begun is left out."""
    try:
        yield Progress.from_json(client.ask(read(f"/searches/{found.id}/progress")))
    except NotFound:
        if known:
            raise


def logs(client: Client, *, study: str | None = None, trial: int | None = None) -> Iterator[Event]:
    """Yield the newest events of a search's trials."""
    path = f"/searches/{_named(client, study).id}/logs"
    yield from map(Event, client.ask(read(path, trial=trial, n=MOST_EVENTS)))


def top(
    client: Client,
    *,
    study: str | None = None,
    n: int | None = None,
    pareto: bool = False,
    cost: str | None = None,
) -> Answer:
    """Show a search's best trials, or with --pareto those that no other beats."""
    study_verbs.check_front(n, {"--cost": cost}, pareto=pareto)
    path = f"/searches/{_named(client, study).id}"
    return _asked(client, read(f"{path}/front", cost=cost) if pareto else read(f"{path}/top", n=n))


def rescore(
    client: Client,
    *,
    target_flops: str,
    study: str | None = None,
    w: float | None = None,
    objective: str | None = None,
    n: int | None = None,
) -> Answer:
    """Rank a search's trials by another target, weight or kind of objective."""
    asked = {"target_flops": target_flops, "w": w, "objective": objective, "n": n}
    return _asked(client, read(f"/searches/{_named(client, study).id}/rescore", **asked))


def show(client: Client, *, study: str | None = None, trial: int | None = None) -> Answer:
    """Show one trial of a search, by default the best."""
    found = _named(client, study)
    if trial is None:
        best = client.ask(read(f"/searches/{found.id}/top", n=1))
        if not best:
            raise NotFound(f"Search {found.id} has no complete trial yet; give a trial's number.")
        trial = best[0]["number"]
    return _asked(client, read(f"/searches/{found.id}/trials/{trial}"))


def report(
    client: Client, *, name: str | None = None, study: str | None = None, out: str = "report.html"
) -> report_verbs.Explained:
    """Write the page that explains a search."""
    path = report_verbs.page_file(out)
    found = _named(client, report_verbs.one_name(name, study))
    with writing(path):
        client.save(f"{found.path}/report", path)
    return report_verbs.Explained("report", found.id, path)


def export(
    client: Client,
    *,
    out: str,
    study: str | None = None,
    study_name: str | None = None,
    format: str = "python",  # noqa: A002 - as named
    trial: int | None = None,
) -> "Exported":
    """Write a network's files in one or more formats, each proven on the server."""
    from nas.commands.export import Exported
    from nas.export.verdict import Proof

    found, folder = _named(client, study or study_name), Path(out)
    check_folder(folder)
    number = trial
    if number is None:
        number = client.ask(read(f"/searches/{found.id}/winner"))["best"]["trial"]
    proofs = {}
    for name in dict.fromkeys(each.strip() for each in format.split(",")):
        file = _unpacked(client, f"{found.path}/exports/{name}", trial, folder)
        shown = client.ask(read(f"/searches/{found.id}/trials/{number}"))
        verdict = next(each for each in reversed(shown["exports"]) if each["format"] == name)
        proofs[name] = Proof.of(verdict, file)
    return Exported(shown["architecture_id"], proofs)


def _unpacked(client: Client, path: str, trial: int | None, folder: Path) -> Path:
    """Download an archive of a network's files into a folder; return the file that is no weights.

    An archive's names can't lead out of the folder: zipfile takes what leads there off.
    """
    with TemporaryDirectory() as temporary:
        archive = Path(temporary, "files.zip")
        client.save(path if trial is None else f"{path}?trial={trial}", archive)
        with writing(folder), zipfile.ZipFile(archive) as files:
            files.extractall(folder)
            names = [name for name in files.namelist() if not name.endswith(WEIGHTS)]
    return folder / (names or files.namelist())[0]


def spaces(client: Client) -> Answer:
    """List the search spaces and networks that a search may name."""
    return _asked(client, read("/spaces"))


def recipes(client: Client) -> Answer:
    """List the recipes that a search may name."""
    return _asked(client, read("/recipes"))


def searches(client: Client, *, state: str | None = None, n: int = 20) -> Answer:
    """List the searches that the token sees, the newest first."""
    search_verbs.check_list(state, n)
    found = (each.facts for each in client.searches() if state in (None, each.state))
    return search_verbs.table([*islice(found, n)])


def _changes(wish: Wish) -> Callable[..., Answer]:
    def change(client: Client, *, search: str) -> Answer:
        changed = _named(client, search).change(wish)
        state = {"state": "deleting"} if wish == "delete" else {}
        return search_verbs.now({**changed.facts, **state})

    return change


VERBS: Mapping[str, Callable[..., Value | Iterator[Any]]] = {
    "search": search, "resume": resume, "status": status, "logs": logs, "top": top,
    "rescore": rescore, "show": show, "report": report, "export": export, "space list": spaces,
    "recipe list": recipes, "searches list": searches,
    **{f"searches {wish}": _changes(wish) for wish in get_args(Wish)},
}  # fmt: skip
