"""What a block adds of its input to its output: MnasNet's skip operations, arXiv:1807.11626."""

from torch import Tensor, nn

from nas.blocks.stochastic_depth import StochasticDepth
from nas.cost import Held, Tape


class Skip(nn.Module):
    """The input as it is ("identity") or average-pooled ("pool") [+ stochastic depth], added."""

    def __init__(self, kind: str, stride: int, drop_path: float) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride, 1) if kind == "pool" else nn.Identity()
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pool(x) + self.drop_path(y)


def add_skip(tape: Tape, held: Held, kind: str, stride: int) -> None:
    """Count what Skip does with the input, which was held, and the tensor at hand."""
    if kind == "pool":
        output = tape.hold()
        tape.take(held)
        tape.local_pool(stride)
        held = output
    tape.add(held)
