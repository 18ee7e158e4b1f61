"""A ConvNet for 2 classes and images of 32 x 32, trained on pneumoniamnist (2026-11-20).

score   0.9866
macs    3,015,792
params  316,890

                   validation        test
accuracy               0.9523      0.9247
balanced_accuracy      0.9558      0.9073
macro_f1               0.9398      0.9174
auroc                  0.9926      0.9777
loss                   0.1542      0.2140
majority_rate          0.7424      0.6250
predicted_classes      2.0000      2.0000

stem    cn_r1_k3_s2_c16_nhs
stage1  ds_r1_k3.5_s1_c16_nhs
stage2  ir_r3_k3.5.7_s2_e4_c24_se0.25_nhs
stage3  ir_r2_k3.5.7.9.11_s2_e4_c40_se0.25_nhs
stage4  ir_r3_k3.5_s2_e4_c80_nhs
stage5  ir_r1_k3_s2_e3_c120_nhs
head    cn_r1_k1_s1_c512_nhs fc_r1_c2_do0.2
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

IN_CHANNELS = 1
RESOLUTION = 32
CLASSES = 2
CLASS_NAMES = ("0", "1")
# Per channel, of pixel values from 0 to 1.
MEAN = (0.5719204173876963,)
STD = (0.16534790669637559,)
PARAMS = 316_890
MACS = 3_015_792  # multiply-accumulates for one image, convolution and linear
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

    def __init__(self, channels: int, reduced: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.act = activation()
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.expand(self.act(self.reduce(squeezed))).sigmoid()


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
        project_groups: int = 1,
        skip: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(in_channels, se_channels, activation) if se_channels else nn.Identity()
        )
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return x + self.drop_path(y) if self.skip else y


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
        expand_groups: int = 1,
        project_groups: int = 1,
        skip: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden_channels, se_channels, activation)
            if se_channels
            else nn.Identity()
        )
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.drop_path = StochasticDepth(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return x + self.drop_path(y) if self.skip else y


class Classifier(nn.Module):
    """Global average pool, dropout, linear."""

    def __init__(self, in_channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.mean((2, 3))))  # (N, C, H, W) -> (N, classes)


class Network(nn.Module):
    """Images of (N, 1, 32, 32) in, logits of (N, 2) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(1, 16, 3, stride=2, activation=nn.Hardswish),
        )
        self.stage1 = nn.Sequential(
            DepthwiseSeparable(16, 16, (8, 8), (3, 5), activation=nn.Hardswish, skip=True),
        )
        self.stage2 = nn.Sequential(
            MBConv(
                16,
                64,
                24,
                (22, 21, 21),
                (3, 5, 7),
                stride=2,
                se_channels=4,
                activation=nn.Hardswish,
            ),
            MBConv(
                24,
                96,
                24,
                (32, 32, 32),
                (3, 5, 7),
                se_channels=6,
                activation=nn.Hardswish,
                skip=True,
            ),
            MBConv(
                24,
                96,
                24,
                (32, 32, 32),
                (3, 5, 7),
                se_channels=6,
                activation=nn.Hardswish,
                skip=True,
            ),
        )
        self.stage3 = nn.Sequential(
            MBConv(
                24,
                96,
                40,
                (20, 19, 19, 19, 19),
                (3, 5, 7, 9, 11),
                stride=2,
                se_channels=6,
                activation=nn.Hardswish,
            ),
            MBConv(
                40,
                160,
                40,
                (32, 32, 32, 32, 32),
                (3, 5, 7, 9, 11),
                se_channels=10,
                activation=nn.Hardswish,
                skip=True,
            ),
        )
        self.stage4 = nn.Sequential(
            MBConv(40, 160, 80, (80, 80), (3, 5), stride=2, activation=nn.Hardswish),
            MBConv(80, 320, 80, (160, 160), (3, 5), activation=nn.Hardswish, skip=True),
            MBConv(80, 320, 80, (160, 160), (3, 5), activation=nn.Hardswish, skip=True),
        )
        self.stage5 = nn.Sequential(
            MBConv(80, 240, 120, (240,), (3,), stride=2, activation=nn.Hardswish),
        )
        self.head = nn.Sequential(
            ConvNormAct(120, 512, 1, activation=nn.Hardswish),
            Classifier(512, 2, dropout=0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 16, 16, 16)
        x = self.stage1(x)  # (N, 16, 16, 16)
        x = self.stage2(x)  # (N, 24, 8, 8)
        x = self.stage3(x)  # (N, 40, 4, 4)
        x = self.stage4(x)  # (N, 80, 2, 2)
        x = self.stage5(x)  # (N, 120, 1, 1)
        return self.head(x)  # (N, 2)


def preprocess(images: Tensor) -> Tensor:
    """Resize and normalise images: (N, 1, H, W), values from 0 to 255, for the network."""
    size = (RESOLUTION, RESOLUTION)
    images = F.interpolate(images.float(), size, mode="bilinear", antialias=True) / 255
    return (images - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


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
