"""The recipe: everything besides the architecture that decides a training's result. No torch."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from nas.errors import DataError, UserError, unknown
from nas.pruners.ladder import Rung
from nas.training import augmentations, methods, metrics
from nas.training.augmentations import OPERATIONS, Augmentation
from nas.training.losses import LOSSES, WEIGHTINGS
from nas.training.methods import METHODS
from nas.training.methods.noisy_student import SELECTIONS
from nas.training.optimisers import OPTIMISERS
from nas.training.schedules import SCHEDULES
from nas.training.targets import ANSWERS, check_row

if TYPE_CHECKING:
    from nas.data import DataSet

VERSION = 1  # of the trainer: raise it when the same recipe comes to mean another training

# A recipe is hashed by meaning: a field at its neutral value is not part of the hash, so that a new
# field changes no stored recipe's id. The first recipes hashed these fields even when neutral;
# their ids stay, and this list never grows.
_ALWAYS_HASHED = frozenset(
    {"rotation", "scale", "shift", "flip", "brightness", "contrast", "cutout", "class_balance"}
)

# Fields that nobody sets in a recipe's file, and that are neutral all the same.
_NEUTRAL = ("ladder", "start", "teacher", "unlabelled")


@dataclass(frozen=True)
class RecipeField:
    """A field of a recipe that people set: its table in a file, its meaning, its values.

    A value is a name of the `registry`, or a number from `low` to `high`. A `neutral` field's
    default leaves a training as it was before the field existed. `resolve` raises UserError for a
    name, where more names are valid than those of the registry.
    """

    group: str
    words: str
    low: float = 0.0
    high: float = math.inf
    registry: Mapping[str, Any] | None = None
    resolve: Callable[[str], str] | None = None
    neutral: bool = False

    def check(self, name: str, value: Any) -> None:
        """Refuse an unknown name and a number out of its range; `name` is the field's."""
        if self.resolve is not None:
            self.resolve(value)
        elif self.registry is not None:
            if value not in self.registry:
                raise UserError(unknown(name, value, self.registry))
        elif not self.low <= value <= self.high or value == math.inf:
            limit = f"{self.low:g} to {self.high:g}"
            limit = f"at least {self.low:g}" if self.high == math.inf else limit
            raise UserError(f"A recipe's {name} is {limit}, not {value}.")

    @property
    def limits(self) -> tuple[str, str]:
        """The least and the greatest number as text; empty where there is none."""
        if self.registry is not None:
            return "", ""
        return f"{self.low:g}", "" if self.high == math.inf else f"{self.high:g}"


def _setting(default: Any, group: str, words: str, **facts: Any) -> Any:
    return field(default=default, metadata={"setting": RecipeField(group, words, **facts)})


# fmt: off
@dataclass(frozen=True)
class Recipe:
    """How an architecture is trained and scored; `data` and `fingerprint` name the data set.

    Each field says what it does. `ladder` has the rungs that use less than all data, from the first
    epoch on. `dropout`, `stochastic_depth` and `batch_norm_momentum` hold in training alone and
    replace the architecture's own values, unless neutral. Where an option gives the number of
    images in a class, it is n.

    `start` is the digest of the weights that a training begins with, empty for random ones, and
    `teacher` that of the network it learns from: see `nas.training.sources`. `unlabelled` is the
    digest of the images without labels.

    A new field is neutral by default, so that stored recipes keep their meaning.
    """

    data: str
    fingerprint: str
    epochs: int = _setting(
        MISSING, "training", "how many times the network is trained and then validated", low=1,
        high=100_000)
    metric: str = _setting(
        "accuracy", "training", "the metric of the objective", registry=metrics.METRICS,
        resolve=metrics.resolve)
    seed: int = 0
    batch_size: int = _setting(64, "training", "images of an update", low=2, high=65_536)
    learning_rate: float = _setting(8e-3, "optimiser", "the highest learning rate", high=100.0)
    weight_decay: float = _setting(
        0.05, "optimiser", "of the weights; norms and biases do not decay", high=100.0)
    warmup_epochs: float = _setting(
        2.0, "schedule", "epochs in which the learning rate climbs, at most a quarter of them",
        high=100_000.0)
    label_smoothing: float = _setting(
        0.1, "loss", "the share of a label that all classes get", high=1.0)
    ema_decay: float = _setting(
        0.995, "regularisation", "of the exponential moving average (EMA) of the weights, which "
        "is scored and kept; at 0 the weights themselves are", high=1.0)
    clip_norm: float = _setting(
        2.0, "optimiser", "the largest norm of the gradients; at 0 they are not clipped")
    class_balance: float = _setting(
        0.0, "loss", "weights power: an image weighs n^-class_balance, at 1 classes weigh the same",
        high=4.0, neutral=True)
    augmentation: Augmentation = field(default_factory=augmentations.tuned)
    ladder: tuple[Rung, ...] = ()
    version: int = VERSION
    optimiser: str = _setting(
        "adamw", "optimiser", "the rule by which weights follow their gradients",
        registry=OPTIMISERS, neutral=True)
    schedule: str = _setting(
        "cosine", "schedule", "the learning rate after the warm-up", registry=SCHEDULES,
        neutral=True)
    loss: str = _setting(
        "cross_entropy", "loss", "the function that is minimised; ordinal is for classes in an "
        "order, such as grades", registry=LOSSES, neutral=True)
    epoch_updates: int = _setting(
        0, "training", "updates of an epoch; at 0 an epoch is one pass over the train split",
        high=100_000, neutral=True)
    focal_gamma: float = _setting(
        2.0, "loss", "focal: the higher, the less a sure answer counts (arXiv:1708.02002)",
        high=20.0, neutral=True)
    logit_tau: float = _setting(
        1.0, "loss", "logit_adjusted: the margin of rare classes (arXiv:2007.07314)",
        high=100.0, neutral=True)
    class_weights: str = _setting(
        "power", "loss", "how classes weigh", registry=WEIGHTINGS, neutral=True)
    effective_beta: float = _setting(
        0.999, "loss", "effective_number: an image weighs (1 - b)/(1 - b^n) (arXiv:1901.05555)",
        high=0.99999, neutral=True)
    balanced_sampling: float = _setting(
        0.0, "training", "draws an image in proportion to n^-balanced_sampling; at 1 all classes "
        "come equally often", high=1.0, neutral=True)
    layer_decay: float = _setting(
        1.0, "optimiser", "times this is the learning rate of each block that of the next one, of "
        "the classifier the whole (arXiv:1801.06146)", low=0.01, high=1.0, neutral=True)
    momentum: float = _setting(
        0.9, "optimiser", "of sgd and rmsprop", high=0.9999, neutral=True)
    decay_rate: float = _setting(
        0.97, "schedule", "exponential and step multiply the learning rate by it every "
        "decay_epochs, plateau after as many epochs without a better score", high=1.0,
        neutral=True)
    decay_epochs: float = _setting(2.4, "schedule", "see decay_rate", low=0.01, high=100_000.0,
        neutral=True)
    final_learning_rate: float = _setting(
        0.0, "schedule", "cosine ends at it", high=100.0, neutral=True)
    dropout: float = _setting(
        0.0, "regularisation", "drops features before the classifier", high=0.95, neutral=True)
    stochastic_depth: float = _setting(
        0.0, "regularisation", "drops the last residual branch at this rate, the k-th of n at k/n "
        "of it (arXiv:1603.09382)", high=0.95, neutral=True)
    batch_norm_momentum: float = _setting(
        0.1, "regularisation", "the weight of a batch in the running statistics", high=1.0,
        neutral=True)
    batch_norm_images: int = _setting(
        0, "regularisation", "train images, without augmentation, whose statistics batch norm has "
        "after each epoch; at 0 it has those of the augmented ones", high=100_000, neutral=True)
    early_stopping: int = _setting(
        0, "training", "ends a training after this many epochs without a better score; 0 never "
        "does", high=100_000, neutral=True)
    frozen_epochs: int = _setting(
        0, "training", "first epochs in which only the classifier learns, where a training starts "
        "from given weights", high=100_000, neutral=True)
    accumulation_steps: int = _setting(
        1, "training", "micro-batches of a batch: less memory; batch norm sees the micro-batches",
        low=1, neutral=True)
    folds: int = _setting(
        1, "training", "at 1 the validation split is scored; from 2 on the train and validation "
        "images in so many folds, each by a network that was trained on the others", low=1,
        neutral=True)
    answer: str = _setting(
        "likeliest", "training", "the answer to an image, which metrics, the exported code and "
        "predictions have; the others are for classes in an order, such as grades",
        registry=ANSWERS, neutral=True)
    start: str = ""
    method: str = _setting(
        methods.PLAIN, "method", "what a network learns from beside labels: a teacher, images "
        "without labels, adversarial images", registry=METHODS, neutral=True)
    teacher: str = ""
    unlabelled: str = ""
    temperature: float = _setting(
        4.0, "method", "distillation: at a higher one the unlikely classes of the teacher count "
        "more", low=0.01, high=1_000.0, neutral=True)
    teacher_share: float = _setting(
        0.9, "method", "distillation: the weight of the teacher's answers; labels have the rest",
        high=1.0, neutral=True)
    unlabelled_ratio: float = _setting(
        1.0, "method", "noisy_student: images without labels for each labelled one of a batch",
        high=100.0, neutral=True)
    least_confidence: float = _setting(
        0.3, "method", "noisy_student: the least probability of the teacher's answer, else an "
        "image is left out", high=1.0, neutral=True)
    pseudo_labels: str = _setting(
        "balanced", "method", "noisy_student: which images are learnt from, by the teacher's "
        "answers; balanced takes as many of each class", registry=SELECTIONS, neutral=True)
    epsilon: float = _setting(
        1.0, "method", "advprop: how far adversarial images may be, in levels of a pixel",
        high=255.0, neutral=True)
    attack_steps: int = _setting(
        1, "method", "advprop: steps by the gradient's sign to an adversarial image", low=1,
        high=100, neutral=True)
    attack_step_size: float = _setting(
        1.0, "method", "advprop: levels that a pixel changes in a step", high=255.0, neutral=True)
    # fmt: on

    def __post_init__(self) -> None:
        for name, setting in declared().items():
            setting.check(name, getattr(self, name))
        if self.accumulation_steps > self.batch_size // 2:
            raise UserError(
                f"A micro-batch needs at least 2 images: a batch of {self.batch_size} has 1 to "
                f"{self.batch_size // 2} accumulation_steps, not {self.accumulation_steps}."
            )
        if self.final_learning_rate > self.learning_rate:
            raise UserError(
                f"A recipe's final_learning_rate is at most its learning_rate, "
                f"{self.learning_rate:g}, not {self.final_learning_rate:g}."
            )
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

    @cached_property
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
            if each.name in always or not _is_neutral(each, getattr(self, each.name))
        }
        if self.ladder:
            values["ladder"] = [asdict(rung) for rung in self.ladder]
        values["augmentation"] = {
            name: self.augmentation.get(name, row.neutral)
            for name, row in OPERATIONS.items()
            if name in always or name in self.augmentation
        }
        return values

    @property
    def sources(self) -> tuple[str, ...]:
        """The digests of the weights that a training needs."""
        return tuple(filter(None, (self.start, self.teacher)))

    def rung(self, epoch: int) -> Rung:
        """Return the rung of an epoch (from 1)."""
        return next((r for r in self.ladder if epoch <= r.epochs), Rung(self.epochs))

    def updates(self, images: int, share: float = 1.0) -> int:
        """Return the optimiser's updates in an epoch on this many images, a share of the split."""
        if self.epoch_updates:
            return max(1, round(self.epoch_updates * share))
        return max(1, images // self.batch_size)

    def all_updates(self, train: int, validation: int, *, refit: bool = True) -> int:
        """Return the updates of all epochs of all networks, by the images of the splits.

        With folds one network is trained for each; `refit` counts the one on all their images.
        """
        if self.folds == 1:
            return self.epochs * self.updates(train)
        images = train + validation
        each = self.folds * self.updates(images - images // self.folds)
        return self.epochs * (each + refit * self.updates(images))

    def describe(self) -> str:
        """Describe the training in a few sentences."""
        optimiser = OPTIMISERS[self.optimiser].words.format(recipe=self)
        loss = LOSSES[self.loss].words.format(recipe=self)
        updates = f" of {self.epoch_updates} updates" if self.epoch_updates else ""
        schedule = SCHEDULES[self.schedule].words.format(recipe=self)
        weights = "the moving average of the weights" if self.ema_decay else "the weights"
        clipped = f"clipped at {self.clip_norm:g}" if self.clip_norm else "not clipped"
        return (
            f"{self.epochs} epochs{updates} in batches of {self.batch_size} with {optimiser}, "
            f"{schedule}{_regularised(self)}. Each image is changed at random every time: "
            f"{augmentations.describe(self.augmentation)}. {loss}{_balance(self)}; "
            f"gradients {clipped}. {_by_method(self)}{_less(self.ladder)}"
            f"Scored by {metrics.words(self.metric)} of {weights}{_on_folds(self.folds)}"
            f"{_answered(self.answer)}, "
            f"seed {self.seed}."
        )


def _is_neutral(of: "Field[Any]", value: Any) -> bool:
    """Tell whether a field's value leaves a training as it was before the field existed."""
    setting = of.metadata.get("setting")
    neutral = of.name in _NEUTRAL if setting is None else setting.neutral
    return bool(neutral and value == of.default)


@cache
def declared() -> Mapping[str, RecipeField]:
    """Return the settings of a recipe by their fields; augmentation has a registry of its own."""
    return {
        each.name: each.metadata["setting"] for each in fields(Recipe) if "setting" in each.metadata
    }


def _regularised(recipe: Recipe) -> str:
    words = {
        "final_learning_rate": f"ending at {recipe.final_learning_rate:g}",
        "dropout": f"dropout {recipe.dropout:g}",
        "stochastic_depth": f"stochastic depth rising to {recipe.stochastic_depth:g}",
        "batch_norm_momentum": f"batch-norm momentum {recipe.batch_norm_momentum:g}",
        "batch_norm_images": f"batch norm refitted on {recipe.batch_norm_images} plain images",
        "layer_decay": f"each block's learning rate {recipe.layer_decay:g} of the next one's",
        "start": f"begun with the weights {recipe.start}",
        "frozen_epochs": f"all but the classifier frozen for {recipe.frozen_epochs} epochs",
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


def _by_method(recipe: Recipe) -> str:
    words = METHODS[recipe.method].words(recipe)
    return f"{words} " if words else ""


def _on_folds(folds: int) -> str:
    return "" if folds == 1 else f" on {folds} folds of the train and validation images"


def _answered(answer: str) -> str:
    return "" if answer == "likeliest" else f", the answer being {ANSWERS[answer].words}"


def _check_ladder(ladder: tuple[Rung, ...], epochs: int) -> None:
    """Refuse rungs that are out of order, reach the last epoch, or use no data or too much."""
    ends = [0, *(rung.epochs for rung in ladder), epochs]
    if ladder and any(later <= sooner for sooner, later in itertools.pairwise(ends)):
        raise UserError(f"A ladder's rungs end at rising epochs below {epochs}, not {ends[1:-1]}.")
    for rung in ladder:
        if not (0 < rung.data <= 1 and 0 < rung.resolution <= 1):
            raise UserError(f"A rung's data and resolution lie above 0 and up to 1, not {rung}.")


def _check_measurable(metric: str, data: "DataSet") -> None:
    """Refuse the metric of a class that no validation image has."""
    from nas.data.dataset import members

    if metric in metrics.METRICS:
        return
    name = metric.partition(":")[2]
    has = members(data.splits["validation"].labels, len(data.classes)).sum(0).tolist()
    if not has[data.classes.index(name)]:
        there = [each for each, count in zip(data.classes, has, strict=True) if count]
        raise DataError(
            f"The metric {metric} needs validation images of {name!r}; there are images of: "
            f"{', '.join(there)}."
        )


def check_fits(recipe: Recipe, data: "DataSet") -> None:
    """Raise DataError for another data set, a forbidden augmentation, or folds that can't be.

    Raises UserError when its metric is of a class that the data set has not, or metric, loss or
    answer need images of one class where they have several labels.
    """
    if recipe.fingerprint != data.fingerprint:
        raise DataError(
            f"The recipe is for {recipe.data!r} with the content {recipe.fingerprint}; "
            f"{data.name!r} has {data.fingerprint}. Train on the same data, or start a new study."
        )
    metric = metrics.resolve(recipe.metric, data.classes, data.task)
    if recipe.folds == 1:
        _check_measurable(metric, data)
    check_row("loss", recipe.loss, LOSSES, data.task)
    check_row("answer", recipe.answer, ANSWERS, data.task)
    check_row("method", recipe.method, METHODS, data.task)
    if recipe.folds > 1 and METHODS[recipe.method].teaches:
        raise UserError(
            f"The method {recipe.method} needs training.folds = 1, not {recipe.folds}: its teacher "
            "may have seen the images of each fold, which are to be scored."
        )
    if recipe.folds > 1:
        from nas.data.folds import divided

        divided(data, recipe.folds)
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
