"""Squeeze-and-Excitation Networks, arXiv:1709.01507; the hard gate is MobileNetV3's."""

from typing import NamedTuple

from torch import Tensor, nn


class Squeeze(NamedTuple):
    """Squeeze-and-excitation: the width of its squeeze, its activation and its gate."""

    channels: int
    activation: type[nn.Module] = nn.ReLU
    gate: type[nn.Module] = nn.Sigmoid


class SqueezeExcite(nn.Module):
    """Global pool, 1x1 reduce, activation, 1x1 expand, sigmoid: a gate for each channel."""

    def __init__(self, channels: int, squeeze: Squeeze) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze.channels, 1)
        self.act = squeeze.activation()
        self.expand = nn.Conv2d(squeeze.channels, channels, 1)
        self.gate = squeeze.gate()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))
