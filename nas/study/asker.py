"""Ask: which trial a worker evaluates next.

In this order: adopt the trial of a dead worker, promote an architecture to its next rung, propose a
new architecture. A proposal that was evaluated before is told at once, and the next one is made.
All follows from the study's configuration and its trials, so that any worker can ask at any time.
"""

import math
import time
from collections.abc import Callable, Collection
from functools import partial

import optuna

from nas import samplers
from nas.config import Config
from nas.data import DataSet
from nas.observers import Observers
from nas.pruners.ladder import RungTrial
from nas.store import queries
from nas.store.engine import patient
from nas.store.queries import Climb, Known
from nas.store.records import Proposal, Started
from nas.store.trials import Trials
from nas.study.inheritance import Inheritance
from nas.study.proposer import PATIENCE, NothingNew, Pair, Proposer

EXPECTED = ("predicted_", "learnt_")  # attributes of a trial that its promotion has too
WAIT = 0.5  # seconds between two looks at the trials of others
LATE = 1.5  # trainings that fit into the time left: nothing new is begun, the best go to the top


class Asker:
    """Asks for one worker of one study.

    `images` loads the data when a proxy first needs it. `budget` is the number of trials that the
    study may begin (None: no limit), `deadline` its end by the monotonic clock.
    """

    def __init__(
        self,
        config: Config,
        trials: Trials,
        study: optuna.Study,
        images: Callable[[], DataSet],
        observers: Observers,
        should_stop: Callable[[], bool],
        *,
        budget: int | None = None,
        deadline: float = math.inf,
    ) -> None:
        self.config, self.trials = config, trials
        self.observers, self.should_stop = observers, should_stop
        self.budget, self.deadline = budget, deadline
        self.schedule = config.schedule
        self._climb = Climb(trials.info.id)
        self.proposer = Proposer(
            config,
            study,
            images=images,
            elsewhere=self._elsewhere,
            recipes=partial(trials.read, queries.recipes),
            tried=partial(trials.read, queries.tried, trials.info.id),
            fidelity=self._first_fidelity,
            inheritance=Inheritance(config, trials) if config.inherit else None,
        )

    @patient
    def next(self) -> Started | None:
        """Return a started trial; None where there is nothing to evaluate (for now)."""
        late = self._is_late()
        return (
            self.trials.adopt()
            or self._promote(closing=late)
            or (None if late else self.begin())
            or self._promote(closing=True)
        )

    def others_run(self) -> bool:
        """Tell whether trials still run; those that another study has finished are told first."""
        if self.trials.read(queries.ended_elsewhere, self.trials.info.id):
            self.trials.repair()
        return bool(self.trials.read(queries.running, self.trials.info.id))

    def rung_trials(self) -> list[RungTrial]:
        """Return each architecture of the study at each of its fidelities."""
        return self.trials.read(self._climb.read)

    def _is_late(self) -> bool:
        """Tell whether the time left is only enough for a training or so."""
        if self.deadline == math.inf or len(self.schedule.rungs) == 1:
            return False
        epoch = self.trials.read(queries.epoch_seconds, self.trials.info.id)
        return self.deadline - time.monotonic() < LATE * epoch * self.config.recipe.epochs

    def _promote(self, *, closing: bool) -> Started | None:
        """Go on with the best architecture of a rung; None where none may go on (for now)."""
        busy: set[Pair] = set()  # another study trains them
        while len(self.schedule.rungs) > 1 and not self.should_stop():
            free = [each for each in self.rung_trials() if each.key not in busy]
            promotion = self.schedule.promotion(free, closing=closing)
            if promotion is None:
                return None
            started = self.trials.start(self._promotion(*promotion))
            self._tell_reused(started)
            if started.outcome == "run":
                return started
            if started.outcome == "elsewhere":
                busy.add(promotion[0].key)
        return None

    def _promotion(self, lower: RungTrial, epochs: int) -> Proposal:
        """Return the proposal that goes on with an architecture up to a higher rung."""
        evaluation = self.trials.read(queries.evaluation, lower.evaluation_id)
        trial = self.trials.shown(lower.number)
        expected = {k: v for k, v in trial.user_attrs.items() if k.startswith(EXPECTED)}
        return Proposal(
            architecture_id=evaluation.architecture_id,
            architecture=evaluation.architecture,
            notation=evaluation.notation,
            cost=evaluation.cost,
            recipe_hash=evaluation.recipe_hash,
            recipe_values=self.config.space.recipe_values(trial.params),
            fidelity=epochs,
            params=trial.params,
            distributions=trial.distributions,
            prediction=expected,
            latency_ms=self.config.predicted_ms(evaluation.architecture),
            promoted_from=lower.number,
        )

    def begin(self) -> Started | None:
        """Propose until there is something to evaluate; None when there is nothing (for now)."""
        repeats = 0  # proposals in a row that this study has seen, or that others train now
        while not self.should_stop():
            number = self.trials.read(queries.number_within, self.trials.info.id, self.budget)
            if number is None:
                return None
            propose = partial(self.proposer.propose, repeats=repeats)
            try:
                started = self.trials.start(
                    propose(number),
                    budget=self.budget,
                    by_number=None if samplers.learns(self.config.sampler) else propose,
                )
            except NothingNew:
                return None
            self._tell_reused(started)
            if started.outcome == "run":
                return started
            evaluation = started.evaluation
            if evaluation is None:  # the budget is spent
                return None
            is_new = False  # whether a reused trial brought an architecture that this study had not
            if started.outcome != "elsewhere":
                hashes = evaluation.architecture_id, evaluation.recipe_hash
                pair = self.proposer.pair_of(*hashes)
                is_new = self.proposer.known()[pair] == 1
            elif repeats >= PATIENCE:
                time.sleep(WAIT)
            repeats = 0 if is_new else repeats + 1
        return None

    def _elsewhere(self, recipe_hashes: Collection[str]) -> list[Known]:
        """Return other studies' whole trainings under these recipes."""
        epochs, study_id = self.config.recipe.epochs, self.trials.info.id
        return self.trials.read(queries.known, recipe_hashes, epochs, study_id)

    def _first_fidelity(self, pair: Pair) -> int:
        """Return an architecture's epochs at first: its bracket's, or what is stored already.

        The architecture of a trial goes on, under its recipe, by a promotion only.
        """
        rungs = self.schedule.rungs
        if len(rungs) == 1:
            return rungs[0]
        rung_trials = self.rung_trials()
        own = [each for each in rung_trials if each.key == pair]
        if own:
            return max((each.fidelity for each in own if each.ended), default=own[0].fidelity)
        trained = self.trials.read(queries.trained, *pair)
        reached = [epochs for epochs, _ in trained if epochs in rungs]
        return max([self.schedule.base(rung_trials), *reached])

    def _tell_reused(self, started: Started) -> None:
        if started.outcome in ("complete", "pruned", "failed"):
            self.observers.tell("reused", started)
