"""Referees that count without nas's formulas: fvcore, and a trace of the tensors in memory."""

import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas import network
from nas.architecture import Architecture
from nas.cost import Step

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore is built on torch.jit, which is deprecated
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

# The operators whose macs count; batch norm and pooling are in fvcore's grand total.
COUNTED = ("conv", "linear", "matmul", "addmm", "bmm", "einsum")


def macs_and_activations(module: nn.Module, in_channels: int, size: int) -> tuple[int, int]:
    """Count one image of (in_channels, size, size) with fvcore."""
    image = torch.zeros(1, in_channels, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flops = _quiet(FlopCountAnalysis(module.eval(), image)).by_operator()
        activations = _quiet(ActivationCountAnalysis(module, image)).total()
    return sum(int(flops[name]) for name in COUNTED), int(activations)


def meta_params(architecture: Architecture) -> int:
    """Build a network without memory and count its learnable parameters."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network.build(architecture).parameters())


# The torch operators that each kind of `nas.cost.Tape` runs, under torch's names.
RUNS = {
    "conv": ("convolution",), "depthwise": ("convolution",), "grouped": ("convolution",),
    "pointwise": ("convolution",), "cond_conv": ("mm", "convolution"), "linear": ("addmm",),
    "squeeze_excite": ("mean", "convolution", "act", "convolution", "act", "mul"),
    "norm": ("norm",), "layer_norm": ("layer_norm",), "act": ("act",), "add": ("add",),
    "product": ("mul",), "concat": ("cat",), "pool": ("mean",), "local_pool": ("local_pool",),
}  # fmt: skip
ALIKE = {
    "native_batch_norm": "norm", "_native_batch_norm_legit_no_training": "norm",
    "native_layer_norm": "layer_norm", "sum": "add", "avg_pool2d": "local_pool",
    "max_pool2d_with_indices": "local_pool",
} | dict.fromkeys(
    ("relu", "hardtanh", "silu", "hardswish", "gelu", "mish", "sigmoid", "hardsigmoid", "_softmax",
     "channel_shuffle", "native_channel_shuffle"), "act",
)  # fmt: skip


def operators(module: nn.Module, in_channels: int, size: int) -> Counter[str]:
    """Run one image and count the operators that compute a new tensor, by name."""
    trace = _Trace([])
    with torch.no_grad(), trace:
        module.eval()(torch.zeros(1, in_channels, size, size))
    names = (ALIKE.get(name, name) for name in trace.names)
    return Counter(
        name for name in names if name in {run for runs in RUNS.values() for run in runs}
    )


def operators_of(steps: Iterable[Step]) -> Counter[str]:
    """Count the operators that a transcript lists, under the same names."""
    return Counter(run for step in steps for run in RUNS[step.kind])


def peak_activation_bytes(module: nn.Module, in_channels: int, size: int) -> int:
    """Run one image; return the largest sum of live tensors, each alive until its last use.

    Views share their storage; parameters and buffers don't count.
    """
    module.eval()
    image = torch.zeros(1, in_channels, size, size)
    trace = _Trace([*module.parameters(), *module.buffers()])
    with torch.no_grad(), trace:
        trace.use(image)
        trace.step += 1
        output = module(image)
    trace.use(output)
    peaks = [0] * (trace.step + 1)
    for born, last, size_in_bytes in trace.lives.values():
        for step in range(born, last + 1):
            peaks[step] += size_in_bytes
    return max(peaks)


def calibrated(architecture: Architecture, seed: int = 0) -> nn.Module:
    """Build a network whose logits depend on the image, with batch norm calibrated on noise."""
    torch.manual_seed(seed)
    module = network.build(architecture)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    size = architecture.resolution
    with torch.no_grad():
        module.train()(torch.randn(16, architecture.in_channels, size, size))
    return module.eval()


def formatting(source: str) -> str:
    """Return the diff that `ruff format` would make in this source; empty if none."""
    command = (sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=100", "--diff")
    ruff = subprocess.run(
        [*command, "-"], input=source, capture_output=True, text=True, timeout=120
    )
    return ruff.stdout or ruff.stderr * ruff.returncode


class _Trace(TorchDispatchMode):
    """Records the creation, the last use and the size of each storage."""

    def __init__(self, constants: list[Tensor]) -> None:
        super().__init__()
        self.step = 0
        self.names: list[str] = []
        self.lives: dict[int, tuple[int, int, int]] = {}
        self._constants = {_storage(tensor) for tensor in constants}
        self._kept: list[Tensor] = []  # so that no storage's address is used twice

    def use(self, value: Any) -> None:
        for tensor in tree_leaves(value):
            if not isinstance(tensor, Tensor) or _storage(tensor) in self._constants:
                continue
            self._kept.append(tensor)
            key = _storage(tensor)
            born = self.lives.get(key, (self.step,))[0]
            self.lives[key] = (born, self.step, tensor.untyped_storage().nbytes())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        self.use((args, kwargs))
        self.use(made)
        self.step += 1
        return made


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _quiet(analysis: Any) -> Any:
    analysis.unsupported_ops_warnings(False)
    analysis.uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return analysis
