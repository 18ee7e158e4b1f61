"""RandAugment, TrivialAugment and AutoAugment: a few operations for each image, of one list.

The operations and their ranges are those of RandAugment (arXiv:1909.13719). Each image of a batch
gets operations of its own; pixels are from 0 to 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.training.changes import matrices, warp


@dataclass(frozen=True)
class Painting:
    """One operation: `paint(x, strength)` for x (n, C, H, W) and strengths (n,) from 0 to 1.

    A `signed` one has strengths from -1 to 1. `weight` is its odds where shape is favoured over
    colour: those of timm's RandAugment with "w0", in per mille.
    """

    paint: Callable[[Tensor, Tensor], Tensor]
    signed: bool = False
    weight: int = 0
    channels: int = 1


def _moved(entries: Callable[[Tensor], dict[str, Tensor]]) -> Callable[[Tensor, Tensor], Tensor]:
    def paint(x: Tensor, strength: Tensor) -> Tensor:
        return warp(x, matrices(len(x), **entries(strength.cpu())).to(x.device))

    return paint


def _turned(strength: Tensor) -> dict[str, Tensor]:
    angle = strength * math.radians(30)
    return {"xx": angle.cos(), "xy": angle.sin(), "yx": -angle.sin(), "yy": angle.cos()}


def _blended(x: Tensor, base: Tensor, strength: Tensor) -> Tensor:
    """Move x away from the base or towards it, by 0.9 of its distance at most."""
    return base + (x - base) * (1 + 0.9 * strength).view(-1, 1, 1, 1)


def _gray(x: Tensor) -> Tensor:
    from kornia.color import rgb_to_grayscale

    return rgb_to_grayscale(x) if x.shape[1] == 3 else x


def _posterized(x: Tensor, strength: Tensor) -> Tensor:
    from kornia.enhance import posterize

    return posterize(x, (8 - 4 * strength).round().int())


def _sharpened(x: Tensor, strength: Tensor) -> Tensor:
    from kornia.filters import box_blur

    return _blended(x, box_blur(x, 3), strength)


def _solarized(x: Tensor, strength: Tensor) -> Tensor:
    return torch.where(x >= (1 - strength).view(-1, 1, 1, 1), 1 - x, x)


def _equalized(x: Tensor, _: Tensor) -> Tensor:
    from kornia.enhance import equalize

    return equalize(x)


def _stretched(x: Tensor, _: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


PAINTINGS = {
    "identity": Painting(lambda x, _: x),
    "auto_contrast": Painting(_stretched, weight=25),
    "equalize": Painting(_equalized, weight=5),
    "rotate": Painting(_moved(_turned), signed=True, weight=300),
    "solarize": Painting(_solarized, weight=5),
    "color": Painting(lambda x, s: _blended(x, _gray(x), s), signed=True, weight=25, channels=3),
    "posterize": Painting(_posterized),
    "contrast": Painting(
        lambda x, s: _blended(x, _gray(x).mean((1, 2, 3), keepdim=True), s), signed=True, weight=5
    ),
    "brightness": Painting(lambda x, s: _blended(x, torch.zeros_like(x), s), signed=True, weight=5),
    "sharpness": Painting(_sharpened, signed=True, weight=25),
    "shear_x": Painting(_moved(lambda s: {"xy": 0.3 * s}), signed=True, weight=200),
    "shear_y": Painting(_moved(lambda s: {"yx": 0.3 * s}), signed=True, weight=200),
    "translate_x": Painting(_moved(lambda s: {"xc": 0.6 * s}), signed=True, weight=100),
    "translate_y": Painting(_moved(lambda s: {"yc": 0.6 * s}), signed=True, weight=100),
}
"""The operations of RandAugment by name; sides are 2 long, so 0.6 is 30 % of one."""

_AUTO = PAINTINGS | {"invert": Painting(lambda x, _: 1 - x)}


def rand_augment(x: Tensor, number: int, magnitude: float, *, shape: bool) -> Tensor:
    """Change each image by `number` operations of a strength of `magnitude` tenths.

    They are equally likely, or the more likely the more they change shape instead of colour.
    """
    rows = [row for row in PAINTINGS.values() if x.shape[1] >= row.channels]
    odds = torch.tensor([float(row.weight) if shape else 1.0 for row in rows])
    for _ in range(number):
        drawn = torch.multinomial(odds, len(x), replacement=True)
        x = _painted(x, rows, drawn, torch.full((len(x),), magnitude / 10))
    return x


def trivial_augment(x: Tensor) -> Tensor:
    """Change each image by one operation of any strength: arXiv:2103.10158."""
    rows = [row for row in PAINTINGS.values() if x.shape[1] >= row.channels]
    return _painted(x, rows, torch.randint(len(rows), (len(x),)), torch.rand(len(x)))


def auto_augment(x: Tensor) -> Tensor:
    """Change each image by one of the 25 pairs of operations found on ImageNet: arXiv:1805.09501.

    The table is kornia's.
    """
    from kornia.augmentation.auto.autoaugment.autoaugment import imagenet_policy

    names, rows = list(_AUTO), list(_AUTO.values())
    policy = torch.randint(len(imagenet_policy), (len(x),))
    for place in range(2):
        pairs = [pair[place] for pair in imagenet_policy]
        odds = torch.tensor([odds for _, odds, _ in pairs])[policy]
        bins = torch.tensor([float(level or 0) for *_, level in pairs])[policy]
        drawn = torch.tensor([names.index(name) for name, *_ in pairs])[policy]
        drawn = torch.where(torch.rand(len(x)) < odds, drawn, 0)  # the identity
        x = _painted(x, rows, drawn, bins / 10)
    return x


def _painted(x: Tensor, rows: Sequence[Painting], drawn: Tensor, strengths: Tensor) -> Tensor:
    """Change each image by the row that was drawn for it, (N,), to one side at random."""
    signs = torch.randint(2, (len(x),)) * 2.0 - 1
    x = x.clone()
    for index in set(drawn.tolist()):
        members, row = (drawn == index).nonzero().flatten(), rows[index]
        if x.shape[1] >= row.channels:
            strength = (strengths * signs if row.signed else strengths)[members].to(x.device)
            x[members] = row.paint(x[members], strength).clamp(0, 1)
    return x
