"""A study's trials as workers write them: start, report, finish, adopt, repair.

Each step is one transaction, fenced by the lease's attempt number, that writes our rows and shows
the same to Optuna: a crash leaves both or neither. While the database is away it is tried again.
"""

import math
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any, Literal, TypeVar, cast

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from nas.credentials import hidden
from nas.store import leases, queries
from nas.store.dialects import finite, finite_number, upsert
from nas.store.engine import patient
from nas.store.leases import Claimant
from nas.store.optuna_storage import lock_study, reported
from nas.store.records import CurvePoint, Evaluation, Lease, Metrics, Proposal, Score, Started
from nas.store.schema import CURVE_POINTS, TRIALS, utc_now
from nas.store.store import Store, forget_deleted

T = TypeVar("T")
LEASE_SECONDS = 60.0
Final = Literal["complete", "pruned", "failed"]
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


class Trials:
    """The trials of one study in one store, as one worker sees them.

    `score` turns an evaluation's metrics and its architecture into the study's value.
    A training that ends at a fidelity below `full` is not a final result; Optuna sees it as pruned.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        *,
        score: Score,
        worker: str,
        lease_seconds: float = LEASE_SECONDS,
        full: int = 0,
    ) -> None:
        self.store = store
        self.score = score
        self.full = full
        with store.read() as connection:
            self.info = queries.study(connection, study)
        self.worker = Claimant(worker, self.info.id, lease_seconds)

    def optuna_study(
        self,
        sampler: optuna.samplers.BaseSampler | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> optuna.Study:
        """Return Optuna's study, which reads each finished trial from the database once."""
        name, storage = self.info.name, self.store.storage
        with reported(self.store.url, "read"):
            return optuna.load_study(
                study_name=name, storage=storage, sampler=sampler, pruner=pruner
            )

    @patient
    def read(self, query: Callable[..., T], *arguments: Any) -> T:
        """Run a query, again while the database is away."""
        with self.store.read() as connection:
            return query(connection, *arguments)

    @patient
    def shown(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna shows it."""
        storage = self.store.storage
        with reported(self.store.url, "read"):
            trial_id = storage.get_trial_id_from_study_id_trial_number(self.info.id, number)
            return storage.get_trial(trial_id)

    @patient
    def start(
        self,
        proposal: Proposal,
        *,
        budget: int | None = None,
        by_number: Callable[[int], Proposal] | None = None,
    ) -> Started:
        """Claim a proposal's evaluation and make its trial, or say why there is nothing to train.

        With `budget`, no evaluation is begun beyond that number in this study, however many
        workers ask at once. With `by_number` a proposal follows from its trial's number: where
        another worker's trial took that number, the next one's is asked for, while others wait.
        """
        with self.store.write() as connection:
            lock_study(connection, self.info.id)
            number = queries.total(connection, self.info.id)  # of the next trial: they have no gaps
            if by_number is not None and number != proposal.number:
                proposal = by_number(number)
            claim = leases.claim(connection, self.worker, proposal, number=number, budget=budget)
            if claim.outcome == "budget":
                return Started(outcome="budget")
            if claim.outcome == "run" and claim.attempt == 1:
                stored, points = self._begun(proposal, claim.evaluation_id), []
            else:
                stored = queries.evaluation(connection, claim.evaluation_id)
                points = queries.curve(connection, stored.id)
            if claim.outcome == "elsewhere":
                return Started(outcome="elsewhere", evaluation=stored)
            if claim.outcome != "run":
                return self._reuse(connection, proposal, stored, points)
            trial = claim.trial or self._create(
                connection, self._template(proposal, stored, "running", points)
            )
            return self._training(stored, claim.attempt, trial)

    @patient
    def report(self, lease: Lease, point: CurvePoint) -> float:
        """Store one epoch's metrics, renew the lease, and return the value shown to Optuna.

        Raises LostLease, and writes nothing, when another worker has taken the trial over.
        """
        row = {
            "evaluation_id": lease.evaluation_id,
            "epoch": point.epoch,
            "metrics": finite(point.metrics),
            "train_loss": finite_number(point.train_loss),
            "seconds": point.seconds,
            "learning_rate": finite_number(point.learning_rate),
            "created": utc_now(),
        }
        value = self.score(finite(point.metrics), lease)
        with self.store.write() as connection:
            self._renew(connection, lease, deaths=0)  # the trial has come further
            upsert(connection, CURVE_POINTS, ("evaluation_id", "epoch"), [row])
            self.store.batched.show_values(connection, lease.trial_id, {point.epoch: value})
        return value

    def renew(self, lease: Lease) -> None:
        """Put the lease's end off again; raise LostLease when another worker has it."""
        with self.store.write() as connection:
            self._renew(connection, lease)  # not patiently: the next one comes in any case

    @patient
    def release(self, lease: Lease) -> None:
        """Let the lease expire now, so that the next worker takes the trial over at once.

        The row names no worker then: its successor knows that nobody died.
        """
        with self.store.write() as connection:
            leases.fenced(connection, lease, expires_at=-1.0, worker="")

    def finish(
        self,
        lease: Lease,
        state: Final,
        *,
        metrics: Metrics | None = None,
        reason: str | None = None,
        seconds: float | None = None,
        checkpoint: str | None = None,
    ) -> float | None:
        """End an evaluation and its trial; return the trial's value, None for a failed one.

        The reason is stored without the credentials that it may have. Raises LostLease, and writes
        nothing, when another worker has taken the trial over.
        """
        if metrics is None and state == "pruned":
            points = self.read(queries.curve, lease.evaluation_id)
            metrics = points[-1].metrics if points else None
        measured, reason = finite(metrics or {}), reason and hidden(reason)
        value = self._value(state, measured, lease)
        if state == "complete" and value is None:
            state, reason = "failed", reason or f"the score is not a number: {measured}"
        values = {
            "state": state,
            "metrics": measured,
            "reason": reason,
            "seconds": seconds,
            "checkpoint": checkpoint,
        }
        shown = _STATES[self._shown(state, lease.fidelity)]
        attributes = shown_attributes(measured, reason)
        tries = count()

        @patient
        def write() -> None:
            with self.store.write() as connection:
                if next(tries):  # the try before may be committed, though its answer was lost
                    row = queries.evaluation(connection, lease.evaluation_id)
                    if (row.state, row.attempt, row.worker) == (state, lease.attempt, lease.worker):
                        return
                leases.fenced(connection, lease, **values, expires_at=None, finished=utc_now())
                self.store.batched.end_trial(connection, lease.trial_id, shown, value, attributes)

        write()
        return value

    @patient
    def should_prune(self, lease: Lease, study: optuna.Study) -> bool:
        """Ask the study's pruner about a trial, with the values reported so far."""
        with reported(self.store.url, "read"):
            trial = self.store.storage.get_trial(lease.trial_id)
            return study.pruner.prune(_Own(study), trial)  # type: ignore[arg-type]

    @patient
    def adopt(self, number: int | None = None) -> Started | None:
        """Take over a trial whose worker is dead, or this one if it is; None when there is none.

        The evaluation's curve and checkpoint say how far it came; exactly one worker gets it.
        """
        with self.store.read() as connection:  # takes no lock
            if not leases.free(connection, self.worker, number):
                return None
        with self.store.write() as connection:
            claim = leases.adopt(connection, self.worker, number)
            if claim is None or claim.trial is None:
                return None
            stored = queries.evaluation(connection, claim.evaluation_id)
        return self._training(stored, claim.attempt, claim.trial)

    @patient
    def repair(self) -> int:
        """Tell the trials whose evaluation another study has finished; return how many.

        What Optuna has deleted is forgotten. To be called on every resume, and when idle.
        """
        with self.store.write() as connection:
            forget_deleted(connection)
            return sum(
                self._tell_stored(connection, trial)
                for trial in queries.ended_elsewhere(connection, self.info.id)
            )

    def _tell_stored(self, connection: sa.Connection, trial: Any) -> bool:
        stored = queries.evaluation(connection, trial.evaluation_id)
        points = queries.curve(connection, trial.evaluation_id)
        attributes = shown_attributes(stored.metrics, stored.reason)
        origin = _origin(stored)
        if origin != f"{self.info.name}/{trial.number}":
            attributes["reused_from"] = origin
            update = TRIALS.update().where(TRIALS.c.trial_id == trial.trial_id)
            connection.execute(update.values(reused_from=origin))
        value = self._value(stored.state, stored.metrics, stored)
        shown = _STATES[self._shown(stored.state, stored.fidelity)]
        batched = self.store.batched
        batched.show_values(connection, trial.trial_id, self._values_of(points, stored))
        return batched.end_trial(connection, trial.trial_id, shown, value, attributes)

    def _shown(self, state: str, fidelity: int) -> Final:
        """Return the state that Optuna shows of an evaluation that has ended in `state`."""
        return "pruned" if state == "complete" and fidelity < self.full else cast(Final, state)

    def _training(self, stored: Evaluation, attempt: int, trial: tuple[int, int]) -> Started:
        """Return the start of a trial, given by its id and number, that this worker trains."""
        lease = Lease(
            evaluation_id=stored.id,
            recipe_hash=stored.recipe_hash,
            attempt=attempt,
            worker=self.worker.name,
            seconds=self.worker.seconds,
            trial_id=trial[0],
            number=trial[1],
            cost=stored.cost,
            architecture_json=stored.architecture_json,
            fidelity=stored.fidelity,
        )
        return Started(outcome="run", number=trial[1], lease=lease, evaluation=stored)

    def _renew(self, connection: sa.Connection, lease: Lease, **values: Any) -> None:
        leases.fenced(connection, lease, expires_at=lease.seconds, worker=lease.worker, **values)

    def _reuse(
        self,
        connection: sa.Connection,
        proposal: Proposal,
        stored: Evaluation,
        points: list[CurvePoint],
    ) -> Started:
        """Make a trial that is finished from the start, with the stored metrics."""
        end = self._shown(stored.state, stored.fidelity)
        template = self._template(proposal, stored, end, points)
        template.user_attrs["reused_from"] = origin = _origin(stored)
        _, number = self._create(connection, template, reused_from=origin)
        return Started(outcome=end, number=number, evaluation=stored, value=template.value)

    def _begun(self, proposal: Proposal, evaluation_id: int) -> Evaluation:
        """Return the evaluation that a claim has just begun."""
        return Evaluation(
            id=evaluation_id,
            state="running",
            architecture_id=proposal.architecture_id,
            architecture_json=proposal.architecture.to_json(),
            notation=proposal.notation,
            cost=proposal.cost,
            recipe_hash=proposal.recipe_hash,
            fidelity=proposal.fidelity,
            study=self.info.name,
            worker=self.worker.name,
        )

    def _template(
        self, proposal: Proposal, stored: Evaluation, state: str, points: list[CurvePoint]
    ) -> FrozenTrial:
        now = datetime.now()
        value = None
        attributes = {
            "evaluation": stored.id,
            "architecture_id": stored.architecture_id,
            "notation": stored.notation,
            **stored.cost._asdict(),
            "fidelity": stored.fidelity,
            **proposal.prediction,
        }
        if proposal.recipe_values:
            attributes["recipe"] = dict(proposal.recipe_values)
        if proposal.latency_ms is not None:
            attributes["latency_ms"] = proposal.latency_ms
        if proposal.promoted_from is not None:
            attributes["promoted_from"] = proposal.promoted_from
        if state != "running":
            attributes |= shown_attributes(stored.metrics, stored.reason)
            value = self._value(state, stored.metrics, stored)
        return FrozenTrial(
            number=-1,
            trial_id=-1,
            state=_STATES[state],
            value=value,
            datetime_start=now,
            datetime_complete=None if state == "running" else now,
            params=dict(proposal.params),
            distributions=dict(proposal.distributions),
            user_attrs=attributes,
            system_attrs={},
            intermediate_values=self._values_of(points, stored),
        )

    def _create(
        self, connection: sa.Connection, template: FrozenTrial, reused_from: str | None = None
    ) -> tuple[int, int]:
        """Make a trial and say which evaluation stands behind it; return its id and number."""
        made = self.store.batched.insert_trial(connection, self.info.id, template)
        row = {
            "trial_id": made[0],
            "study_id": self.info.id,
            "number": made[1],
            "evaluation_id": template.user_attrs["evaluation"],
            "reused_from": reused_from,
            "promoted_from": template.user_attrs.get("promoted_from"),
        }
        connection.execute(TRIALS.insert(), row)
        return made

    def _values_of(self, points: list[CurvePoint], of: Evaluation) -> dict[int, float]:
        return {p.epoch: self.score(p.metrics, of) for p in points}

    def _value(self, state: str, metrics: Metrics, of: Evaluation | Lease) -> float | None:
        """Return the study's value of an evaluation: none where it failed or measured nothing."""
        if state == "failed" or not metrics:
            return None
        value = self.score(metrics, of)
        return None if math.isnan(value) else value


class _Own:
    """A study as a pruner sees it: without the trials that were trained elsewhere.

    What a search begins with is the best of other studies: no measure for its own first trials.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = self._study.get_trials(*args, **kwargs)
        return [trial for trial in trials if "reused_from" not in trial.user_attrs]


def _origin(evaluation: Evaluation) -> str:
    """Return STUDY/NUMBER of the trial that trained an evaluation, so far as it is known."""
    if evaluation.study is None:
        return "a deleted study"
    return f"{evaluation.study}/{evaluation.number}"


def shown_attributes(metrics: Metrics, reason: str | None) -> dict[str, Any]:
    """Return the attributes of an evaluation that the dashboard shows."""
    shown: dict[str, Any] = {"metrics": dict(metrics)} if metrics else {}
    if reason is not None:
        shown["reason"] = reason
    if metrics.get("predicted_classes") == 1:
        shown["one_class"] = True
    return shown
