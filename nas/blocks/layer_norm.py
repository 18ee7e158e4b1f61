"""Layer Normalization, arXiv:1607.06450, over the channels of each place of an image."""

from torch import Tensor, nn
from torch.nn import functional as F

from nas.blocks import Options
from nas.cost import Tape
from nas.errors import SpaceError


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (N, H, W, C)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)  # (N, C, H, W)


NORMS: dict[str, type[nn.Module]] = {"layer": LayerNorm2d, "batch": nn.BatchNorm2d}


def named_norm(values: Options, *widths: int) -> type[nn.Module]:
    """Return the norm of an option; raises SpaceError for a layer norm over a single channel."""
    name = values["norm"]
    if name == "layer" and min(widths) < 2:
        raise SpaceError("norm: layer compares at least 2 channels, not 1.")
    return NORMS[name]


def count_norm(tape: Tape, norm: type[nn.Module]) -> None:
    """Count a layer norm over the channels, or a batch norm."""
    if norm is LayerNorm2d:
        tape.layer_norm()
    else:
        tape.norm()
