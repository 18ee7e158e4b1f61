"""timm as a referee: its networks, and its weights in ours; without timm a test is skipped."""

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas import network
from nas.architecture import Architecture
from nas.search_space import load, members

# torchvision, which timm imports, does not import beside a CPU build of torch unless somebody
# declares the two operators that its fake kernels are registered for. The object is kept alive.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_DECLARED: list[torch.library.Library] = []


@cache
def _timm() -> Any:
    """Return timm, or the error of its import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not hasattr(torch.ops.torchvision, "nms"):
                library = torch.library.Library("torchvision", "DEF")
                for schema in _SCHEMAS:
                    library.define(schema)
                _DECLARED.append(library)
            import timm
        except (ImportError, RuntimeError) as error:
            return error
    return timm


def timm() -> Any:
    """Return timm; skip the test with the reason if timm can't be imported."""
    found = _timm()
    if isinstance(found, Exception):
        pytest.skip(f"needs timm, which can't be imported here: {found}")
    return found


def version() -> str | None:
    """Return timm's version; None if it can't be imported."""
    found = _timm()
    return None if isinstance(found, Exception) else str(found.__version__)


def shared_names() -> list[str]:
    """Return the members that timm has under the same name; none without timm."""
    found = _timm()
    if isinstance(found, Exception):
        return []
    return sorted(members().keys() & set(found.list_models()))


def build(name: str, **options: Any) -> nn.Module:
    """Build timm's network of this name, with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timm().create_model(name, pretrained=False, **options).eval()


def params(name: str, **options: Any) -> int:
    """Count the learnable parameters of timm's network, built without memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, **options).parameters())


def calibrated(name: str, images: Tensor, **options: Any) -> nn.Module:
    """Build timm's network so that its logits depend on the image and every norm has an effect.

    Scales and shifts are random, and batch norm's statistics are those of the images.
    """
    torch.manual_seed(0)
    built = build(name, **options)
    for module in built.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        built.train()(images)
    return built.eval()


def copy_weights(source: nn.Module, target: nn.Module, image: Tensor) -> None:
    """Copy all parameters and buffers, in the order in which the modules run.

    Tensors of one shape are matched in that order. Dimensions of 1 are ignored, so a 1x1
    convolution of a pooled image matches a linear layer. Raises ValueError if one side has more
    tensors of a shape.
    """
    given, taken = _by_shape(source, image), _by_shape(target, image)
    differing = {
        shape: (len(given.get(shape, ())), len(taken.get(shape, ())))
        for shape in given.keys() | taken.keys()
        if len(given.get(shape, ())) != len(taken.get(shape, ()))
    }
    if differing:
        raise ValueError(f"tensors of a shape in source and target differ in number: {differing}")
    with torch.no_grad():
        for shape, tensors in given.items():
            for tensor, own in zip(tensors, taken[shape], strict=True):
                own.copy_(tensor.reshape(own.shape))


def _by_shape(module: nn.Module, image: Tensor) -> dict[tuple[int, ...], list[Tensor]]:
    """Group a network's tensors by shape, in the order in which the modules run."""
    ran: dict[nn.Module, None] = {}
    hooks = [
        each.register_forward_pre_hook(lambda module, _: ran.setdefault(module))
        for each in module.modules()
    ]
    with torch.no_grad():
        module.eval()(image)
    for hook in hooks:
        hook.remove()
    found: dict[tuple[int, ...], list[Tensor]] = {}
    for tensor in _tensors([*ran, *(other for other in module.modules() if other not in ran)]):
        found.setdefault(tuple(n for n in tensor.shape if n != 1), []).append(tensor)
    return found


def _tensors(modules: list[nn.Module]) -> Iterator[Tensor]:
    """Yield the modules' own tensors; a grouped 1x1 convolution, which timm splits, is one."""
    joined: set[nn.Module] = set()
    for module in modules:
        if type(module).__name__ == "MixedConv2d":
            convs: list[Any] = list(module.children())
            if all(conv.kernel_size == (1, 1) for conv in convs):
                joined.update(convs)
                yield torch.cat([conv.weight for conv in convs])
        if module not in joined:
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.ndim:  # not the count of batches that a norm has seen
                    yield tensor


def difference(name: str, *, size: int = 64, architecture: Architecture | None = None) -> float:
    """Return the largest difference between our logits, with timm's weights, and timm's.

    It is relative to the difference between timm's logits of two images. So a network whose logits
    hardly depend on the image does not pass.
    """
    ours = architecture or load(name).decode({})
    shape = (4, ours.in_channels, size, size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    theirs = calibrated(name, images, num_classes=ours.classes)
    built = network.build(ours).eval()
    copy_weights(theirs, built, images[:2])
    with torch.no_grad():
        expected, actual = theirs(images[:2]), built(images[:2])
    apart = (expected[0] - expected[1]).abs().max()
    return float((expected - actual).abs().max() / apart)
