"""The verbs that search: search and resume. Importing this module imports no torch."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands._options import silent
from nas.commands.studies import reading, study_of, top
from nas.errors import Interrupted, NasError, NotStored, UserError
from nas.files import held
from nas.report import tables
from nas.study import options

if TYPE_CHECKING:
    from nas.commands._values import Several
    from nas.search_space import SearchSpace
    from nas.store.queries import Counts, StudyInfo, TrialInfo
    from nas.store.records import GuardWarning
    from nas.store.store import Store
    from nas.study.outcome import Outcome
    from nas.study.preparation import Prepared
    from nas.study.progress import Watch
    from nas.study.winner import Best
    from nas.training.sources import Source

log = logging.getLogger("nas")


@dataclass(frozen=True)
class Study:
    """A study that was searched: its counts of trials, and the best if one was completed.

    `failures` counts the trials that failed, by their reasons; `warnings` are its guards'.
    """

    name: str
    store: str = field(repr=False)  # it may have a password
    counts: "Counts"
    winner: "Outcome | None"
    completed: bool
    failures: Mapping[str, int] = field(default_factory=dict)
    warnings: "Sequence[GuardWarning]" = ()

    @property
    def best(self) -> "Best":
        """The winner; raises NasError where the search was stopped, or no trial was completed."""
        from nas.study.winner import Best

        if not isinstance(self.winner, Best):
            why = "has no complete trial" if self.completed else "was stopped before its end"
            raise NasError(f"Study {self.name!r} {why}.")
        return self.winner

    def top(self, n: int = 5) -> "Several[TrialInfo]":
        """Return the n best trials of different architectures."""
        return top(self.name, store=self.store, n=n)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        best = self.winner.to_json() if self.winner else None
        result: dict[str, Any] = {"study": self.name, "best": best, "trials": vars(self.counts)}
        result |= self.winner.beside() if self.winner else {}
        return result | {"warnings": [warning.to_json() for warning in self.warnings]}

    @property
    def failure(self) -> NasError | None:
        """Why there is no winner: the search was stopped, or no trial was completed."""
        if not self.completed:
            from nas.study.progress import counts_line

            return Interrupted(
                f"stopped; {counts_line(self.counts)} kept. The same command, or "
                f"nas resume --study {self.name}, goes on."
            )
        if self.winner is None:
            reasons = (f"{count} failed: {reason}" for reason, count in self.failures.items())
            why = "; ".join(reasons) or "Give it more time."
            return NasError(f"no trial was completed. {why}")
        return None

    def lines(self) -> tables.Lines:
        """Say what the winner is worth, show the five best, and where the code lies."""
        if self.winner is None:
            return
        from nas.study.progress import counts_line

        yield f"trials: {counts_line(self.counts)}"
        yield from self.top(5).lines()
        yield from self.winner.lines()
        yield from map(tables.Remark, self.warnings)
        yield from self.winner.files()


def found(study: str | None = None, *, store: str | None = None) -> Study:
    """Return what a study has found so far: its best network with its finalists.

    Raises NotStored where no trial is complete.
    """
    from nas.store import queries
    from nas.store.engine import resolve
    from nas.study.outcome import outcome

    with reading(url := resolve(store)) as connection:
        info = study_of(connection, study)
        if (winner := outcome(connection, info)) is None:
            raise NotStored(f"Study {info.name!r} has no complete trial yet.")
        counts = queries.counts(connection, info.id)
        warnings = queries.warnings(connection, info.id)
    return Study(info.name, url, counts, winner, True, warnings=warnings)


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
    asked = options.read({"space": space, "data": data, "target_flops": target_flops, **given})
    options.check(asked)  # before the slow imports: nobody waits for a refusal
    options.check_sources(asked)
    from nas.study.announcement import announce, first_warnings
    from nas.study.preparation import open_study, prepare, taken_back

    with closing(asked.new_executor()) as executor:
        with taken_back(asked.out):
            prepared = prepare(asked, executor=executor, say=say or silent)
            store = open_study(prepared)
        for line in [*announce(prepared), *first_warnings(prepared, store)]:
            (say or silent)(line)
        return run(prepared, store, watch or silent)


@options.documented(options.resumable())
def resume(study: str, *, watch: "Watch | None" = None, **given: Any) -> Study:
    """Go on with a study as it was configured, with its own budget of trials and time or a new one.

    A time limit counts anew each time. `watch` receives a snapshot every second.
    """
    asked = options.read(given, options.resumable())
    options.check_finalists(asked)
    from nas.config import Config, Finals
    from nas.store.engine import patient, resolve
    from nas.study.finalists import finals_of
    from nas.study.options import FINAL_SEEDS
    from nas.study.preparation import Prepared, final_times, open_study
    from nas.training.recipes import lengthened

    url = resolve(asked.store)
    info, estimate = patient(_study)(url, study)
    if info.search is not None:
        raise UserError(f"{study} has the finalists of {info.search}: resume that study.")
    if info.is_given and (asked.finalists or asked.final_seeds):
        raise UserError(f"{study} is of nas train, whose networks have no finalists.")
    config = Config.from_json(info.config)
    trials = asked.trials or info.trials
    seconds = asked.time or info.seconds
    budget = options.budget(trials, seconds)
    with closing(asked.new_executor()) as executor:
        none = Finals(0, FINAL_SEEDS, lengthened(config.recipe))  # a study stays as it was begun
        finals = finals_of(asked, none.recipe, config.finals or none)
        config = replace(config, finals=finals, track=asked.track or config.track)
        times = 1.0
        if finals is not None and budget[1] is not None:  # it is planned how many fit
            splits = config.load_data().splits
            times = final_times(config, {name: len(split) for name, split in splits.items()})
        prepared = Prepared(
            study, url, config, *budget, executor, estimate, None, (), final_times=times
        )
        return run(prepared, open_study(prepared), watch or silent)


def _study(url: str, name: str) -> "tuple[StudyInfo, float]":
    """Return a study, and the mean seconds of its complete trials; 0 without one."""
    from nas.store import queries

    with reading(url) as connection:
        info = queries.study(connection, name)
        trials = queries.trials(connection, info.id)
    seconds = [each.seconds for each in trials if each.state == "complete" and each.seconds]
    return info, statistics.fmean(seconds) if seconds else 0.0


def run(prepared: "Prepared", store: "Store", watch: "Watch", *, hand_over: bool = True) -> Study:
    """Run a study's workers, then its finalists', conclude it, close the store.

    One that does not `hand_over` its winner does not look at the test split.
    """
    from nas.store import queries
    from nas.study.finalists import once_more
    from nas.study.preparation import open_study

    deadline = None if prepared.seconds is None else time.monotonic() + prepared.seconds
    searching = None if deadline is None else deadline - prepared.reserved

    def until() -> float | None:
        return None if deadline is None else deadline - once_more(store, prepared.name)

    try:
        completed = _drive(prepared, searching, watch)
        finals = _finals(prepared, store, until()) if completed else None
        if completed and finals is None and searching != deadline:
            completed = _drive(prepared, until(), watch)  # no finalist can need the time kept
        planned: int | None = 0
        while completed and finals is not None and finals.trials != planned:
            planned = finals.trials
            open_study(finals).close()
            completed = _drive(finals, until(), watch)
            # Without a limit all were planned at once; within it further ones may fit.
            finals = None if deadline is None else _finals(prepared, store, until())
        winner = _conclude(prepared, store) if completed and hand_over else None
        with store.read() as connection:
            info = queries.study(connection, prepared.name)
            counts = queries.counts(connection, info.id)
            failures = queries.failures(connection, info.id)
            warnings = queries.warnings(connection, info.id)
    finally:
        store.close()
    return Study(prepared.name, prepared.store, counts, winner, completed, failures, warnings)


def _conclude(prepared: "Prepared", store: "Store") -> "Best | None":
    """Write the winner's files; of several drivers that end together one looks at the test split.

    The others wait for it, and read what it saw.
    """
    from filelock import FileLock

    from nas.store.engine import patient
    from nas.study.overview import write_report
    from nas.study.winner import conclude

    path = Path(prepared.config.folder, "logs", "end.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(FileLock(path), lambda: log.warning("waiting for another driver's end")):
        winner = patient(conclude)(store, prepared.name)
        if winner is not None:
            write_report(store, prepared.name)
        return winner


def _drive(prepared: "Prepared", deadline: float | None, watch: "Watch") -> bool:
    """Run a study's workers while there is time; return False where a person stopped them."""
    if deadline is not None and time.monotonic() >= deadline:
        return True
    from nas.study.driver import Driver
    from nas.study.worker import WorkOrder

    order = WorkOrder(
        store=prepared.store,
        study=prepared.name,
        worker="",
        trials=prepared.trials,
        threads=prepared.executor.threads,
    )
    parts = prepared.config, prepared.executor, prepared.estimate, watch
    return Driver(order, *parts, deadline=deadline).run()


def _finals(prepared: "Prepared", store: "Store", deadline: float | None) -> "Prepared | None":
    """Return the study of finalists, as large as the time left allows; None where none can end."""
    from nas.study.finalists import FinalsPace, affordable, final_config, pace, trainings_in_all

    if (finals := prepared.config.finals) is None:
        return None
    config = final_config(store, prepared.name, prepared.config, finals)
    if config is None:
        return None
    measured = pace(store, prepared.name, config, prepared.final_times)
    own = measured or FinalsPace(0, prepared.final_estimate)
    if deadline is not None and own.seconds:
        left = max(0.0, deadline - time.monotonic())
        if measured and not own.done and own.seconds > left:
            return None  # it would be cut off
        turns = int(left / own.seconds)
        finals = affordable(finals, own.done + turns * prepared.executor.workers)
        few = config.finalists[: finals.networks]
        config = replace(config, finalists=few, seeds=finals.seeds)
    name = prepared.name + options.SUFFIX
    sources: tuple[Source, ...] = ()
    if config.recipe.sources:
        from nas.training.sources import kept

        root = prepared.config.checkpoint_root
        sources = tuple(kept(root, digest) for digest in config.recipe.sources)
    return replace(
        prepared,
        name=name,
        config=config,
        sources=sources,
        trials=trainings_in_all(store, name, config),
        estimate=own.seconds,
    )
