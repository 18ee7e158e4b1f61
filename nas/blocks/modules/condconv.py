"""CondConv: Conditionally Parameterized Convolutions for Efficient Inference, arXiv:1904.04971."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.modules.squeeze_excite import Squeeze, SqueezeExcite


class Experts(NamedTuple):
    """How many kernels a CondConv mixes, and whether each convolution has a routing of its own."""

    number: int
    own_routing: bool = False


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
        return y.reshape(n, -1, y.shape[2], y.shape[3])  # (N, out, H / stride, W / stride)


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
        experts: Experts,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        se: Squeeze | None = None,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        hidden, number = hidden_channels, experts.number
        self.routing1 = Routing(in_channels, number)
        self.expand = CondConv2d(in_channels, hidden, 1, experts=number)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.routing2 = Routing(hidden, number) if experts.own_routing else None
        self.depthwise = CondConv2d(hidden, hidden, kernel, stride, hidden, experts=number)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.act = activation()
        self.se = SqueezeExcite(hidden, se) if se else nn.Identity()
        self.routing3 = Routing(hidden, number) if experts.own_routing else None
        self.project = CondConv2d(hidden, out_channels, 1, experts=number)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        routing = self.routing1(x)  # (N, experts)
        y = self.act(self.norm1(self.expand(x, routing)))  # (N, hidden, H, W)
        routing = routing if self.routing2 is None else self.routing2(y)
        y = self.act(self.norm2(self.depthwise(y, routing)))  # (N, hidden, H / stride, W / stride)
        y = self.se(y)
        routing = routing if self.routing3 is None else self.routing3(y)
        y = self.norm3(self.project(y, routing))  # (N, out, H / stride, W / stride)
        return y if self.skip is None else self.skip(x, y)
