"""Augmentations that the trainer leaves to kornia, in plain torch for the emitted training script.

Each is drawn alike and changes pixels alike within rounding; the random numbers are others. A
function named as one of `nas.training.policies` stands in its place there.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.changes import Change, matrices


def affine(
    change: Change, *, degrees: float, zoom: float, shift: tuple[float, float], shear: float
) -> Tensor:
    """Draw a rotation, scaling, shift (in shares of a side) and shear (degrees) of each image.

    Return its matrices (N, 3, 3) from a place in the output to one in the input.
    """
    limits = (degrees, shear, shear)
    angle, across, down = (math.radians(1) * change.uniform(-most, most) for most in limits)
    x, y = (2 * change.uniform(-share, share) for share in shift)  # sides are 2 long
    return placed(angle, change.uniform(1 / zoom, zoom), x, y, across, down)


def placed(
    angle: Tensor, scale: Tensor, x: Tensor, y: Tensor, across: Tensor, down: Tensor
) -> Tensor:
    """Return the matrices of drawn numbers, each (N,), angles in radians."""
    cos, sin = scale * angle.cos(), scale * angle.sin()
    turned = matrices(len(angle), xx=cos, xy=-sin, xc=x, yx=sin, yy=cos, yc=y)
    sheared = matrices(
        len(angle), xy=-across.tan(), yx=-down.tan(), yy=1 + across.tan() * down.tan()
    )
    inverse: Tensor = torch.linalg.inv(turned @ sheared)
    return inverse


def mirrored(change: Change, entry: str) -> Tensor:
    """Return matrices that mirror half of the images, "xx" left to right, "yy" top to bottom."""
    return matrices(len(change.x), **{entry: 1 - 2 * (change.uniform(0, 1) < 0.5).float()})


def square(change: Change, side: float) -> Tensor:
    """Return where pixels stay, (N, H, W): half of the images lose a square of this share."""
    rows, columns = (_span(change, size, side) for size in change.x.shape[2:])
    half = change.uniform(0, 1) < 0.5
    return ~(rows[:, :, None] & columns[:, None] & half[:, None, None])


def _span(change: Change, size: int, share: float) -> Tensor:
    """Return which pixels of a side are in a span of this share of it at a random place, (N, S)."""
    length = min(max(1, round(share * size)), size)
    start = (change.uniform(0, 1) * (size - length + 1)).floor()[:, None]
    at = torch.arange(size)
    return (at >= start) & (at < start + length)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply the saturation of x (N, 3, H, W) by a factor (N,); hue and value stay."""
    high, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    saturation = (high - low) / high.clamp(min=1e-8)
    wanted = (saturation * factor.view(-1, 1, 1, 1)).clamp(0, 1)
    return high - (high - x) * wanted / saturation.clamp(min=1e-8)


def hued(x: Tensor, angle: Tensor) -> Tensor:
    """Turn the hue of x (N, 3, H, W) by an angle (N,) in radians; saturation and value stay."""
    high, low = x.amax(1), x.amin(1)
    spread = (high - low).clamp(min=1e-8)
    red, green, blue = ((high[:, None] - x) / spread[:, None]).unbind(1)
    hue = torch.where(x[:, 0] == high, blue - green, 2 + red - blue)
    hue = torch.where((x[:, 0] < high) & (x[:, 1] < high), 4 + green - red, hue)  # of 6
    hue = hue + angle.view(-1, 1, 1) * 3 / math.pi
    # Each channel falls from the highest value to the lowest around its place on the circle.
    away = (torch.stack([hue + 5, hue + 3, hue + 1], 1)) % 6
    share = torch.minimum(away, 4 - away).clamp(0, 1)
    return high[:, None] - (high - low)[:, None] * share


def grayed(x: Tensor, gray: Tensor) -> Tensor:
    """Make those of the images x (N, 3, H, W) gray that `gray` (N,) says."""
    return torch.where(gray.view(-1, 1, 1, 1), _gray(x), x)


def blurred(x: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Blur x (N, C, H, W) by a Gaussian of a width (N,) in pixels, cut off at `reach`."""
    at = torch.arange(-reach, reach + 1, device=x.device)
    weights = (-(at**2) / (2 * sigma[:, None] ** 2)).softmax(1)
    weights = weights.repeat_interleave(x.shape[1], 0)  # (N x C, 2 reach + 1)
    planes = functional.pad(x, [reach] * 4, "reflect").flatten(0, 1)[None]
    for kernel in (weights[:, None, :, None], weights[:, None, None, :]):
        planes = functional.conv2d(planes, kernel, groups=len(weights))
    return planes.view(x.shape)


def _gray(x: Tensor) -> Tensor:
    """Return the luma of x (N, 3, H, W), (N, 1, H, W); gray images as they are."""
    if x.shape[1] != 3:
        return x
    red, green, blue = x.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _posterized(x: Tensor, strength: Tensor) -> Tensor:
    """Keep 8 to 4 bits of a pixel."""
    step = 2 ** (4 * strength).round().view(-1, 1, 1, 1)
    return torch.where(step == 1, x, (x * 255).floor().div(step).floor() * step / 255)


def _sharpened(x: Tensor, strength: Tensor) -> Tensor:
    """Move x away from its mean over 3 x 3 pixels, or towards it."""
    smooth = functional.avg_pool2d(functional.pad(x, [1] * 4, "reflect"), 3, 1)
    return smooth + (x - smooth) * (1 + 0.9 * strength).view(-1, 1, 1, 1)


def _equalized(x: Tensor, _: Tensor) -> Tensor:
    """Spread the levels of each channel so that all are equally frequent, as Pillow does."""
    levels = (x * 255).long().flatten(2)  # (N, C, pixels)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    last = counts.gather(2, levels.amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - last) // 255
    before = counts.cumsum(2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(0, 255)
    spread = table.gather(2, levels).view(x.shape) / 255
    return torch.where(step[..., None] == 0, x, spread)
