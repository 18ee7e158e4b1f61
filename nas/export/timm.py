"""Export for timm: a registered EfficientNet by block strings, with weights by timm's own names.

What timm's builder can't say is refused, with the option. The rate of stochastic depth, which has
no effect after training, is left to timm's `drop_path_rate`.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.blocks.notation import ACTIVATION_CODES
from nas.blocks.options import ACTIVATIONS
from nas.blocks.rounding import round_channels
from nas.errors import NasError
from nas.export import Exportable, Written

EXTRA = "timm"
PACKAGES = ("timm",)
RUNTIME = "timm"
OPTIONS: tuple[str, ...] = ()
TOLERANCE = 1e-5
NEEDS_DATA = False
CODE, WEIGHTS = "timm_model.py", "timm_model.safetensors"

_SE = {"se.reduce": "se.conv_reduce", "se.expand": "se.conv_expand"}
_INVERTED = {
    "expand": "conv_pw", "norm1": "bn1", "depthwise": "conv_dw", "norm2": "bn2",
    "project": "conv_pwl", "norm3": "bn3", **_SE,
}  # fmt: skip
# timm's code of each block, and timm's names of the parts of its module.
_BLOCKS: dict[str, tuple[str, dict[str, str]]] = {
    "mbconv": ("ir", _INVERTED),
    "condconv": ("ir", {"routing1.linear": "routing_fn", **_INVERTED}),
    "depthwise_separable": (
        "ds",
        {"depthwise": "conv_dw", "norm1": "bn1", "project": "conv_pw", "norm2": "bn2", **_SE},
    ),
    "fused_mbconv": (
        "er",
        {"expand": "conv_exp", "norm1": "bn1", "project": "conv_pwl", "norm2": "bn2", **_SE},
    ),
    "conv": ("cn", {"conv": "conv", "norm": "bn1"}),
    "residual_conv": ("cn", {"conv.conv": "conv", "conv.norm": "bn1"}),
}
_CODES = {name: code for name, code in ACTIVATION_CODES.items() if name != "gelu"}

SOURCE = '''\
"""The architecture {id} as a model of timm, for {classes} classes and images of {size} x {size}.

After `import timm_model`, timm builds it with its weights:
`timm.create_model("{name}", pretrained=True)`.
"""

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from timm.models import register_model
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

NAME = "{name}"
WEIGHTS = Path(__file__).with_name("{weights}")
BLOCKS = [
{stages}
]


@register_model
def {name}(pretrained: bool = False, **options: object) -> EfficientNet:
    """Build the network; the options are those of timm's EfficientNet."""
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(name, None)
    given = dict(
{settings}
    )
    network = EfficientNet(decode_arch_def(BLOCKS), **(given | options))
    if pretrained:
        network.load_state_dict(load_file(WEIGHTS))
    return network
'''


def write(exportable: Exportable, folder: Path) -> Written:
    """Write timm_model.py and its weights; NasError names the option that timm can't say."""
    architecture = exportable.architecture
    text = source(architecture)
    weights = dict(_renamed(architecture, exportable.state))
    (folder / WEIGHTS).write_bytes(save(weights))
    (folder / CODE).write_text(text, encoding="utf-8")
    return Written(folder / CODE)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Import the file, and let timm create the model that it registers, with its weights."""
    import timm

    spec = importlib.util.spec_from_file_location("nas_exported_timm_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        built: nn.Module = timm.create_model(module.NAME, pretrained=True)
    finally:
        del sys.modules[spec.name]
    return built.eval()


def check(architecture: Architecture) -> None:
    """Raise NasError, with the option, for a network that timm can't say."""
    source(architecture)


def source(architecture: Architecture) -> str:
    """Return the text of the file; NasError names the option that timm can't say."""
    stages = [
        f"    [{', '.join(json.dumps(_string(placed)) for placed in stage)}],"
        for stage in _stages(architecture)
    ]
    settings = [f"        {key}={value}," for key, value in _settings(architecture).items()]
    return SOURCE.format(
        id=architecture.id, classes=architecture.classes, size=architecture.resolution,
        name=f"nas_{architecture.id}", weights=WEIGHTS, stages="\n".join(stages),
        settings="\n".join(settings),
    )  # fmt: skip


class _Layer(NamedTuple):
    """A row of the body with its input's channels, its options and its module's arguments."""

    where: str
    row: Row
    channels: int
    options: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def refuse(self, option: str, value: object) -> NasError:
        """Return the error about an option."""
        return _refusal(f"{self.row.block}.{option} = {value} ({self.where})")


def _refusal(what: str) -> NasError:
    return NasError(f"timm's EfficientNet can't say {what}.")


def _stages(architecture: Architecture) -> list[list[_Layer]]:
    """Return the layers of the body, stage by stage."""
    steps, stages = network.walk(architecture), []
    for name, rows in architecture.parts():
        layers = []
        for row, (_, channels, _) in zip(rows, steps):  # noqa: B905 - the part ends first
            options = blocks.get(row.block).complete(dict(row.options))
            layers.append(_Layer(name, row, channels, options, blocks.arguments(row, channels)))
        if name.startswith("stage"):
            stages.append(layers)
    return stages


def _string(layer: _Layer) -> str:
    """Return timm's string of a block."""
    row, options, arguments = layer.row, layer.options, layer.arguments
    if row.block not in _BLOCKS:
        raise _refusal(f"the block {row.block} ({layer.where})")
    code, _ = _BLOCKS[row.block]
    if options.get("partition") == "exponential" and "." in str(options["kernels"]):
        raise layer.refuse("partition", "exponential")
    words = [code, "r1", f"k{options['kernels']}", f"s{row.stride}"]
    if "expansion" in options:
        hidden = arguments.get("hidden_channels") or sum(arguments["group_channels"])
        if round_channels(hidden) != hidden:
            raise layer.refuse("expansion", f"{options['expansion']:g}, which gives {hidden}")
        words.append(f"e{hidden / layer.channels!r}")
    words.append(f"c{row.out_channels}")
    if squeeze := arguments.get("se"):
        if code == "cn":
            raise layer.refuse("se_ratio", options["se_ratio"])
        words.append(f"se{squeeze.channels / layer.channels!r}")
    words += _more(layer, code)
    if options["activation"] in _CODES:  # gelu is the whole network's, or nobody's
        words.append(_CODES[options["activation"]])
    return "_".join(words)


def _more(layer: _Layer, code: str) -> Iterator[str]:
    """Yield the words for groups, experts and the skip."""
    options, skip = layer.options, layer.arguments.get("skip")
    if options.get("groups", 1) > 1:
        raise layer.refuse("groups", options["groups"])
    for option, letter in (("expand_groups", "a"), ("project_groups", "p")):
        if options.get(option, 1) > 1:
            yield letter + ".".join("1" * options[option])
    if "experts" in options:
        if options["routing"] != "block":
            raise layer.refuse("routing", options["routing"])
        yield f"cc{options['experts']}"
    if skip and skip.kind == "pool":
        raise layer.refuse("skip", "pool")
    if code == "cn":
        yield from ("skip",) if skip else ()
    elif not skip and layer.row.stride == 1 and layer.channels == layer.row.out_channels:
        yield "noskip"


def _settings(architecture: Architecture) -> dict[str, str]:
    """Return the arguments of timm's EfficientNet, as source."""
    stages = _stages(architecture)
    stem, head = architecture.stem, architecture.head
    if len(stem) != 1 or stem[0].block != "conv" or stem[0].stride != 2 or not stages:
        raise _refusal("a stem that is not one convolution with stride 2")
    start, last = dict(stem[0].options), dict(head[-1].options)
    conv = [dict(row.options) for row in head[:-1] if row.block == "conv"]
    if len(conv) != len(head) - 1 or len(conv) > 1:
        raise _refusal("a head with more than one convolution before the classifier")
    if conv and (conv[0].get("kernels") != "1" or head[0].stride > 1 or "groups" in conv[0]):
        raise _refusal("a head whose convolution is not 1x1")
    for option in ("hidden_channels", "layer_norm"):
        if last.get(option):
            raise _refusal(f"classifier.{option} = {last[option]}")
    if "groups" in start:
        raise _refusal(f"conv.groups = {start['groups']} (stem)")
    used = {str(each.get("activation", "relu")) for each in (start, *conv)}
    rest = {str(layer.options["activation"]) for stage in stages for layer in stage}
    if len(used) > 1 or ("gelu" in rest and used != {"gelu"}):
        raise _refusal(f"the activations {', '.join(sorted(used | rest))} of stem, blocks and head")
    strides = prod(layer.row.stride for stage in stages for layer in stage) * stem[0].stride
    return {
        "num_classes": str(architecture.classes),
        "in_chans": str(architecture.in_channels),
        "stem_size": str(stem[0].out_channels),
        "stem_kernel_size": str(start.get("kernels", "3")),
        "num_features": str(head[0].out_channels if conv else 0),
        "act_layer": f"nn.{ACTIVATIONS[used.pop()].name}",
        "se_layer": _squeeze(stages),
        "round_chs_fn": "int",
        "drop_rate": repr(last.get("dropout", 0.0)),
        **({"output_stride": str(strides)} if strides > 32 else {}),
    }


def _squeeze(stages: list[list[_Layer]]) -> str:
    """Return timm's squeeze-and-excitation, which is the same in all blocks."""
    layers = [each for stage in stages for each in stage if each.arguments.get("se")]
    gates = {layer.options["se_gate"] for layer in layers}
    own = {layer.options["se_activation"] for layer in layers}
    own = {"same"} if all(_follows(layer) for layer in layers) else own
    if len(gates) > 1 or len(own) > 1:
        raise _refusal("blocks of different se_gate or se_activation")
    gate = "nn.Hardsigmoid" if gates == {"hard_sigmoid"} else "nn.Sigmoid"
    forced = "" if own <= {"same"} else f", force_act_layer=nn.{ACTIVATIONS[own.pop()].name}"
    return f"partial(SqueezeExcite, gate_layer={gate}{forced})"


def _follows(layer: _Layer) -> bool:
    return layer.options["se_activation"] in ("same", layer.options["activation"])


def _renamed(
    architecture: Architecture, state: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights by timm's names; a grouped 1x1 convolution is several in timm."""
    names = dict(_names(architecture))
    groups = dict(_groups(architecture))
    for name, tensor in state.items():
        own = next(prefix for prefix in names if name.startswith(f"{prefix}."))
        rest = name[len(own) + 1 :].removeprefix("convs.")
        theirs, plain = names[own], tensor.detach().cpu().contiguous()
        if groups.get(own, 1) == 1:
            yield f"{theirs}.{rest}", plain
            continue
        for number, part in enumerate(plain.chunk(groups[own])):
            yield f"{theirs}.{number}.{rest}", part.contiguous()


def state_of(architecture: Architecture, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights by our names, of those by timm's; the inverse of what `write` does.

    The network is one that timm can say. Raises NasError for weights that are another network's.
    """
    with torch.device("meta"):
        ours = network.build(architecture).state_dict()
    names, groups = dict(_names(architecture)), dict(_groups(architecture))
    state = {}
    for name, like in ours.items():
        own = next(prefix for prefix in names if name.startswith(f"{prefix}."))
        rest, count = name[len(own) + 1 :].removeprefix("convs."), groups.get(own, 1)
        parts = [f"{number}.{rest}" for number in range(count)] if count > 1 else [rest]
        found = [theirs.get(f"{names[own]}.{part}") for part in parts]
        tensors = [tensor for tensor in found if tensor is not None]
        tensor = torch.cat(tensors) if len(tensors) > 1 else next(iter(tensors), None)
        if tensor is None or tensor.shape != like.shape:
            raise NasError(f"these are no weights of timm's network: {names[own]}.{rest}")
        state[name] = tensor
    return state


def _names(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """Yield the names of modules that have weights: ours and timm's."""
    yield from (("stem.0.conv", "conv_stem"), ("stem.0.norm", "bn1"))
    for number, stage in enumerate(architecture.stages):
        for index, row in enumerate(stage):
            for own, theirs in _BLOCKS[row.block][1].items():
                yield f"stage{number + 1}.{index}.{own}", f"blocks.{number}.{index}.{theirs}"
    if len(architecture.head) > 1:
        yield from (("head.0.conv", "conv_head"), ("head.0.norm", "bn2"))
    yield f"head.{len(architecture.head) - 1}.linear", "classifier"


def _groups(architecture: Architecture) -> Iterator[tuple[str, int]]:
    """Yield the 1x1 convolutions in groups, by our names."""
    for number, stage in enumerate(architecture.stages, start=1):
        for index, row in enumerate(stage):
            options = dict(row.options)
            for option, part in (("expand_groups", "expand"), ("project_groups", "project")):
                if int(options.get(option, 1)) > 1:
                    yield f"stage{number}.{index}.{part}", int(options[option])
