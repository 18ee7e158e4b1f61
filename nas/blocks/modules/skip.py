"""The sum of a block's input and its output: MnasNet's skip operations, arXiv:1807.11626."""

from typing import NamedTuple

from torch import Tensor, nn

from nas.blocks.modules.stochastic_depth import StochasticDepth


class Skip(NamedTuple):
    """The input as it is ("identity") or average-pooled ("pool"), and the rate of dropped paths."""

    kind: str
    drop_path: float = 0.0


class SkipConnection(nn.Module):
    """The input as it is or average-pooled [+ stochastic depth], added."""

    def __init__(self, skip: Skip, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride, 1) if skip.kind == "pool" else nn.Identity()
        self.drop_path = StochasticDepth(skip.drop_path) if skip.drop_path else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pool(x) + self.drop_path(y)
