"""One search on a table: Optuna's ask and tell in memory, looking up what would be trained.

A proposal that was evaluated before is told again and costs no evaluation. One that the table lacks
becomes the nearest row that was not evaluated, and the trial is stored with that row's choices.
With several workers as many evaluations are pending at a time, stored as running trials; which one
ends next is drawn, as if durations had no memory.
"""

import random
import time
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.trial import Trial

from benchmarks.search import contenders
from benchmarks.search.goal import Goal
from nas.samplers._lesson import Lesson

VERSION = 1  # of this file's rules: results of another one are not reused
PATIENCE = 200  # repeats in a row after which a sampler is called stuck
LONGEST = 10  # proposals per evaluation, at most


@dataclass(frozen=True)
class Run:
    """What a search did: `rows` in the order in which they were evaluated, each once."""

    rows: list[int]
    proposals: int
    repeats: int
    outside: int  # proposals that the table lacks
    seconds: float  # of the sampler's own work
    stuck: bool  # whether the search ended for its repeats


@dataclass
class _Search:
    """A search that goes on."""

    goal: Goal
    study: optuna.Study
    rng: random.Random
    rows: list[int] = field(default_factory=list)
    pending: dict[int, list[Trial]] = field(default_factory=dict)
    proposals: int = 0
    repeats: int = 0
    in_a_row: int = 0
    outside: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.taken = np.zeros(len(self.goal.table), bool)

    def propose(self) -> None:
        """Ask for one trial and begin, or end, its evaluation."""
        table = self.goal.table
        clock = time.perf_counter()
        trial = self.study.ask(dict(table.distributions))
        self.seconds += time.perf_counter() - clock
        self.proposals += 1
        codes = table.encode(trial.params)
        row = table.find(codes)
        if row is None:
            self.outside += 1
            row = table.nearest(codes, self.taken, self.rng)
            self._correct(trial, row)
        is_new = not self.taken[row]
        self.in_a_row = 0 if is_new else self.in_a_row + 1
        self.repeats += not is_new
        if is_new:
            self.taken[row] = True
            self.pending[row] = [trial]
        elif row in self.pending:
            self.pending[row].append(trial)
        else:
            self._tell(trial, row)

    def end_one(self) -> None:
        """End one of the pending evaluations."""
        row = self.rng.choice(list(self.pending))
        self.rows.append(row)
        for trial in self.pending.pop(row):
            self._tell(trial, row)

    def _tell(self, trial: Trial, row: int) -> None:
        clock = time.perf_counter()
        self.study.tell(trial, self.goal.told(row))
        self.seconds += time.perf_counter() - clock

    def _correct(self, trial: Trial, row: int) -> None:
        """Give a trial the choices of the row that it became."""
        for name, value in self.goal.table.assignment(row).items():
            if trial.params[name] != value:
                distribution = self.goal.table.distributions[name]
                internal = distribution.to_internal_repr(value)
                self.study._storage.set_trial_param(trial._trial_id, name, internal, distribution)


def run(
    goal: Goal,
    sampler: str,
    seed: int,
    evaluations: int,
    *,
    workers: int = 1,
    lesson: Lesson | None = None,
) -> Run:
    """Search until so many rows, or all, were evaluated, or nothing but repeats is proposed."""
    study = optuna.create_study(
        sampler=contenders.make(sampler, seed, goal, lesson), directions=goal.directions
    )
    search = _Search(goal, study, random.Random(f"table:{seed}"))
    limit = min(evaluations, len(goal.table))
    is_stuck = False
    while len(search.rows) < limit:
        started = len(search.rows) + len(search.pending)
        is_stuck = search.in_a_row >= PATIENCE or search.proposals >= LONGEST * evaluations
        if len(search.pending) < workers and started < limit and not is_stuck:
            search.propose()
        elif search.pending:
            search.end_one()
        else:
            break
    return Run(
        rows=search.rows,
        proposals=search.proposals,
        repeats=search.repeats,
        outside=search.outside,
        seconds=round(search.seconds, 4),
        stuck=is_stuck and len(search.rows) < limit,
    )
