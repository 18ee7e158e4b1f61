"""The latency table that a search scores by: the given one, the study's own, or a new one."""

from collections.abc import Callable

from nas import quantities
from nas.errors import StoreError, UserError
from nas.latency import learn
from nas.latency.setting import setting
from nas.latency.table import LatencyTable, read
from nas.search_space.preflight import Subject
from nas.store import queries
from nas.study.options import SearchOptions

TABLE_SECONDS = 60.0  # to measure in, where a search makes its table itself
TABLE = "latency.json"  # a copy of it for people, in the study's folder
Say = Callable[[str], None]


def table_for(
    subject: Subject, options: SearchOptions, *, url: str, name: str, say: Say
) -> LatencyTable:
    """Return the table of a search for the study of this name in the store at `url`.

    Raises StoreError where that study is not about latency, UserError where its table was measured
    in another way than the options say.
    """
    if options.latency_table is not None:
        table = read(options.latency_table)
        say(f"latency table {options.latency_table}, of space {table.space}: {table.describe()}")
        return table
    stored = _stored_table(url, name)
    if stored is None:
        backend, host = options.latency_backend, options.latency_host
        how = setting(options.latency_batch or 1, backend=backend, host=host)
        seconds = options.latency_seconds or TABLE_SECONDS
        say(f"latency: making a table first, for about {quantities.duration(seconds)}")
        goal, seed = options.goal, options.seed
        table = learn.make(subject, how, goal=goal, seconds=seconds, seed=seed, say=say)
        say(f"latency table: {table.describe()}")
        return table
    _check_same(stored, options, name)
    return stored


def _check_same(stored: LatencyTable, options: SearchOptions, name: str) -> None:
    """Refuse to go on with a table that was measured in another way than the options say."""
    was = stored.setting
    for flag, given, kept in (
        ("--latency-batch", options.latency_batch, was.batch_size),
        ("--latency-backend", options.latency_backend, was.backend),
        ("--latency-host", options.latency_host, was.host or "this machine"),
    ):
        if given not in (None, kept):
            raise UserError(
                f"Study {name!r} has a latency table of {flag[2:].replace('-', ' ')} {kept}, not "
                f"{given}: leave {flag} out, or give another --study name."
            )


def _stored_table(url: str, name: str) -> LatencyTable | None:
    """Return the table of a study that exists, so that it always scores by the same; else None."""
    if (study := queries.find_study(url, name)) is None:
        return None
    if study.latency is None:
        raise StoreError(
            f"Study {name!r} exists with another objective, not on latency. Give this search"
            " another --study name."
        )
    return LatencyTable.from_json(study.latency)
