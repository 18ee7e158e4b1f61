"""The end of a search: the best network as code, its weights, its numbers, a picture."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from optuna.trial import TrialState

from nas import export, network
from nas.architecture import Architecture
from nas.config import Config
from nas.data import DataSet
from nas.errors import UserError
from nas.export import python
from nas.files import write_json
from nas.observers.notes import StudyFacts
from nas.observers.showcase import figure_of, show_end
from nas.quantities import from_here
from nas.report import tables
from nas.report.study_picture import Curve, draw_study
from nas.search_space.parameters import Assignment
from nas.store import history, queries, schema
from nas.store.records import Evaluation, GuardWarning, Metrics
from nas.store.store import Store
from nas.study import tested
from nas.study.aids import aids_of
from nas.study.data_facts import DataFacts
from nas.study.evaluator import within_memory
from nas.study.finalists import Ranking, means, ranking, spreads
from nas.study.guards import Evidence, warnings
from nas.study.outcome import Outcome, front_of
from nas.study.ranking import Front, spots
from nas.training.metrics import OF_TRAINING
from nas.training.recipe import Recipe
from nas.training.targets import ClassTargets, LabelTargets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training.metrics.predictions import Predictions

log = logging.getLogger("nas")
MEASURING = 5.0  # seconds at most, to measure the winner's latency
TOP = 5  # trials in result.json
SIZED = 1000  # newest complete trials, whose resolutions an export may need
CURVES = 40  # of the newest trials, in the picture
# Keys of the configuration that are not in result.json: a machine's paths, the space once more.
NOT_SHOWN = ("parameters", "space", "folder", "data", "latency", "checkpoints", "unlabelled")


@dataclass(frozen=True, kw_only=True)
class Best(Outcome):
    """The best network of a study with its architecture, its weights and its code."""

    architecture: Architecture
    code: Path

    def build(self) -> "nn.Module":
        """Build the network with the trained weights, ready for inference."""
        from safetensors.torch import load_file

        module = network.build(self.architecture)
        module.load_state_dict(load_file(self.code.with_name("model.safetensors")))
        return module.eval()

    def to_json(self) -> dict[str, Any]:
        """Return the winner as plain data, with the path of its code."""
        return super().to_json() | {"code": from_here(self.code)}

    def files(self) -> tables.Lines:
        """Say where the pictures, the report and the code lie."""
        folder = self.code.parent.parent
        for picture in ("search.png", "front.png") if self.front else ("search.png",):
            yield f"picture: {from_here(folder / picture)}"
        if (page := folder / "report.html").exists():
            yield f"report: {from_here(page)}"
        yield f"code: {from_here(self.code)}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The rows of a study at its end, read once: pictures, notes and result.json are made of them.

    `top` are the best trials of different architectures. `trainings` are the winner's trials
    and their evaluations, one for each seed; the network of the first is handed over. `curves` has
    the metric after each epoch, and `choices` the parameters' values, by the trials' numbers;
    `front` is that of a study with a pareto objective.
    """

    info: queries.StudyInfo
    counts: queries.Counts
    top: Sequence[queries.TrialInfo]
    ranking: Ranking
    trials: Sequence[queries.TrialInfo]
    curves: Mapping[int, Curve]
    failures: Mapping[str, int]
    looks: Sequence[tuple[int, Metrics]]
    look_count: int
    front: Front | None
    choices: Mapping[int, Assignment]
    trainings: Sequence[tuple[queries.TrialInfo, Evaluation]]
    answer: str  # the winner's rule

    def evidence(self, config: Config, data: DataSet, looks: int) -> Evidence:
        """Return the facts that guards look at."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        by_key = {trial.candidate_key: trial for trial in reversed(complete)}
        networks = sorted(by_key.values(), key=lambda trial: -(trial.score or 0.0))
        return Evidence(
            config=config,
            data=data,
            ranking=self.ranking,
            networks=networks,
            choices=self.choices,
            looks=looks,
        )


def read_end(connection: sa.Connection, study: str) -> Ended | None:
    """Read a study that was searched; None where no trial is complete."""
    info = queries.study(connection, study)
    ranked = ranking(connection, study)
    if ranked is None:
        return None
    trials = queries.trials(connection, info.id)
    curves = {}
    for trial in [t for t in trials if t.state in ("complete", "pruned")][-CURVES:]:
        points = queries.curve(connection, trial.evaluation_id)
        values = [(point.epoch, point.metrics.get(info.metric)) for point in points]
        curves[trial.number] = [(epoch, value) for epoch, value in values if value is not None]
    trainings = [
        (trial, queries.evaluation(connection, trial.evaluation_id))
        for trial in ranked.winner.trainings
    ]
    complete = history.read(connection, info.id, [TrialState.COMPLETE], (), -1)
    return Ended(
        info=info,
        counts=queries.counts(connection, info.id),
        top=queries.best(connection, info.id, TOP),
        ranking=ranked,
        choices={trial.number: trial.params for trial in complete},
        trainings=trainings,
        answer=recipe_of(connection, trainings[0][1]).answer,
        trials=trials,
        curves={number: curve for number, curve in curves.items() if curve},
        failures=queries.failures(connection, info.id),
        looks=queries.test_looks(connection, info.id),
        look_count=queries.test_look_count(connection, info.id),
        front=front_of(connection, info),
    )


def conclude(store: Store, study: str) -> Best | None:
    """Write the winner's files and look at the test split once; None where nothing was completed.

    A winner that was looked at before is not looked at again; weights that are gone are trained
    again, under the same seed.
    """
    with store.read() as connection:
        ended = read_end(connection, study)
    if ended is None:
        return None
    config = Config.from_json(ended.info.config)
    data = config.load_data()
    (trial, evaluation), *_ = ended.trainings
    architecture = evaluation.architecture
    state, tests, looks = _test(store, config, ended, data)
    newest = list(ended.choices.values())[-SIZED:]
    of_data = DataFacts.of(
        data, {architecture.resolution, *(config.subject.decode(v).resolution for v in newest)}
    )
    store.set_attribute(ended.info.id, schema.DATA, of_data.to_json())
    facts = facts_of(trial, of_data, architecture, tests[0], ended.answer)
    best = Best(
        ranking=ended.ranking,
        architecture=architecture,
        test=means(tests),
        test_looks=looks,
        code=python.export(architecture, state, Path(config.folder, "best"), facts),
        front=ended.front,
        measured_ms=_measured(architecture, config),
        test_spread=spreads(tests),
    )
    warned = warnings(ended.evidence(config, data, looks))
    store.set_warnings(ended.info.id, warned)
    _hand_over(store, config, ended, best, warned)
    return best


def _test(
    store: Store, config: Config, ended: Ended, data: DataSet
) -> "tuple[Mapping[str, Tensor], list[Metrics], int]":
    """Return the weights to hand over, each training's test metrics, and the count of looks.

    All trainings of the winner are one look; a training that was looked at before is not again.
    """
    from nas.training.metrics import epoch_metrics

    stored, tests, looks = dict(ended.looks), [], ended.look_count
    handed_over = trained_weights(store, ended.trainings[0][1], config, data)
    for index, (_, evaluation) in enumerate(ended.trainings):
        if (test := stored.get(evaluation.id)) is None:
            weights = trained_weights(store, evaluation, config, data) if index else handed_over
            with store.read() as connection:
                answer = recipe_of(connection, evaluation).answer
            given = _look(evaluation.architecture, weights, data, answer)
            test = epoch_metrics(given, config.recipe.metric)
            looks = store.look_at_test(ended.info.id, evaluation.id, test, once=True)
            if index == 0:
                tested.keep(Path(config.folder), evaluation, given, data.splits["test"])
        tests.append(test)
    return handed_over, tests, looks


def _hand_over(
    store: Store, config: Config, ended: Ended, best: Best, warned: Sequence[GuardWarning]
) -> None:
    """Write the winner's files, the study's result and pictures, and the dashboard's last note."""
    folder, info = Path(config.folder), ended.info
    write_json(best.code.with_name("architecture.json"), best.architecture.to_json())
    result = {
        "study": info.name,
        "best": best.to_json(),
        "trials": vars(ended.counts),
        "top": [trial.summary() for trial in ended.top],
        **best.beside(),
        "warnings": [warning.to_json() for warning in warned],
        "config": {key: value for key, value in info.config.items() if key not in NOT_SHOWN},
    }
    write_json(folder / "result.json", result)
    timed = config.objective.target_latency_ms is not None
    points = spots(ended.trials, info.metric, lambda t: t.latency_ms if timed else t.cost.macs)
    figure = figure_of(config, points, best.trial)
    title = f"{info.name}: {len(ended.trials)} trials"
    pictures = [draw_study(figure, ended.curves, title, folder / "search.png")]
    if best.front is not None:
        pictures.append(best.front.draw(folder / "front.png"))
    for kind, path in (("code", best.code), *(("picture", path) for path in pictures)):
        store.add_artifact(info.id, kind, str(path))
    if config.showcase:
        facts = StudyFacts(
            info=info,
            counts=ended.counts,
            best=best.trial,
            failures=ended.failures,
            test_looks=best.test_looks,
            warnings=warned,
            figure=figure,
            code="/".join(best.code.parts[-3:]),
            finalists=best.ranking.table(),
        )
        show_end(store, config, facts, best.architecture, [best.code, *pictures])


def _measured(architecture: Architecture, config: Config) -> float | None:
    """Measure a network as the study's table was measured; None without one, or not here."""
    from nas.latency import measure
    from nas.latency.setting import setting

    if config.latency is None:
        return None
    was = config.latency.setting
    case = measure.Case(
        lambda: network.build(architecture), architecture.in_channels, architecture.resolution
    )
    try:
        how = setting(
            was.batch_size, was.threads, was.device, backend=was.backend, host=was.host or None
        )
        return measure.measure([case], how, seconds=MEASURING)[0].median_ms
    except UserError as error:  # no such GPU or back end is here, or the host does not answer
        log.warning("%s", error)
        return None


def facts_of(
    trial: queries.TrialInfo,
    data: DataFacts,
    architecture: Architecture,
    test: Mapping[str, float | None],
    answer: str,
) -> export.Facts:
    """Collect the facts that stand in an exported file; `answer` is the recipe's rule."""
    mean, std = data.statistics[architecture.resolution]
    return export.Facts(
        score=trial.score,
        recipe=trial.recipe,
        validation={
            name: value
            for name, value in trial.metrics.items()
            if value is not None and name not in OF_TRAINING
        },
        test={name: v for name, v in test.items() if v is not None},
        data=data.name,
        class_names=data.class_names,
        date=datetime.now(UTC).date().isoformat(),
        mean=mean,
        std=std,
        reading=data.reading,
        training=trial.training,
        targets=LabelTargets() if data.task == "labels" else ClassTargets(answer),
    )


def recipe_of(connection: sa.Connection, evaluation: Evaluation) -> Recipe:
    """Return the recipe that an evaluation's network was trained and scored by."""
    return Recipe.from_json(queries.recipe(connection, evaluation.recipe_hash))


def kept_weights(evaluation: Evaluation) -> "Mapping[str, Tensor] | None":
    """Return an evaluation's weights, None where they are gone."""
    from nas.training.checkpoint import Checkpoints

    return (
        None if evaluation.checkpoint is None else Checkpoints(evaluation.checkpoint).load_weights()
    )


def trained_weights(
    store: Store, evaluation: Evaluation, config: Config, data: DataSet
) -> "Mapping[str, Tensor]":
    """Return an evaluation's weights: kept ones, or the same training once more.

    The log says where that differs a little from the stored metric (other threads, another
    machine's arithmetic); the test metrics are always those of the weights handed out.
    """
    from nas.training.checkpoint import Checkpoints
    from nas.training.trainer import train

    if (weights := kept_weights(evaluation)) is not None:
        return weights
    with store.read() as connection:
        recipe = recipe_of(connection, evaluation)
    aids = aids_of(config, recipe, data)
    again = within_memory(partial(train, evaluation.architecture, data, recipe, aids=aids))
    metric = recipe.metric
    stored, now = evaluation.metrics.get(metric), again.metrics[metric]
    if stored != now:
        log.warning(
            "%s: trained again, %s %s, not %s", evaluation.architecture_id, metric, now, stored
        )
    url = config.checkpoint_url(evaluation.architecture_id, evaluation.recipe_hash)
    Checkpoints(url).save_weights(again.state)
    store.set_checkpoint(evaluation.id, url)
    return again.state


def _look(
    architecture: Architecture,
    state: "Mapping[str, Tensor]",
    data: DataSet,
    answer: str,
) -> "Predictions":
    from nas.training.images import normalisation
    from nas.training.trainer import predict

    module = network.build(architecture)
    module.load_state_dict(dict(state))
    size = architecture.resolution
    statistics = normalisation(data, size)
    return predict(module, data.splits["test"], size, *statistics, data.classes, answer)
