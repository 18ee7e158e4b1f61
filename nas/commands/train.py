"""The verb that trains one given network in full. Importing this module imports no torch."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nas import quantities
from nas.commands._options import silent
from nas.commands.networks import architecture_of
from nas.commands.search import Study, run
from nas.commands.studies import reading
from nas.errors import NasError, UserError
from nas.files import check_folder, write, write_json
from nas.report import tables
from nas.study import options

if TYPE_CHECKING:
    import sqlalchemy as sa

    from nas.architecture import Architecture
    from nas.report.study_picture import Epoch
    from nas.store.queries import TrialInfo
    from nas.store.records import CurvePoint
    from nas.study.finalists import Standing
    from nas.study.preparation import Prepared
    from nas.study.progress import Watch

FILES = ("model.py", "model.safetensors", "architecture.json")
RESULT, PICTURE = "result.json", "train.png"


class SeedTraining(NamedTuple):
    """One training: its seed, its metrics on validation, its learning curve."""

    seed: int
    trial: "TrialInfo"
    curve: "Sequence[CurvePoint]"

    def to_json(self) -> dict[str, Any]:
        """Return the training as plain data, without its curve."""
        return {
            "seed": self.seed,
            "trial": self.trial.number,
            "metrics": dict(self.trial.metrics),
            "epochs": len(self.curve),
            "seconds": self.trial.seconds,
        }


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained in full; metrics are means over the seeds.

    `trainings` has the one whose weights are handed over first, the best on validation; `folder` is
    where they lie. A training that was stopped has neither. `taught_by` are the studies of the
    rounds before, each of which taught the next.
    """

    network: str
    study: Study
    folder: Path
    trainings: Sequence[SeedTraining] = ()
    taught_by: Sequence[str] = ()

    @property
    def failure(self) -> NasError | None:
        """Why there is no trained network: it was stopped, or no training came to its end."""
        return self.study.failure

    @property
    def code(self) -> Path:
        """The network's code; its weights lie beside it."""
        return self.folder / FILES[0]

    @property
    def standing(self) -> "Standing":
        """The trainings with their means; raises NasError where there are none."""
        return self.study.best.standing

    @property
    def spread(self) -> dict[str, float]:
        """The standard deviation of each metric on validation; empty for a single seed."""
        from nas.study.finalists import spreads

        return spreads([training.trial.metrics for training in self.trainings])

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        if self.study.winner is None:
            return {"study": self.study.name, "network": self.network, "metrics": None}
        best, architecture = self.study.best, self.study.best.architecture
        return {
            "study": self.study.name,
            "network": self.network,
            "architecture_id": architecture.id,
            "resolution": architecture.resolution,
            "in_channels": architecture.in_channels,
            "classes": architecture.classes,
            "macs": best.trial.cost.macs,
            "params": best.trial.cost.params,
            "metric": best.metric,
            "seeds": len(self.trainings),
            "metrics": self.standing.validation,
            "spread": self.spread,
            "test": dict(best.test),
            "test_spread": dict(best.test_spread),
            "test_looks": best.test_looks,
            "trainings": [training.to_json() for training in self.trainings],
            "taught_by": list(self.taught_by),
            "warnings": [warning.to_json() for warning in self.study.warnings],
            "picture": quantities.from_here(self.folder / PICTURE),
            "code": quantities.from_here(self.code),
        }

    def lines(self) -> tables.Lines:
        """Show each training and the means, and say where the code lies."""
        if self.study.winner is None:
            return
        best = self.study.best
        names = list(dict.fromkeys([best.metric, "accuracy", "balanced_accuracy", "auroc", "loss"]))
        rows = [_row(f"seed {t.seed}", t.trial.metrics, {}, names) for t in self.trainings]
        if len(rows) > 1:
            rows.append(_row("mean", self.standing.validation, self.spread, names))
        rows.append(_row("test", best.test, best.test_spread, names))
        columns = ["training", *(f"#{name.replace('_', ' ')}" for name in names)]
        yield tables.Table(columns, rows, f"{self.network}, on validation and on test")
        yield from map(tables.Remark, self.study.warnings)
        yield (
            f"test, looked at {best.test_looks}x; majority class "
            f"{quantities.number(best.test.get('majority_rate'))}"
        )
        yield f"picture: {quantities.from_here(self.folder / PICTURE)}"
        yield f"code: {quantities.from_here(self.code)}"


def _row(
    name: str,
    metrics: Mapping[str, float | None],
    spread: Mapping[str, float],
    names: Sequence[str],
) -> list[str]:
    """Return a table's row of metrics, each with its standard deviation where there is one."""
    deviations = (f" ± {spread[each]:.4f}" if each in spread else "" for each in names)
    numbers = (quantities.number(metrics.get(each)) for each in names)
    return [name, *map(str.__add__, numbers, deviations)]


@options.documented(options.trainable())
def train(
    network: str,
    *,
    out: str,
    seeds: int = 1,
    rounds: int = 1,
    say: Callable[[str], None] | None = None,
    watch: "Watch | None" = None,
    **given: Any,
) -> TrainedNetwork:
    """Train one network in full, once for each seed, and look at the test split once.

    `network` is a published network or a family member, an architecture's JSON file, or a trial of
    the store as STUDY:TRIAL; it gets the data's channels and classes. Code, weights, result and
    picture are written to the folder `out`. With a teacher there may be several `rounds`, each with
    the best network of the one before as its teacher; the last one's is handed over, and alone
    looks at the test split. The same call goes on where it was stopped. Raises
    UserError, before anything is written, for what can't be trained. `say` receives the lines
    before the training, `watch` a snapshot every second. The options are those of the command line:
    """
    network, out = quantities.plain(network), quantities.plain(out)
    seeds = options.training_count("seeds", seeds)
    rounds = options.training_count("rounds", rounds)
    asked, say = options.read(given, options.trainable()), say or silent
    options.check_aids(asked)
    options.check_rounds(rounds, asked)
    check_folder(Path(out))
    from nas.study.announcement import first_warnings
    from nas.study.given import announce_given, executor_for, prepare_given
    from nas.study.preparation import open_study, taken_back

    source, name = _network(network, asked.store)
    taught_by: list[str] = []
    with closing(executor_for(asked, seeds)) as executor:
        for number in range(1, rounds + 1):
            suffix, last = (f"-round{n}" if rounds > 1 else "" for n in (number, rounds))
            with taken_back(asked.out):
                prepared = prepare_given(
                    source, name, asked, seeds, executor, published=name == network,
                    suffix=suffix, say=say,
                )  # fmt: skip
                _check_out(Path(out), prepared, prepared.name.removesuffix(suffix) + last)
                store = open_study(prepared)
            for line in [*announce_given(prepared), *first_warnings(prepared, store)]:
                say(line)
            study = run(prepared, store, watch or silent, hand_over=number == rounds)
            ended = study.counts.complete + study.counts.reused
            if number == rounds or not (study.completed and ended):
                break
            taught_by.append(study.name)
            asked = replace(asked, teacher=study.name)
    trained = TrainedNetwork(network, study, Path(out), taught_by=taught_by)
    return trained if study.winner is None else _handed_over(trained)


def _network(network: str, store: str | None) -> "tuple[Architecture, str]":
    """Return a network and its name: of the store as STUDY:TRIAL, else as `nas cost` knows it."""
    study, colon, number = network.rpartition(":")
    if not (colon and number.isdecimal()):
        is_file = Path(network).suffix in (".json", ".py")
        return architecture_of(network), Path(network).stem if is_file else network
    from nas.store import queries

    with reading(store) as connection:
        info = queries.study(connection, study)
        trial = queries.trial(connection, info.id, int(number))
        return queries.evaluation(connection, trial.evaluation_id).architecture, f"{study}-{number}"


def _check_out(out: Path, prepared: "Prepared", study: str) -> None:
    """Refuse a folder that holds other weights than a study's of the prepared network."""
    if not (out / FILES[1]).exists():
        return
    ours = {"study": study, "architecture_id": prepared.config.subject.decode({}).id}
    try:
        found = json.loads((out / RESULT).read_text(encoding="utf-8"))
        theirs = {name: found.get(name) for name in ours}
    except (OSError, ValueError, AttributeError):
        theirs = {}
    if theirs != ours:
        raise UserError(
            f"{out} holds weights, which are another training's; choose another folder for --out."
        )


def _handed_over(trained: TrainedNetwork) -> TrainedNetwork:
    """Write the files of a trained network into its folder."""
    from nas.report.study_picture import draw_training

    best = trained.study.best
    with reading(trained.study.store) as connection:
        done = replace(trained, trainings=_trainings(connection, best.standing))
    for name in FILES:
        write(done.folder / name, best.code.with_name(name).read_bytes())
    curves = {
        f"seed {training.seed}": [_epoch(point, best.metric) for point in training.curve]
        for training in done.trainings
    }
    draw_training(curves, best.metric, trained.study.name, done.folder / PICTURE)
    write_json(done.folder / RESULT, done.to_json())
    return done


def _epoch(point: "CurvePoint", metric: str) -> "Epoch":
    from nas.report.study_picture import Epoch

    numbers = (point.metrics.get(metric), point.train_loss, point.metrics.get("loss"))
    return Epoch(point.epoch, *(float("nan") if each is None else each for each in numbers))


def _trainings(connection: "sa.Connection", standing: "Standing") -> list[SeedTraining]:
    from nas.store import queries

    trainings = []
    for trial in standing.trainings:
        evaluation = queries.evaluation(connection, trial.evaluation_id)
        seed = queries.recipe(connection, evaluation.recipe_hash)["seed"]
        trainings.append(SeedTraining(seed, trial, queries.curve(connection, evaluation.id)))
    return trainings
