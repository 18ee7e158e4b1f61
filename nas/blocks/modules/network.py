"""A whole network, as it is trained; an exported file writes out a class of its own."""

from torch import Tensor, nn


class Network(nn.Module):
    """A network as its parts in order: stem, stage1, stage2, ..., head."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x  # (N, classes)
