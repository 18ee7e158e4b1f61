"""The end of a network: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.cost import Tape
from nas.errors import SpaceError


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
    activation = values["activation"] if values["hidden_channels"] else "relu"
    return {
        "in_channels": place.in_channels,
        "classes": place.out_channels,
        "dropout": values["dropout"],
        "hidden_channels": values["hidden_channels"],
        "activation": options.ACTIVATIONS[activation],
        "layer_norm": values["layer_norm"],
    }


OPTIONS = {
    "dropout": options.rate(),
    "hidden_channels": options.count(
        0, "a number of channels, or 0 for no hidden layer", least=0, most=1_000_000
    ),
    "activation": options.activation(),
    "layer_norm": options.flag(False, structural=True),
}
BLOCK = Block("classifier", Class.own("classifier", "Classifier"), OPTIONS, _arguments, cost)
