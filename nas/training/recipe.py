"""The recipe: everything besides the architecture that decides a training's result. No torch."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nas.data import DataSet
from nas.errors import DataError, UserError, unknown
from nas.pruners.ladder import Rung
from nas.training import augmentations, metrics
from nas.training.augmentations import OPERATIONS, Augmentation
from nas.training.losses import LOSSES, WEIGHTINGS
from nas.training.optimisers import OPTIMISERS
from nas.training.schedules import SCHEDULES

VERSION = 1  # of the trainer: raise it when the same recipe comes to mean another training

# A recipe is hashed by meaning: a field at its neutral value is not part of the hash, so that a new
# field changes no stored recipe's id. The first recipes hashed these fields even when neutral;
# their ids stay, and this list never grows.
_ALWAYS_HASHED = frozenset(
    {"rotation", "scale", "shift", "flip", "brightness", "contrast", "cutout", "class_balance"}
)


def _setting(
    default: Any,
    *,
    registry: Mapping[str, object] | None = None,
    high: float | None = None,
    neutral: bool = False,
) -> Any:
    """Declare a field: a name of a registry, or a number from 0 to `high`.

    A `neutral` field's default leaves a training as it was before the field existed.
    """
    return field(default=default, metadata={"registry": registry, "high": high, "neutral": neutral})


@dataclass(frozen=True)
class Recipe:
    """How an architecture is trained and scored; `data` and `fingerprint` name the data set.

    An epoch is `epoch_updates` updates of the optimiser, at 0 one pass over the train split; after
    each epoch the network is validated.
    The learning rate climbs for `warmup_epochs` and then follows the schedule, per step, over all
    epochs. Metrics are those of the exponential moving average (EMA) of the weights.

    `class_weights` names the weighting of the classes in the loss. Under `power` an image in a
    class of n images weighs n^-class_balance: at 0 images weigh the same, at 1 classes do.
    `balanced_sampling` draws such an image in proportion to n^-balanced_sampling: at 0 each comes
    once in an epoch, at 1 classes come equally often. `focal_gamma`, `logit_tau` and
    `effective_beta` are settings of the loss or weighting that they are named for.

    `momentum` is that of the optimisers that have one, `decay_rate` and `decay_epochs` shape the
    schedules that decay in steps. `dropout` (before the classifier), `stochastic_depth` (of the
    last residual branch, the others in proportion to their depth) and `batch_norm_momentum` hold in
    training alone and replace the architecture's own values, unless neutral. After
    `early_stopping` epochs without a better metric a training is complete; 0 never stops. A batch
    is computed in `accumulation_steps` micro-batches, which need less memory.

    `ladder` has the rungs that use less than all data, from the first epoch on.

    A new field is neutral by default, so that stored recipes keep their meaning.
    """

    data: str
    fingerprint: str
    epochs: int
    metric: str = "accuracy"
    seed: int = 0
    batch_size: int = 64
    learning_rate: float = _setting(8e-3, high=math.inf)
    weight_decay: float = _setting(0.05, high=math.inf)
    warmup_epochs: float = _setting(2.0, high=math.inf)
    label_smoothing: float = _setting(0.1, high=1.0)
    ema_decay: float = _setting(0.995, high=1.0)
    clip_norm: float = _setting(2.0, high=math.inf)
    class_balance: float = _setting(0.0, high=math.inf, neutral=True)
    augmentation: Augmentation = field(default_factory=augmentations.tuned)
    ladder: tuple[Rung, ...] = _setting((), neutral=True)
    version: int = VERSION
    optimiser: str = _setting("adamw", registry=OPTIMISERS, neutral=True)
    schedule: str = _setting("cosine", registry=SCHEDULES, neutral=True)
    loss: str = _setting("cross_entropy", registry=LOSSES, neutral=True)
    epoch_updates: int = _setting(0, high=math.inf, neutral=True)
    focal_gamma: float = _setting(2.0, high=math.inf, neutral=True)
    logit_tau: float = _setting(1.0, high=math.inf, neutral=True)
    class_weights: str = _setting("power", registry=WEIGHTINGS, neutral=True)
    effective_beta: float = _setting(0.999, high=0.99999, neutral=True)
    balanced_sampling: float = _setting(0.0, high=1.0, neutral=True)
    momentum: float = _setting(0.9, high=0.9999, neutral=True)
    decay_rate: float = _setting(0.97, high=1.0, neutral=True)
    decay_epochs: float = _setting(2.4, high=math.inf, neutral=True)
    dropout: float = _setting(0.0, high=0.95, neutral=True)
    stochastic_depth: float = _setting(0.0, high=0.95, neutral=True)
    batch_norm_momentum: float = _setting(0.1, high=1.0, neutral=True)
    early_stopping: int = _setting(0, high=math.inf, neutral=True)
    accumulation_steps: int = _setting(1, high=math.inf, neutral=True)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_field(each.name, getattr(self, each.name), each.metadata)
        metrics.resolve(self.metric)
        if self.epochs < 1:
            raise UserError(f"A training needs at least 1 epoch, not {self.epochs}.")
        if self.batch_size < 2:
            raise UserError(f"A batch needs at least 2 images, not {self.batch_size}.")
        if not 1 <= self.accumulation_steps <= self.batch_size // 2:
            raise UserError(
                f"A micro-batch needs at least 2 images: a batch of {self.batch_size} has 1 to "
                f"{self.batch_size // 2} accumulation_steps, not {self.accumulation_steps}."
            )
        if self.decay_epochs <= 0:
            raise UserError(f"A recipe's decay_epochs are above 0, not {self.decay_epochs}.")
        object.__setattr__(self, "augmentation", augmentations.switched_on(self.augmentation))
        _check_ladder(self.ladder, self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain data without its neutral fields."""
        return self._plain(frozenset())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Recipe":
        """Read a recipe back; raises UserError for a missing or unknown field."""
        try:
            ladder = tuple(Rung(**rung) for rung in data.get("ladder", ()))
            return cls(**{**data, "augmentation": dict(data["augmentation"]), "ladder": ladder})
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(each.name for each in fields(cls))
            raise UserError(f"Not a recipe: {error}. Its fields: {names}.") from error

    @property
    def hash(self) -> str:
        """The recipe's content hash, 16 hex characters; the data's name is no content."""
        content = self._plain(_ALWAYS_HASHED)
        del content["data"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _plain(self, always: frozenset[str]) -> dict[str, Any]:
        """Return the fields and operations that are not neutral, and the `always` hashed ones."""
        values = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name in always
            or not each.metadata.get("neutral")
            or getattr(self, each.name) != each.default
        }
        if self.ladder:
            values["ladder"] = [asdict(rung) for rung in self.ladder]
        values["augmentation"] = {
            name: self.augmentation.get(name, row.neutral)
            for name, row in OPERATIONS.items()
            if name in always or name in self.augmentation
        }
        return values

    def rung(self, epoch: int) -> Rung:
        """Return the rung of an epoch (from 1)."""
        return next((r for r in self.ladder if epoch <= r.epochs), Rung(self.epochs))

    def updates(self, images: int, share: float = 1.0) -> int:
        """Return the optimiser's updates in an epoch on this many images, a share of the split."""
        if self.epoch_updates:
            return max(1, round(self.epoch_updates * share))
        return max(1, images // self.batch_size)

    def describe(self) -> str:
        """Describe the training in a few sentences."""
        optimiser = OPTIMISERS[self.optimiser].words.format(recipe=self)
        loss = LOSSES[self.loss].words.format(recipe=self)
        updates = f" of {self.epoch_updates} updates" if self.epoch_updates else ""
        schedule = SCHEDULES[self.schedule].words.format(recipe=self)
        return (
            f"{self.epochs} epochs{updates} in batches of {self.batch_size} with {optimiser}, "
            f"{schedule}{_regularised(self)}. Each image is changed at random every time: "
            f"{augmentations.describe(self.augmentation)}. {loss}{_balance(self)}; "
            f"gradients clipped at {self.clip_norm:g}. {_less(self.ladder)}"
            f"Scored by {self.metric.replace('_', ' ')} of the moving average of the weights, "
            f"seed {self.seed}."
        )


def _check_field(name: str, value: Any, declared: Mapping[str, Any]) -> None:
    """Refuse an unknown name and a number out of its range."""
    registry, high = declared.get("registry"), declared.get("high")
    if registry is not None and value not in registry:
        raise UserError(unknown(name, value, registry))
    if high is not None and not 0 <= value <= high:
        limit = "at least 0" if high == math.inf else f"0 to {high:g}"
        raise UserError(f"A recipe's {name} is {limit}, not {value}.")


def _regularised(recipe: Recipe) -> str:
    words = {
        "dropout": f"dropout {recipe.dropout:g}",
        "stochastic_depth": f"stochastic depth rising to {recipe.stochastic_depth:g}",
        "batch_norm_momentum": f"batch-norm momentum {recipe.batch_norm_momentum:g}",
        "early_stopping": f"ended after {recipe.early_stopping} epochs without a better score",
        "accumulation_steps": f"gradients of {recipe.accumulation_steps} micro-batches a batch",
    }
    neutral = {each.name: each.default for each in fields(recipe)}
    return "".join(
        f", {text}" for name, text in words.items() if getattr(recipe, name) != neutral[name]
    )


def _balance(recipe: Recipe) -> str:
    words = ""
    if recipe.class_weights != "power" or recipe.class_balance:
        weight = WEIGHTINGS[recipe.class_weights].words.format(recipe=recipe)
        words += f", an image in a class of n weighing {weight}"
    if recipe.balanced_sampling:
        words += f", and drawn in proportion to n^-{recipe.balanced_sampling:g}"
    return words


def _less(ladder: tuple[Rung, ...]) -> str:
    words = []
    for rung in ladder:
        shares = (("images", rung.data), ("resolution", rung.resolution))
        part = " and ".join(f"{share:.0%} of the {name}" for name, share in shares if share < 1)
        words.append(f"up to epoch {rung.epochs} {part or 'all'}")
    return f"At first less is seen: {'; '.join(words)}. " if words else ""


def _check_ladder(ladder: tuple[Rung, ...], epochs: int) -> None:
    """Refuse rungs that are out of order, reach the last epoch, or use no data or too much."""
    ends = [0, *(rung.epochs for rung in ladder), epochs]
    if ladder and any(later <= sooner for sooner, later in itertools.pairwise(ends)):
        raise UserError(f"A ladder's rungs end at rising epochs below {epochs}, not {ends[1:-1]}.")
    for rung in ladder:
        if not (0 < rung.data <= 1 and 0 < rung.resolution <= 1):
            raise UserError(f"A rung's data and resolution lie above 0 and up to 1, not {rung}.")


def default_recipe(
    data: DataSet, *, metric: str = "accuracy", epochs: int | None = None, seed: int = 0
) -> Recipe:
    """Return the recipe for small images and short trainings, less what `data` forbids."""
    return Recipe(
        data=data.name,
        fingerprint=data.fingerprint,
        epochs=default_epochs(len(data.splits["train"])) if epochs is None else epochs,
        metric=metric,
        seed=seed,
        augmentation={k: v for k, v in augmentations.tuned().items() if k not in data.forbids},
    )


def default_epochs(images: int) -> int:
    """Return the default number of epochs for a train split of this many images.

    20 from 1,000 to 5,000 images; more below and fewer above, by the square root of the number of
    images, so that more images always mean more steps.
    """
    factor = math.sqrt(max(1000 / images, min(1.0, 5000 / images)))
    return round(min(60.0, max(5.0, 20 * factor)))


def check_fits(recipe: Recipe, data: DataSet) -> None:
    """Raise DataError when the recipe is for another data set or has a forbidden augmentation.

    Raises UserError when its metric is of a class that the data has not.
    """
    if recipe.fingerprint != data.fingerprint:
        raise DataError(
            f"The recipe is for {recipe.data!r} with the content {recipe.fingerprint}; "
            f"{data.name!r} has {data.fingerprint}. Train on the same data, or start a new study."
        )
    metrics.resolve(recipe.metric, data.classes)
    grey = augmentations.too_few_channels(recipe.augmentation, data.in_channels)
    if grey:
        raise DataError(
            f"The augmentation {', '.join(grey)} needs 3 channels; the images of {data.name!r} "
            f"have {data.in_channels}."
        )
    if data.forbids & recipe.augmentation.keys():
        raise DataError(
            f"{data.name!r} forbids {', '.join(sorted(data.forbids))}; the recipe does it: "
            f"{augmentations.describe(recipe.augmentation)}."
        )
