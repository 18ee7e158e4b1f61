"""The end of a network: global average pool, dropout, fully connected layer; with a hidden layer as
in MobileNetV3 (arXiv:1905.02244), or a layer norm as in ConvNeXt (arXiv:2201.03545).
"""

from torch import Tensor, nn


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
