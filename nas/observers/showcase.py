"""A study as Optuna's dashboard shows it: each trial's diagram, note and code, the study's front.

The worker that trains a trial writes these before the trial is told, for at most 2 % of the time of
its training: 1.5 % for the trial, 0.5 % for the study's note and figure, which are drawn anew when
that share has come to the time of their last drawing. A part that can't be afforded is left out,
the diagram first, then the code; the note's numbers stay.
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
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
FADING = 0.8  # the share of an estimate that is left where a part was left out
RECENT = 5
# The dashboard sends all notes to the browser, and for each trial looks through those of all.
CODED, NOTED = 1000, 5000  # a study's first trials that have their code in the note, and a note
FILES = {"code": "network.py", "diagram": "diagram.png"}  # of a trial, by part
FIGURE = "pareto-front"  # the id of the study's figure

log = logging.getLogger("nas")


class Costs:
    """The seconds that each part takes in this process: the median of the last few times.

    A median, so that one part on a busy machine does not count for all that follow.
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
    """One trial that this worker trains: the seconds of its training, and those of showing it.

    `code` is empty until it was written; `live` tells whether the trial was shown while it runs.
    """

    lease: Lease
    evaluation: Evaluation
    trained: float = 0.0
    spent: float = 0.0
    points: list[CurvePoint] = field(default_factory=list)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    code: str = ""
    live: bool = False


class Showcase(Observer):
    """Writes the dashboard's notes and pictures of one study, for one worker."""

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
        self._showing = Showing(lease, evaluation)

    def epoch(self, lease: Lease, point: CurvePoint, value: float) -> None:  # noqa: ARG002
        """Show a running trial as soon as its diagram, its code and two notes are paid for."""
        showing = self._showing
        if showing is None or showing.lease is not lease:
            return
        showing.trained += point.seconds
        self.earned += point.seconds
        showing.points.append(point)
        price = self.costs.of("diagram", "code", "note", "note")
        if not showing.live and OF_TRIAL * showing.trained >= price:
            showing.live = True
            self._show(showing, "running", point.metrics)

    def ending(self, lease: Lease, state: str, metrics: Metrics, reason: str | None) -> None:
        """Give the trial its last note, and the parts that it can afford."""
        if self._showing is not None and self._showing.lease is lease:
            self._show(self._showing, state, metrics, reason)

    def ended(self, *_: object) -> None:
        """Show the study anew, where its share has come to what that takes."""
        self._showing = None
        if OF_STUDY * self.earned >= self.costs.of("study"):
            self.earned = 0.0
            self._show_study()

    def left(self, *_: object) -> None:
        """Leave the trial as it is shown: the worker that goes on with it shows it."""
        self._showing = None

    def reused(self, started: Started) -> None:
        """Show a trial that was told at once with the stored numbers of its network."""
        evaluation = started.evaluation
        if evaluation is None or started.number is None:
            return
        origin = (
            f"{evaluation.study}/{evaluation.number}" if evaluation.study else "a deleted study"
        )
        facts = TrialFacts(
            number=started.number,
            state=started.outcome,
            evaluation=evaluation,
            curve=self._stored_curve(evaluation.id),
            remark=f"Reused from {origin}: not trained again.",
        )
        picture = draw_diagram(self.config, self.info.name, started.number, evaluation.architecture)
        body = trial_note(self.config, facts) if started.number < NOTED else None
        shown.show_finished(self.store, self.info.id, started.number, body, [picture])

    def _show(
        self, showing: Showing, state: str, metrics: Metrics, reason: str | None = None
    ) -> None:
        """Write a trial's note with the code and the diagram as far as they are paid for."""
        begun = time.perf_counter()
        left = OF_TRIAL * showing.trained - showing.spent - self.costs.of("note")
        if not showing.points and showing.lease.attempt == 1:
            left = sum(ESTIMATES.values())  # it never trained: one that failed is not stinted
        for part, make in (("code", self._write_code), ("diagram", self._draw)):
            if part in showing.artifacts:
                continue
            left_behind = _artifact(self._trial(showing.lease), FILES[part])
            if (self.config.artifacts / left_behind.artifact_id).exists():  # by a killed worker
                showing.artifacts[part] = left_behind
                continue
            if left < self.costs.of(part):
                self.costs.skipped(part)
                continue
            with self.costs.measured(part):
                showing.artifacts[part] = make(showing)
            left -= self.costs.of(part)
        try:
            with self.costs.measured("note"):
                self._write_note(showing, state, metrics, reason)
        except LostLease:
            log.info("trial %d: shown by the worker that has it now", showing.lease.number)
        showing.spent += time.perf_counter() - begun

    def _write_note(
        self, showing: Showing, state: str, metrics: Metrics, reason: str | None
    ) -> None:
        lease, points = showing.lease, showing.points
        if lease.attempt > 1 or (points and points[0].epoch > 1):  # another worker's, or a rung's
            points = self._stored_curve(lease.evaluation_id)
        remark = "" if not reason else f"{reason[:1].upper()}{reason[1:]}."
        picture = showing.artifacts.get("diagram")
        place = f"/artifacts/{self.info.id}/{lease.trial_id}"
        facts = TrialFacts(
            number=lease.number,
            state=state,
            evaluation=replace(showing.evaluation, metrics=metrics),
            curve=points,
            remark=f"Failed: {reason}" if reason and state == "failed" else remark,
            attempt=lease.attempt,
            code=showing.code if lease.number < CODED else "",
            has_file="code" in showing.artifacts,
            picture="" if picture is None else f"{place}/{picture.artifact_id}",
        )
        body = trial_note(self.config, facts) if lease.number < NOTED else None
        shown.show_trial(self.store, self.info.id, lease, body, showing.artifacts.values())

    def _stored_curve(self, evaluation_id: int) -> list[CurvePoint]:
        with self.store.read() as connection:
            return queries.curve(connection, evaluation_id)

    def _write_code(self, showing: Showing) -> Artifact:
        """Write the network's file, and keep its class for the note."""
        architecture = showing.lease.architecture
        text = python.source(architecture, Facts())
        start = text.index("class Network(")
        showing.code = text[start : text.index("\n\n\n", start)]
        return _file(self.config, self._trial(showing.lease), FILES["code"], text.encode())

    def _trial(self, lease: Lease) -> tuple[object, ...]:
        return (self.info.name, lease.number, lease.architecture.id)

    def _draw(self, showing: Showing) -> Artifact:
        lease = showing.lease
        return draw_diagram(self.config, self.info.name, lease.number, lease.architecture)

    def _show_study(self) -> None:
        try:
            with self.costs.measured("study"):
                show_study(self.store, self.config, self.info.name)
        except NasError as error:  # another worker was at it, or the database is busy
            log.warning("the study's note: %s", error)
        except Exception:  # a note is no reason to stop
            log.exception("the study's note")


def draw_diagram(config: Config, study: str, number: int, architecture: Architecture) -> Artifact:
    """Draw a trial's network into the artifacts folder, unless it is there; return the artifact."""
    made = _artifact((study, number, architecture.id), FILES["diagram"])
    path = config.artifacts / made.artifact_id
    if not path.exists():
        write(path, diagram.png(architecture, title=f"{study}: {architecture.id}"))
    return made


def remove_orphans(store: Store, config: Config, study: str) -> int:
    """Delete the files of ended trials that no row names, left by killed workers; count them."""
    with store.read() as connection:
        info = queries.study(connection, study)
        trials = [each for each in queries.trials(connection, info.id) if each.state != "running"]
        named = shown.artifact_ids(connection, info.id)
    made = (
        _artifact((study, trial.number, trial.architecture_id), name).artifact_id
        for trial in trials
        for name in FILES.values()
    )
    orphans = [config.artifacts / each for each in made if each not in named]
    present = [path for path in orphans if path.exists()]
    for path in present:
        path.unlink(missing_ok=True)
    return len(present)


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
    _write_study(store, config, read_facts(store, config, study), [])


def read_facts(store: Store, config: Config, study: str) -> StudyFacts:
    """Read the facts of a study's note and figure, from as few columns as they need."""
    timed = config.objective.target_latency_ms is not None
    with store.read() as connection:
        info = queries.study(connection, study)
        best = next(iter(queries.best(connection, info.id, 1)), None)
        rows = shown.spots(connection, info.id, config.recipe.metric, timed=timed)
        return StudyFacts(
            info=info,
            counts=queries.counts(connection, info.id),
            best=best,
            failures=queries.failures(connection, info.id),
            test_looks=queries.test_look_count(connection, info.id),
            warnings=queries.warnings(connection, info.id),
            figure=figure_of(config, [Spot(*row) for row in rows], best),
        )


def show_end(
    store: Store, config: Config, facts: StudyFacts, winner: Architecture, files: Sequence[Path]
) -> None:
    """Show a search's end: the study's note, the winner's diagram and its files.

    A search does not fail for its showcase: an error is logged.
    """
    info, best = facts.info, facts.best
    try:
        assert best is not None  # a study that has a winner
        picture = draw_diagram(config, info.name, best.number, winner)
        paths = {"winner.png": config.artifacts / picture.artifact_id}
        paths |= {path.name: path for path in files}
        artifacts = [
            _file(config, (info.name,), name, path.read_bytes()) for name, path in paths.items()
        ]
        _write_study(store, config, facts, artifacts)
        if not shown.has_artifact(store, info.id, best.number, picture.artifact_id):
            shown.show_finished(store, info.id, best.number, None, [picture])
    except Exception:
        log.exception("the study's note and figure")


def _write_study(
    store: Store, config: Config, facts: StudyFacts, artifacts: Sequence[Artifact]
) -> None:
    figures = {} if facts.figure.is_empty else {FIGURE: to_plotly(facts.figure)}
    shown.show_study(store, facts.info.id, study_note(config, facts), figures, artifacts)


def _file(config: Config, of: tuple[object, ...], name: str, content: bytes) -> Artifact:
    """Write a file into the artifacts folder; return its artifact."""
    made = _artifact(of, name)
    write(config.artifacts / made.artifact_id, content)
    return made


def _artifact(of: tuple[object, ...], filename: str) -> Artifact:
    """Return the artifact of a trial or a study: the same whenever and by whomever it is made.

    No two share a file: deleting a study in the dashboard deletes each of its artifacts.
    """
    name = "/".join(map(str, ("nas", *of, filename)))
    kind = "image/png" if filename.endswith(".png") else "text/x-python"
    return Artifact(str(uuid.uuid5(uuid.NAMESPACE_URL, name)), filename, kind)
