"""What a network costs, in plain integers: the formulas, one per operator, and nothing else.

One multiply-accumulate counts as 1, and only convolution, linear and matmul count: what the papers
print as FLOPs. Bias, batch norm, activations and pooling cost no macs (fvcore counts the last three
in its grand total; its conv + linear + matmul handles are what equals ours).
"""

import math
from typing import Any, NamedTuple

from nas.errors import UserError

BYTES_PER_ELEMENT = 4  # float32


class Cost(NamedTuple):
    """The cost of a block or a network for one image.

    `macs` are multiply-accumulates, `params` learnable parameters, `activations` the output
    elements of convolution, linear and matmul (fvcore's ActivationCount), and
    `peak_activation_bytes` the largest sum of the float32 tensors alive at once at inference.
    """

    macs: int
    params: int
    activations: int
    peak_activation_bytes: int


class TimedCost(NamedTuple):
    """A cost with the latency, in milliseconds, that a table predicts for it."""

    macs: int
    params: int
    activations: int
    peak_activation_bytes: int
    latency_ms: float


AnyCost = Cost | TimedCost


class Limits(NamedTuple):
    """Hard upper limits on a cost; None means no limit. That on latency binds a timed cost."""

    macs: int | None = None
    params: int | None = None
    activations: int | None = None
    peak_activation_bytes: int | None = None
    latency_ms: float | None = None

    def violation(self, cost: AnyCost) -> str | None:
        """Say which limit is broken, by how much; None if none is."""
        for name, value, limit in zip(self._fields, cost, self, strict=False):
            if limit is not None and value > limit:
                return f"{name} {value:,} over the limit of {limit:,}"
        return None

    def excess(self, cost: AnyCost) -> float:
        """Sum of the relative excesses over the limits; 0 where every limit is kept."""
        pairs = zip(cost, self, strict=False)
        return sum(max(0, value - limit) / limit for value, limit in pairs if limit is not None)

    def tightest(self, other: "Limits") -> "Limits":
        """Combine two sets of limits into the one that keeps both."""
        pairs = zip(self, other, strict=True)
        kept = [[limit for limit in pair if limit is not None] for pair in pairs]
        return Limits._make(min(limits) if limits else None for limits in kept)

    def to_json(self) -> dict[str, Any]:
        """Return the limits as plain data; that on latency only where there is one."""
        return {
            name: limit
            for name, limit in self._asdict().items()
            if limit is not None or name in Cost._fields
        }

    @classmethod
    def checked(cls, **limits: float | None) -> "Limits":
        """Build limits from user input, refusing anything but positive numbers.

        Latency is a machine's, not a space's: a search has a limit on it, a file has none.
        """
        for name, limit in limits.items():
            if name not in Cost._fields and not (name in cls._fields and limit is None):
                raise UserError(f"No limit on {name!r}; limits: {', '.join(Cost._fields)}.")
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if limit is not None and not (number and 1 <= limit < math.inf):
                raise UserError(f"A limit on {name} is a number of at least 1, not {limit!r}.")
        return cls(
            **{name: limit if limit is None else int(limit) for name, limit in limits.items()}
        )


class Held(NamedTuple):
    """A tensor that is kept for later: (channels, size, size); `elements` as it was counted."""

    channels: int
    size: int
    elements: int


class Tape:
    """Walks through a block operator by operator and adds up what each one costs.

    The methods mirror the layers they count. The tape knows the tensor at hand, (channels, size,
    size). Memory is that of ideal liveness with nothing in place: an operator needs its input, its
    output, and the tensors that something later still needs (a skip, say): `held` counts the
    elements of those, `own` the elements of the tensor at hand unless it is one of them.
    """

    __slots__ = (
        "activations", "channels", "elements", "held", "macs", "own", "params", "peak", "size",
    )  # fmt: skip

    def __init__(self, channels: int, size: int) -> None:
        self.channels, self.size = channels, size
        self.elements = self.own = channels * size * size
        self.macs = self.params = self.activations = self.held = self.peak = 0

    def conv(
        self, channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        """Count a convolution with 'same' padding: out size ceil(size / stride)."""
        size = -(-self.size // stride)
        weights = channels * (self.channels // groups) * kernel * kernel
        elements = channels * size * size
        self.macs += weights * size * size
        self.params += weights + channels if bias else weights
        self.activations += elements
        self._produce(elements)
        self.channels, self.size = channels, size

    def mix_conv(
        self, group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
    ) -> None:
        """Count a MixConv: a depthwise convolution per group of channels, a concatenation."""
        size = -(-self.size // stride)
        weights = 0
        for channels, kernel in zip(group_channels, kernels, strict=True):
            weights += channels * kernel * kernel
        elements = self.channels * size * size
        self.macs += weights * size * size
        self.params += weights
        self.activations += elements
        self._produce(elements)
        self.size = size
        if len(kernels) > 1:
            self._produce(elements)

    def norm(self) -> None:
        """Count a batch norm: a scale and a shift per channel."""
        self.params += 2 * self.channels
        self._produce(self.elements)

    def norm_act(self) -> None:
        """Count a batch norm and an activation function, which needs no more memory than it."""
        self.norm()

    def patch_conv(self, channels: int, patch: int, bias: bool) -> None:
        """Count a convolution of whole patches; a smaller image is padded to one."""
        if self.size < patch:
            self._produce(self.channels * patch * patch)
        size = max(1, self.size // patch)
        weights = channels * self.channels * patch * patch
        elements = channels * size * size
        self.macs += weights * size * size
        self.params += weights + channels if bias else weights
        self.activations += elements
        self._produce(elements)
        self.channels, self.size = channels, size

    def layer_norm(self) -> None:
        """Count a layer norm over the channels, which keeps each place's mean and deviation."""
        self.params += 2 * self.channels
        self._need(self.elements + 2 * self.size * self.size)
        self._produce(self.elements)

    def pointwise(self) -> None:
        """Count a function of each element: an activation, say."""
        self._produce(self.elements)

    def layer_scale(self) -> None:
        """Count the product with one learnable number per channel."""
        self.params += self.channels
        self._produce(self.elements)

    def squeeze_excite(self, reduced: int) -> None:
        """Count pool, 1x1 reduce, activation, 1x1 expand, gate, multiply (both 1x1 with bias)."""
        channels, elements = self.channels, self.elements
        weights = 2 * channels * reduced
        self.macs += weights
        self.params += weights + channels + reduced
        self.activations += channels + reduced
        working = max(channels + elements, channels + reduced, 2 * channels, 2 * reduced)
        self._need(working)
        self.own = elements

    def hold(self) -> Held:
        """Keep the tensor at hand for later, until `take`, `add` or `concat` lets it go."""
        held = Held(self.channels, self.size, self.own)
        self.held += self.own
        self.own = 0
        return held

    def take(self, held: Held) -> None:
        """Go back to a tensor that was held; the one at hand is let go unless it is held too."""
        self.channels, self.size = held.channels, held.size
        self.elements = held.channels * held.size * held.size
        self.held -= held.elements
        self.own = held.elements

    def add(self, held: Held) -> None:
        """Count the sum with a tensor that was held for it, and let that one go."""
        self._produce(self.elements)
        self.held -= held.elements

    def concat(self, held: Held) -> None:
        """Count the concatenation with a tensor that was held for it, and let that one go."""
        self._produce(self.elements + held.channels * held.size * held.size)
        self.channels += held.channels
        self.held -= held.elements

    def parallel_convs(self, widths: tuple[int, ...], weights: int, stride: int = 1) -> None:
        """Count convolutions side by side of so many weights, and their outputs' concatenation."""
        self.size = -(-self.size // stride)
        self.channels = sum(widths)
        elements = self.channels * self.size * self.size
        self.macs += weights * self.size * self.size
        self.params += weights
        self.activations += elements
        self._produce(elements)
        if len(widths) > 1:
            self._produce(elements)

    def gate(self, held: Held) -> None:
        """Count the product of a tensor that was held with the gate at hand, and let both go."""
        self.channels, self.size = held.channels, held.size
        self._produce(held.channels * held.size * held.size)
        self.held -= held.elements

    def sum_groups(self, groups: int) -> None:
        """Count the sum of equal groups of channels."""
        self.channels //= groups
        self._produce(self.channels * self.size * self.size)

    def local_pool(self, stride: int) -> None:
        """Count a pooling of neighbours: out size ceil(size / stride)."""
        self.size = -(-self.size // stride)
        self._produce(self.channels * self.size * self.size)

    def max_pool(self, stride: int) -> None:
        """Count a max pooling of neighbours, which gives each maximum's place as an int64 too."""
        self.size = -(-self.size // stride)
        elements = self.channels * self.size * self.size
        self._need(3 * elements)
        self._produce(elements)

    def pool(self) -> None:
        """Count a global average pool."""
        self._produce(self.channels)
        self.size = 1

    def linear(self, features: int) -> None:
        """Count a fully connected layer with bias."""
        weights = self.channels * features
        self.macs += weights
        self.params += weights + features
        self.activations += features
        self._produce(features)
        self.channels = features

    def route(self, experts: int) -> Held:
        """Count pool, linear, sigmoid: a weight for each expert, held; the tensor at hand stays."""
        image = self.hold()
        self.pool()
        self.linear(experts)
        self.pointwise()
        routing = self.hold()
        self.take(image)
        return routing

    def cond_conv(
        self, channels: int, kernel: int, stride: int = 1, groups: int = 1, *,
        experts: int, routing: Held, keep: bool = False,
    ) -> None:  # fmt: skip
        """Count a CondConv: the product that mixes the experts' kernels, and the convolution.

        Then the routing is let go, unless another convolution shares it and it is to `keep`.
        """
        size = -(-self.size // stride)
        weights = channels * (self.channels // groups) * kernel * kernel
        elements = channels * size * size
        self.macs += weights * (experts + size * size)
        self.params += weights * experts
        self.activations += weights + elements
        self._need(weights)
        if not keep:
            self.held -= routing.elements
        self._need(weights + elements)
        self.elements = self.own = elements
        self.channels, self.size = channels, size

    def cost(self) -> Cost:
        """Return what was counted so far."""
        return Cost(self.macs, self.params, self.activations, self.peak * BYTES_PER_ELEMENT)

    def _need(self, elements: int) -> None:
        alive = self.held + self.own + elements
        if alive > self.peak:
            self.peak = alive

    def _produce(self, elements: int) -> None:
        alive = self.held + self.own + elements
        if alive > self.peak:
            self.peak = alive
        self.elements = self.own = elements
