"""What a search hands back: the best network as code, its weights, its numbers, a picture."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import export, network
from nas.architecture import Architecture
from nas.config import Config, cache_dir
from nas.data import DataSet, load
from nas.errors import UserError
from nas.files import write_json
from nas.observers.showcase import show_end
from nas.quantities import from_here
from nas.report import ranking
from nas.report.front import draw_front
from nas.report.study_picture import draw_study
from nas.store import queries
from nas.store.records import Evaluation
from nas.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("nas")
MEASURING = 5.0  # seconds at most, to measure the winner's latency


@dataclass(frozen=True)
class Best:
    """The best trial of a study: its architecture, its numbers, its weights and its code."""

    trial: queries.TrialInfo
    architecture: Architecture
    metric: str
    test: Mapping[str, float | None]
    test_looks: int
    code: Path
    front: ranking.Front | None = None  # of a study that was after it
    measured_ms: float | None = None  # where the study has a latency table

    def build(self) -> "nn.Module":
        """Build the network with the trained weights, ready for inference."""
        from safetensors.torch import load_file

        module = network.build(self.architecture)
        module.load_state_dict(load_file(self.code.with_name("model.safetensors")))
        return module.eval()

    def to_json(self) -> dict[str, Any]:
        """Return the winner as plain data."""
        return {
            "score": self.trial.score,
            "metric": self.metric,
            "value": self.trial.metrics.get(self.metric),
            "validation": dict(self.trial.metrics),
            "test": dict(self.test),
            "test_looks": self.test_looks,
            "macs": self.trial.cost.macs,
            "params": self.trial.cost.params,
            "latency_ms": self.trial.latency_ms,
            "measured_latency_ms": self.measured_ms,
            "architecture_id": self.trial.architecture_id,
            "trial": self.trial.number,
            "one_class": self.trial.one_class,
            "code": from_here(self.code),
        }


def conclude(store: Store, study: str) -> Best | None:
    """Write the winner's files and look at the test split once; None where nothing was completed.

    A winner that was looked at before is not looked at again; weights that are gone are trained
    again, under the same seed.
    """
    with store.read() as connection:
        info = queries.study(connection, study)
        found = queries.best(connection, info.id, 1)
        if not found:
            return None
        evaluation = queries.evaluation(connection, found[0].evaluation_id)
        looks = queries.test_looks(connection, info.id)
    config = Config.from_json(info.config)
    architecture = Architecture.from_json(evaluation.architecture)
    data = load(config.data, cache_dir=cache_dir(config.folder))
    state = trained_weights(store, evaluation, config, data)
    test = dict(looks).get(evaluation.id)
    if test is None:
        test = _look(architecture, state, data)
        store.look_at_test(info.id, evaluation.id, test)
        looks = [*looks, (evaluation.id, test)]
    folder = Path(config.folder, "best")
    facts = facts_of(found[0], data, architecture, test)
    code = export.get("python").export(architecture, state, folder, facts)
    measured = _measured(architecture, config)
    front = _front(store, info, config)
    best = Best(
        found[0], architecture, config.recipe.metric, test, len(looks), code,
        measured_ms=measured, front=front,
    )  # fmt: skip
    write_json(folder / "architecture.json", architecture.to_json())
    write_json(Path(config.folder, "result.json"), _result(store, info, best))
    picture = draw_study(store, info.id, config.objective, Path(config.folder))
    files = [("code", code), ("picture", picture)]
    if front is not None:
        files.append(("picture", draw_front(front, Path(config.folder, "front.png"))))
    for kind, path in files:
        store.add_artifact(info.id, kind, str(path))
    if config.showcase:
        show_end(store, config, study, best.trial, [path for _, path in files])
    return best


def _front(store: Store, info: queries.StudyInfo, config: Config) -> ranking.Front | None:
    """Rebuild the front of a study that was after it."""
    if config.objective.kind != "pareto":
        return None
    with store.read() as connection:
        return ranking.front(connection, info)


def _measured(architecture: Architecture, config: Config) -> float | None:
    """Measure a network as the study's table was measured; None without one, or not here."""
    from nas.latency import measure

    if config.latency is None:
        return None
    was = config.latency.setting
    try:
        here = measure.setting(was.batch_size, was.threads, was.device)
    except UserError as error:  # the table is of a machine that has a GPU
        log.warning("%s", error)
        return None
    case = measure.Case(
        lambda: network.build(architecture), architecture.in_channels, architecture.resolution
    )
    return measure.measure([case], here, seconds=MEASURING)[0].median_ms


def facts_of(
    trial: queries.TrialInfo,
    data: DataSet,
    architecture: Architecture,
    test: Mapping[str, float | None],
) -> export.Facts:
    """Collect what an exported file says of itself."""
    from nas.training.trainer import normalisation

    mean, std = normalisation(data, architecture.resolution)
    return export.Facts(
        score=trial.score,
        validation={name: v for name, v in trial.metrics.items() if v is not None},
        test={name: v for name, v in test.items() if v is not None},
        data=data.name,
        class_names=data.classes,
        date=datetime.now(UTC).date().isoformat(),
        mean=mean,
        std=std,
    )


def trained_weights(
    store: Store, evaluation: Evaluation, config: Config, data: DataSet
) -> "Mapping[str, Tensor]":
    """Return an evaluation's weights: kept ones, or the same training once more.

    Where that does not give quite what is stored (other threads, another machine's arithmetic), it
    is said in the log; the test metrics are always those of the weights handed out.
    """
    from nas.training.checkpoint import Checkpoints
    from nas.training.trainer import train

    if evaluation.checkpoint is not None:
        kept = Checkpoints(evaluation.checkpoint).load_weights()
        if kept is not None:
            return kept
    again = train(Architecture.from_json(evaluation.architecture), data, config.recipe)
    metric = config.recipe.metric
    stored, now = evaluation.metrics.get(metric), again.metrics[metric]
    if stored != now:
        log.warning(
            "%s: trained again, %s %s, not %s", evaluation.architecture_id, metric, now, stored
        )
    url = config.checkpoint_url(evaluation.architecture_id)
    Checkpoints(url).save_weights(again.state)
    store.set_checkpoint(evaluation.id, url)
    return again.state


def _look(
    architecture: Architecture, state: "Mapping[str, Tensor]", data: DataSet
) -> dict[str, float]:
    from nas.training.trainer import evaluate, normalisation

    module = network.build(architecture)
    module.load_state_dict(dict(state))
    size = architecture.resolution
    return evaluate(module, data.splits["test"], size, *normalisation(data, size))


def _result(store: Store, info: queries.StudyInfo, best: Best) -> dict[str, Any]:
    with store.read() as connection:
        counts = queries.counts(connection, info.id)
        top = queries.best(connection, info.id, 5)
    return {
        "study": info.name,
        "best": best.to_json(),
        "trials": vars(counts),
        "top": [trial.summary() for trial in top],
        **({"front": [trial.summary() for trial in best.front.trials]} if best.front else {}),
        "config": _without_paths(info.config),
    }


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's configuration for people: no machine's paths, no repetition of the space."""
    left_out = ("parameters", "space", "folder", "data", "latency", "checkpoints")
    return {key: value for key, value in config.items() if key not in left_out}
