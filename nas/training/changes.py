"""A random change of a batch of images: all of its geometry in one sampling of the pixels.

Rotation, flips, crops and the like are 3 x 3 matrices of their own. Their product is sampled once
(`torch.nn.functional.grid_sample`, bilinear, the border continued), whatever their number; likewise
contrast and brightness are one linear map, and blanked squares one product with a mask.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Statistics = tuple[float, ...]


class Change:
    """The change of one batch; each augmentation adds its part.

    `x`: (N, C, H, W), standardised with the channels' `mean` and `std`. All random numbers come
    from torch's global generator, on the CPU.
    """

    def __init__(self, x: Tensor, mean: Statistics, std: Statistics) -> None:
        self.x, self.statistics = x, (mean, std)
        self._matrix: Tensor | None = None
        self._line: tuple[Tensor, Tensor] | None = None
        self._mask: Tensor | None = None

    def uniform(self, low: float, high: float) -> Tensor:
        """Draw a number for each image, (N,)."""
        return low + (high - low) * torch.rand(len(self.x))

    def move(self, matrix: Tensor) -> None:
        """Move the pixels: `matrix` (N, 3, 3) takes a place in the output to one in the input.

        Both are from -1 to 1 over the image.
        """
        self._matrix = matrix if self._matrix is None else self._matrix @ matrix

    def recolour(self, factor: Tensor | float = 1.0, summand: Tensor | float = 0.0) -> None:
        """Multiply each image by its factor, then add its summand, both (N,)."""
        if self._line is None:
            self._line = torch.ones(len(self.x)), torch.zeros(len(self.x))
        self._line = self._line[0] * factor, self._line[1] * factor + summand

    def blank(self, mask: Tensor) -> None:
        """Set the pixels to 0, the mean, where `mask` (N, H, W) is false."""
        self._mask = mask if self._mask is None else self._mask & mask

    def repaint(self, paint: Callable[[Tensor], Tensor]) -> None:
        """Change the pixels, from 0 to 1 while `paint` sees them, before anything moves them."""
        mean, std = (torch.tensor(s, device=self.x.device).view(-1, 1, 1) for s in self.statistics)
        pixels = torch.addcmul(mean, self.x, std).clamp(0, 1)
        self.x = (paint(pixels).clamp(0, 1) - mean) / std

    def result(self) -> Tensor:
        """Return the changed batch."""
        x, device = self.x, self.x.device
        if self._matrix is not None:
            x = warp(x, self._matrix.to(device))
        if self._line is not None:
            factor, summand = (each.to(device).view(-1, 1, 1, 1) for each in self._line)
            x = torch.addcmul(summand, x, factor)
        if self._mask is not None:
            x = x * self._mask.to(device).unsqueeze(1)
        return x


def warp(x: Tensor, matrix: Tensor) -> Tensor:
    """Sample x (N, C, H, W) at the places that `matrix` (N, 3, 3) takes the output's pixels to."""
    height, width = x.shape[2:]
    across, down = (_centres(size, x.device) for size in (width, height))
    m = matrix[:, :2, :, None, None]  # (N, 2, 3, 1, 1)
    # x and y each as a sum of a row and a column: faster than affine_grid's product of matrices
    grid = m[:, :, 0] * across + (m[:, :, 1] * down[:, None] + m[:, :, 2])  # (N, 2, H, W)
    return functional.grid_sample(
        x, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )


def _centres(size: int, device: torch.device) -> Tensor:
    """Return the places of the pixels along a side, -1 to 1 being its edges."""
    return (torch.arange(size, device=device) * 2 + 1) / size - 1


def matrices(count: int, **entries: Tensor) -> Tensor:
    """Return identity matrices (N, 3, 3) with other entries: `xy` (N,) is that of row x, column y.

    Columns are x, y and the constant, `c`.
    """
    matrix = torch.eye(3).repeat(count, 1, 1)
    for name, values in entries.items():
        matrix[:, "xyc".index(name[0]), "xyc".index(name[1])] = values
    return matrix


def window(change: Change, area: tuple[float, float], ratio: float) -> Tensor:
    """Return matrices that enlarge a random window to the whole image.

    The window's area is a share of the image's, its width up to `ratio` times its height or the
    other way around; it has a place at random.
    """
    side = change.uniform(*area).sqrt()
    stretch = change.uniform(-math.log(ratio), math.log(ratio)).mul(0.5).exp()
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    return matrices(
        len(side),
        xx=width,
        yy=height,
        xc=(1 - width) * change.uniform(-1, 1),
        yc=(1 - height) * change.uniform(-1, 1),
    )


def from_pixels(matrix: Tensor, height: int, width: int) -> Tensor:
    """Turn kornia's matrices (N, 3, 3), from input to output in pixels, into those of `move`."""
    scale = torch.tensor(
        [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]],
        dtype=matrix.dtype,
    )
    inverse: Tensor = scale @ torch.linalg.inv(matrix) @ torch.linalg.inv(scale)
    return inverse


def outside(drawn: dict[str, Any], height: int, width: int) -> Tensor:
    """Return where an image is outside of the rectangle that kornia drew for it, (N, H, W)."""

    def between(size: int, start: Tensor, length: Tensor) -> Tensor:
        at = torch.arange(size)
        return (at >= start[:, None]) & (at < (start + length)[:, None])  # (N, size)

    rows = between(height, drawn["ys"], drawn["heights"]) & (drawn["batch_prob"] > 0.5)[:, None]
    within: Tensor = rows[:, :, None] & between(width, drawn["xs"], drawn["widths"])[:, None]
    return ~within


def mix(x: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor, float]:
    """Mix each image with another of the batch; return the batch, the others, the own share.

    The share is drawn once from Beta(a, a). Mixup (arXiv:1710.09412, a = `mixup`) adds the images,
    CutMix (arXiv:1905.04899, a = `cutmix`) puts a rectangle of the other into each. 0 is never;
    where both are on, each batch gets one of them.
    """
    others = torch.randperm(len(x))
    cut = bool(cutmix) and (not mixup or bool(torch.rand(()) < 0.5))
    alpha = cutmix if cut else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    if not cut:
        return torch.lerp(x[others], x, share), others, share
    height, width = x.shape[2:]
    rows, columns = (_stretch(size, math.sqrt(1 - share)) for size in (height, width))
    x = x.clone()
    x[:, :, rows, columns] = x[others][:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return x, others, 1 - area / (height * width)


def _stretch(size: int, share: float) -> slice:
    """Return a share of a side around a random place, cut off at its ends."""
    centre, half = float(torch.rand(())) * size, share * size / 2
    return slice(max(0, round(centre - half)), min(size, round(centre + half)))
