"""A study as Optuna's dashboard shows it: each trial's diagram, note and code, the study's front.

The worker that trains a trial writes it before the trial is told, for at most 2 % of the time that
it was trained: 1.5 % for what the trial carries, 0.5 % for the study's note and figure, which are
drawn anew when that share has come to what they took the last time. What can't be afforded is left
out, the diagram first, then the code; the note's numbers stay.
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from nas.architecture import Architecture
from nas.config import Config
from nas.errors import LostLease, NasError
from nas.export import Facts, python
from nas.files import write
from nas.observers import Observer
from nas.observers.notes import StudyFacts, TrialFacts, study_note, trial_note
from nas.report import diagram
from nas.report.tradeoff import LATENCY, MACS, Spot, TradeOff, to_plotly, trade_off
from nas.store import dashboard as shown
from nas.store import queries
from nas.store.dashboard import Artifact
from nas.store.records import CurvePoint, Evaluation, Lease, Metrics, Started
from nas.store.store import Store

OF_TRIAL, OF_STUDY = 0.015, 0.005  # shares of the time that was trained
ESTIMATES = {"note": 0.005, "code": 0.01, "diagram": 0.05, "study": 0.05}  # seconds, until measured
FADING = 0.8  # how much of an estimate is left where a part was left out
RECENT = 5
# The dashboard sends all notes to the browser, and for each trial looks through those of all.
CODED, NOTED = 1000, 5000  # a study's first trials that have their code in the note, and a note
PNG, PYTHON, FIGURE = "image/png", "text/x-python", "pareto-front"

log = logging.getLogger("nas")


class Costs:
    """What each part takes in this process, in seconds: the median of the last few times.

    One that was slow because the machine was busy does not count for all that follow.
    """

    def __init__(self) -> None:
        self._recent = {part: deque([took], maxlen=RECENT) for part, took in ESTIMATES.items()}

    def of(self, *parts: str) -> float:
        """Return what these parts take together."""
        return sum(median(self._recent[part]) for part in parts)

    def skipped(self, part: str) -> None:
        """Expect less of a part that was left out: else it would never be tried again."""
        self._recent[part].append(FADING * self.of(part))

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Measure a part."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._recent[part].append(time.perf_counter() - begun)


@dataclass
class Showing:
    """One trial that this worker trains: what it was trained and what showing it took, in seconds.

    `code` is empty until it was written out, `drawn` says whether the diagram was.
    """

    lease: Lease
    evaluation: Evaluation
    architecture: Architecture
    trained: float = 0.0
    spent: float = 0.0
    points: list[CurvePoint] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    code: str = ""
    live: bool = False


class Showcase(Observer):
    """Writes what the dashboard shows of one study, for one worker."""

    def __init__(self, config: Config, store: Store, study: str) -> None:
        self.config, self.store = config, store
        with store.read() as connection:
            self.info = queries.study(connection, study)
            empty = queries.total(connection, self.info.id) == 0
        self.costs = Costs()
        self.earned = 0.0  # seconds trained since the study was shown
        self._showing: Showing | None = None
        if empty:
            self._show_study()

    def started(self, lease: Lease, evaluation: Evaluation) -> None:
        """Begin a trial's account."""
        architecture = lease.architecture
        self._showing = Showing(lease, evaluation, architecture)

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:  # noqa: ARG002
        """Show a running trial as soon as its diagram, its code and two notes are paid for."""
        one = self._showing
        if one is None or one.lease is not lease:
            return
        one.trained += point.seconds
        self.earned += point.seconds
        one.points.append(point)
        whole = self.costs.of("diagram", "code", "note", "note")
        if not one.live and OF_TRIAL * one.trained >= whole:
            one.live = True
            self._show(one, "running", point.metrics)

    def ending(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """Give the trial its last note, and what it can afford."""
        one = self._showing
        if one is not None and one.lease is lease:
            self._show(one, state, metrics, reason)

    def ended(self, *_: object) -> None:
        """Show the study anew, where its share has come to what that takes."""
        self._showing = None
        if OF_STUDY * self.earned >= self.costs.of("study"):
            self.earned = 0.0
            self._show_study()

    def left(self, lease: Lease, reason: str) -> None:  # noqa: ARG002
        """Leave the trial as it is shown: who goes on with it shows it."""
        self._showing = None

    def reused(self, started: Started) -> None:
        """Show a trial that was told at once with what is known of its network."""
        evaluation = started.evaluation
        if evaluation is None or started.number is None:
            return
        architecture = evaluation.architecture
        origin = (
            f"{evaluation.study}/{evaluation.number}" if evaluation.study else "a deleted study"
        )
        with self.store.read() as connection:
            points = queries.curve(connection, evaluation.id)
        facts = replace(
            self._facts(evaluation, architecture, started.outcome, points),
            number=started.number,
            warnings=[f"Reused from {origin}: not trained again.", *self._warnings(evaluation)],
        )
        picture = draw_diagram(self.config, self.info.name, started.number, architecture)
        body = trial_note(facts) if started.number < NOTED else None
        shown.show_finished(self.store, self.info.id, started.number, body, [picture])

    def _show(self, one: Showing, state: str, metrics: Metrics, reason: str | None = None) -> None:
        """Write a trial's note with the code and the diagram as far as they are paid for."""
        begun = time.perf_counter()
        left = OF_TRIAL * one.trained - one.spent - self.costs.of("note")
        if not one.points and one.lease.attempt == 1:
            left = sum(ESTIMATES.values())  # it never trained: one that failed is not stinted
        for part, make in (("code", self._write_code), ("diagram", self._draw)):
            if part in one.artifacts:
                continue
            if left < self.costs.of(part):
                self.costs.skipped(part)
                continue
            with self.costs.measured(part):
                make(one)
            left -= self.costs.of(part)
        try:
            with self.costs.measured("note"):
                self._write_note(one, state, metrics, reason)
        except LostLease:
            log.info("trial %d: shown by the worker that has it now", one.lease.number)
        one.spent += time.perf_counter() - begun

    def _write_note(self, one: Showing, state: str, metrics: Metrics, reason: str | None) -> None:
        lease, evaluation = one.lease, replace(one.evaluation, metrics=metrics)
        points = one.points
        if lease.attempt > 1 or (points and points[0].epoch > 1):  # another worker's, or a rung's
            with self.store.read() as connection:
                points = queries.curve(connection, lease.evaluation_id)
        said = [f"Failed: {reason}" if state == "failed" else _sentence(reason)] if reason else []
        facts = replace(
            self._facts(evaluation, one.architecture, state, points),
            number=lease.number,
            warnings=[*said, *self._warnings(evaluation, lease.attempt)],
            code=one.code if lease.number < CODED else "",
            whole="code" in one.artifacts,
            picture=self._path(one.artifacts.get("diagram"), lease.trial_id),
        )
        body = trial_note(facts) if lease.number < NOTED else None
        shown.show_trial(self.store, self.info.id, lease, body, one.artifacts.values())

    def _facts(
        self,
        evaluation: Evaluation,
        architecture: Architecture,
        state: str,
        points: Sequence[CurvePoint],
    ) -> TrialFacts:
        config = self.config
        return TrialFacts(
            number=evaluation.number or 0,
            state=state,
            architecture=architecture,
            cost=config.subject.price(architecture),
            objective=config.objective,
            metric=config.recipe.metric,
            metrics=evaluation.metrics,
            curve=points,
            epochs=evaluation.fidelity,
            of=config.recipe.epochs,
        )

    def _warnings(self, evaluation: Evaluation, attempt: int = 1) -> list[str]:
        """Return what a reader should know before the numbers."""
        found = []
        metrics = evaluation.metrics
        if metrics.get("predicted_classes") == 1:
            found.append("It predicts a single class: it has learnt nothing.")
        limits = self.config.limits.tightest(self.config.space.limits)
        architecture = evaluation.architecture
        over = limits.violation(self.config.subject.price(architecture))
        if over is not None:
            found.append(f"Over a limit: {over}.")
        if attempt > 1:
            deaths = f", {evaluation.deaths} of them without an epoch" if evaluation.deaths else ""
            found.append(f"Attempt {attempt}: {attempt - 1} workers began it before{deaths}.")
        return found

    def _write_code(self, one: Showing) -> None:
        """Write the network's file, and keep its class for the note."""
        text = python.source(one.architecture, Facts())
        start = text.index("class Network(")
        one.code = text[start : text.index("\n\n\n", start)]
        of = (self.info.name, one.lease.number, one.architecture.id)
        file = _artifact(of, "network.py", PYTHON)
        write(self.config.artifacts / file.artifact_id, text.encode())
        one.artifacts["code"] = file

    def _path(self, picture: Artifact | None, trial_id: int) -> str:
        return f"/artifacts/{self.info.id}/{trial_id}/{picture.artifact_id}" if picture else ""

    def _draw(self, one: Showing) -> None:
        study, number = self.info.name, one.lease.number
        one.artifacts["diagram"] = draw_diagram(self.config, study, number, one.architecture)

    def _show_study(self) -> None:
        try:
            with self.costs.measured("study"):
                show_study(self.store, self.config, self.info.name)
        except NasError as error:  # another worker was at it, or the database is busy
            log.warning("the study's note: %s", error)
        except Exception:  # what is shown is no reason to stop
            log.exception("the study's note")


def draw_diagram(config: Config, study: str, number: int, architecture: Architecture) -> Artifact:
    """Draw a trial's network into the artifacts folder, unless it is there; return the artifact."""
    made = _artifact((study, number, architecture.id), "diagram.png", PNG)
    path = config.artifacts / made.artifact_id
    if not path.exists():
        write(path, diagram.png(architecture, title=f"{study}: {architecture.id}"))
    return made


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a study has reached, as its note and its figure say it; `code` is the winner's path."""

    info: queries.StudyInfo
    counts: queries.Counts
    best: queries.TrialInfo | None
    failures: Mapping[str, int]
    test_looks: int
    figure: TradeOff
    code: str = ""


def figure_of(config: Config, spots: Sequence[Spot], best: queries.TrialInfo | None) -> TradeOff:
    """Return a study's metric over its objective's cost: macs, or the predicted latency."""
    return trade_off(
        spots,
        metric=config.recipe.metric,
        cost=MACS if config.objective.target_latency_ms is None else LATENCY,
        target=config.objective.target,
        best=None if best is None else best.number,
        majority=None if best is None else best.metrics.get("majority_rate"),
    )


def show_study(store: Store, config: Config, study: str) -> None:
    """Write a study's note and figure from what is stored."""
    _write_study(store, config, read_reached(store, config, study), [])


def read_reached(store: Store, config: Config, study: str) -> Reached:
    """Read what a study has reached, from as few columns as its note and figure need."""
    timed = config.objective.target_latency_ms is not None
    with store.read() as connection:
        info = queries.study(connection, study)
        best = next(iter(queries.best(connection, info.id, 1)), None)
        rows = shown.spots(connection, info.id, config.recipe.metric, timed=timed)
        return Reached(
            info=info,
            counts=queries.counts(connection, info.id),
            best=best,
            failures=queries.failures(connection, info.id),
            test_looks=len(queries.test_looks(connection, info.id)),
            figure=figure_of(config, [Spot(*row) for row in rows], best),
        )


def show_end(
    store: Store, config: Config, reached: Reached, winner: Architecture, files: Sequence[Path]
) -> None:
    """Show a search's end: the study's note, the winner's diagram and its files.

    It shows what it can: a search does not fail for its showcase.
    """
    info, best = reached.info, reached.best
    try:
        assert best is not None  # a study that has a winner
        picture = draw_diagram(config, info.name, best.number, winner)
        paths = {"winner.png": config.artifacts / picture.artifact_id}
        artifacts = []
        for name, path in (paths | {path.name: path for path in files}).items():
            made = _artifact((info.name,), name, PNG if name.endswith(".png") else PYTHON)
            write(config.artifacts / made.artifact_id, path.read_bytes())
            artifacts.append(made)
        _write_study(store, config, reached, artifacts)
        if not shown.has_artifact(store, info.id, best.number, picture.artifact_id):
            shown.show_finished(store, info.id, best.number, None, [picture])
    except Exception:
        log.exception("the study's note and figure")


def _write_study(
    store: Store, config: Config, reached: Reached, artifacts: Sequence[Artifact]
) -> None:
    info = reached.info
    facts = StudyFacts(
        name=info.name,
        space=config.space.name,
        parameters=len(config.space.parameters()),
        data=config.recipe.data,
        classes=config.classes,
        recipe=config.recipe.describe(),
        objective=config.objective,
        metric=config.recipe.metric,
        limits=_limits(config),
        how=f"sampler `{config.sampler}`, pruner `{config.pruner}`, seed {config.seed}",
        trials=info.trials,
        seconds=info.seconds,
        counts=reached.counts,
        best=reached.best,
        failures=reached.failures,
        looks=reached.test_looks,
        code=reached.code,
    )
    figures = {} if reached.figure.is_empty else {FIGURE: to_plotly(reached.figure)}
    shown.show_study(store, info.id, study_note(facts), figures, artifacts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _limits(config: Config) -> list[str]:
    found = config.limits.tightest(config.space.limits).to_json().items()
    return [f"{limit:,} {name.replace('_', ' ')}" for name, limit in found if limit is not None]


def _artifact(of: tuple[object, ...], filename: str, mimetype: str) -> Artifact:
    """Return the artifact of a trial or a study: the same one whoever makes it, and how often.

    No two share a file: deleting a study in the dashboard deletes each of its artifacts.
    """
    name = "/".join(map(str, ("nas", *of, filename)))
    return Artifact(str(uuid.uuid5(uuid.NAMESPACE_URL, name)), filename, mimetype)
