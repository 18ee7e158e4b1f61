"""Which channels of a network are the same: labels that run through it in place of images.

A convolution gives its filters new labels; a depthwise one, a norm and an activation keep those of
their input; a sum makes the labels of its two sides one. What a block does to labels is what it
does to tensors, so that each block is traced by its own `forward`, also a block of one's own. So
weights can be moved to a network with more or fewer channels, each channel to the same place in
every layer: the dependency graph of DepGraph, arXiv:2301.12900, without a graph.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nas.architecture import Architecture, Row
from nas.network import build

Hint = tuple[int, ...]
_KEPT = frozenset(
    {
        *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "silu", "hardswish", "gelu", "mish"),
        *("sigmoid", "hardsigmoid", "tanh", "softmax", "dropout", "max_pool2d", "avg_pool2d"),
        *("adaptive_avg_pool2d", "boolean_dispatch"),
    }
)  # functions after which a channel is what it was
_TOGETHER = frozenset({"add", "sub", "rsub", "mul", "div", "__add__", "__mul__", "__iadd__"})
_REDUCED = frozenset({"mean", "sum"})


class Axes(NamedTuple):
    """The labels of a tensor's axes.

    `rows` are those of its first axis, or of a CondConv's filters. `columns`, (groups,
    in / groups), are those of the channels that a filter reads; a norm, a bias and a depthwise
    convolution have none. `experts` are those of a CondConv's kernels.
    """

    rows: Tensor
    columns: Tensor | None = None
    experts: Tensor | None = None


class PlacedBlock(NamedTuple):
    """A block in its network: the place that it shares with one of another network, and its name.

    The place is (part, level, number in the level, layer): a level has the stages at a resolution.
    """

    place: tuple[str, int, int, int]
    name: str
    row: Row


@dataclass(frozen=True)
class Channels:
    """The labels of a network: `axes` of its tensors by name, and what labels went through.

    Two labels are better partners where their `hints` are equal: the kernels of their depthwise
    convolutions and the groups of the others. Labels below `images` are the image's channels,
    `logits` those of the network's output. `last_norms` have the name of the last batch norm of
    residual blocks, where all channels of the branch go through it. A block that can't be traced
    has no axes.
    """

    axes: Mapping[str, Axes]
    hints: Mapping[int, Hint]
    images: int
    logits: Sequence[int]
    last_norms: Mapping[str, str]


def blocks_of(architecture: Architecture) -> Iterator[PlacedBlock]:
    """Yield the blocks of a network in order.

    Stages of two networks are the same where they are at the same resolution, in the same turn: how
    many there are before depends on widths.
    """
    level, turn = 0, 0
    for part, rows in architecture.parts():
        kind = part.rstrip("0123456789")
        if kind == "stage":
            down = rows[0].stride > 1
            level, turn = level + down, 0 if down else turn + 1
        for index, row in enumerate(rows):
            # The classifier is the last of the head, however many blocks are before it.
            number = -1 if kind == "head" and index == len(rows) - 1 else index
            place = (level, turn) if kind == "stage" else (0, 0)
            yield PlacedBlock((kind, *place, number), f"{part}.{index}", row)


def channels_of(architecture: Architecture) -> Channels:
    """Trace the labels of a network."""
    with torch.device("meta"):
        module = build(architecture).eval()
    trace = _Trace(module)
    x = trace.new(architecture.in_channels).view(1, -1, 1, 1)
    ends: dict[str, tuple[Tensor, Tensor]] = {}  # labels of the blocks' inputs and outputs
    for placed in blocks_of(architecture):
        block = module.get_submodule(placed.name)
        noted, width = (dict(trace.axes), list(trace.norms)), placed.row.out_channels
        try:
            with trace:
                y = block(x)
            if y.numel() != width:
                raise ValueError(f"{y.numel()} labels for {width} channels")
        except Exception:  # a block of one's own may do anything to labels
            trace.axes, trace.norms = noted
            y = trace.new(width).view(1, -1, 1, 1)
        ends[placed.name] = x, y
        x = y
    return trace.channels(architecture.in_channels, ends)


class _Trace(TorchFunctionMode):
    """Runs the functions of torch on labels; notes the axes of the tensors that meet them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        tensors = [*module.named_parameters(), *module.named_buffers()]
        self.names = {id(tensor): name for name, tensor in tensors}
        self.axes: dict[str, Axes] = {}
        self.norms: list[str] = []
        self.hints: dict[int, Hint] = {}
        self.same: list[int] = []  # union-find: each label's parent
        self.mixed: dict[int, tuple[Tensor, str, Tensor]] = {}  # kernels that experts are mixed to
        self.rules: Mapping[str, Callable[..., Any]] = {
            "conv2d": self.conv2d,
            "linear": self.linear,
            "batch_norm": self.batch_norm,
            "layer_norm": self.layer_norm,
            "matmul": self.mix,
            "__matmul__": self.mix,
            "view": self.view,
            **dict.fromkeys(_KEPT, lambda x, *_, **__: x),
            **dict.fromkeys(_TOGETHER, self.together),
            **dict.fromkeys(_REDUCED, self.reduced),
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # torch's own signature
        rule = self.rules.get(getattr(func, "__name__", ""))
        return (rule or func)(*args, **(kwargs or {}))

    def new(self, count: int) -> Tensor:
        """Return new labels."""
        start = len(self.same)
        self.same += range(start, start + count)
        return torch.arange(start, start + count)

    def find(self, label: int) -> int:
        """Return the least of the labels that are one with this."""
        while self.same[label] != label:
            self.same[label] = label = self.same[self.same[label]]
        return label

    def join(self, first: Tensor, *others: Tensor) -> Tensor:
        """Make the labels at the same places one."""
        for other in others:
            for a, b in zip(first.flatten().tolist(), other.flatten().tolist(), strict=True):
                low, high = sorted((self.find(a), self.find(b)))
                self.same[high] = low
        return first

    def note(self, tensors: Sequence[Any], axes: Axes) -> list[str]:
        """Note the axes of the tensors that the network has a name for; return the names."""
        ours = (each for each in tensors if id(each) in self.names)
        names = [self.names[id(each)] for each in ours if each.shape[:1] == axes.rows.shape]
        self.axes |= dict.fromkeys(names, axes)
        return names

    def hint(self, labels: Tensor, numbers: Tensor) -> None:
        """Note a number for each label."""
        for label, number in dict(zip(labels.tolist(), numbers.tolist(), strict=True)).items():
            self.hints[label] = (*self.hints.get(label, ()), number)

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any
    ) -> Tensor:
        groups = named.get("groups", rest[3] if len(rest) > 3 else 1)
        read = x[0, :, 0, 0]
        if 1 < groups == len(read):
            rows = read.repeat_interleave(len(weight) // groups)
            columns = None
            self.hint(rows, torch.full_like(rows, weight.shape[-1]))
        else:
            rows, columns = self.new(len(weight)), read.view(groups, -1)
            if groups > 1:
                self.hint(rows, torch.arange(groups).repeat_interleave(len(rows) // groups))
        if id(weight) in self.mixed:
            _, name, experts = self.mixed[id(weight)]
            self.axes[name] = Axes(rows, columns, experts)
        self.note([weight], Axes(rows, columns))
        self.note([bias], Axes(rows))
        return rows.view(1, -1, 1, 1)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rows = self.new(len(weight))
        self.note([weight], Axes(rows, x.reshape(1, -1)))
        self.note([bias], Axes(rows))
        return rows.view(1, -1)

    def batch_norm(self, x: Tensor, *tensors: Any, **named: Any) -> Tensor:
        names = self.note([*tensors, *named.values()], Axes(x[0, :, 0, 0]))
        self.norms += [name for name in names if name.endswith(".weight")]
        return x

    def layer_norm(self, x: Tensor, *tensors: Any, **named: Any) -> Tensor:
        self.note([*tensors, *named.values()], Axes(x.reshape(-1, x.shape[-1])[0]))
        return x

    def mix(self, routing: Tensor, weight: Tensor) -> Tensor:
        """Mix the kernels of experts, (experts, numbers of a kernel), for one image."""
        mixed = torch.empty((1, weight.shape[1]), device="meta")
        self.mixed[id(mixed)] = mixed, self.names[id(weight)], routing.view(-1)
        return mixed

    def view(self, x: Tensor, *shape: Any) -> Tensor:
        seen = x.view(*shape)
        if id(x) in self.mixed:
            self.mixed[id(seen)] = seen, *self.mixed[id(x)][1:]
        return seen

    def together(self, first: Any, second: Any, **_: Any) -> Tensor:
        """Add or multiply: two sides become one; a number per channel has the channels' labels."""
        sides = [each for each in (first, second) if isinstance(each, Tensor)]
        labels = [each for each in sides if id(each) not in self.names]
        for each in sides:
            if id(each) in self.names:
                self.note([each], Axes(labels[0].reshape(-1)))
        if len(labels) == 1:
            return labels[0]
        return self.join(*torch.broadcast_tensors(*labels))  # type: ignore[no-untyped-call]

    def reduced(self, x: Tensor, dim: Any, keepdim: bool = False, **_: Any) -> Tensor:
        """Add up or average: the places that meet have one label."""
        for axis in sorted((dim,) if isinstance(dim, int) else dim, reverse=True):
            first, *others = x.unbind(axis)
            x = self.join(first, *others)
            x = x.unsqueeze(axis) if keepdim else x
        return x

    def channels(self, images: int, ends: Mapping[str, tuple[Tensor, Tensor]]) -> Channels:
        """Return what was noted, each label by the least that is one with it."""
        roots = torch.tensor([self.find(label) for label in range(len(self.same))])
        hints: dict[int, Hint] = {}
        for label, hint in sorted(self.hints.items()):
            root = int(roots[label])
            hints[root] = hints.get(root, ()) + hint
        axes = {
            name: Axes(
                roots[found.rows],
                None if found.columns is None else roots[found.columns],
                None if found.experts is None else roots[found.experts],
            )
            for name, found in self.axes.items()
        }
        norms = {name: [n for n in self.norms if n.startswith(f"{name}.")] for name in ends}
        last_norms = {
            name: norms[name][-1]
            for name, (x, y) in ends.items()
            if norms[name]
            and torch.equal(roots[x], roots[y])
            and torch.equal(axes[norms[name][-1]].rows, roots[y].flatten())
        }
        _, logits = list(ends.values())[-1]
        return Channels(axes, hints, images, roots[logits].flatten().tolist(), last_norms)
