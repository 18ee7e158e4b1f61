"""The verb that says which class images are of. Importing this module imports no torch."""

import csv as csv_files
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from nas.commands._options import Help, Store, argument
from nas.commands.studies import reading
from nas.errors import NasError, StoreError, UnreadableImage, UserError
from nas.files import check_file, write, writing
from nas.quantities import from_here
from nas.report import tables

if TYPE_CHECKING:
    from nas.data import DataSet
    from nas.data.dataset import Images
    from nas.export.python import Emitted
    from nas.store.queries import StudyInfo, TrialInfo

BATCH = 512  # images that are in memory at once
NAMED = 20  # files that an error names, at most
CODE = "model.py"
Source = Annotated[
    str, argument("A study's name, or a folder of nas train, nas export or a search's winner.")
]
Watch = Callable[[str, int, int], None]


class Deployed(NamedTuple):
    """A trained network that is ready for use; a study's has the study and the training."""

    network: "Emitted"
    study: "StudyInfo | None" = None
    training: "TrialInfo | None" = None

    def is_of(self, data: "DataSet") -> bool:
        """Tell whether it is known to be trained on this data set: the study's own."""
        own = None if self.study is None else self.study.config["recipe"]["fingerprint"]
        return bool(own == data.fingerprint)

    def choice_of(self, source: str) -> dict[str, Any]:
        """Return how files and groups are chosen where a source is the study's own data."""
        from nas.data.layout import Patterns
        from nas.study.preparation import from_anywhere

        config = {} if self.study is None else self.study.config
        own = config.get("data") in (source, from_anywhere(source))
        if not own:
            return {}
        patterns = Patterns(*(tuple(config.get(name, ())) for name in ("include", "exclude")))
        return {"groups": config.get("groups"), "patterns": patterns}


class PredictedImage(NamedTuple):
    """An image's file, its class, and the probability of each class by its name.

    Several labels are written with a bar between them, as ChestX-ray14 has them; none is empty.
    """

    file: str
    answer: str
    probabilities: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        plain = {"file": self.file, "class": self.answer}
        return plain | {"probabilities": dict(self.probabilities)}


@dataclass(frozen=True)
class PredictedImages:
    """The predictions for image files, and why others could not be read, by their names."""

    classes: tuple[str, ...]
    images: Sequence[PredictedImage]
    unreadable: Mapping[str, str]
    csv: Path | None = None

    @property
    def failure(self) -> NasError | None:
        """Which files could not be read; None where all could."""
        if not self.unreadable:
            return None
        count = len(self.unreadable)
        return NasError(
            f"{len(self.images)} images were predicted, {count} could not be read: "
            f"{_named(self.unreadable)}."
        )

    def table(self) -> str:
        """Return the predictions as CSV: file, class, the probability of each class."""
        text = io.StringIO()
        writer = csv_files.writer(text, lineterminator="\n")
        writer.writerow(["file", "class", *self.classes])
        for each in self.images:
            numbers = (f"{each.probabilities[name]:.6f}" for name in self.classes)
            writer.writerow([each.file, each.answer, *numbers])
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return the predictions as plain data."""
        return {
            "classes": list(self.classes),
            "images": [each.to_json() for each in self.images],
            "unreadable": dict(self.unreadable),
            "csv": None if self.csv is None else from_here(self.csv),
        }

    def lines(self) -> tables.Lines:
        """Print the CSV, or where it was written and how often each class is the answer."""
        if self.csv is None:
            yield from self.table().splitlines()
            return
        counts = Counter(each.answer for each in self.images)
        shown = [name for name in dict.fromkeys([*self.classes, *counts]) if counts[name]]
        answers = ", ".join(f"{name or 'no label'} {counts[name]}" for name in shown)
        yield f"{from_here(self.csv)}: {len(self.images)} images: {answers}"


def predict(
    source: Source,
    paths: Annotated[list[str], argument("Images, or folders that are walked.")],
    *,
    csv: Annotated[str | None, Help("CSV file to write; else it is printed.")] = None,
    store: Store = None,
    watch: Watch | None = None,
) -> PredictedImages:
    """Say which class images are of: the class and the probability of each class.

    Images become gray or RGB, and of the size that the network was trained with. A file that can't
    be read is named at the end; the others are predicted. Raises UserError, before anything is
    written, where there is no image at all. `watch` hears how many images are done.
    """
    if csv is not None:
        check_file(Path(csv), "--csv")
    unreadable: dict[str, str] = {}
    files = list(dict.fromkeys(_files(paths, unreadable)))
    if not files:
        raise UserError(f"There is no image to predict: {_named(unreadable)}.")
    network = deployed(source, store).network
    images: list[PredictedImage] = []
    for start in range(0, len(files), BATCH):
        images += _predicted(network, files[start : start + BATCH], unreadable)
        if watch is not None:
            watch("images", min(start + BATCH, len(files)), len(files))
    if not images:
        raise UserError(f"No image can be read: {_named(unreadable)}.")
    done = PredictedImages(network.class_names, images, unreadable, Path(csv) if csv else None)
    if done.csv is not None:
        with writing(done.csv):
            write(done.csv, os.fsencode(done.table()))
    return done


def _files(paths: Sequence[str], unreadable: dict[str, str]) -> Iterator[str]:
    """Yield the image files of paths; note the paths that have none."""
    from nas.data.layout import EXTENSIONS, is_image

    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield given
            continue
        inside = [
            str(each)
            for each in sorted(path.rglob("*"))
            if is_image(each.name) and not each.name.startswith(".") and each.is_file()
        ]
        if not inside:
            unreadable[given] = f"a folder without images ({', '.join(sorted(EXTENSIONS))})"
        yield from inside


def _predicted(
    network: "Emitted", files: Sequence[str], unreadable: dict[str, str]
) -> Iterator[PredictedImage]:
    """Predict files at once; note those that can't be read."""
    import numpy as np

    from nas.data import Split
    from nas.data.dataset import resize
    from nas.data.image_list import read_image
    from nas.training.trainer import predict as predictions_of

    read: dict[str, Images] = {}
    for file in files:
        try:
            if not Path(file).exists():
                raise UnreadableImage("no such file")
            image = read_image(Path(file), network.in_channels, network.reading)
        except UnreadableImage as error:
            unreadable[file] = _why(file, error)
        else:
            read[file] = resize(image, network.resolution)
    if not read:
        return
    several, names, size = network.targets.task == "labels", network.class_names, network.resolution
    nothing = np.zeros((len(read), len(names)) if several else len(read), np.int64)
    split = Split(nothing, lambda _: np.stack(list(read.values())))
    predictions = predictions_of(
        network.network, split, size, network.mean, network.std, answer=network.targets.rule
    )
    for file, called, row in zip(
        read, predictions.called.tolist(), predictions.probabilities.tolist(), strict=True
    ):
        answer = "|".join(name for name, is_answer in zip(names, called, strict=True) if is_answer)
        yield PredictedImage(file, answer, dict(zip(names, row, strict=True)))


def _why(file: str, error: UnreadableImage) -> str:
    """Return the reason of an error about a file, without the rule and the file's name."""
    return str(error).rpartition(f"{Path(file)} is not: ")[2].rstrip(".")


def _named(files: Mapping[str, str]) -> str:
    """Name files that could not be read, each with the reason."""
    named = [f"{file} ({why})" for file, why in list(files.items())[:NAMED]]
    more = len(files) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def deployed(source: str, store: str | None) -> Deployed:
    """Read a trained network: that of a folder, else of the winner of the study of this name.

    A study's files are those that it handed over; where they are gone or of an earlier winner, they
    are made once more. Raises UserError where there is neither.
    """
    from nas.export import python

    for code in (Path(source, CODE), Path(source, "best", CODE), Path(source)):
        if code.name == CODE and code.is_file():
            return Deployed(python.read(code))
    study, training = _winner(source, store)
    handed_over = Path(study.folder or "", "best")
    if _is_of(handed_over, training):
        return Deployed(python.read(handed_over / CODE), study, training)
    from nas.commands.export import Found, of_study
    from nas.export import ExportOptions

    found = Found.of(study.name, None, None, store)
    with TemporaryDirectory(prefix="nas-") as folder:
        code = of_study(found, ["python"], ExportOptions(), Path(folder)).code
        return Deployed(python.read(code), study, training)


def _winner(source: str, store: str | None) -> "tuple[StudyInfo, TrialInfo]":
    """Return a study and the training that its winner's weights are of."""
    from nas.store import queries
    from nas.study.finalists import training_of

    try:
        with reading(store) as connection:
            study = queries.study(connection, source)
            return study, training_of(connection, study, None)
    except StoreError as error:
        raise UserError(
            f"{source!r} is no folder with {CODE} (of nas train, nas export, or a search's winner) "
            f"and no study with a winner: {error}"
        ) from None


def _is_of(folder: Path, training: "TrialInfo") -> bool:
    """Tell whether a folder holds the network of a training, with its weights.

    Weights that were written before they said whose they are count as those of their network.
    """
    from safetensors import SafetensorError, safe_open

    from nas.architecture import Architecture

    try:
        data = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
        is_same = Architecture.from_json(data).id == training.architecture_id
        with safe_open(folder / "model.safetensors", "pt") as weights:
            said = (weights.metadata() or {}).get("training", training.training)
    except (OSError, ValueError, NasError, SafetensorError):
        return False
    return is_same and said == training.training and (folder / CODE).is_file()
