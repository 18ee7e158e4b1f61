"""The verbs that search: search and resume. Importing this module imports no torch."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands import studies
from nas.errors import NasError
from nas.store import queries
from nas.store.engine import resolve
from nas.study import options

if TYPE_CHECKING:
    from nas.search_space import SearchSpace
    from nas.store.store import Store
    from nas.study.preparation import Prepared
    from nas.study.progress import Watch
    from nas.study.winner import Best


@dataclass(frozen=True)
class Study:
    """A study that was searched: its counts of trials, and the best if one was completed."""

    name: str
    store: str = field(repr=False)  # it may have a password
    counts: queries.Counts
    winner: "Best | None"
    completed: bool

    @property
    def best(self) -> "Best":
        """The winner; raises NasError where the search was stopped, or no trial was completed."""
        if self.winner is None:
            why = "has no complete trial" if self.completed else "was stopped before its end"
            raise NasError(f"Study {self.name!r} {why}.")
        return self.winner

    def top(self, n: int = 5) -> list[queries.TrialInfo]:
        """Return the n best trials of different architectures."""
        return studies.top(self.name, store=self.store, n=n)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        best = self.winner.to_json() if self.winner else None
        found: dict[str, Any] = {"study": self.name, "best": best, "trials": vars(self.counts)}
        if self.winner and self.winner.front:
            found["front"] = [trial.summary() for trial in self.winner.front.trials]
        return found


@options.documented(options.declared(), by_position=3)
def search(
    space: "str | SearchSpace | None" = None,
    data: str | None = None,
    target_flops: str | float | None = None,
    *,
    say: Callable[[str], None] | None = None,
    watch: "Watch | None" = None,
    **given: Any,
) -> Study:
    """Search a space on a data set for the best network near a FLOPs or latency target.

    The same call goes on with a study that was interrupted. Raises UserError, before anything is
    written, for what can't be searched. `say` receives the pre-flight's lines, `watch` a snapshot
    every second. The options are those of the command line:
    """
    from nas.study.announcement import announce
    from nas.study.preparation import CACHE, open_study, prepare, taken_back

    asked = options.read({"space": space, "data": data, "target_flops": target_flops, **given})
    options.check(asked)
    with closing(asked.new_executor()) as executor:
        with taken_back(Path(asked.out, CACHE)):
            prepared = prepare(asked, executor=executor, say=say or _silent)
            store = open_study(prepared)
        for line in announce(prepared):
            (say or _silent)(line)
        return _run(prepared, store, watch or _silent)


@options.documented(options.resumable())
def resume(study: str, *, watch: "Watch | None" = None, **given: Any) -> Study:
    """Go on with a study as it was configured, with its own budget of trials and time or a new one.

    A time limit counts anew each time. `watch` receives a snapshot every second.
    """
    from nas.config import Config
    from nas.study.preparation import Prepared, open_study

    asked = options.read(given, options.resumable())
    url = resolve(asked.store)
    with queries.connect(url) as connection:
        info = queries.study(connection, study)
    config = Config.from_json(info.config)
    trials = asked.trials or info.config.get("trials")
    seconds = asked.time or info.config.get("seconds")
    budget = options.budget(trials, seconds)
    with closing(asked.new_executor()) as executor:
        prepared = Prepared(study, url, config, *budget, executor, 0.0, None, ())
        return _run(prepared, open_study(prepared), watch or _silent)


def _run(prepared: "Prepared", store: "Store", watch: "Watch") -> Study:
    """Run a study's workers, conclude it, close the store."""
    from nas.study.driver import Driver
    from nas.study.winner import conclude
    from nas.study.worker import WorkOrder

    deadline = None if prepared.seconds is None else time.time() + prepared.seconds
    order = WorkOrder(
        store=prepared.store,
        study=prepared.name,
        worker="",
        trials=prepared.trials,
        deadline=deadline,
        threads=prepared.executor.threads,
    )
    try:
        driver = Driver(order, prepared.config, prepared.executor, prepared.estimate, watch)
        completed = driver.run()
        winner = conclude(store, prepared.name) if completed else None
        with store.read() as connection:
            info = queries.study(connection, prepared.name)
            counts = queries.counts(connection, info.id)
    finally:
        store.close()
    return Study(prepared.name, prepared.store, counts, winner, completed)


def _silent(_: object) -> None:
    return
