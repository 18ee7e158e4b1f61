"""A ConvNet for 5 classes and images of 32 x 32, trained on retinamnist (2026-12-01).

score   0.7654
macs    4,715,968
params  163,005

                   validation        test
accuracy               0.5258      0.4975
balanced_accuracy      0.3952      0.3556
macro_f1               0.3973      0.3524
auroc                  0.7654      0.7348
loss                   1.2124      1.2728
majority_rate          0.4500      0.4350
predicted_classes      5.0000      5.0000

stem    cn_r1_k3_s1_c16_nsw
stage1  ds_r1_k3.5_s1_c16_nsw
stage2  ir_r2_k5_s2_e3_c16_se0.5_nsw
stage3  ir_r2_k3.5_s2_e2_c24_se0.25_nsw
stage4  ir_r1_k3_s2_e6_c112_se0.25_nsw
stage5  ir_r1_k3.5.7_s2_e3_c64_se0.5_nsw_kexp
head    cn_r1_k1_s1_c256_nsw fc_r1_c5_do0.2
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
CLASSES = 5
CLASS_NAMES = ("0", "1", "2", "3", "4")
# Per channel, of pixel values from 0 to 1.
MEAN = (0.39812687582266704, 0.24442785635666303, 0.15551076984613288)
STD = (0.2953836001289941, 0.1971483417623711, 0.14705823526272482)
ANSWER = "likeliest"
PARAMS = 163_005
MACS = 4_715_968  # multiply-accumulates for one image, convolution and linear
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
    """Images of (N, 3, 32, 32) in, logits of (N, 5) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(3, 16, 3, activation=nn.SiLU),
        )
        self.stage1 = nn.Sequential(
            DepthwiseSeparable(16, 16, (8, 8), (3, 5), activation=nn.SiLU, skip=Skip("identity")),
        )
        self.stage2 = nn.Sequential(
            MBConv(
                16, 16, (48,), (5,), stride=2, activation=nn.SiLU, se=Squeeze(8, activation=nn.SiLU)
            ),
            MBConv(
                16,
                16,
                (48,),
                (5,),
                activation=nn.SiLU,
                se=Squeeze(8, activation=nn.SiLU),
                skip=Skip("identity"),
            ),
        )
        self.stage3 = nn.Sequential(
            MBConv(
                16,
                24,
                (16, 16),
                (3, 5),
                stride=2,
                activation=nn.SiLU,
                se=Squeeze(4, activation=nn.SiLU),
            ),
            MBConv(
                24,
                24,
                (24, 24),
                (3, 5),
                activation=nn.SiLU,
                se=Squeeze(6, activation=nn.SiLU),
                skip=Skip("identity"),
            ),
        )
        self.stage4 = nn.Sequential(
            MBConv(
                24,
                112,
                (144,),
                (3,),
                stride=2,
                activation=nn.SiLU,
                se=Squeeze(6, activation=nn.SiLU),
            ),
        )
        self.stage5 = nn.Sequential(
            MBConv(
                112,
                64,
                (168, 84, 84),
                (3, 5, 7),
                stride=2,
                activation=nn.SiLU,
                se=Squeeze(56, activation=nn.SiLU),
            ),
        )
        self.head = nn.Sequential(
            ConvNormAct(64, 256, 1, activation=nn.SiLU),
            Classifier(256, 5, dropout=0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 16, 32, 32)
        x = self.stage1(x)  # (N, 16, 32, 32)
        x = self.stage2(x)  # (N, 16, 16, 16)
        x = self.stage3(x)  # (N, 24, 8, 8)
        x = self.stage4(x)  # (N, 112, 4, 4)
        x = self.stage5(x)  # (N, 64, 2, 2)
        return self.head(x)  # (N, 5)


def preprocess(images: Tensor) -> Tensor:
    """Resize and normalise images: (N, 3, H, W), values from 0 to 255, for the network."""
    size = (RESOLUTION, RESOLUTION)
    return normalise(F.interpolate(images.float(), size, mode="bilinear", antialias=True))


def normalise(images: Tensor) -> Tensor:
    """Normalise images of the network's size, of values from 0 to 255, by channel."""
    mean, std = (torch.tensor(each, device=images.device).view(-1, 1, 1) for each in (MEAN, STD))
    return (images / 255 - mean) / std


def probabilities_of(logits: Tensor) -> Tensor:
    """Return the probability of each class, (N, 5), of the network's outputs."""
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
