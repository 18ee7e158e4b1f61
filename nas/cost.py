"""The cost of a network in plain integers: one formula per operator, all in the class `Tape`.

One multiply-accumulate counts as 1, and only convolution, linear and matmul count: papers print
this number as FLOPs. Bias, batch norm, activations and pooling cost no macs (fvcore counts the last
three in its grand total; its conv + linear + matmul handles equal ours).

Each operator of `Tape` states its kind to `Tape.play`, which alone counts. Cost, latency and skip
detection therefore play the same list: a `Transcript` is a tape that also keeps it.
"""

import math
from typing import Any, Literal, NamedTuple, get_args

from nas.errors import NasError, UserError, unknown

BYTES_PER_ELEMENT = 4  # float32
Kind = Literal[
    "conv", "depthwise", "grouped", "pointwise", "cond_conv", "linear", "squeeze_excite", "norm",
    "layer_norm", "act", "add", "product", "concat", "pool", "local_pool",
]  # fmt: skip


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
        given = [[limit for limit in pair if limit is not None] for pair in pairs]
        return Limits._make(min(limits) if limits else None for limits in given)

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
    """Walks through a block operator by operator and adds up the cost of each.

    The methods mirror the layers they count. The tape knows the tensor at hand, (channels, size,
    size). Memory is that of ideal liveness with nothing in place: an operator needs its input, its
    output, and the tensors that a later operator still needs (a skip, say): `held` counts the
    elements of these, `own` the elements of the tensor at hand unless it is one of them.
    """

    __slots__ = (
        "activations", "channels", "held", "macs", "own", "params", "peak", "size",
    )  # fmt: skip

    def __init__(self, channels: int, size: int) -> None:
        self.channels, self.size = channels, size
        self.own = channels * size * size
        self.macs = self.params = self.activations = self.held = self.peak = 0

    def play(
        self, kind: Kind, channels: int, size: int, macs: int = 0, params: int = 0,  # noqa: ARG002
        activations: int = 0, working: int = 0,
    ) -> None:  # fmt: skip
        """Count one operator, or several side by side, whose output is (channels, size, size).

        `working` is the elements alive beside the input, where these are more than the output's.
        """
        elements = channels * size * size
        alive = self.held + self.own + (working or elements)
        if alive > self.peak:
            self.peak = alive
        if params:
            self.params += params
        if macs:
            self.macs += macs
            self.activations += activations
        self.channels, self.size, self.own = channels, size, elements

    def conv(
        self, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        """Count a convolution with 'same' padding: out size ceil(size / stride)."""
        size = -(-self.size // stride)
        weights = channels * (self.channels // groups) * kernel * kernel
        kind: Kind = "pointwise" if kernel == 1 else "conv"
        if groups > 1:
            kind = "depthwise" if groups == self.channels else "grouped"
        params, elements = weights + channels if bias else weights, channels * size * size
        self.play(kind, channels, size, weights * size * size, params, elements)

    def mix_conv(
        self, widths: tuple[int, ...], kernels: tuple[int, ...], *, stride: int = 1,
        reads: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """Count convolutions side by side, of `widths` channels, and their concatenation.

        A filter `reads` that many input channels, group by group; without it all are depthwise.
        """
        kind: Kind = "grouped" if reads else "depthwise"
        size, channels, weights = -(-self.size // stride), sum(widths), 0
        for width, kernel, read in zip(widths, kernels, reads or [1] * len(widths), strict=True):
            weights += width * kernel * kernel * read
        macs, elements = weights * size * size, channels * size * size
        self.play(kind, channels, size, macs, weights, elements)
        if len(widths) > 1:
            self.play("concat", channels, size)

    def patch_conv(self, channels: int, patch: int, *, bias: bool) -> None:
        """Count a convolution of whole patches; a smaller image is padded to one."""
        if self.size < patch:
            padded = self.channels * patch * patch
            self._need(padded)
            self.own = padded
        size = max(1, self.size // patch)
        weights = channels * self.channels * patch * patch
        self.play(
            "conv", channels, size, macs=weights * size * size,
            params=weights + channels if bias else weights, activations=channels * size * size,
        )  # fmt: skip

    def cond_conv(
        self, channels: int, kernel: int, *, stride: int = 1, groups: int = 1,
        experts: int, routing: Held, keep: bool = False,
    ) -> None:  # fmt: skip
        """Count a CondConv: the product that mixes the experts' kernels, and the convolution.

        Then the routing is let go, unless another convolution shares it and it is to `keep`.
        """
        size = -(-self.size // stride)
        weights = channels * (self.channels // groups) * kernel * kernel
        elements = channels * size * size
        self._need(weights)
        if not keep:
            self.held -= routing.elements
        self.play(
            "cond_conv", channels, size, macs=weights * (experts + size * size),
            params=weights * experts, activations=weights + elements, working=weights + elements,
        )  # fmt: skip

    def linear(self, features: int) -> None:
        """Count a fully connected layer with bias."""
        weights = self.channels * features
        self.play("linear", features, 1, macs=weights, params=weights + features,
                  activations=features)  # fmt: skip

    def squeeze_excite(self, reduced: int) -> None:
        """Count pool, 1x1 reduce, activation, 1x1 expand, gate, multiply (both 1x1 with bias)."""
        channels, elements = self.channels, self.channels * self.size * self.size
        weights = 2 * channels * reduced
        self.play(
            "squeeze_excite", channels, self.size, macs=weights,
            params=weights + channels + reduced, activations=channels + reduced,
            working=max(channels + elements, channels + reduced, 2 * channels, 2 * reduced),
        )  # fmt: skip

    def norm(self) -> None:
        """Count a batch norm: a scale and a shift per channel."""
        self.play("norm", self.channels, self.size, params=2 * self.channels)

    def layer_norm(self) -> None:
        """Count a layer norm over the channels, which keeps each place's mean and deviation."""
        working = (self.channels + 2) * self.size * self.size
        self.play("layer_norm", self.channels, self.size, params=2 * self.channels, working=working)

    def act(self) -> None:
        """Count a function of each element: an activation, say."""
        self.play("act", self.channels, self.size)

    def norm_act(self) -> None:
        """Count a batch norm and an activation function."""
        self.play("norm", self.channels, self.size, 0, 2 * self.channels)
        self.play("act", self.channels, self.size)

    def scale(self, numbers: int) -> None:
        """Count the product with learnable numbers: one, or one per channel."""
        self.play("product", self.channels, self.size, params=numbers)

    def gate(self, held: Held) -> None:
        """Count the product of a tensor that was held with the gate at hand, and let both go."""
        self.play("product", held.channels, held.size)
        self.held -= held.elements

    def add(self, held: Held) -> None:
        """Count the sum with a tensor that was held for it, and let that one go."""
        self.play("add", self.channels, self.size)
        self.held -= held.elements

    def sum_groups(self, groups: int) -> None:
        """Count the sum of equal groups of channels."""
        self.play("add", self.channels // groups, self.size)

    def concat(self, held: Held) -> None:
        """Count the concatenation with a tensor that was held for it, and let that one go."""
        self.play("concat", self.channels + held.channels, self.size)
        self.held -= held.elements

    def pool(self) -> None:
        """Count a global average pool."""
        self.play("pool", self.channels, 1)

    def local_pool(self, *, stride: int) -> None:
        """Count a pooling of neighbours: out size ceil(size / stride)."""
        self.play("local_pool", self.channels, -(-self.size // stride))

    def max_pool(self, *, stride: int) -> None:
        """Count a max pooling of neighbours, which gives each maximum's place as an int64 too."""
        size = -(-self.size // stride)
        self.play("local_pool", self.channels, size, working=3 * self.channels * size * size)

    def route(self, experts: int) -> Held:
        """Count pool, linear, sigmoid: a weight for each expert, held; the tensor at hand stays."""
        image = self.hold()
        self.pool()
        self.linear(experts)
        self.act()
        routing = self.hold()
        self.take(image)
        return routing

    def hold(self) -> Held:
        """Keep the tensor at hand for later, until `take`, `add` or `concat` lets it go."""
        held = Held(self.channels, self.size, self.own)
        self.held += self.own
        self.own = 0
        return held

    def take(self, held: Held) -> None:
        """Go back to a tensor that was held; the one at hand is let go unless it is held too."""
        self.channels, self.size = held.channels, held.size
        self.held -= held.elements
        self.own = held.elements

    def cost(self) -> Cost:
        """Return the sums counted so far."""
        return Cost(self.macs, self.params, self.activations, self.peak * BYTES_PER_ELEMENT)

    def _need(self, elements: int) -> None:
        alive = self.held + self.own + elements
        if alive > self.peak:
            self.peak = alive


class Step(NamedTuple):
    """One operator of a block, counted for one image; elements `read` and `written`."""

    kind: Kind
    channels: int
    macs: int
    params: int
    activations: int
    read: int
    written: int


class Transcript(Tape):
    """A tape that keeps the list of operators; `skip` says whether the block adds its input.

    The skip may be a projection of the input, which is held before the first operator.
    """

    __slots__ = ("_input_held", "skip", "steps")

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, size)
        self.steps: list[Step] = []
        self.skip = self._input_held = False

    def play(
        self, kind: Kind, channels: int, size: int, macs: int = 0, params: int = 0,
        activations: int = 0, working: int = 0,
    ) -> None:  # fmt: skip
        """Count an operator and write it down; raises NasError for a kind that is not listed."""
        if kind not in get_args(Kind):
            raise NasError(unknown("kind of operator", kind, get_args(Kind)))
        read = self.channels * self.size * self.size
        super().play(kind, channels, size, macs=macs, params=params,
                     activations=activations, working=working)  # fmt: skip
        self.steps.append(
            Step(kind, channels, macs, params, activations, read, channels * size * size)
        )

    def mix_conv(
        self, widths: tuple[int, ...], kernels: tuple[int, ...], *, stride: int = 1,
        reads: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """Count convolutions side by side, and write down each of them."""
        first = len(self.steps)
        super().mix_conv(widths, kernels, stride=stride, reads=reads)
        whole = self.steps.pop(first)
        elements, channels = whole.activations // whole.channels, whole.channels
        groups = zip(widths, kernels, reads or [1] * len(widths), strict=True)
        self.steps[first:first] = [
            Step(
                whole.kind, width, width * kernel * kernel * read * elements,
                width * kernel * kernel * read, width * elements,
                whole.read * width // channels, width * elements,
            )
            for width, kernel, read in groups
        ]  # fmt: skip

    def hold(self) -> Held:
        """Keep the tensor at hand; before the first operator it is the block's input."""
        self._input_held |= not self.steps
        return super().hold()

    def add(self, held: Held) -> None:
        """Count the sum with a tensor that was held."""
        self.skip |= self._input_held
        super().add(held)

    def check(self) -> None:
        """Raise NasError where a block counted something without playing an operator."""
        for name in ("macs", "params", "activations"):
            played = sum(getattr(step, name) for step in self.steps)
            if played != getattr(self, name):
                raise NasError(
                    f"{getattr(self, name) - played:,} {name} were counted by no operator: a"
                    " block counts through the methods of nas.cost.Tape alone."
                )
