"""Which latency table a search scores by: the given one, the study's own, or a new one."""

import math
from collections.abc import Callable

import sqlalchemy as sa

from nas import quantities
from nas.errors import StoreError, UserError
from nas.latency import learn
from nas.latency.measure import setting
from nas.latency.table import LatencyTable, read
from nas.objective import Objective, latency_objective, objective
from nas.search_space.preflight import Subject
from nas.store import queries

TABLE_SECONDS = 60.0  # to measure in, where a search makes its table itself
TABLE = "latency.json"  # a copy of it for people, in the study's folder
Say = Callable[[str], None]


def given_table(path: str, say: Say) -> LatencyTable:
    """Read a table's file and say what it is."""
    table = read(path)
    say(f"latency table {path}, of space {table.space}: {table.describe()}")
    return table


def stored_table(url: str, name: str) -> LatencyTable | None:
    """Return the table of a study that exists, so that it always scores by the same; else None.

    Raises StoreError where the study of that name is not about latency.
    """
    try:
        with queries.connect(url) as connection:
            alive = set(connection.execute(sa.text("SELECT study_name FROM studies")).scalars())
            studies = {study.name: study for study in queries.studies(connection)}
            found = studies.get(name) if name in alive else None  # Optuna may have deleted it
    except StoreError:  # no store yet; one that can't be opened is told when it is written to
        return None
    if found is None:
        return None
    if found.latency is None:
        raise StoreError(
            f"Study {name!r} exists with another objective, not on latency. Give this search"
            " another --study name."
        )
    return LatencyTable.from_json(found.latency)


def new_table(
    subject: Subject, goal: Objective, batch: int | None, seconds: float | None, seed: int, say: Say
) -> LatencyTable:
    """Make a table for a study that begins."""
    how = setting(1 if batch is None else batch)
    limit = TABLE_SECONDS if seconds is None else seconds
    say(f"latency: making a table first, for about {quantities.duration(limit)}")
    table = learn.make(subject, how, goal=goal, seconds=limit, seed=seed, say=say)
    say(f"latency table: {table.describe()}")
    return table


def check_seconds(option: str, seconds: float) -> float:
    """Refuse a time to measure in that is not a number of seconds of at least 1."""
    if not 1 <= seconds < math.inf:
        raise UserError(f"{option} is a number of seconds of at least 1, not {seconds:g}.")
    return float(seconds)


def table_goal(
    target_flops: str | float | None, target_latency: str | float | None
) -> Objective | None:
    """Read near which target a table is made; None without one."""
    if target_flops is not None and target_latency is not None:
        raise UserError("--target-flops and --target-latency each say where; give one of them.")
    if target_latency is not None:
        return latency_objective(quantities.milliseconds(target_latency, "--target-latency"), None)
    if target_flops is not None:
        return objective(quantities.count(target_flops, "--target-flops"))
    return None
