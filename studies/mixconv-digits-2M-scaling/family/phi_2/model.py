"""A ConvNet for 10 classes and images of 16 x 16.

macs    1,466,256
params  515,962

stem    cn_r1_k3_s2_c64
stage1  ds_r1_k3_s1_c32
stage2  ir_r2_k3.5.7.9.11_s2_e4_c32_kexp
stage3  ir_r3_k5_s2_e2_c64_se0.5
stage4  ir_r1_k3.5.7_s2_e3_c128_se0.5_kexp
stage5  ir_r1_k3.5.7.9.11_s1_e3_c192_se0.25_kexp
head    cn_r1_k1_s1_c1000 fc_r1_c10_do0.2
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

IN_CHANNELS = 1
RESOLUTION = 16
CLASSES = 10
PARAMS = 515_962
MACS = 1_466_256  # multiply-accumulates for one image, convolution and linear
WEIGHTS = Path(__file__).with_name("model.safetensors")


class ConvNormAct(nn.Module):
    """k x k convolution, batch norm, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class MixConv2d(nn.Module):
    """Depthwise convolution that gives each group of channels a kernel size of its own."""

    def __init__(
        self, group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
    ) -> None:
        super().__init__()
        self.group_channels = group_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for channels, kernel in zip(group_channels, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        groups = x.split(self.group_channels, dim=1)
        mixed = [conv(group) for conv, group in zip(self.convs, groups, strict=True)]
        return torch.cat(mixed, dim=1)  # (N, C, H / stride, W / stride)


def depthwise(
    group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
) -> nn.Module:
    """Build a plain depthwise convolution where there is one kernel size, else a MixConv."""
    if len(kernels) > 1:
        return MixConv2d(group_channels, kernels, stride)
    channels, kernel = group_channels[0], kernels[0]
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)


class SqueezeExcite(nn.Module):
    """Global pool, 1x1 reduce, activation, 1x1 expand, sigmoid: a gate for each channel."""

    def __init__(
        self,
        channels: int,
        reduced: int,
        activation: type[nn.Module],
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = activation()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))


class StochasticDepth(nn.Module):
    """Drop a residual branch for a random part of the images; at inference the identity."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class Skip(nn.Module):
    """The input as it is ("identity") or average-pooled ("pool") [+ stochastic depth], added."""

    def __init__(self, kind: str, stride: int, drop_path: float) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride, 1) if kind == "pool" else nn.Identity()
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pool(x) + self.drop_path(y)


class DepthwiseSeparable(nn.Module):
    """k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        project_groups: int = 1,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(in_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return self.skip(x, y) if self.skip else y


class MBConv(nn.Module):
    """1x1 expand, k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        se_channels: int = 0,
        activation: type[nn.Module] = nn.ReLU,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        expand_groups: int = 1,
        project_groups: int = 1,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return self.skip(x, y) if self.skip else y


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


class Network(nn.Module):
    """Images of (N, 1, 16, 16) in, logits of (N, 10) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(1, 64, 3, stride=2),
        )
        self.stage1 = nn.Sequential(
            DepthwiseSeparable(64, 32, (64,), (3,)),
        )
        self.stage2 = nn.Sequential(
            MBConv(32, 128, 32, (64, 32, 16, 8, 8), (3, 5, 7, 9, 11), stride=2),
            MBConv(32, 128, 32, (64, 32, 16, 8, 8), (3, 5, 7, 9, 11), skip="identity"),
        )
        self.stage3 = nn.Sequential(
            MBConv(32, 64, 64, (64,), (5,), stride=2, se_channels=16),
            MBConv(64, 128, 64, (128,), (5,), se_channels=32, skip="identity"),
            MBConv(64, 128, 64, (128,), (5,), se_channels=32, skip="identity"),
        )
        self.stage4 = nn.Sequential(
            MBConv(64, 192, 128, (96, 48, 48), (3, 5, 7), stride=2, se_channels=32),
        )
        self.stage5 = nn.Sequential(
            MBConv(128, 384, 192, (192, 96, 48, 24, 24), (3, 5, 7, 9, 11), se_channels=32),
        )
        self.head = nn.Sequential(
            ConvNormAct(192, 1000, 1),
            Classifier(1000, 10, dropout=0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 64, 8, 8)
        x = self.stage1(x)  # (N, 32, 8, 8)
        x = self.stage2(x)  # (N, 32, 4, 4)
        x = self.stage3(x)  # (N, 64, 2, 2)
        x = self.stage4(x)  # (N, 128, 1, 1)
        x = self.stage5(x)  # (N, 192, 1, 1)
        return self.head(x)  # (N, 10)


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file: the header's length in 8 bytes, the header as JSON, the numbers."""
    content = Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        dtype = {"F32": torch.float32, "I64": torch.int64}[entry["dtype"]]
        numbers = torch.frombuffer(bytearray(content[begin:end]), dtype=dtype)
        tensors[name] = numbers.view(entry["shape"])
    return tensors


def load(path: str | Path = WEIGHTS) -> Network:
    """Return the trained network, ready for inference."""
    network = Network()
    network.load_state_dict(read_safetensors(path))
    return network.eval()


def check(network: Network) -> dict[str, tuple[object, object]]:
    """Count parameters and macs of one image; return what was found and what this file states."""
    params = sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(1, IN_CHANNELS, RESOLUTION, RESOLUTION))
    macs = counter.get_total_flops() // 2  # torch counts a multiply-accumulate as two
    shape = tuple(logits.shape)
    return {"params": (params, PARAMS), "macs": (macs, MACS), "output": (shape, (1, CLASSES))}


if __name__ == "__main__":
    for what, (found, stated) in check(load() if WEIGHTS.exists() else Network().eval()).items():
        if found != stated:
            raise SystemExit(f"{what}: {found}, but this file states {stated}")
        print(f"{what}: {found}, as stated")
