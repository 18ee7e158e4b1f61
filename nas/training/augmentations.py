"""The registry of augmentations: random changes of a whole batch on the tensor.

A row of `OPERATIONS` is one operation: a new one is a row and a function of a few lines, which
draws its random numbers (kornia's generators draw for the older ones) and adds its part to a
`nas.training.changes.Change`. Reading the registry imports neither torch nor kornia.

It follows standardisation, so that a blanked square is 0, the mean. Pixels from outside the image
continue its border, and only half of the images get a square: a network that is trained on images
with blank margins alone does worse on whole ones (0.02 of accuracy on PneumoniaMNIST).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from nas.training.changes import Change, Statistics

Augmentation = Mapping[str, float]
"""The strength of each operation that is on; it is drawn anew for each image in every epoch."""

Part = Callable[["Change"], None]
"""A function that adds an operation's part to the change of a batch."""


def _affine(strengths: Augmentation) -> Part:
    import kornia.augmentation as ka
    import torch

    from nas.training.changes import from_pixels

    zoom, shear = 1 + strengths.get("scale", 0.0), strengths.get("shear", 0.0)
    shift = strengths.get("shift", 0.0)
    draw = ka.RandomAffine(
        degrees=strengths.get("rotation", 0.0),
        translate=(strengths.get("shift_x", shift), strengths.get("shift_y", shift)),
        scale=(1 / zoom, zoom),
        shear=(-shear, shear, -shear, shear) if shear else None,
        p=1.0,
    )

    def part(change: "Change") -> None:
        drawn = draw.forward_parameters(change.x.shape)
        matrix = draw.compute_transformation(torch.empty(len(change.x)), drawn, draw.flags)
        change.move(from_pixels(matrix, *change.x.shape[2:]))

    return part


def _flip(_: Augmentation) -> Part:
    return _mirror("xx")


def _vertical_flip(_: Augmentation) -> Part:
    return _mirror("yy")


def _mirror(entry: str) -> Part:
    import kornia.augmentation as ka

    from nas.training.changes import matrices

    draw = ka.RandomHorizontalFlip(p=0.5)

    def part(change: "Change") -> None:
        drawn = draw.forward_parameters(change.x.shape)["batch_prob"]
        change.move(matrices(len(drawn), **{entry: 1 - 2 * drawn}))

    return part


def _colours(strengths: Augmentation) -> Part:
    contrast, brightness = (strengths.get(name, 0.0) for name in ("contrast", "brightness"))

    def part(change: "Change") -> None:
        if contrast:
            change.recolour(factor=change.uniform(1 - contrast, 1 + contrast))
        if brightness:
            change.recolour(summand=change.uniform(-brightness, brightness))

    return part


def _cutout(strengths: Augmentation) -> Part:
    import kornia.augmentation as ka

    from nas.training.changes import outside

    area = strengths["cutout"] ** 2
    draw = ka.RandomErasing(scale=(area, area), ratio=(1.0, 1.0), value=0.0, p=0.5)

    def part(change: "Change") -> None:
        drawn = draw.forward_parameters(change.x.shape)
        change.blank(outside(drawn, *change.x.shape[2:]))

    return part


def _crop(strengths: Augmentation) -> Part:
    from nas.training.changes import window

    area = (1 - strengths["crop"]) ** 2
    return lambda change: change.move(window(change, (area, area), 1.0))


def _resized_crop(strengths: Augmentation) -> Part:
    from nas.training.changes import window

    area = 1 - strengths["resized_crop"]
    return lambda change: change.move(window(change, (area, 1.0), 4 / 3))


def _saturation(strengths: Augmentation) -> Part:
    from kornia.enhance import adjust_saturation

    by = strengths["saturation"]

    def part(change: "Change") -> None:
        factor = change.uniform(1 - by, 1 + by).to(change.x.device)
        change.repaint(lambda x: adjust_saturation(x, factor))

    return part


def _hue(strengths: Augmentation) -> Part:
    from math import tau

    from kornia.enhance import adjust_hue

    by = strengths["hue"] * tau

    def part(change: "Change") -> None:
        angle = change.uniform(-by, by).to(change.x.device)
        change.repaint(lambda x: adjust_hue(x, angle))

    return part


def _grayscale(strengths: Augmentation) -> Part:
    import torch
    from kornia.color import rgb_to_grayscale

    def part(change: "Change") -> None:
        gray = (change.uniform(0, 1) < strengths["grayscale"]).to(change.x.device)
        change.repaint(lambda x: torch.where(gray.view(-1, 1, 1, 1), rgb_to_grayscale(x), x))

    return part


def _blur(strengths: Augmentation) -> Part:
    from math import ceil

    from kornia.filters import gaussian_blur2d

    def part(change: "Change") -> None:
        size = min(change.x.shape[2:])
        sigma = change.uniform(0, strengths["blur"] * size).clamp(min=1e-3).to(change.x.device)
        reach = min(ceil(2 * strengths["blur"] * size), (size - 1) // 2)
        sigmas = sigma[:, None].expand(-1, 2)
        change.repaint(lambda x: gaussian_blur2d(x, 2 * reach + 1, sigmas, "reflect"))

    return part


def _randaugment(strengths: Augmentation) -> Part:
    from nas.training.policies import rand_augment

    number = int(strengths["randaugment"])
    magnitude = strengths.get("randaugment_magnitude", OPERATIONS["randaugment_magnitude"].neutral)
    shape = bool(strengths.get("randaugment_shape", False))
    return lambda change: change.repaint(lambda x: rand_augment(x, number, magnitude, shape=shape))


def _trivialaugment(_: Augmentation) -> Part:
    from nas.training.policies import trivial_augment

    return lambda change: change.repaint(trivial_augment)


def _autoaugment(_: Augmentation) -> Part:
    from nas.training.policies import auto_augment

    return lambda change: change.repaint(auto_augment)


@dataclass(frozen=True)
class Operation:
    """One augmentation: a strength from `low` to `high`, which does nothing at `neutral`.

    `words` describe a strength, `tuned` is the default recipe's. `make(strengths)` returns the part
    of the operations that are on; a function that several rows share is called once, in the first
    row's place. `mixer` and `nas.training.adaptation` have the rows without one. A row `of` another
    operation is a setting of it, and nothing without it. `channels` is the least number that the
    operation needs. A `whole` strength has no fraction. Sizes are shares of the image's side, so
    that they hold at any resolution.
    """

    words: str
    make: Callable[[Augmentation], Part] | None
    high: float = 1.0
    low: float = 0.0
    neutral: float = 0.0
    tuned: float = 0.0
    of: str = ""
    channels: int = 1
    whole: bool = False


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
    "vertical_flip": Operation(
        "mirrored top to bottom half of the time", _vertical_flip, neutral=False, whole=True
    ),
    "shift_x": Operation("shifted sideways by up to {:.0%}", _affine),
    "shift_y": Operation("shifted up or down by up to {:.0%}", _affine),
    "shear": Operation("sheared by up to {:g} degrees", _affine, high=60.0),
    "crop": Operation("a window without {:.0%} of the side, enlarged", _crop, high=0.9),
    "resized_crop": Operation(
        "a window without up to {:.0%} of the area, enlarged and stretched",
        _resized_crop,
        high=0.95,
    ),
    "saturation": Operation("saturation ±{:.0%}", _saturation, channels=3),
    "hue": Operation("hue ±{:.0%} of the circle", _hue, high=0.5, channels=3),
    "grayscale": Operation("{:.0%} of them made gray", _grayscale, channels=3),
    "blur": Operation("blurred by up to {:.1%} of the side", _blur, high=0.1),
    "randaugment": Operation(
        "RandAugment with {:g} operations", _randaugment, high=8.0, whole=True
    ),
    "randaugment_magnitude": Operation(
        "of magnitude {:g}", _randaugment, high=10.0, neutral=9.0, of="randaugment"
    ),
    "randaugment_shape": Operation(
        "that favour shape over colour", _randaugment, neutral=False, of="randaugment", whole=True
    ),
    "trivialaugment": Operation("TrivialAugment", _trivialaugment, neutral=False, whole=True),
    "autoaugment": Operation(
        "AutoAugment as for ImageNet", _autoaugment, neutral=False, whole=True
    ),
    "mixup": Operation("mixed by Mixup with alpha {:g}", None, high=10.0),
    "cutmix": Operation("mixed by CutMix with alpha {:g}", None, high=10.0),
    "overfitting": Operation(
        "all less while the network over-fits by less than {:.0%} of the loss of no skill",
        None,
        high=10.0,
        tuned=0.15,
    ),
    "learnt": Operation(
        "and has a loss above {:.0%} of it on train images", None, tuned=0.1, of="overfitting"
    ),
}
"""The operations by name; a data set may forbid any of them."""

_PAINTED = {"rotation", "shift", "shift_x", "shift_y", "shear", "brightness", "contrast"}
_CONTENTS = {  # what an operation does besides its name
    "shift": {"shift_x", "shift_y"},
    "shift_x": {"shift"},
    "shift_y": {"shift"},
    **dict.fromkeys(("randaugment", "trivialaugment", "autoaugment"), _PAINTED | {"saturation"}),
}


def switched_on(strengths: Augmentation) -> Augmentation:
    """Return the operations that are not neutral; raise UserError for one that can't be made."""
    for name, strength in strengths.items():
        if name not in OPERATIONS:
            raise UserError(unknown("augmentation", name, OPERATIONS))
        low, high = OPERATIONS[name].low, OPERATIONS[name].high
        if not low <= strength <= high:
            raise UserError(f"The augmentation {name} is {low:g} to {high:g}, not {strength}.")
        if OPERATIONS[name].whole and strength != int(strength):
            raise UserError(f"The augmentation {name} is a whole number, not {strength}.")
    return {
        name: type(row.neutral)(strengths[name])  # 20 and 20.0 are one strength
        for name, row in OPERATIONS.items()
        if strengths.get(name, row.neutral) != row.neutral
        and (not row.of or strengths.get(row.of, OPERATIONS[row.of].neutral))
    }


def forbidden(names: Iterable[str]) -> tuple[str, ...]:
    """Return the operations that are off where these are forbidden: those that contain one too.

    Raises UserError for a name that is none.
    """
    given = set(names)
    for name in given:
        if name not in OPERATIONS or OPERATIONS[name].of:
            own = [each for each, row in OPERATIONS.items() if not row.of]
            raise UserError(unknown("augmentation", name, own))
    holders = {name for name, inner in _CONTENTS.items() if not given.isdisjoint(inner)}
    return tuple(name for name in OPERATIONS if name in given | holders)


def tuned() -> Augmentation:
    """Return the augmentation that is tuned for small images and short trainings."""
    return switched_on({name: row.tuned for name, row in OPERATIONS.items()})


def off() -> dict[str, Any]:
    """Return every operation at the strength at which it does nothing."""
    return {name: row.neutral for name, row in OPERATIONS.items()}


def describe(strengths: Augmentation) -> str:
    """Describe the changes of an image."""
    words = [OPERATIONS[name].words.format(strength) for name, strength in strengths.items()]
    return ", ".join(words) or "not at all"


def too_few_channels(strengths: Augmentation, channels: int) -> list[str]:
    """Return the operations that need more channels than an image has."""
    return [name for name in strengths if OPERATIONS[name].channels > channels]


def augmenter(
    strengths: Augmentation, mean: "Statistics", std: "Statistics"
) -> "Callable[[Tensor], Tensor]":
    """Return a function that changes each image of a standardised batch, (N, C, H, W), at random.

    `mean` and `std` of each channel are those of the standardisation. It draws from torch's global
    generator, on the CPU.
    """
    makers = dict.fromkeys(OPERATIONS[name].make for name in strengths)
    parts = [make(strengths) for make in makers if make is not None]
    if not parts:
        return lambda x: x
    from nas.training.changes import Change

    def change(x: "Tensor") -> "Tensor":
        of_batch = Change(x, mean, std)
        for part in parts:
            part(of_batch)
        return of_batch.result()

    return change


def mixer(strengths: Augmentation) -> "Callable[[Tensor], tuple[Tensor, Tensor, float]] | None":
    """Return a function that mixes the images of a batch: see `nas.training.changes.mix`.

    None where the recipe mixes none.
    """
    mixup, cutmix = (strengths.get(name, 0.0) for name in ("mixup", "cutmix"))
    if not (mixup or cutmix):
        return None
    from nas.training.changes import mix

    return lambda x: mix(x, mixup, cutmix)
