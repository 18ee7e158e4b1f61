"""Options that several blocks share, and the arithmetic that turns ratios into widths."""

from functools import lru_cache

from torch import nn

from nas.architecture import Value
from nas.blocks import Option

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "gelu": nn.GELU,
    "mish": nn.Mish,
}
PREFERRED_RATIOS = (0.25, 0.5, 0.125, 0.0625, 0.75, 1.0)


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


def _are_kernels(value: Value) -> bool:
    sizes = value.split(".") if isinstance(value, str) else [""]
    return all(size.isascii() and size.isdigit() and int(size) % 2 == 1 for size in sizes)


@lru_cache(maxsize=4096)
def kernel_sizes(kernels: str) -> tuple[int, ...]:
    """Read kernel groups: "3.5.7" is three groups of channels with 3x3, 5x5 and 7x7 kernels."""
    return tuple(int(size) for size in kernels.split("."))


def canonical_kernels(kernels: str) -> str:
    """Write kernel groups the one way that stands for all ("03" is "3"); order and repeats stay."""
    return ".".join(map(str, kernel_sizes(kernels)))


def activation() -> Option:
    """Return the option that names an activation function."""
    rule = f"one of {', '.join(ACTIVATIONS)}"
    return Option("relu", rule, lambda value: value in ACTIVATIONS)


def kernels() -> Option:
    """Return the option that lists the kernel groups."""
    return Option("3", 'odd kernel sizes such as "3" or "3.5.7"', _are_kernels, structural=True)


def partition() -> Option:
    """Return the option that says how channels are shared among kernel groups."""
    names = ("equal", "exponential")
    return Option("equal", "equal or exponential", lambda value: value in names, structural=True)


def groups() -> Option:
    """Return the option that counts the groups of a convolution."""
    return Option(1, "a whole number of at least 1", _is_count, structural=True)


def flag(default: bool) -> Option:
    """Return an option that is on or off."""
    return Option(default, "true or false", lambda value: isinstance(value, bool))


def ratio(default: float, low: float = 0.0, high: float = 1.0, structural: bool = False) -> Option:
    """Return an option that is a number between two bounds, both included."""
    valid = lambda value: _is_number(value) and low <= float(value) <= high  # noqa: E731 - a field
    return Option(default, f"a number from {low:g} to {high:g}", valid, structural)


def rate() -> Option:
    """Return the option for the probability that something is dropped in training."""
    rule = "a probability from 0 to under 1"
    return Option(0.0, rule, lambda value: _is_number(value) and 0 <= float(value) < 1)


def se_channels(se_ratio: float, in_channels: int) -> int:
    """Width of the squeeze: int(ratio x block input), at least 1; 0 where there is no SE."""
    return max(1, int(se_ratio * in_channels)) if se_ratio else 0


def hidden_channels(expansion: float, in_channels: int) -> int:
    """Width after the expansion: int(expansion x block input)."""
    return int(expansion * in_channels)


@lru_cache(maxsize=65536)
def canonical_se_ratio(se_ratio: float, in_channels: int) -> float:
    """Return the one ratio that stands for all that give the same squeeze at this input width.

    A usual ratio if one does (1/4 before 1/2 ...), else the shortest decimal.
    """
    width = se_channels(se_ratio, in_channels)
    if not width:
        return 0.0
    decimals = (-(-width * 10**d // in_channels) / 10**d for d in range(1, 9))
    for candidate in (*PREFERRED_RATIOS, *decimals):
        if se_channels(candidate, in_channels) == width:
            return candidate
    return se_ratio


@lru_cache(maxsize=65536)
def canonical_expansion(expansion: float, in_channels: int) -> float:
    """Return the one expansion that stands for all that give int(expansion x in_channels)."""
    width = hidden_channels(expansion, in_channels)
    for digits in range(9):
        candidate = float(-(-width * 10**digits // in_channels) / 10**digits)
        if hidden_channels(candidate, in_channels) == width:
            return int(candidate) if candidate.is_integer() else candidate
    return expansion
