"""Searches on a cluster: submit one, list the jobs, read their logs, stop them."""

import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.cluster.head import STOPPING, Ask, Head
from nas.cluster.package import RUN, SCRIPT, STORE_FILE, Given, Packed, name_of, pack, sent_store
from nas.errors import ClusterError, NoHead, StoreError
from nas.store import engine as engines
from nas.store import jobs as rows
from nas.store import queries
from nas.store.jobs import Job
from nas.store.store import Store

TICK = 1.0  # seconds between two looks at a job that is to stop


@dataclass(frozen=True)
class Submitted:
    """A job, and whether this call has begun it or found it."""

    job: Job
    begun: bool


def submit(
    search: Given,
    head: Head,
    *,
    name: str | None = None,
    store: str | None = None,
    store_on_cluster: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Submitted:
    """Run a search as a job of a cluster, unless this very search runs there or has ended well.

    `search` has the options of `nas search` by the names they have in Python. `store` is where the
    job is recorded, by default the search's own; a search without a store of its own has that one.
    With `store_on_cluster` no store is sent: the cluster's machines have NAS_STORE. One that
    failed, was stopped or was lost begins again as its next attempt, and goes on from the store.
    Raises UserError before anything is written.
    """
    here = head.is_here()
    packed = pack(search, here=here)
    sent = sent_store(search.get("store"), store, on_cluster=store_on_cluster, here=here)
    if sent is not None:
        packed.files[STORE_FILE] = sent
    name = name_of(name, packed, sent)
    for warning in packed.warnings:
        say(warning)
    with closing(Store.open(_own_store(store, sent))) as own:
        job, is_there = _next_attempt(own, head, name, packed, say)
        if is_there:
            return Submitted(job, begun=False)
        begun = _send(own, head, job, packed)
        return Submitted(_heard(own, job, head), begun)


def _own_store(store: str | None, sent: str | None) -> str:
    """Return where a job is recorded; with a store of the cluster's own this has to be said."""
    url = store or sent or os.environ.get("NAS_STORE")
    if not url:
        raise StoreError(
            "With --store-on-cluster, --store before -- (or NAS_STORE) says where the job is "
            "recorded: that same store as this machine reaches it."
        )
    return url


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
        job_id = name if attempt == 1 else f"{name}.{attempt}"
        rows.add(connection, job_id, head.address, packed.words)
        return rows.attempts(connection, name)[-1], False


def _send(own: Store, head: Head, job: Job, packed: Packed) -> bool:
    """Hand a recorded job over; return False if somebody else has done so at the same moment."""
    with TemporaryDirectory(prefix="nas-job-") as folder:
        # The package's name is a hash of its content: with salt nobody finds a password by it.
        beside = {SCRIPT: RUN, "salt": secrets.token_hex(16)}
        for file, text in {**packed.files, **beside}.items():
            path = Path(folder, file)
            path.touch(mode=0o600)  # Ray keeps the mode where it unpacks the folder
            path.write_text(text)
        try:
            return head.submit(job.id, packed.command, Path(folder))
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
        stored = rows.jobs(connection)
    if all(job.ended for job in stored):
        return [(job, job.state) for job in stored]
    with closing(Store.open(engines.resolve(store))) as own:
        return [_now(own, job, heads, head_of) for job in stored]


def _now(
    own: Store, job: Job, heads: dict[str, Head | ClusterError], head_of: Callable[[str], Head]
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
        stored = rows.jobs(connection)
    newest = sorted((job for job in stored if job.name == job_id), key=lambda job: job.attempt)
    if matching := newest or [job for job in stored if job.id == job_id]:
        return matching[-1]
    names = list(dict.fromkeys(job.name for job in stored))
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
    while time.monotonic() < deadline and (answer := head.look(job.id)) and not answer.ended:
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
    with closing(Store.open(engines.resolve(store))) as own:
        return _heard(own, job, head)


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
    answer = head.look(job.id)
    if answer is not None:
        return _store_state(own, job, answer.state, answer.message)
    if job.state == rows.SENDING:  # whoever was to submit it did not come so far
        return job
    return _store_state(own, job, rows.LOST, "its head does not know it any more")


def _store_state(own: Store, job: Job, state: str, message: str | None) -> Job:
    with own.write() as connection:
        if (state, message) != (job.state, job.message):
            rows.set_state(connection, job.id, state, message)
        return next(each for each in rows.attempts(connection, job.name) if each.id == job.id)


def follow_ups(job: Job, store_option: str) -> Iterable[str]:
    """Return the commands that go on from a submitted job."""
    yield f"nas jobs logs {job.name} --follow{store_option}"
    yield f"nas jobs stop {job.name}{store_option}"
    yield f"nas jobs list{store_option}"
