"""The network as torch's graph: standardising inside, batch norm folded, any number of images.

Formats are made of the built network or of its graph, which torch.export traces.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from nas import network
from nas.blocks.modules.condconv import CondConv2d
from nas.data.dataset import Images
from nas.errors import NasError, UserError
from nas.export import Exportable
from nas.training.images import standardised

BATCH = 2  # images of the example; torch takes a batch of 1 for a constant
IMAGES, LOGITS = "images", "logits"  # names of the input and the output in every format
_ATEN = torch.ops.aten
_CONVOLUTIONS = (_ATEN.conv2d.default, _ATEN.conv2d.padding)


class Standardised(nn.Module):
    """A network that takes pixels, uint8 (N, C, R, R), and standardises them as in training."""

    scale: Tensor
    offset: Tensor

    def __init__(self, module: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.module = module
        scale, offset = (
            [1 / (255 * s) for s in std],
            [-m / s for m, s in zip(mean, std, strict=True)],
        )
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1))
        self.register_buffer("offset", torch.tensor(offset).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's logits, (N, classes)."""
        logits: Tensor = self.module(x.float() * self.scale + self.offset)
        return logits


class SummedExperts(nn.Module):
    """A CondConv2d whose kernels are constants: each expert's outputs, summed by the routing.

    Exported formats have no convolution whose groups depend on the number of images. A 1x1 kernel
    is a product of matrices instead, which needs no sum.
    """

    weight: Tensor

    def __init__(self, conv: CondConv2d) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.shape, self.pointwise = conv.shape, conv.shape[2:] == (1, 1) and conv.groups == 1
        weight = conv.weight.detach()  # (experts, out x in / groups x k x k)
        if not self.pointwise:
            out, channels, *kernel = conv.shape
            split = weight.view(-1, conv.groups, out // conv.groups, channels, *kernel)
            weight = split.transpose(0, 1).reshape(-1, channels, *kernel)  # groups, experts, out
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor, routing: Tensor) -> Tensor:
        """Return (N, out, H / stride, W / stride) of x (N, in, H, W) and routing (N, experts)."""
        if self.pointwise:
            x = x[..., :: self.stride, :: self.stride]
            weight = (routing @ self.weight).view(-1, *self.shape[:2])  # (N, out, in)
            return (weight @ x.flatten(2)).view(-1, self.shape[0], *x.shape[2:])
        y = functional.conv2d(x, self.weight, None, self.stride, self.padding, groups=self.groups)
        each = self.shape[0] // self.groups
        y = y.view(-1, self.groups, routing.shape[1], each, *y.shape[2:])
        return torch.sum(y * routing[:, None, :, None, None, None], 2).flatten(1, 2)


def module_of(exportable: Exportable) -> nn.Module:
    """Build the network with its weights, in evaluation mode, as the options say.

    Raises UserError for `preprocess` without the statistics of training images.
    """
    module = rebuilt(exportable)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CondConv2d):
                setattr(parent, name, SummedExperts(child))
    if exportable.options.fold_batch_norm:
        fold_batch_norm(module, noise(exportable, BATCH))
    if exportable.options.preprocess:
        facts = exportable.facts
        if not facts.mean:
            raise UserError("--preprocess needs a trained network's mean and deviation of images.")
        module = Standardised(module, facts.mean, facts.std)
    return module


def rebuilt(exportable: Exportable) -> nn.Module:
    """Build the network that an export is held to; NasError where the weights do not fit."""
    module = network.build(exportable.architecture)
    try:
        module.load_state_dict(dict(exportable.state))
    except RuntimeError as error:
        raise NasError(f"The weights do not fit the network: {error}") from error
    return module.eval().requires_grad_(False)


def traced(exportable: Exportable) -> ExportedProgram:
    """Trace the module for any number of images."""
    images = example(exportable, BATCH)
    return torch.export.export(exportable.module, (images,), dynamic_shapes=({0: Dim("batch")},))


def example(exportable: Exportable, count: int, seed: int = 0) -> Tensor:
    """Return random input of the module: standardised images, or pixels with `preprocess`."""
    if not exportable.options.preprocess:
        return noise(exportable, count, seed)
    return torch.randint(
        256,
        _shape(exportable, count),
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.uint8,
    )


def noise(exportable: Exportable, count: int, seed: int = 0) -> Tensor:
    """Return random standardised images (N, C, R, R)."""
    return torch.randn(_shape(exportable, count), generator=torch.Generator().manual_seed(seed))


def standard(exportable: Exportable, images: Tensor) -> Tensor:
    """Return the module's input as the built network takes it: standardised."""
    facts = exportable.facts
    if not exportable.options.preprocess:
        return images
    return standardised(images.permute(0, 2, 3, 1).numpy(), facts.mean, facts.std, images.device)


def inputs(exportable: Exportable, images: Images) -> Tensor:
    """Return images of a data set, (N, R, R, C) uint8, as the module takes them."""
    if exportable.options.preprocess:
        return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()
    facts = exportable.facts
    return standardised(images, facts.mean, facts.std, torch.device("cpu")).contiguous()


def _shape(exportable: Exportable, count: int) -> tuple[int, int, int, int]:
    architecture = exportable.architecture
    return count, architecture.in_channels, architecture.resolution, architecture.resolution


def fold_batch_norm(module: nn.Module, images: Tensor) -> None:
    """Make each batch norm after convolutions part of their weights, also after a concatenation.

    The traced graph tells what a batch norm comes after; one after anything else stays.
    """
    program = torch.export.export(module, (images,))
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.target is not _ATEN.batch_norm.default:
            continue
        convolutions = [module.get_submodule(path) for path in _sources(node.args[0], names)]
        if convolutions and all(isinstance(each, nn.Conv2d) for each in convolutions):
            path, _, _ = names[node.args[3].name].rpartition(".")
            _fold(convolutions, module.get_submodule(path))
            module.set_submodule(path, nn.Identity())


def _sources(node: Any, names: Mapping[str, str]) -> list[str]:
    """Return the paths of the convolutions that make a node's channels, in order; [] for others."""
    if len(node.users) > 1:
        return []
    if node.target in _CONVOLUTIONS and node.args[1].name in names:
        path, _, _ = names[node.args[1].name].rpartition(".")
        return [path]
    if node.target is _ATEN.cat.default and node.args[1:] == (1,):
        parts = [_sources(part, names) for part in node.args[0]]
        return [path for part in parts for path in part] if all(parts) else []
    return []


def _fold(convolutions: list[Any], norm: Any) -> None:
    """Scale and shift the weights of convolutions as their batch norm does."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps) * norm.weight.double()
    shift = norm.bias.double() - norm.running_mean.double() * scale  # float64: rounded once
    sizes = [conv.out_channels for conv in convolutions]
    for conv, by, plus in zip(convolutions, scale.split(sizes), shift.split(sizes), strict=True):
        given = 0.0 if conv.bias is None else conv.bias.double()
        weight = conv.weight.double() * by.view(-1, 1, 1, 1)
        conv.weight = nn.Parameter(weight.float(), requires_grad=False)
        conv.bias = nn.Parameter((given * by + plus).float(), requires_grad=False)


def largest_difference(expected: Tensor, actual: Tensor) -> float:
    """Return the largest difference of outputs relative to the largest; infinity for NaN."""
    if expected.shape != actual.shape:
        return math.inf
    difference = (expected - actual).abs().max() / expected.abs().max().clamp(min=1e-12)
    return float(difference) if difference.isfinite() else math.inf
