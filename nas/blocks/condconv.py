"""CondConv: Conditionally Parameterized Convolutions for Efficient Inference, arXiv:1904.04971."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.blocks import Arguments, Block, Options, options
from nas.blocks.skip import Skip, add_skip
from nas.blocks.squeeze_excite import SqueezeExcite
from nas.cost import Tape

ROUTINGS = ("block", "convolution")


class CondConv2d(nn.Module):
    """Convolution with a kernel for each image: the sum of the experts', weighted by `routing`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        experts: int,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = stride, kernel // 2, groups
        self.shape = (out_channels, in_channels // groups, kernel, kernel)
        weight = torch.empty(experts, *self.shape)
        for expert in weight:  # each as nn.Conv2d begins
            nn.init.kaiming_uniform_(expert, a=math.sqrt(5))
        self.weight = nn.Parameter(weight.flatten(1))

    def forward(self, x: Tensor, routing: Tensor) -> Tensor:
        n, _, height, width = x.shape
        weight = (routing @ self.weight).view(-1, *self.shape[1:])  # (N x out, in / groups, k, k)
        x = x.reshape(1, -1, height, width)  # (1, N x in, H, W)
        groups = n * self.groups
        y = functional.conv2d(x, weight, None, self.stride, self.padding, groups=groups)
        return y.reshape(n, -1, *y.shape[2:])  # (N, out, H / stride, W / stride)


class Routing(nn.Module):
    """Global pool, linear, sigmoid: a weight for each expert, (N, experts)."""

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, experts)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3))).sigmoid()


class CondMBConv(nn.Module):
    """MBConv of CondConvs: 1x1 expand, k x k depthwise [+ SE], 1x1 project [+ skip].

    All three mix their experts by one routing of the block's input, or each by a routing of its own
    input.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        experts: int = 4,
        routing: str = "block",
        activation: type[nn.Module] = nn.ReLU,
        se_channels: int = 0,
        se_activation: type[nn.Module] = nn.ReLU,
        se_gate: type[nn.Module] = nn.Sigmoid,
        skip: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        hidden, each = hidden_channels, routing == "convolution"
        self.routing1 = Routing(in_channels, experts)
        self.expand = CondConv2d(in_channels, hidden, 1, experts=experts)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.routing2 = Routing(hidden, experts) if each else None
        self.depthwise = CondConv2d(hidden, hidden, kernel, stride, hidden, experts=experts)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.act = activation()
        self.se = (
            SqueezeExcite(hidden, se_channels, se_activation, se_gate)
            if se_channels
            else nn.Identity()
        )
        self.routing3 = Routing(hidden, experts) if each else None
        self.project = CondConv2d(hidden, out_channels, 1, experts=experts)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = Skip(skip, stride, drop_path) if skip != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        routing = self.routing1(x)  # (N, experts)
        y = self.act(self.norm1(self.expand(x, routing)))  # (N, hidden, H, W)
        routing = self.routing2(y) if self.routing2 else routing
        y = self.act(self.norm2(self.depthwise(y, routing)))  # (N, hidden, H / stride, W / stride)
        y = self.se(y)
        routing = self.routing3(y) if self.routing3 else routing
        y = self.norm3(self.project(y, routing))  # (N, out, H / stride, W / stride)
        return self.skip(x, y) if self.skip else y


def cost(
    tape: Tape,
    *,
    hidden_channels: int,
    out_channels: int,
    kernel: int,
    stride: int,
    experts: int,
    routing: str,
    se_channels: int,
    skip: str,
    **_: object,
) -> None:
    """Count what CondMBConv does."""
    held = tape.hold() if skip != "none" else None
    shared = routing == "block"
    weights = tape.route(experts)
    tape.cond_conv(hidden_channels, 1, experts=experts, routing=weights, keep=shared)
    tape.norm_act()
    weights = weights if shared else tape.route(experts)
    groups = hidden_channels
    tape.cond_conv(
        hidden_channels, kernel, stride, groups, experts=experts, routing=weights, keep=shared
    )
    tape.norm_act()
    if se_channels:
        tape.squeeze_excite(se_channels)
    weights = weights if shared else tape.route(experts)
    tape.cond_conv(out_channels, 1, experts=experts, routing=weights)
    tape.norm()
    if held:
        add_skip(tape, held, skip, stride)


def _arguments(values: Options, in_channels: int, out_channels: int, stride: int) -> Arguments:
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    return {
        "in_channels": in_channels,
        "hidden_channels": hidden_channels,
        "out_channels": out_channels,
        "kernel": int(values["kernels"]),
        "stride": stride,
        "experts": int(values["experts"]),
        "routing": str(values["routing"]),
        "activation": options.ACTIVATIONS[str(values["activation"])],
        **options.squeeze_excite_arguments(values, in_channels, hidden_channels),
        **options.residual_arguments(values, in_channels, out_channels, stride),
    }


def _canonical(
    values: Options, in_channels: int, out_channels: int, stride: int
) -> tuple[str, Options]:
    """An expansion of 1 stays: its 1x1 convolution is another one for each image."""
    hidden_channels = options.hidden_channels(float(values["expansion"]), in_channels)
    return "condconv", {
        **values,
        "kernels": options.canonical_kernels(str(values["kernels"])),
        "expansion": options.canonical_expansion(float(values["expansion"]), in_channels),
        **options.canonical_squeeze_excite(values, in_channels, hidden_channels),
        **options.canonical_residual(values, in_channels, out_channels, stride),
    }


BLOCK = Block(
    name="condconv",
    module=CondMBConv,
    options={
        "kernels": options.kernel(),
        "experts": options.count(4),
        "routing": options.one_of("block", ROUTINGS),
        "expansion": options.expansion(),
        "activation": options.activation(),
        **options.squeeze_excite(),
        **options.residual(),
    },
    arguments=_arguments,
    cost=cost,
    canonical=_canonical,
)
