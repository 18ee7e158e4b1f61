"""A search as it travels to a cluster: the words of its command line and the files beside it.

The store's URL lies in a file that nobody but the job's user may read, a space of one's own and a
latency table as JSON. What the cluster shows of a job, its command line above all, holds no store.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.credentials import is_url
from nas.errors import ClusterError, DataError, StoreError, UserError
from nas.files.reading import read_text
from nas.store import engine as engines
from nas.study import options

STORE_FILE = "store.url"  # in the job's folder; the job's environment has it as NAS_STORE
SCRIPT = "nas.sh"  # in the job's folder: it runs `nas` with the words that follow
# A job's shell is a child of Ray's supervisor, and that of the raylet, whose command line has the
# Python of its workers. Without /proc it is the Python of the PATH that `ray start` had.
RUN = f"""\
if [ -f {STORE_FILE} ]; then NAS_STORE=$(cat {STORE_FILE}); export NAS_STORE; fi
raylet=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$PPID/status" 2>/dev/null)
python=$(tr '\\0' '\\n' 2>/dev/null < "/proc/${{raylet:-none}}/cmdline" | sed -n \
  -e 's/^--python_worker_command="\\([^"]*\\)".*/\\1/p' \
  -e 's/^--python_worker_command=\\([^ ]*\\).*/\\1/p')
python=${{python:-python}}
missing=$("$python" -c 'import nas.cli' 2>&1) || {{
  echo "nas: $python, the Python of this cluster's Ray, can't run nas:" \
    "$(echo "$missing" | tail -n 1); install nas[ray] there, on every machine of the cluster." >&2
  exit 2
}}
exec "$python" -m nas.cli "$@"
"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
NOT_HERE = "the head is not on this machine"
Given = Mapping[str, Any]  # the options of `nas search` that are given, by their names in Python


@dataclass
class Packed:
    """The words of a search's command line, files beside it by their names, and warnings."""

    title: str
    words: list[str]
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def command(self) -> str:
        """The job's command; the script puts the store's URL into the environment."""
        return f"exec sh {SCRIPT} {shlex.join(self.words)}"


def pack(given: Given, *, here: bool) -> Packed:
    """Check a search and pack it for a cluster; `here` says that its head is on this machine.

    Raises UserError for what would fail there: a wrong option, a path that only this machine has.
    """
    from nas.search_space import load, spaces

    search = options.read(given)
    options.check(search)
    packed = Packed(search.study or Path(str(search.space)).stem, ["search"])
    sent = {name: value for name, value in given.items() if value is not None and name != "store"}
    space = load(str(search.space))
    if search.space not in spaces():
        sent["space"] = _file(packed, "space", json.dumps(space.to_json()))
    if search.latency_table is not None:
        text = _text("--latency-table", search.latency_table)
        sent["latency_table"] = _file(packed, "latency", text)
    if search.recipe is not None and search.recipe.endswith(".toml"):
        sent["recipe"] = _file(packed, "recipe", _text("--recipe", search.recipe), ".toml")
    if search.set:
        sent["set"] = search.set
    sent["data"] = _data(search.data, here, packed)
    if search.unlabelled is not None:
        sent["unlabelled"] = _seen("--unlabelled", search.unlabelled, here, packed)
    for name, source in (("start_from", search.start_from), ("teacher", search.teacher)):
        if source is not None and _is_path(source):
            flag = options.declared()[name].flag
            sent[name] = _seen(flag, source, here, packed)
    is_said = here or given.get("out") is not None
    sent["out"] = _folder("out", search.out if is_said else None, here)
    if search.checkpoints is not None:
        sent["checkpoints"] = _folder("checkpoints", search.checkpoints, here)
    packed.words += words_of(sent)
    return packed


def words_of(given: Given) -> list[str]:
    """Write options of `nas search` as its command line has them, in the order of their names."""
    words = []
    for name, value in sorted(given.items()):
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif options.declared()[name].repeats:
            words += [word for each in value for word in (f"--{option}", each)]
        else:
            text = ",".join(value) if isinstance(value, list | tuple) else str(value)
            words += [f"--{option}", text]
    return words


def _file(packed: Packed, kind: str, text: str, ending: str = ".json") -> str:
    """Add a file whose name follows from its content, and return the name."""
    name = f"{kind}-{_digest(text, 8)}{ending}"
    packed.files[name] = text
    return name


def _text(flag: str, path: str) -> str:
    try:
        return read_text(path)
    except UserError as error:
        raise UserError(f"{flag} can't be read: {error}") from None


def _data(given: str, here: bool, packed: Packed) -> str:
    """Return the data as the cluster's machines find them; raise DataError where they can't."""
    from nas.data import absent, is_name

    if is_name(given) or is_url(given):
        return given
    if here and not Path(given).exists():
        raise absent(given)
    return _seen("--data", given, here, packed, ", a URL, or a data set's name")


def _is_path(source: str) -> bool:
    """Tell weights that are a file or a folder from those of the store or of timm."""
    is_named = "/" in source or source.endswith(".safetensors") or Path(source).exists()
    return is_named and not source.startswith("timm:")


def _seen(flag: str, given: str, here: bool, packed: Packed, others: str = "") -> str:
    """Return a path as all machines of the cluster see it; raise DataError where they can't."""
    path = Path(given)
    if not here and not path.is_absolute():
        raise DataError(
            f"{flag} {given!r} is a path on this machine, and {NOT_HERE}: give a path that all of "
            f"the cluster's machines see, such as /shared/{path.name}{others}."
        )
    if not here:
        packed.warnings.append(f"{flag} {given} has to be there on every machine of the cluster")
    return str(path.absolute())


def _folder(option: str, given: str | None, here: bool) -> str:
    """Return a folder that outlives the job: its own folder is deleted with it."""
    if given is None:
        raise UserError(
            f"Checkpoints and the winner outlive a machine, and {NOT_HERE}: give --{option}, a "
            "folder that all of the cluster's machines see, such as /shared/studies."
        )
    if is_url(given):
        return given
    path = Path(given)
    if not here and not path.is_absolute():
        raise UserError(
            f"--{option} {given!r} is a folder of this machine, and {NOT_HERE}: give one that all "
            f"of the cluster's machines see, such as /shared/{path.name}."
        )
    return str(path.absolute())


def sent_store(
    own: str | None, recorded: str | None, *, on_cluster: bool, here: bool
) -> str | None:
    """Return the store's URL that travels with a job; None where the cluster has its own.

    It is the search's `own`, else the one where the job is `recorded`.
    """
    if on_cluster:
        if own is not None:
            raise StoreError("With --store-on-cluster the search has no --store of its own.")
        return None
    url = engines.parse(engines.resolve(own or recorded))
    path = engines.sqlite_file(url)
    if path is not None and not here:
        raise StoreError(
            f"{engines.masked(url)} is a file of this machine, and {NOT_HERE}: give the search a "
            "store that the cluster reaches, --store postgresql://user@host/database."
        )
    if path is not None:
        url = url.set(database=str(path.absolute()))
    elif not here and url.host in ("localhost", "127.0.0.1", "::1"):
        raise StoreError(
            f"{engines.masked(url)} is a server of this machine, and {NOT_HERE}: after -- give the "
            "search the --store that the cluster reaches, and before it the --store as seen here."
        )
    return url.render_as_string(hide_password=False)


def name_of(name: str | None, packed: Packed, sent: str | None) -> str:
    """Return a job's name: as given, or one that the same search has again."""
    if name is not None:
        if not NAME.fullmatch(name):
            raise ClusterError(
                f"--name is made of letters, digits, - and _, at most 100, not {name!r}."
            )
        return name
    where = ""
    if sent is not None:
        url = engines.parse(sent)
        query = {key: value for key, value in url.query.items() if "password" not in key}
        where = url.set(password=None, query=query).render_as_string()
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", packed.title)
    return f"nas-{plain[:40].strip('-')}-{_digest(json.dumps([where, packed.words]), 10)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
