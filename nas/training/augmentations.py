"""The registry of augmentations: random changes of a whole batch on the tensor, by kornia.

A row of `OPERATIONS` is one operation: a new one is a row and a function of a few lines that makes
kornia's modules. Reading the registry imports neither torch nor kornia. Augmentation takes 2 to 5 %
of the time on one core.

It follows standardisation, so that a blanked square is 0, the mean. Pixels from outside the image
continue its border, and only half of the images get a square: a network that is trained on images
with blank margins alone does worse on whole ones (0.02 of accuracy on PneumoniaMNIST).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor

Augmentation = Mapping[str, float]
"""The strength of each operation that is on; it is drawn anew for each image in every epoch."""


def _affine(ka: Any, strengths: Augmentation) -> list[Any]:
    zoom = 1 + strengths.get("scale", 0.0)
    shift = strengths.get("shift", 0.0)
    return [
        ka.RandomAffine(
            degrees=strengths.get("rotation", 0.0),
            translate=(shift, shift),
            scale=(1 / zoom, zoom),
            padding_mode="border",
            p=1.0,
        )
    ]


def _flip(ka: Any, _: Augmentation) -> list[Any]:
    return [ka.RandomHorizontalFlip(p=0.5)]


def _colours(ka: Any, strengths: Augmentation) -> list[Any]:
    kinds = {"contrast": ka.RandomContrast, "brightness": ka.RandomBrightness}
    return [
        kind((1 - strengths[name], 1 + strengths[name]), clip_output=False, p=1.0)
        for name, kind in kinds.items()  # kornia adds the brightness less 1
        if name in strengths
    ]


def _cutout(ka: Any, strengths: Augmentation) -> list[Any]:
    area = strengths["cutout"] ** 2
    return [ka.RandomErasing(scale=(area, area), ratio=(1.0, 1.0), value=0.0, p=0.5)]


@dataclass(frozen=True)
class Operation:
    """One augmentation: a strength from `low` to `high`, which does nothing at `neutral`.

    `words` describe a strength, `tuned` is the default recipe's. `make(kornia.augmentation,
    strengths)` returns kornia's modules for the operations that are on; a function that several
    rows share is called once, in the first row's place. Sizes are shares of the image's side, so
    that they hold at any resolution.
    """

    words: str
    make: Callable[[Any, Augmentation], list[Any]]
    high: float = 1.0
    low: float = 0.0
    neutral: float = 0.0
    tuned: float = 0.0


OPERATIONS = {
    "rotation": Operation("turned by up to {:g} degrees", _affine, high=180.0, tuned=20.0),
    "scale": Operation("scaled by up to {:.0%}", _affine, high=4.0, tuned=0.2),
    "shift": Operation("shifted by up to {:.0%}", _affine, tuned=0.1),
    "flip": Operation("mirrored half of the time", _flip, neutral=False, tuned=True),
    "brightness": Operation("brightness ±{:g} standard deviations", _colours, high=5.0, tuned=0.5),
    "contrast": Operation("contrast ±{:.0%}", _colours, tuned=0.5),
    "cutout": Operation(
        "half of them with a square of {:.0%} of the side blanked", _cutout, tuned=0.4
    ),
}
"""The operations by name; a data set may forbid any of them."""


def switched_on(strengths: Augmentation) -> Augmentation:
    """Return the operations that are not neutral; raise UserError for one that can't be made."""
    for name, strength in strengths.items():
        if name not in OPERATIONS:
            raise UserError(unknown("augmentation", name, OPERATIONS))
        low, high = OPERATIONS[name].low, OPERATIONS[name].high
        if not low <= strength <= high:
            raise UserError(f"The augmentation {name} is {low:g} to {high:g}, not {strength}.")
    return {
        name: strengths[name]
        for name, row in OPERATIONS.items()
        if strengths.get(name, row.neutral) != row.neutral
    }


def tuned() -> Augmentation:
    """Return the augmentation that is tuned for small images and short trainings."""
    return switched_on({name: row.tuned for name, row in OPERATIONS.items()})


def describe(strengths: Augmentation) -> str:
    """Describe the changes of an image."""
    words = [OPERATIONS[name].words.format(strength) for name, strength in strengths.items()]
    return ", ".join(words) or "not at all"


def augmenter(strengths: Augmentation) -> "Callable[[Tensor], Tensor]":
    """Return a function that changes each image of a standardised batch, (N, C, H, W), at random.

    It draws from torch's global generator, on the CPU.
    """
    if not strengths:
        return lambda x: x
    import kornia.augmentation as ka

    makers = dict.fromkeys(OPERATIONS[name].make for name in strengths)
    modules = [module for make in makers for module in make(ka, strengths)]
    return ka.AugmentationSequential(*modules, data_keys=["input"])
