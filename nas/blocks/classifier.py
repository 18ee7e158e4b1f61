"""The end of a network: global average pool, dropout, fully connected layer; with a hidden layer as
in MobileNetV3 (arXiv:1905.02244), or a layer norm as in ConvNeXt (arXiv:2201.03545).
"""

from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.cost import Tape
from nas.errors import SpaceError


class Classifier(nn.Module):
    """Global average pool [+ layer norm] [+ linear, activation], dropout, linear."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        dropout: float = 0.0,
        hidden_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6) if layer_norm else nn.Identity()
        self.hidden = (
            nn.Sequential(nn.Linear(in_channels, hidden_channels), activation())
            if hidden_channels
            else nn.Identity()
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_channels or in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.mean((2, 3)))  # (N, C, H, W) -> (N, C)
        return self.linear(self.dropout(self.hidden(x)))  # (N, classes)


def cost(tape: Tape, args: Args) -> None:
    """Count Classifier."""
    tape.pool()
    if args.layer_norm:
        tape.layer_norm()
    if args.hidden_channels:
        tape.linear(args.hidden_channels)
        tape.act()
    tape.linear(args.classes)


def _arguments(values: Options, place: Place) -> Arguments:
    if place.stride != 1:
        raise SpaceError(
            f"A classifier pools the whole image: its stride is 1, not {place.stride}."
        )
    if values["layer_norm"] and place.in_channels == 1:
        raise SpaceError("classifier.layer_norm needs more than 1 channel: of 1 it leaves nothing.")
    given = options.plain_arguments(Classifier, values, place)
    activation = given["activation"] if values["hidden_channels"] else nn.ReLU
    return given | {"classes": place.out_channels, "activation": activation}


OPTIONS = {
    "dropout": options.rate(),
    "hidden_channels": options.count(
        0, "a number of channels, or 0 for no hidden layer", least=0, most=1_000_000
    ),
    "activation": options.activation(),
    "layer_norm": options.flag(False, structural=True),
}
BLOCK = Block("classifier", Classifier, OPTIONS, _arguments, cost)
