"""The bottleneck of ResNet-50: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Option, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.projection import add_shortcut
from nas.cost import Held, Tape

DOWNSAMPLE = ("conv", "pool_shortcut", "pool")


def cost(tape: Tape, args: Args) -> None:
    """Count Bottleneck."""
    held = tape.hold()
    tape.conv(args.mid_channels, 1)
    tape.norm_act()
    step = 1 if args.downsample == "pool" else args.stride
    tape.conv(args.mid_channels, args.kernel, stride=step, groups=args.groups)
    tape.norm_act()
    end_bottleneck(tape, held, args.out_channels, args.stride, args.downsample)


def end_bottleneck(tape: Tape, held: Held, out_channels: int, stride: int, downsample: str) -> None:
    """Count a bottleneck after its k x k convolution: [pool,] 1x1, + shortcut, activation."""
    if downsample == "pool":
        tape.local_pool(stride=stride)
    tape.conv(out_channels, 1)
    tape.norm()
    add_shortcut(tape, held, stride, downsample)
    tape.act()


def width_inside(values: Options, out_channels: int) -> int:
    """Width inside the bottleneck: int(ratio x block output), at least 1."""
    return max(1, int(values["ratio"] * out_channels))


def bottleneck_options(downsample: str) -> dict[str, Option]:
    """Return the options that all bottlenecks have in common."""
    ratio = options.ratio(0.25, low=0.01, high=options.MAX_RATIO, structural=True)
    return {
        "ratio": ratio._replace(canonical=_canonical_ratio),
        "kernels": options.kernel(),
        "activation": options.activation(),
        "downsample": options.one_of(downsample, DOWNSAMPLE),
        "drop_path": options.rate(),
    }


def _canonical_ratio(ratio: float, place: Place, arguments: Arguments) -> float:
    return options.canonical_ratio(float(ratio), place.out_channels, arguments["mid_channels"])


def bottleneck_arguments(values: Options, place: Place, mid_channels: int) -> Arguments:
    """Return the arguments that all bottlenecks have in common."""
    return {
        **options.plain_arguments(values, place, "activation", "drop_path"),
        "mid_channels": mid_channels,
        "downsample": values["downsample"] if place.stride > 1 else "conv",
    }


def _arguments(values: Options, place: Place) -> Arguments:
    mid = width_inside(values, place.out_channels)
    groups = values["groups"] or mid
    options.check_groups("bottleneck.groups", groups, mid, mid)
    shared = bottleneck_arguments(values, place, mid)
    return shared | {"kernel": int(values["kernels"]), "groups": groups}


def _canonical_groups(_: int, __: Place, arguments: Arguments) -> int:
    """Write 0 for as many groups as channels, which is depthwise."""
    depthwise = arguments["groups"] == arguments["mid_channels"] > 1
    return 0 if depthwise else int(arguments["groups"])


GROUPS = options.count(1, "a number of groups, or 0 for depthwise", least=0, structural=True)
OPTIONS = {
    **bottleneck_options("conv"),
    "groups": GROUPS._replace(canonical=_canonical_groups),
}
BLOCK = Block("bottleneck", Class.own("resnet_bottleneck", "Bottleneck"), OPTIONS, _arguments, cost)
