"""The block of ConvNeXt: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, ceil_size, options
from nas.blocks.classes import Class
from nas.blocks.inverse import expansion, named
from nas.blocks.layer_norm import NORMS, count_norm, named_norm
from nas.blocks.patchify import count_patchify, floor_size
from nas.blocks.projection import add_projection
from nas.cost import Tape

OFTEN = ("one", "every")
DOWNSAMPLE = ("separate", "shortcut")
LAYERS = Class.own("convnext", "Layers")


def cost(tape: Tape, args: Args) -> None:
    """Count ConvNeXt."""
    layers, norm = args.layers, args.layers.norm
    bias = not NORMS["batch"].names(norm)
    if args.downsample == "separate":
        count_patchify(tape, args.out_channels, args.stride, norm, norm_first=True)
    held = tape.hold()
    step = args.stride if args.downsample == "shortcut" else 1
    tape.conv(tape.channels, args.kernel, stride=step, groups=tape.channels, bias=bias)
    count_norm(tape, norm)
    for channels, active in (
        (args.hidden_channels, layers.every_activation),
        (args.out_channels, True),
    ):
        if active:  # after the depthwise or the expanding convolution
            tape.act()
        tape.conv(channels, 1, bias=bias or not layers.every_norm)
        if layers.every_norm:
            count_norm(tape, norm)
    if args.layer_scale:
        tape.scale(args.out_channels)
    if args.downsample == "shortcut":
        add_projection(tape, held, args.stride, norm=norm)
    else:
        tape.add(held)
    if layers.every_activation:
        tape.act()


def _arguments(values: Options, place: Place) -> Arguments:
    return {
        **options.plain_arguments(values, place, "kernel", "layer_scale", "drop_path"),
        "hidden_channels": int(values["expansion"] * place.out_channels),
        "layers": LAYERS(
            norm=named_norm(values, place.in_channels, place.out_channels),
            activation=options.ACTIVATIONS[values["activation"]],
            every_norm=values["norms"] == "every",
            every_activation=values["activations"] == "every",
        ),
        "downsample": values["downsample"] if place.changes else "none",
    }


def _options_of(arguments: Arguments, place: Place) -> Options:
    norm, activation, every_norm, every_activation = arguments["layers"]
    downsample = arguments["downsample"]
    return {
        "expansion": expansion(arguments["hidden_channels"], place.out_channels),
        "norm": named(norm, NORMS),
        "activation": named(activation, options.ACTIVATIONS),
        "norms": OFTEN[every_norm],
        "activations": OFTEN[every_activation],
        "downsample": "separate" if downsample == "none" else downsample,
    }


def _out_size(size: int, stride: int, values: Options) -> int:
    sized = floor_size if values["downsample"] == "separate" else ceil_size
    return sized(size, stride, values)


OPTIONS = {
    "kernels": options.kernel("7"),
    "expansion": options.expansion(4, of_output=True),
    "activation": options.activation("gelu"),
    "norm": options.one_of("layer", NORMS, structural=True),
    "norms": options.one_of("one", OFTEN),
    "activations": options.one_of("one", OFTEN),
    "downsample": options.one_of("separate", DOWNSAMPLE),
    "layer_scale": options.flag(True),
    "drop_path": options.rate(),
}
BLOCK = Block(
    "convnext",
    Class.own("convnext", "ConvNeXt"),
    OPTIONS,
    _arguments,
    cost,
    out_size=_out_size,
    options_of=_options_of,
)
