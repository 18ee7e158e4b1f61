"""Convolution of patches: the stem and the downsampling of ConvNeXt, arXiv:2201.03545."""

from torch import Tensor, fx, nn
from torch.nn import functional as F


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
