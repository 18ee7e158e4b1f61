"""What one change of the default recipe is worth, and whether `short` ranks networks as `whole`.

    python -m benchmarks.recipe_tuning change --data FOLDER [--minutes 60] [--only WORDS]...
    python -m benchmarks.recipe_tuning rank --data FOLDER [--minutes 60]
    python -m benchmarks.recipe_tuning balance --data FOLDER [--minutes 60]

FOLDER holds `pneumoniamnist/pneumoniamnist.npz` and so on. Each of `SETS` is trained on a part of
its train images and scored on the rest and on the validation images; test images are never used.
`change` trains networks of `mixconv` by `whole` and by each of `CHANGES`; a seed goes with a
network, and a change is compared with `whole` on the same set, network and seed. `rank` trains 20
networks drawn near a target by `short` and, with another seed, by `whole`. `balance` trains the
first network by `whole`, classes weighed by powers of their frequency. A training is
one line of results/recipe_tuning.json and is not repeated while it is there; one thread is used.
`python -m benchmarks.recipe_tables` prints the results. `whole` is that of before the tuning: its
values that follow from these results are taken back by `BEFORE`.
"""

import argparse
import io
import itertools
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.recipe import DISTORTIONS, distorted
from nas import network, search_space
from nas.architecture import Architecture, Value
from nas.data import DataSet, load
from nas.data.dataset import Images, content_hash, in_memory, share_of
from nas.objective import Objective
from nas.search_space.preflight import Subject, draw_near
from nas.training.adaptation import GAP, LEARNT
from nas.training.augmentations import OPERATIONS, off
from nas.training.images import normalisation
from nas.training.metrics import epoch_metrics
from nas.training.recipe import Recipe
from nas.training.recipes import compose
from nas.training.trainer import Control, EpochResult, predict, train

RESULT = Path(__file__).parent / "results" / "recipe_tuning.json"
SHOWN = ("loss", "accuracy", "auroc")
KEPT = (*SHOWN, "balanced_accuracy")
FEWER = 5  # epochs are so many times as long as a search's
DRAWN, TARGET = 20, 500_000  # networks, and the macs that they are drawn near
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """The images of a set: how many are trained on, how many are scored at most, and their size."""

    source: str
    train: int
    scored: int = 1_500
    resolution: int = 24


SETS = {
    "pneumoniamnist 200": Part("pneumoniamnist", 200),
    "pneumoniamnist 546": Part("pneumoniamnist", 546),
    "retinamnist 691": Part("retinamnist", 691),
    "digits 690": Part("digits", 690, resolution=16),
    "alzheimer 1200": Part("alzheimer_mri_64", 1_200),
    "cifar10 2000": Part("cifar10_jpeg", 2_000),
}
RANKED = {
    "pneumoniamnist 546": Part("pneumoniamnist", 546, scored=750, resolution=16),
    "cifar10 1000": Part("cifar10_jpeg", 1_000, scored=750, resolution=16),
}

IMBALANCED = ("pneumoniamnist 546", "retinamnist 691", "alzheimer 1200")
POWERS, SEEDS = (0.0, 0.5, 1.0), (0, 1)  # an image of a class of n weighs n^-power

SMALL: dict[str, Value] = {
    "stem.width": 16,
    "stem.stride": 2,
    "activation": "silu",
    "stage1.kernels": "3",
    "partition": "equal",
    **{f"stage{number}.depth": 1 for number in (2, 3, 4, 5)},
    **{f"stage{number}.expansion": 4 for number in (2, 3, 4, 5)},
    **{f"stage{number}.se_ratio": 0.25 for number in (2, 3, 4, 5)},
    **{f"stage{number}.kernels": "3.5" for number in (3, 4, 5)},
    "stage2.kernels": "3",
    "stage2.width": 16,
    "stage3.width": 32,
    "stage4.width": 64,
    "stage5.width": 64,
    "stage5.stride": 1,
    "head.width": 256,
}
LARGER = SMALL | {
    "activation": "hard_swish",
    "stage3.depth": 2,
    "stage3.width": 40,
    "stage4.depth": 2,
    "stage4.kernels": "3.5.7",
    "stage5.width": 120,
    "stage5.stride": 2,
    "head.width": 512,
}
NETWORKS = {"small": SMALL, "larger": LARGER}  # 91,000 and 221,000 parameters

Change = Callable[[Recipe], Recipe]


def _longer(factor: float) -> Change:
    return lambda r: replace(r, epoch_updates=round(r.epoch_updates * factor))


def _batches(size: int) -> Change:
    """Return the change to another batch size, for as many images in all."""
    ratio = size / 64
    return lambda r: replace(
        _longer(1 / ratio)(r), batch_size=size, learning_rate=r.learning_rate * ratio**0.5
    )


def _augmented(factor: float) -> Change:
    def change(recipe: Recipe) -> Recipe:
        strengths = {
            name: value if isinstance(value, bool) else min(value * factor, OPERATIONS[name].high)
            for name, value in recipe.augmentation.items()
        }
        return replace(recipe, augmentation=strengths)

    return change


def _trivial(recipe: Recipe) -> Recipe:
    flip = recipe.augmentation.get("flip", False)
    return replace(recipe, augmentation=off() | {"flip": flip, "trivialaugment": True})


def _mixed(recipe: Recipe) -> Recipe:
    return replace(recipe, augmentation={**recipe.augmentation, "mixup": 0.2})


def _adapting(recipe: Recipe, *names: str) -> Recipe:
    """Return a change that adapts by these settings; an epoch is short again, since each adapts."""
    return replace(
        recipe,
        epochs=recipe.epochs * FEWER,
        epoch_updates=recipe.epoch_updates // FEWER,
        warmup_epochs=recipe.warmup_epochs * FEWER,
        label_smoothing=0.0,
        augmentation={**recipe.augmentation, **{each: OPERATIONS[each].tuned for each in names}},
    )


def _set(**values: Any) -> Change:
    return lambda recipe: replace(recipe, **values)


def _times(name: str, factor: float) -> Change:
    return lambda recipe: replace(recipe, **{name: getattr(recipe, name) * factor})


BASE, NONE = "whole", "nothing but the seed"
BEFORE = ["loss.label_smoothing=0.1", f"augmentation.{GAP}=0"]
BEFORE_RANKS = [*BEFORE, "regularisation.batch_norm_images=0"]
CHANGES: dict[str, Change] = {  # the most informative first
    BASE: lambda recipe: recipe,
    NONE: lambda recipe: replace(recipe, seed=recipe.seed + 100),
    "no label smoothing": _set(label_smoothing=0.0),
    "no label smoothing, adapting augmentation": lambda recipe: _adapting(recipe, GAP),
    "the same until images are learnt": lambda recipe: _adapting(recipe, GAP, LEARNT),
    "augmentation x 1.5": _augmented(1.5),
    "half the learning rate": _times("learning_rate", 0.5),
    "EMA of 0.995": _set(ema_decay=0.995),
    "weight decay x 0.2": _times("weight_decay", 0.2),
    "Mixup of 0.2": _mixed,
    "augmentation x 0.5": _augmented(0.5),
    "twice the learning rate": _times("learning_rate", 2),
    "no dropout, no stochastic depth": _set(dropout=0.0, stochastic_depth=0.0),
    "batches of 32, as many images": _batches(32),
    "twice the updates": _longer(2),
    "TrivialAugment alone": _trivial,
    "batch norm of augmented images": _set(batch_norm_images=0),
    "half the updates": _longer(0.5),
    "batches of 128, as many images": _batches(128),
    "dropout 0.4, stochastic depth 0.2": _set(dropout=0.4, stochastic_depth=0.2),
    "SGD, 0.05, weight decay 5e-4": _set(optimiser="sgd", learning_rate=0.05, weight_decay=5e-4),
    "RMSprop, 0.004, weight decay 1e-5": _set(
        optimiser="rmsprop", learning_rate=0.004, weight_decay=1e-5
    ),
}


@dataclass(frozen=True)
class Training:
    """One training: a recipe by its name for a network, both given in full, too."""

    part: str
    network: str
    recipe: str
    architecture: Architecture
    data: DataSet
    values: Recipe

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is by its meaning: the seed and the data's content are in the recipe's hash."""
        return self.architecture.id, self.values.hash, self.recipe

    def run(self) -> Row:
        """Train and return the row of the result."""
        curve: list[dict[str, float]] = []

        def hear(epoch: EpochResult) -> None:
            curve.append({name: round(epoch.metrics[name], 5) for name in KEPT})

        result = train(self.architecture, self.data, self.values, control=Control(on_epoch=hear))
        cost = network.cost(self.architecture)
        return {
            "set": self.part,
            "network": self.network,
            "recipe": self.recipe,
            "seed": self.values.seed,
            "architecture_id": self.key[0],
            "recipe_hash": self.key[1],
            "macs": cost.macs,
            "params": cost.params,
            "updates": self.values.epochs * self.values.epoch_updates,
            "seconds": round(result.seconds, 1),
            "curve": curve,
            "distorted": self.distorted(result.state),
        }

    def distorted(self, state: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the mean metrics on the scored images, each set of them changed in one way."""
        size, split = self.architecture.resolution, self.data.splits["validation"]
        module, statistics = network.build(self.architecture), normalisation(self.data, size)
        module.load_state_dict(state)
        found = [
            epoch_metrics(predict(module, distorted(split, size, change), size, *statistics))
            for change in DISTORTIONS.values()
        ]
        return {name: round(float(np.mean([each[name] for each in found])), 5) for name in KEPT}


def fewer_epochs(recipe: Recipe, factor: int = FEWER) -> Recipe:
    """Return the same training in fewer and longer epochs, since each ends with a validation."""
    return replace(
        recipe,
        epochs=recipe.epochs // factor,
        epoch_updates=recipe.epoch_updates * factor,
        warmup_epochs=recipe.warmup_epochs / factor,
    )


def changes(folder: Path) -> Iterator[Training]:
    """Yield the trainings that compare changes: all of the first network, then of the second."""
    for seed, (name, values) in enumerate(NETWORKS.items()):
        for words, change in CHANGES.items():
            for part, images in SETS.items():
                data = divided(images, folder)
                recipe = change(
                    fewer_epochs(compose(data, BASE, given={"seed": seed}, words=BEFORE))
                )
                architecture = _space(images).decode(
                    values, in_channels=data.in_channels, classes=len(data.classes)
                )
                yield Training(part, name, words, architecture, data, recipe)


def ranks(folder: Path) -> Iterator[Training]:
    """Yield the trainings that rank networks: each network by both recipes, set after set."""
    for part, images in RANKED.items():
        data = divided(images, folder)
        subject = Subject(_space(images), data.in_channels, len(data.classes))
        # each epoch of `short` may be a rung
        short = compose(data, "short", given={"seed": 0}, words=BEFORE[1:])
        whole = fewer_epochs(compose(data, BASE, given={"seed": 1}, words=BEFORE_RANKS))
        for number, values in enumerate(drawn(subject)):
            architecture = subject.decode(values)
            for name, recipe in (("short", short), (BASE, whole)):
                yield Training(part, f"drawn {number}", name, architecture, data, recipe)


def balances(folder: Path) -> Iterator[Training]:
    """Yield the trainings that weigh classes by their frequency: all of the first seed first."""
    for seed, power, part in itertools.product(SEEDS, POWERS, IMBALANCED):
        data, images = divided(SETS[part], folder), SETS[part]
        recipe = fewer_epochs(compose(data, BASE, given={"seed": seed}, words=BEFORE))
        architecture = _space(images).decode(
            SMALL, in_channels=data.in_channels, classes=len(data.classes)
        )
        values = replace(recipe, class_balance=power)
        yield Training(part, "small", power_name(power), architecture, data, values)


def power_name(power: float) -> str:
    """Return the name of the recipe that weighs classes by this power of their frequency."""
    return f"classes by n^-{power:g}"


def drawn(subject: Subject) -> list[dict[str, Value]]:
    """Return different networks as a search opens with them: drawn near the target."""
    rng, found = random.Random(0), dict[str, dict[str, Value]]()
    while len(found) < DRAWN:
        values = draw_near(subject, Objective(TARGET, "hard", -1.0), rng)
        found.setdefault(subject.decode(values).id, values)
    return list(found.values())


def _space(images: Part) -> search_space.SearchSpace:
    return search_space.load("mixconv").at_resolution(images.resolution)


@cache
def divided(part: Part, folder: Path) -> DataSet:
    """Return a set with its part of the train images, and with the others to score on.

    The others are of the train and the validation split, each class in proportion.
    """
    data = _whole(part.source, folder)
    train_split, validation = data.splits["train"], data.splits.get("validation")
    images, labels = train_split.images(data.native_resolution), train_split.labels
    used = share_of(labels, part.train / len(labels), seed=0)
    others = np.setdiff1d(np.arange(len(labels)), used)
    rest, rest_labels = images[others], labels[others]
    if validation is not None:
        rest = np.concatenate([rest, validation.images(data.native_resolution)])
        rest_labels = np.concatenate([rest_labels, validation.labels])
    scored = share_of(rest_labels, min(1.0, part.scored / len(rest_labels)), seed=0)
    kept = images[used], labels[used], rest[scored], rest_labels[scored]
    return replace(
        data,
        fingerprint=content_hash(kept),
        splits={"train": in_memory(*kept[:2]), "validation": in_memory(*kept[2:])},
    )


@cache
def _whole(source: str, folder: Path) -> DataSet:
    path = folder / source / f"{source}.npz"
    if source == "cifar10_jpeg":
        return _packed(path)
    return load(path if path.exists() else source)


def _packed(path: Path) -> DataSet:
    """Read the train split of a file that holds JPEGs, packed one after another."""
    with np.load(path, allow_pickle=False) as file:
        labels, classes = file["train_labels"].astype(np.int64), file["classes"].tolist()
    images = unpacked(path, "train", range(len(labels)))
    splits = {"train": in_memory(images, labels)}
    size = images.shape[1]
    return DataSet(path.stem, "", tuple(classes), 3, size, frozenset(), splits)


def unpacked(path: Path, split: str, which: Sequence[int]) -> Images:
    """Return images of a split of a file that holds JPEGs one after another."""
    with np.load(path, allow_pickle=False) as file:
        packed, offsets = file[f"{split}_jpeg"].tobytes(), file[f"{split}_offsets"].tolist()
    files = (io.BytesIO(packed[offsets[each] : offsets[each + 1]]) for each in which)
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def read() -> list[Row]:
    """Return the trainings so far."""
    return json.loads(RESULT.read_text())["trainings"] if RESULT.exists() else []


def keep(rows: Sequence[Row]) -> None:
    """Write the trainings, a line each, at once or not at all."""
    temporary = RESULT.with_suffix(".tmp")
    lines = ",\n".join(json.dumps(row) for row in rows)
    temporary.write_text(f'{{"torch": "{torch.__version__}", "trainings": [\n{lines}\n]}}\n')
    os.replace(temporary, RESULT)


def run(trainings: Iterator[Training], minutes: float, only: Sequence[str] = ()) -> None:
    """Train what is missing, of the recipes `only` if any, for as long as there is time."""
    begun = time.monotonic()
    done = {(row["architecture_id"], row["recipe_hash"], row["recipe"]) for row in read()}
    for each in trainings:
        if each.key in done or (only and each.recipe not in only):
            continue
        if time.monotonic() - begun > 60 * minutes:
            break
        row = each.run()
        keep([*read(), row])
        words = f"{row['set']}, {row['network']}, {row['recipe']}, seed {row['seed']}"
        print(f"{words}: {row['curve'][-1]} in {row['seconds']:.0f} s", file=sys.stderr, flush=True)


TRAININGS = {"change": changes, "rank": ranks, "balance": balances}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=TRAININGS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--only", action="append", default=[], help="recipes by their names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run(TRAININGS[options.what](options.data), options.minutes, options.only)


if __name__ == "__main__":
    main()
