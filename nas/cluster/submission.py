"""Searches on a cluster: submit one, list the jobs, read their logs, stop them.

A search is packed into a folder that travels with the job: the store's URL in a file that nobody
but the job's user may read, and a space of one's own as JSON. What the cluster shows of a job, its
command line above all, holds no store.
"""

import hashlib
import json
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import sqlalchemy as sa

from nas.cluster.head import STOPPING, Ask, Head
from nas.credentials import check_no_secret, is_url
from nas.errors import ClusterError, DataError, NoHead, StoreError, UserError
from nas.store import engine as engines
from nas.store import jobs as rows
from nas.store import queries
from nas.store.jobs import Job
from nas.store.store import Store

STORE_FILE = "store.url"  # in the job's folder; the job's environment has it as NAS_STORE
PYTHON = "python -m nas.cli"  # by the PATH that `ray start` had
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
TICK = 1.0  # seconds between two looks at a job that is to stop
NOT_HERE = "the head is not on this machine"
Search = Mapping[str, Any]


@dataclass(frozen=True)
class Submitted:
    """A job, and whether this call has begun it or found it."""

    job: Job
    begun: bool


@dataclass
class Packed:
    """A search as it travels: the words of its command line and files beside it."""

    words: list[str]
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def submit(
    search: Search,
    head: Head,
    *,
    name: str | None = None,
    store: str | None = None,
    store_on_cluster: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Submitted:
    """Run a search as a job of a cluster, unless this very search runs there or has ended well.

    `search` has the options of `nas search` by the names they have in Python. `store` is where the
    job is recorded, by default the search's own. With `store_on_cluster` no store is sent: the
    cluster's machines have NAS_STORE. One that failed, was stopped or was lost begins again as its
    next attempt, and goes on from the store. Raises UserError before anything is written.
    """
    here = head.is_here()
    sent = _sent_store(search, store_on_cluster, here)
    packed = pack(search, here=here)
    if sent is not None:
        packed.files[STORE_FILE] = sent
    name = _name(name, search, packed, sent)
    for warning in packed.warnings:
        say(warning)
    own = Store.open(_own_store(store, sent))
    try:
        job, known = _next_attempt(own, head, name, packed, say)
        if known:
            return Submitted(job, begun=False)
        begun = _send(own, head, job, packed)
        return Submitted(_heard(own, job, head), begun)
    finally:
        own.close()


def _own_store(store: str | None, sent: str | None) -> str:
    """Return where a job is recorded; with a store of the cluster's own this has to be said."""
    found = store or sent or os.environ.get("NAS_STORE")
    if not found:
        raise StoreError(
            "With --store-on-cluster, --store before -- (or NAS_STORE) says where the job is "
            "recorded: that same store as this machine reaches it."
        )
    return found


def _next_attempt(
    own: Store, head: Head, name: str, packed: Packed, say: Callable[[str], None]
) -> tuple[Job, bool]:
    """Return the attempt to begin, recorded, or the one that makes another needless."""
    with own.read() as connection:
        before = rows.attempts(connection, name)
    attempt = 1
    if before:
        last = before[-1]
        if list(last.words) != packed.words:
            raise ClusterError(
                f"Job {name!r} is another search: {shlex.join(last.words)}. "
                "Give this one another --name, or none."
            )
        last = _refreshed(own, last, head)
        if last.state == "succeeded" or not (last.ended or last.state == rows.SENDING):
            return last, True
        attempt = last.attempt if last.state == rows.SENDING else last.attempt + 1
        if last.ended:
            say(f"job {last.id} at {last.address} was {last.state}; it goes on as a new attempt")
    with own.write() as connection:
        rows.add(connection, rows.attempt_id(name, attempt), head.address, packed.words)
        return rows.attempts(connection, name)[-1], False


def _send(own: Store, head: Head, job: Job, packed: Packed) -> bool:
    """Hand a recorded job over; return False if somebody else has done so at the same moment."""
    command = f"exec {PYTHON} {shlex.join(packed.words)}"
    if STORE_FILE in packed.files:
        command = f'NAS_STORE="$(cat {STORE_FILE})" && export NAS_STORE && {command}'
    with TemporaryDirectory(prefix="nas-job-") as folder:
        # The package's name is a hash of its content: with salt nobody finds a password by it.
        for file, text in {**packed.files, "salt": secrets.token_hex(16)}.items():
            path = Path(folder, file)
            path.touch(mode=0o600)  # Ray keeps the mode where it unpacks the folder
            path.write_text(text)
        try:
            return head.submit(job.id, command, Path(folder))
        except ClusterError as error:
            with own.write() as connection:
                rows.set_state(connection, job.id, "failed", str(error))
            raise


def jobs(
    head_of: Callable[[str], Head] = Head.connect, *, store: str | None = None
) -> list[tuple[Job, str]]:
    """Return all jobs that the store knows with what is known of each now, the oldest first.

    That is the state its head gives, `lost` where the head knows it no more, `unreachable` where no
    head answers and `refused` where one does not take the token: then the job's own state is the
    last that was heard.
    """
    heads: dict[str, Head | ClusterError] = {}
    with queries.connect(engines.resolve(store)) as connection:
        known = rows.jobs(connection)
    if all(job.ended for job in known):
        return [(job, job.state) for job in known]
    own = Store.open(engines.resolve(store))
    try:
        return [_now(own, job, heads, head_of) for job in known]
    finally:
        own.close()


def _now(
    own: Store,
    job: Job,
    heads: dict[str, Head | ClusterError],
    head_of: Callable[[str], Head],
) -> tuple[Job, str]:
    if job.ended:
        return job, job.state
    if job.address not in heads:
        try:
            heads[job.address] = head_of(job.address)
        except ClusterError as error:
            heads[job.address] = error
    head = heads[job.address]
    if isinstance(head, ClusterError):
        return job, "unreachable" if isinstance(head, NoHead) else "refused"
    heard = _heard(own, job, head)
    return heard, heard.state


def find(job_id: str, *, store: str | None = None) -> Job:
    """Return an attempt by its id, or the newest of a job; ClusterError with the ids there are."""
    with queries.connect(engines.resolve(store)) as connection:
        known = rows.jobs(connection)
    exact = [job for job in known if job.id == job_id]
    newest = sorted((job for job in known if job.name == job_id), key=lambda job: job.attempt)
    if newest or exact:
        return (newest or exact)[-1]
    names = list(dict.fromkeys(job.name for job in known))
    listed = f"it has {', '.join(names)}" if names else "nas submit makes one"
    raise ClusterError(f"The store has no job {job_id!r}: {listed}.")


def logs(job: Job, ask: Ask = lambda _: None) -> str:
    """Return what a job has printed; ClusterError when its head is gone, and its logs with it."""
    return _head_of(job, ask).logs(job.id)


def follow(
    job: Job,
    write: Callable[[str], None],
    ask: Ask = lambda _: None,
    *,
    store: str | None = None,
) -> Job:
    """Write what a job prints until it ends, and return it as it ended."""
    head = _head_of(job, ask)
    head.follow(job.id, write)
    return _record(job, head, store)


def stop(job: Job, ask: Ask = lambda _: None, *, store: str | None = None) -> Job:
    """End a job as Ctrl-C does and wait for its end: its trials are left to whoever goes on."""
    if job.ended:
        return job
    head = _head_of(job, ask)
    head.stop(job.id)
    deadline = time.monotonic() + STOPPING + 10
    while time.monotonic() < deadline and (seen := head.look(job.id)) and not seen.ended:
        time.sleep(TICK)
    return _record(job, head, store)


def _head_of(job: Job, ask: Ask) -> Head:
    """Return the head that runs a job; ClusterError if there is none, or another one."""
    again = "" if job.state == "succeeded" else " The same nas submit goes on."
    gone = (
        f"The head at {job.address} that ran job {job.id!r} is gone, and the job's log with it. "
        f"What the search found is in the store: nas status.{again}"
    )
    try:
        head = Head.connect(job.address, ask)
    except NoHead:
        raise ClusterError(gone) from None
    if head.look(job.id) is None:
        raise ClusterError(gone)
    return head


def _record(job: Job, head: Head, store: str | None) -> Job:
    own = Store.open(engines.resolve(store))
    try:
        return _heard(own, job, head)
    finally:
        own.close()


def _refreshed(own: Store, job: Job, head: Head) -> Job:
    """Return a job with the state of now: that of its head, or lost where that head is gone."""
    if job.ended:
        return job
    if job.address == head.address:
        return _heard(own, job, head)
    try:
        return _heard(own, job, Head.connect(job.address))
    except NoHead:  # the cluster it is to go on with is the one that answers
        return _store_state(own, job, rows.LOST, "its head does not answer")


def _heard(own: Store, job: Job, head: Head) -> Job:
    """Ask a head of a job and record what it says."""
    seen = head.look(job.id)
    if seen is not None:
        return _store_state(own, job, seen.state, seen.message)
    if job.state == rows.SENDING:  # whoever was to submit it did not come so far
        return job
    return _store_state(own, job, rows.LOST, "its head does not know it any more")


def _store_state(own: Store, job: Job, state: str, message: str | None) -> Job:
    with own.write() as connection:
        if (state, message) != (job.state, job.message):
            rows.set_state(connection, job.id, state, message)
        return next(one for one in rows.attempts(connection, job.name) if one.id == job.id)


def pack(search: Search, *, here: bool) -> Packed:
    """Check a search and pack it for a cluster; `here` says that its head is on this machine.

    Raises UserError for what would fail there: a wrong option, a path that only this machine has.
    """
    from nas.search_space import load, spaces

    options = {name: value for name, value in search.items() if value is not None}
    options.pop("store", None)
    packed = Packed([])
    space = load(options.get("space", "mixconv"))
    _check_values(search)
    if options.get("space", "mixconv") not in spaces():
        text = json.dumps(space.to_json())
        file = f"space-{_digest(text, 8)}.json"
        packed.files[file], options["space"] = text, file
    if (table := options.get("latency_table")) is not None:
        text = _read(str(table))
        file = f"latency-{_digest(text, 8)}.json"
        packed.files[file], options["latency_table"] = text, file
    options["data"] = _data(str(options.get("data", "digits")), here, packed)
    options["out"] = _folder("out", options.get("out", "studies" if here else None), here)
    if "checkpoints" in options:
        options["checkpoints"] = _folder("checkpoints", options["checkpoints"], here)
    packed.words += ["search", *words_of(options)]
    return packed


def words_of(options: Search) -> list[str]:
    """Write options of `nas search` as its command line has them, in the order of their names."""
    words = []
    for name, value in sorted(options.items()):
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _check_values(search: Search) -> None:
    """Refuse here what `nas search` would refuse there before it looks at the data."""
    from nas import executors
    from nas.study import preparation

    options = cast(preparation.SearchOptions, search)
    executors.get(options)  # connects to nothing yet
    preparation.read_objective(search.get("target_flops"), options)
    preparation.read_how(options)
    preparation.read_limits(search.get("max_flops"), search.get("max_params"))
    preparation.read_budget(search.get("trials"), search.get("time"))


def _data(given: str, here: bool, packed: Packed) -> str:
    from nas.data import names, remote

    if is_url(given):
        remote.check(given)
    if given in names() or is_url(given):
        return given
    path = Path(given).expanduser()
    if here and not path.exists():
        raise DataError(f"No such file or folder: {given}. Data sets with a name: {names()[0]}.")
    if not here and not path.is_absolute():
        raise DataError(
            f"--data {given!r} is a path on this machine, and {NOT_HERE}: give a path that all of "
            f"the cluster's machines see, such as /shared/{path.name}, a URL, or a data set's name."
        )
    if not here:
        packed.warnings.append(f"--data {given} has to be there on every machine of the cluster")
    return str(path.absolute())


def _folder(option: str, given: str | None, here: bool) -> str:
    """Return a folder that outlives the job: its own folder is deleted with it."""
    if given is None:
        raise UserError(
            f"Checkpoints and the winner outlive a machine, and {NOT_HERE}: give --{option}, a "
            "folder that all of the cluster's machines see, such as /shared/studies."
        )
    if is_url(given):
        check_no_secret(given, f"--{option}")
        return given
    path = Path(given).expanduser()
    if not here and not path.is_absolute():
        raise UserError(
            f"--{option} {given!r} is a folder of this machine, and {NOT_HERE}: give one that all "
            f"of the cluster's machines see, such as /shared/{path.name}."
        )
    return str(path.absolute())


def _sent_store(search: Search, on_cluster: bool, here: bool) -> str | None:
    """Return the store's URL that travels with a job; None where the cluster has its own."""
    given = search.get("store")
    if on_cluster:
        if given is not None:
            raise StoreError("With --store-on-cluster the search has no --store of its own.")
        return None
    url = engines.parse(engines.resolve(given))
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


def _name(name: str | None, search: Search, packed: Packed, sent: str | None) -> str:
    """Return a job's name: as given, or one that the same search has again."""
    if name is not None:
        if not NAME.fullmatch(name):
            raise ClusterError(
                f"--name is made of letters, digits, - and _, at most 100, not {name!r}."
            )
        return name
    known = "" if sent is None else _without_password(engines.parse(sent))
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", str(search.get("study") or _space_name(search)))
    return f"nas-{plain[:40].strip('-')}-{_digest(json.dumps([known, packed.words]), 10)}"


def _space_name(search: Search) -> str:
    return Path(str(search.get("space", "mixconv"))).stem


def _without_password(url: sa.URL) -> str:
    shown = {key: value for key, value in url.query.items() if "password" not in key}
    return url.set(password=None, query=shown).render_as_string()


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--latency-table {path} can't be read: {error}.") from None


def follow_ups(job: Job, store_option: str) -> Iterable[str]:
    """Return the commands that go on from a submitted job."""
    yield f"nas jobs logs {job.name} --follow{store_option}"
    yield f"nas jobs stop {job.name}{store_option}"
    yield f"nas jobs list{store_option}"
