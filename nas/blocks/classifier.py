"""The end of a network: global average pool, dropout, fully connected layer."""

from torch import Tensor, nn

from nas.blocks import Arguments, Block, Options, options
from nas.cost import Tape
from nas.errors import SpaceError


class Classifier(nn.Module):
    """Global average pool, dropout, linear."""

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.mean((2, 3))))  # (N, C, H, W) -> (N, classes)


def cost(
    tape: Tape,
    in_channels: int,  # noqa: ARG001 - the tape knows; the signature is the module's
    classes: int,
    dropout: float,  # noqa: ARG001 - the identity at inference
) -> None:
    """Count what Classifier does."""
    tape.pool()
    tape.linear(classes)


def _arguments(
    values: Options,
    in_channels: int,
    out_channels: int,
    stride: int,
) -> Arguments:
    if stride != 1:
        raise SpaceError(f"A classifier pools the whole image: its stride is 1, not {stride}.")
    return {
        "in_channels": in_channels,
        "classes": out_channels,
        "dropout": float(values["dropout"]),
    }


def _canonical(
    values: Options,
    in_channels: int,  # noqa: ARG001 - dropout has its effect at any width
    out_channels: int,  # noqa: ARG001
    stride: int,  # noqa: ARG001
) -> tuple[str, Options]:
    return "classifier", values


BLOCK = Block(
    name="classifier",
    module=Classifier,
    options={"dropout": options.rate()},
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
