"""The convolution of patches: its options and its cost."""

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.classes import Class
from nas.blocks.layer_norm import NORMS, count_norm, named_norm
from nas.cost import Tape


def count_patchify(
    tape: Tape, out_channels: int, patch: int, norm: Class, *, norm_first: bool
) -> None:
    """Count Patchify."""
    if norm_first:
        count_norm(tape, norm)
    tape.patch_conv(out_channels, patch, bias=norm_first or not NORMS["batch"].names(norm))
    if not norm_first:
        count_norm(tape, norm)


def cost(tape: Tape, args: Args) -> None:
    """Count Patchify."""
    count_patchify(tape, args.out_channels, args.patch, args.norm, norm_first=args.norm_first)


def floor_size(size: int, stride: int, options: Options) -> int:  # noqa: ARG001 - as `Block` asks
    """Return how many whole patches there are, at least the one that is padded."""
    return max(1, size // stride)


def _arguments(values: Options, place: Place) -> Arguments:
    width = place.in_channels if values["norm_first"] else place.out_channels
    return {
        "in_channels": place.in_channels,
        "out_channels": place.out_channels,
        "patch": place.stride,
        "norm": named_norm(values, width),
        "norm_first": values["norm_first"],
    }


OPTIONS = {
    "norm": options.one_of("layer", NORMS, structural=True),
    "norm_first": options.flag(False, structural=True),
}
BLOCK = Block(
    "patchify",
    Class.own("patchify", "Patchify"),
    OPTIONS,
    _arguments,
    cost,
    out_size=floor_size,
)
