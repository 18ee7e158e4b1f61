"""The verb that measures a trained network on a data set, its own or another.

Importing this module imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nas.commands._options import Help, Picture, Store, silent
from nas.commands.predict import Deployed, Source, Watch, deployed
from nas.errors import DataError, UserError, unknown
from nas.files import check_picture, writing
from nas.quantities import from_here
from nas.report import tables

if TYPE_CHECKING:
    from nas.data import DataSet
    from nas.export.python import Emitted
    from nas.training.metrics.predictions import Predictions
    from nas.training.reports import ClassReport, Report

ALL = "all"
BATCH = 4096  # images that are in memory at once
LONG = 50_000  # images times classes, above which the intervals take a while
MATRIX = 12  # classes: a larger confusion matrix is not printed
SHOWN = ("recall", "precision", "specificity", "auroc")  # of each class


@dataclass(frozen=True)
class Evaluated:
    """A network's report on a split of a data set of `of` images.

    `test_looks` counts the looks at the test split where it is the study's own.
    """

    source: str
    data: str
    split: str
    of: int
    report: "Report"
    majority_rate: float
    remarks: Sequence[str]
    test_looks: int | None = None
    picture: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data; intervals are of 95 %, over the images."""
        report = self.report
        return {
            "source": self.source,
            "data": self.data,
            "split": self.split,
            "images": report.images,
            "classes": [each.name for each in report.classes],
            **_numbers(report),
            "majority_rate": self.majority_rate,
            "confusion_matrix": report.confusion,
            "per_class": {each.name: _class_numbers(each) for each in report.classes},
            "reliability": [each._asdict() for each in report.reliability],
            "test_looks": self.test_looks,
            "remarks": list(self.remarks),
            "picture": None if self.picture is None else from_here(self.picture),
        }

    def lines(self) -> tables.Lines:
        """Show the metrics with their intervals, each class, and the confusion matrix."""
        report = self.report
        names = [each.name for each in report.classes]
        looks = f", looked at {self.test_looks}x" if self.test_looks else ""
        yield (
            f"{self.data}, {self.split}{looks}: {report.images} of {self.of} images, majority class"
            f" {self.majority_rate:.4f}"
        )
        yield from map(tables.Remark, self.remarks)
        rows = [
            [name.replace("_", " "), f"{of.value:.4f}", f"{of.low:.4f} to {of.high:.4f}"]
            for name, of in report.metrics.items()
        ]
        yield tables.Table(["metric", "#value", "#95 % interval"], rows)
        rows = [
            [each.name, f"{each.images}", f"{each.answers}"]
            + [f"{each.metrics[name].value:.4f}" for name in SHOWN]
            for each in report.classes
        ]
        columns = ["class", "#images", "#answers", *(f"#{name}" for name in SHOWN)]
        yield tables.Table(columns, rows)
        if report.confusion and len(names) <= MATRIX:
            pairs = zip(names, report.confusion, strict=True)
            rows = [[name, *map(str, row)] for name, row in pairs]
            columns = ["label", *(f"#{name}" for name in names)]
            yield "confusion matrix: a row is a label, a column an answer"
            yield tables.Table(columns, rows)
        if self.picture is not None:
            yield f"picture: {from_here(self.picture)}"


def _numbers(of: "Report | ClassReport") -> dict[str, dict[str, Any]]:
    """Return metrics, and their intervals, by name."""
    return {
        "metrics": {name: each.value for name, each in of.metrics.items()},
        "intervals": {name: [each.low, each.high] for name, each in of.metrics.items()},
    }


def _class_numbers(of: "ClassReport") -> dict[str, Any]:
    counts = {"images": of.images, "answers": of.answers}
    return counts | _numbers(of) | {"curve": None if of.curve is None else vars(of.curve)}


def evaluate(
    source: Source,
    *,
    data: Annotated[str, Help("Name, file (.npz, .csv, ...), folder of images per class, or URL.")],
    split: Annotated[str, Help("test, validation, train or all.")] = "test",
    out: Picture = None,
    store: Store = None,
    say: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> Evaluated:
    """Measure a trained network on a data set: each metric with its interval, and each class.

    The data's classes have the names of the network's, in any order; else UserError is raised. A
    look at the test split of the study's own data is counted. With `out` the confusion matrix and
    the curves are drawn there. `watch` hears how many images are done, `say` how the data
    were read, and what takes long.
    """
    from nas.data import SPLITS
    from nas.data.inspection import describe
    from nas.report.predictions import draw_predictions
    from nas.training.metrics import FACTS
    from nas.training.reports import report

    if split not in (*SPLITS, ALL):
        raise UserError(unknown("split", split, (*SPLITS, ALL)))
    if out is not None:
        check_picture(Path(out))
    trained = deployed(source, store)
    images = _load(trained, data)
    (say or silent)(describe(images))
    wanted = SPLITS if split == ALL else (split,)
    parts = {name: _predictions(trained.network, images, name, watch) for name in wanted}
    looks = None
    if trained.is_of(images) and "test" in parts:
        looks = _count_look(trained, parts["test"], store)
    together = _together(list(parts.values()))
    if len(together.labels) * len(together.classes) > LONG:
        (say or silent)(f"95 % intervals of {len(together.labels):,} images: a minute or more")
    evaluated = Evaluated(
        source=source,
        data=images.name,
        split=split,
        of=sum(map(len, images.splits.values())),
        report=report(together),
        majority_rate=FACTS["majority_rate"].value(together),
        remarks=list(_remarks(trained, images, together, split)),
        test_looks=looks,
        picture=None if out is None else Path(out),
    )
    if evaluated.picture is not None:
        with writing(evaluated.picture):
            draw_predictions(
                evaluated.report.to_json(), f"{source} on {images.name}", evaluated.picture
            )
    return evaluated


def _load(trained: Deployed, data: str) -> "DataSet":
    """Load data as the network's own were read, with its classes."""
    from nas.config import CACHE
    from nas.data import load
    from nas.study.preparation import taken_back

    own = trained.choice_of(data) | {"reading": trained.network.reading}
    with taken_back("studies"):
        images = load(data, cache_dir=Path("studies", CACHE), **own)
        _check_classes(trained.network, images)
    return images


def _check_classes(network: "Emitted", data: "DataSet") -> None:
    """Refuse data whose classes are not the network's, by their names."""
    names, task = network.class_names, network.targets.task
    if data.task != task:
        has = {"classes": "one class an image", "labels": "several labels an image"}
        raise DataError(f"The network is for {has[task]}; {data.name} has {has[data.task]}.")
    missing = [repr(name) for name in names if name not in data.classes]
    extra = [repr(name) for name in data.classes if name not in names]
    faults = [f"{data.name} lacks {', '.join(missing)}"] if missing else []
    faults += [f"the network does not know {', '.join(extra)}"] if extra else []
    if faults:
        raise DataError(
            f"The data's classes have the names of the network's, {', '.join(map(repr, names))}, in"
            f" any order; {' and '.join(faults)}."
        )


def _predictions(
    network: "Emitted", data: "DataSet", split: str, watch: Watch | None
) -> "Predictions":
    """Return the network's predictions on a split, a part of it at a time; labels are its own."""
    import numpy as np

    from nas.data.dataset import in_memory, members, with_channels
    from nas.training.trainer import predict

    part, size = data.splits[split], network.resolution
    theirs = [data.classes.index(name) for name in network.class_names]
    has = members(part.labels, len(theirs))[:, theirs]
    labels = has.astype(np.int64) if data.task == "labels" else has.argmax(1)
    images = part.images(size)
    done = []
    for start in range(0, len(labels), BATCH):
        here = slice(start, start + BATCH)
        converted = with_channels(images[here], network.in_channels)
        few = in_memory(converted, labels[here])
        statistics, rule = (network.mean, network.std), network.targets.rule
        done.append(predict(network.network, few, size, *statistics, answer=rule))
        if watch is not None:
            watch(split, min(start + BATCH, len(labels)), len(labels))
    return replace(_together(done), classes=network.class_names)


def _together(parts: "Sequence[Predictions]") -> "Predictions":
    """Return the predictions of several parts as those of one."""
    import numpy as np

    return replace(
        parts[0],
        logits=np.concatenate([part.logits for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _count_look(trained: Deployed, test: "Predictions", store: str | None) -> int | None:
    """Record a look at the test split of the study's own data; return how many there were."""
    from nas.store.engine import resolve
    from nas.store.store import Store as Writable
    from nas.training.metrics import epoch_metrics

    if trained.study is None or trained.training is None:
        return None
    metrics = epoch_metrics(test, trained.study.metric)
    with closing(Writable.open(resolve(store))) as writable:
        return writable.look_at_test(trained.study.id, trained.training.evaluation_id, metrics)


def _remarks(trained: Deployed, data: "DataSet", given: "Predictions", split: str) -> Iterator[str]:
    """Say what makes the numbers less than they seem."""
    from nas.training.metrics import FACTS

    if empty := [repr(name) for at, name in enumerate(given.classes) if at not in given.labelled]:
        yield f"there are no images of {', '.join(empty)}: nothing can be said of them."
    if FACTS["predicted_classes"].value(given) == 1:
        (called, *_) = given.called
        names = [
            repr(name) for name, is_answer in zip(given.classes, called, strict=True) if is_answer
        ]
        yield f"every answer is {' and '.join(names) or 'no label'}: the network tells nothing."
    if data.in_channels != trained.network.in_channels:
        kinds = {1: "gray", 3: "RGB"}
        yield (
            f"the images are {kinds[data.in_channels]} and were made "
            f"{kinds[trained.network.in_channels]}, as the network takes them."
        )
    if trained.is_of(data) and split != "test":
        yield "the network was trained and chosen with these images: on others it is worse."
