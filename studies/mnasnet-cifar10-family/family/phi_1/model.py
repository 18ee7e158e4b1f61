"""A ConvNet for 10 classes and images of 32 x 32, trained on cifar (2026-12-01).

score   0.4420
macs    3,063,568
params  1,812,450

                   validation        test
accuracy               0.4420      0.4445
balanced_accuracy      0.4420      0.4445
macro_f1               0.4296      0.4325
auroc                  0.8609      0.8562
loss                   1.5263      1.5611
majority_rate          0.1000      0.1000
predicted_classes     10.0000     10.0000

stem    cn_r1_k3_s2_c48
stage1  ds_r1_k3_s1_c24
stage2  ds_r1_k5_s2_c32 ds_r2_k5_s1_c32_skippool
stage3  ds_r2_k3_s2_c32
stage4  ds_r1_k5_s2_c64_se0.25 ds_r3_k3_s1_c64_se0.25
stage5  ds_r1_k3_s1_c168 ds_r1_k3_s1_c168_noskip
stage6  cn_r1_k3_s2_c168 cn_r1_k1_s1_c168
stage7  ir_r1_k1_s1_e6_c448
head    cn_r1_k1_s1_c1792 fc_r1_c10_do0.2
"""

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

IN_CHANNELS = 3
RESOLUTION = 32
CLASSES = 10
CLASS_NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
# Per channel, of pixel values from 0 to 1.
MEAN = (0.4928926674836601, 0.48434591758578427, 0.44945255821078434)
STD = (0.24639356341442753, 0.24351627758880764, 0.26099017420410164)
ANSWER = "likeliest"
PARAMS = 1_812_450
MACS = 3_063_568  # multiply-accumulates for one image, convolution and linear
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


class Squeeze(NamedTuple):
    """Squeeze-and-excitation: the width of its squeeze, its activation and its gate."""

    channels: int
    activation: type[nn.Module] = nn.ReLU
    gate: type[nn.Module] = nn.Sigmoid


class Skip(NamedTuple):
    """The input as it is ("identity") or average-pooled ("pool"), and the rate of dropped paths."""

    kind: str
    drop_path: float = 0.0


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
        mixed = [conv(groups[i]) for i, conv in enumerate(self.convs)]
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

    def __init__(self, channels: int, squeeze: Squeeze) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze.channels, 1)
        self.act = squeeze.activation()
        self.expand = nn.Conv2d(squeeze.channels, channels, 1)
        self.gate = squeeze.gate()

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


class SkipConnection(nn.Module):
    """The input as it is or average-pooled [+ stochastic depth], added."""

    def __init__(self, skip: Skip, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride, 1) if skip.kind == "pool" else nn.Identity()
        self.drop_path = StochasticDepth(skip.drop_path) if skip.drop_path else nn.Identity()

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
        activation: type[nn.Module] = nn.ReLU,
        project_groups: int = 1,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act = activation()
        self.se = SqueezeExcite(in_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(in_channels, out_channels, 1, groups=project_groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.depthwise(x)))
        y = self.norm2(self.project(self.se(y)))
        return y if self.skip is None else self.skip(x, y)


class MBConv(nn.Module):
    """1x1 expand, k x k depthwise (MixConv) [+ SE], 1x1 project [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group_channels: tuple[int, ...],
        kernels: tuple[int, ...],
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        groups_1x1: tuple[int, int] = (1, 1),
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        hidden_channels, (expand_groups, project_groups) = sum(group_channels), groups_1x1
        self.expand = nn.Conv2d(in_channels, hidden_channels, 1, groups=expand_groups, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden_channels)
        self.depthwise = depthwise(group_channels, kernels, stride)
        self.norm2 = nn.BatchNorm2d(hidden_channels)
        self.act = activation()
        self.se = SqueezeExcite(hidden_channels, se) if se else nn.Identity()
        self.project = nn.Conv2d(
            hidden_channels, out_channels, 1, groups=project_groups, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.expand(x)))  # (N, hidden, H, W)
        y = self.act(self.norm2(self.depthwise(y)))  # (N, hidden, H / stride, W / stride)
        y = self.norm3(self.project(self.se(y)))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)


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
    """Images of (N, 3, 32, 32) in, logits of (N, 10) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(3, 48, 3, stride=2),
        )
        self.stage1 = nn.Sequential(
            DepthwiseSeparable(48, 24, (48,), (3,)),
        )
        self.stage2 = nn.Sequential(
            DepthwiseSeparable(24, 32, (24,), (5,), stride=2),
            DepthwiseSeparable(32, 32, (32,), (5,), skip=Skip("pool")),
            DepthwiseSeparable(32, 32, (32,), (5,), skip=Skip("pool")),
        )
        self.stage3 = nn.Sequential(
            DepthwiseSeparable(32, 32, (32,), (3,), stride=2),
            DepthwiseSeparable(32, 32, (32,), (3,), skip=Skip("identity")),
        )
        self.stage4 = nn.Sequential(
            DepthwiseSeparable(32, 64, (32,), (5,), stride=2, se=Squeeze(8)),
            DepthwiseSeparable(64, 64, (64,), (3,), se=Squeeze(16), skip=Skip("identity")),
            DepthwiseSeparable(64, 64, (64,), (3,), se=Squeeze(16), skip=Skip("identity")),
            DepthwiseSeparable(64, 64, (64,), (3,), se=Squeeze(16), skip=Skip("identity")),
        )
        self.stage5 = nn.Sequential(
            DepthwiseSeparable(64, 168, (64,), (3,)),
            DepthwiseSeparable(168, 168, (168,), (3,)),
        )
        self.stage6 = nn.Sequential(
            ConvNormAct(168, 168, 3, stride=2),
            ConvNormAct(168, 168, 1),
        )
        self.stage7 = nn.Sequential(
            MBConv(168, 448, (1008,), (1,)),
        )
        self.head = nn.Sequential(
            ConvNormAct(448, 1792, 1),
            Classifier(1792, 10, dropout=0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 48, 16, 16)
        x = self.stage1(x)  # (N, 24, 16, 16)
        x = self.stage2(x)  # (N, 32, 8, 8)
        x = self.stage3(x)  # (N, 32, 4, 4)
        x = self.stage4(x)  # (N, 64, 2, 2)
        x = self.stage5(x)  # (N, 168, 2, 2)
        x = self.stage6(x)  # (N, 168, 1, 1)
        x = self.stage7(x)  # (N, 448, 1, 1)
        return self.head(x)  # (N, 10)


def preprocess(images: Tensor) -> Tensor:
    """Resize and normalise images: (N, 3, H, W), values from 0 to 255, for the network."""
    size = (RESOLUTION, RESOLUTION)
    return normalise(F.interpolate(images.float(), size, mode="bilinear", antialias=True))


def normalise(images: Tensor) -> Tensor:
    """Normalise images of the network's size, of values from 0 to 255, by channel."""
    mean, std = (torch.tensor(each, device=images.device).view(-1, 1, 1) for each in (MEAN, STD))
    return (images / 255 - mean) / std


def probabilities_of(logits: Tensor) -> Tensor:
    """Return the probability of each class, (N, 10), of the network's outputs."""
    return logits.double().softmax(1)


def answers(probabilities: Tensor) -> Tensor:
    """Return the most likely class, its index, (N,)."""
    return probabilities.argmax(1).long()


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


def refuse(reason: object) -> SystemExit:
    """Print why there is nothing to do, and return the end with status 2."""
    print(f"{Path(__file__).name}: {reason}", file=sys.stderr)
    return SystemExit(2)


def read_image(path: str) -> Tensor:
    """Read an image file with Pillow, as in training: (1, 3, RESOLUTION, RESOLUTION)."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        raw = str(file.tile)  # says how many bits a pixel has in the file
        image = ImageOps.exif_transpose(file)
    if ";16" in raw or image.mode.startswith(("I", "F")):
        raise ValueError("more than 8 bits; the training images have 8")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    image = image.convert("RGB").resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(1, RESOLUTION, RESOLUTION, IN_CHANNELS).permute(0, 3, 1, 2)


def classify(paths: list[str]) -> None:
    """Print a table, as CSV, of the class of each image file and the probability of every class."""
    if not WEIGHTS.exists():
        raise refuse(f"its weights are missing, {WEIGHTS}")
    network, images = load(), []
    for path in paths:
        try:
            images.append(read_image(path))
        except ImportError:
            raise refuse("image files are read with Pillow: pip install pillow") from None
        except Exception as error:  # Pillow raises nearly anything on a damaged file
            raise refuse(f"{path} is no image for this network: {error}") from None
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "class", *CLASS_NAMES])
    for path, image in zip(paths, images, strict=True):
        with torch.no_grad():
            probabilities = probabilities_of(network(normalise(image)))
        answer = CLASS_NAMES[int(answers(probabilities))]
        table.writerow([path, answer, *(f"{share:.6f}" for share in probabilities[0].tolist())])


if __name__ == "__main__":
    if paths := sys.argv[1:]:
        classify(paths)
        raise SystemExit
    for what, (found, stated) in check(load() if WEIGHTS.exists() else Network().eval()).items():
        if found != stated:
            raise SystemExit(f"{what}: {found}, but this file states {stated}")
        print(f"{what}: {found}, as stated")
