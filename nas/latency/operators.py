"""What a block runs, operator by operator: the numbers that its latency is a sum over.

The block's own `cost` is played on a tape that writes down each operator, as nn-Meter (MobiSys
2021) sums up kernels; the kernels are the framework's, so none is looked for by fusion rules.
"""

from functools import lru_cache
from types import MappingProxyType

from nas import blocks
from nas.architecture import Row
from nas.cost import Held, Tape

Feature = tuple[str, str]  # an operator, and what is counted of it
COUNTED = ("calls", "macs", "params", "read", "written")
ANY = "any"  # stands for operators that were never measured
Block = tuple[Row, int, int]  # a row with its input's channels and size


class Transcript(Tape):
    """A tape that also writes down what was played, by operator, for one image."""

    __slots__ = ("activation", "features")

    def __init__(self, channels: int, size: int, activation: str) -> None:
        super().__init__(channels, size)
        self.features: dict[Feature, float] = {}
        self.activation = activation

    def conv(
        self, channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        """Note a convolution: depthwise, grouped, pointwise or full."""
        before = self._now()
        kind = "pointwise" if kernel == 1 else "conv"
        if groups > 1:
            kind = "depthwise" if groups == self.channels else "grouped"
        super().conv(channels, kernel, stride, groups, bias)
        self._note(kind, before)

    def mix_conv(
        self, group_channels: tuple[int, ...], kernels: tuple[int, ...], stride: int = 1
    ) -> None:
        """Note a depthwise convolution per group, and the split and concatenation of several."""
        before = self._now()
        super().mix_conv(group_channels, kernels, stride)
        self._note("depthwise", before, len(kernels))
        if len(kernels) > 1:
            self._note("concat", self._now())

    def norm(self) -> None:
        """Note a batch norm."""
        before = self._now()
        super().norm()
        self._note("norm", before)

    def norm_act(self) -> None:
        """Note a batch norm and the block's activation function."""
        super().norm_act()
        self._note(f"act.{self.activation}", self._now())

    def patch_conv(self, channels: int, patch: int, bias: bool) -> None:
        """Note a convolution of whole patches."""
        before = self._now()
        super().patch_conv(channels, patch, bias)
        self._note("conv", before)

    def layer_norm(self) -> None:
        """Note a layer norm."""
        before = self._now()
        super().layer_norm()
        self._note("layer_norm", before)

    def pointwise(self) -> None:
        """Note a function of each element."""
        before = self._now()
        super().pointwise()
        self._note(f"act.{self.activation}", before)

    def layer_scale(self) -> None:
        """Note the product with a number per channel."""
        before = self._now()
        super().layer_scale()
        self._note("product", before)

    def squeeze_excite(self, reduced: int) -> None:
        """Note squeeze-excite as one operator: it is the same chain everywhere."""
        before = self._now()
        super().squeeze_excite(reduced)
        self._note("squeeze_excite", before)

    def add(self, held: Held) -> None:
        """Note a sum."""
        before = self._now()
        super().add(held)
        self._note("add", before)

    def concat(self, held: Held) -> None:
        """Note a concatenation."""
        before = self._now()
        super().concat(held)
        self._note("concat", before)

    def parallel_convs(self, widths: tuple[int, ...], weights: int, stride: int = 1) -> None:
        """Note convolutions side by side, and the concatenation of several."""
        before = self._now()
        super().parallel_convs(widths, weights, stride)
        self._note("grouped", before, len(widths))
        if len(widths) > 1:
            self._note("concat", self._now())

    def gate(self, held: Held) -> None:
        """Note a product with a gate."""
        before = self._now()
        super().gate(held)
        self._note("product", before)

    def sum_groups(self, groups: int) -> None:
        """Note a sum of groups of channels."""
        before = self._now()
        super().sum_groups(groups)
        self._note("add", before)

    def local_pool(self, stride: int) -> None:
        """Note a pooling of neighbours."""
        before = self._now()
        super().local_pool(stride)
        self._note("local_pool", before)

    def max_pool(self, stride: int) -> None:
        """Note a max pooling."""
        before = self._now()
        super().max_pool(stride)
        self._note("local_pool", before)

    def pool(self) -> None:
        """Note a global average pool."""
        before = self._now()
        super().pool()
        self._note("pool", before)

    def linear(self, features: int) -> None:
        """Note a fully connected layer."""
        before = self._now()
        super().linear(features)
        self._note("linear", before)

    def cond_conv(
        self, channels: int, kernel: int, stride: int = 1, groups: int = 1, *,
        experts: int, routing: Held, keep: bool = False,
    ) -> None:  # fmt: skip
        """Note a convolution whose kernel is mixed for each image."""
        before = self._now()
        super().cond_conv(
            channels, kernel, stride, groups, experts=experts, routing=routing, keep=keep
        )
        self._note("cond_conv", before)

    def _now(self) -> tuple[int, int, int]:
        return self.macs, self.params, self.elements

    def _note(self, operator: str, before: tuple[int, int, int], calls: int = 1) -> None:
        macs, params, read = before
        numbers = (calls, self.macs - macs, self.params - params, read, self.elements)
        for name, number in zip(COUNTED, numbers, strict=True):
            if number > 0:
                at = operator, name
                self.features[at] = self.features.get(at, 0.0) + number


@lru_cache(maxsize=100_000)
def features(block: Block) -> MappingProxyType[Feature, float]:
    """Return what a block runs for one image, by operator and what is counted of it."""
    row, channels, size = block
    kind = blocks.get(row.block)
    activation = kind.complete(dict(row.options)).get("activation", "none")
    transcript = Transcript(channels, size, str(activation))
    kind.cost(transcript, **blocks.arguments(row, channels))
    return MappingProxyType(transcript.features)


def of_any(found: MappingProxyType[Feature, float]) -> dict[str, float]:
    """Sum up a block's features over its operators, by what is counted."""
    total = dict.fromkeys(COUNTED, 0.0)
    for (_, name), number in found.items():
        total[name] += number
    return total
