"""Convolution of patches: the stem and the downsampling of ConvNeXt, arXiv:2201.03545."""

from torch import Tensor, fx, nn
from torch.nn import functional as F

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.layer_norm import NORMS, count_norm, named_norm
from nas.cost import Tape


@fx.wrap  # one node of a traced graph, because it depends on the image's size
def pad_to_patch(x: Tensor, patch: int) -> Tensor:
    """Pad an image that is smaller than a patch."""
    height, width = x.shape[2:]
    if min(height, width) >= patch:
        return x
    return F.pad(x, (0, max(0, patch - width), 0, max(0, patch - height)))


class Patchify(nn.Module):
    """Convolution of patches that do not overlap, norm; or the norm first.

    What is left beside the last whole patch is dropped; a smaller image is padded to one patch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch: int,
        norm: type[nn.Module],
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.norm_first = patch, norm_first
        bias = norm_first or norm is not nn.BatchNorm2d  # a batch norm has a bias of its own
        self.norm = norm(in_channels if norm_first else out_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, patch, patch, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = self.norm(x)
        x = self.conv(pad_to_patch(x, self.patch))  # (N, out, H / patch, W / patch), rounded down
        return x if self.norm_first else self.norm(x)


def count_patchify(
    tape: Tape, out_channels: int, patch: int, norm: type[nn.Module], *, norm_first: bool
) -> None:
    """Count Patchify."""
    if norm_first:
        count_norm(tape, norm)
    tape.patch_conv(out_channels, patch, bias=norm_first or norm is not nn.BatchNorm2d)
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
        **options.plain_arguments(Patchify, values, place),
        "patch": place.stride,
        "norm": named_norm(values, width),
    }


OPTIONS = {
    "norm": options.one_of("layer", NORMS, structural=True),
    "norm_first": options.flag(False, structural=True),
}
BLOCK = Block("patchify", Patchify, OPTIONS, _arguments, cost, out_size=floor_size)
