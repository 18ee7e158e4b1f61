"""Squeeze-and-Excitation Networks, arXiv:1709.01507; the hard gate is MobileNetV3's."""

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Global pool, 1x1 reduce, activation, 1x1 expand, sigmoid: a gate for each channel."""

    def __init__(
        self,
        channels: int,
        reduced: int,
        activation: type[nn.Module],
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = activation()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))
