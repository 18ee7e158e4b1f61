"""Going deeper with Image Transformers, arXiv:2103.17239: a residual branch begins small."""

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """The product with one learnable number per channel, 1e-6 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight
