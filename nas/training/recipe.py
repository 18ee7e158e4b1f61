"""The recipe: everything besides the architecture that decides what a training gives. No torch."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nas.data import DataSet
from nas.errors import DataError, UserError, unknown
from nas.pruners.ladder import Rung

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
"""The metrics that may stand in the objective."""

VERSION = 1  # of the trainer: raise it when the same recipe comes to mean another training


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training image, drawn anew in every epoch; 0 or False is none.

    `rotation` in degrees either way; `scale` and `shift` as shares of the image's side;
    `brightness` in standard deviations of the pixels; `contrast` as a share; `cutout` as the side
    of a square that is blanked in half of the images, a share of the image's side.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0

    def without(self, operations: frozenset[str]) -> "Augmentation":
        """Return the same augmentation with these operations switched off."""
        return Augmentation(**{k: v for k, v in asdict(self).items() if k not in operations})


TUNED = Augmentation(
    rotation=20.0, scale=0.2, shift=0.1, flip=True, brightness=0.5, contrast=0.5, cutout=0.4
)


@dataclass(frozen=True)
class Recipe:
    """How an architecture is trained and scored; `data` and `fingerprint` name the data set.

    The learning rate climbs for `warmup_epochs` and then falls along a cosine to 0, per step.
    Metrics are those of the exponential moving average of the weights. In the loss a class with n
    images weighs n^-class_balance: 0 is plain, 1 lets all classes weigh the same. `ladder` has the
    rungs on which a training sees less than the whole, one after the other from the first epoch;
    the learning rate's schedule is that of all epochs.
    """

    data: str
    fingerprint: str
    epochs: int
    metric: str = "accuracy"
    seed: int = 0
    batch_size: int = 64
    learning_rate: float = 8e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    label_smoothing: float = 0.1
    ema_decay: float = 0.995
    clip_norm: float = 2.0
    class_balance: float = 0.0
    augmentation: Augmentation = TUNED
    ladder: tuple[Rung, ...] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UserError(unknown("metric", self.metric, METRICS))
        if self.epochs < 1:
            raise UserError(f"A training needs at least 1 epoch, not {self.epochs}.")
        if self.batch_size < 2:
            raise UserError(f"A batch needs at least 2 images, not {self.batch_size}.")
        _check_ladder(self.ladder, self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain data; one without a ladder says nothing of ladders."""
        fields_ = asdict(self) | {"ladder": [asdict(rung) for rung in self.ladder]}
        return {name: value for name, value in fields_.items() if name != "ladder" or value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Recipe":
        """Read a recipe back; raises UserError when a field is missing or not known."""
        try:
            ladder = tuple(Rung(**rung) for rung in data.get("ladder", ()))
            augmentation = Augmentation(**data["augmentation"])
            return cls(**{**data, "augmentation": augmentation, "ladder": ladder})
        except (KeyError, TypeError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise UserError(f"Not a recipe: {error}. Its fields: {known}.") from error

    @property
    def hash(self) -> str:
        """The recipe's content hash, 16 hex characters; the data's name is no content."""
        content = {name: value for name, value in self.to_json().items() if name != "data"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rung(self, epoch: int) -> Rung:
        """Return what an epoch (from 1) of the training sees."""
        return next((r for r in self.ladder if epoch <= r.epochs), Rung(self.epochs))

    def describe(self) -> str:
        """Say in a few sentences what the recipe does."""
        power = f", a class of n images weighing n^-{self.class_balance:g}"
        balanced = power if self.class_balance else ""
        return (
            f"{self.epochs} epochs in batches of {self.batch_size} with AdamW (learning rate "
            f"{self.learning_rate:g}, weight decay {self.weight_decay:g}), warm-up and cosine. "
            f"Each image is changed at random every time: {_changes(self.augmentation)}. "
            f"Label smoothing {self.label_smoothing:g}{balanced}; gradients clipped at "
            f"{self.clip_norm:g}. {_less(self.ladder)}Scored by {self.metric.replace('_', ' ')} "
            f"of the moving average of the weights, seed {self.seed}."
        )


def _changes(augmentation: Augmentation) -> str:
    a = augmentation
    said = {
        f"turned by up to {a.rotation:g} degrees": a.rotation,
        f"scaled by up to {a.scale:.0%}": a.scale,
        f"shifted by up to {a.shift:.0%}": a.shift,
        "mirrored half of the time": a.flip,
        f"brightness ±{a.brightness:g} standard deviations": a.brightness,
        f"contrast ±{a.contrast:.0%}": a.contrast,
        f"half of them with a square of {a.cutout:.0%} of the side blanked": a.cutout,
    }
    return ", ".join(text for text, size in said.items() if size) or "not at all"


def _less(ladder: tuple[Rung, ...]) -> str:
    said = []
    for rung in ladder:
        shares = (("images", rung.data), ("resolution", rung.resolution))
        part = " and ".join(f"{share:.0%} of the {name}" for name, share in shares if share < 1)
        said.append(f"up to epoch {rung.epochs} {part or 'all'}")
    return f"At first less is seen: {'; '.join(said)}. " if said else ""


def _check_ladder(ladder: tuple[Rung, ...], epochs: int) -> None:
    """Refuse rungs that are not in order below the whole training, or see nothing, or too much."""
    ends = [0, *(rung.epochs for rung in ladder), epochs]
    if ladder and any(later <= sooner for sooner, later in itertools.pairwise(ends)):
        raise UserError(f"A ladder's rungs end at rising epochs below {epochs}, not {ends[1:-1]}.")
    for rung in ladder:
        if not (0 < rung.data <= 1 and 0 < rung.resolution <= 1):
            raise UserError(f"A rung's data and resolution lie above 0 and up to 1, not {rung}.")


def default_recipe(
    data: DataSet, *, metric: str = "accuracy", epochs: int | None = None, seed: int = 0
) -> Recipe:
    """Return the recipe tuned for small images and short trainings, less what `data` forbids."""
    return Recipe(
        data=data.name,
        fingerprint=data.fingerprint,
        epochs=default_epochs(len(data.splits["train"])) if epochs is None else epochs,
        metric=metric,
        seed=seed,
        augmentation=TUNED.without(data.forbids),
    )


def default_epochs(images: int) -> int:
    """Return how many epochs a set of so many training images gets.

    20 from 1,000 to 5,000 images; more below and fewer above, with the square root of the images,
    so that the number of steps always grows.
    """
    factor = math.sqrt(max(1000 / images, min(1.0, 5000 / images)))
    return round(min(60.0, max(5.0, 20 * factor)))


def check_fits(recipe: Recipe, data: DataSet) -> None:
    """Raise DataError when the recipe is for another data set or does what this one forbids."""
    if recipe.fingerprint != data.fingerprint:
        raise DataError(
            f"The recipe is for {recipe.data!r} with the content {recipe.fingerprint}; "
            f"{data.name!r} has {data.fingerprint}. Train on the same data, or start a new study."
        )
    if recipe.augmentation != recipe.augmentation.without(data.forbids):
        raise DataError(
            f"{data.name!r} forbids {', '.join(sorted(data.forbids))}; the recipe does it: "
            f"{_changes(recipe.augmentation)}."
        )
