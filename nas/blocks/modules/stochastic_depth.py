"""Deep Networks with Stochastic Depth, arXiv:1603.09382."""

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """Drop a residual branch for a random part of the images; at inference the identity."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)
