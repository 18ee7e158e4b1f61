"""Options that several blocks share, and the arithmetic that turns ratios into widths."""

import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from typing import Any

from nas.architecture import Value
from nas.blocks import Arguments, Option, Options, Place
from nas.blocks.classes import Class, Instance
from nas.blocks.mixconv import partition_channels
from nas.blocks.rounding import round_channels
from nas.blocks.skip import SKIP
from nas.errors import SpaceError

SQUEEZE = Class.own("squeeze_excite", "Squeeze")
ACTIVATIONS = {
    "relu": Class.torch("ReLU"),
    "relu6": Class.torch("ReLU6"),
    "silu": Class.torch("SiLU"),
    "hard_swish": Class.torch("Hardswish"),
    "gelu": Class.torch("GELU"),
    "mish": Class.torch("Mish"),
}
GATES = {"sigmoid": Class.torch("Sigmoid"), "hard_sigmoid": Class.torch("Hardsigmoid")}
PARTITIONS = ("equal", "exponential")
SE_FROM = ("input", "expanded")
SKIPS = ("identity", "pool", "none")
MAX_RATIO = 32.0
MAX_KERNELS = 100  # groups of channels, each with a size under 1,000
PREFERRED_RATIOS = (0.25, 0.5, 0.125, 0.0625, 0.75, 1.0)


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_kernels(value: Value) -> bool:
    sizes = value.split(".") if isinstance(value, str) else [""]
    return len(sizes) <= MAX_KERNELS and all(
        size.isascii() and size.isdigit() and len(size) <= 3 and int(size) % 2 == 1
        for size in sizes
    )


@lru_cache(maxsize=4096)
def kernel_sizes(kernels: str) -> tuple[int, ...]:
    """Read kernel groups: "3.5.7" is three groups of channels with 3x3, 5x5 and 7x7 kernels."""
    return tuple(int(size) for size in kernels.split("."))


def _fitting_kernels(kernels: str, size: int) -> str:
    """Cut kernels to 2 size - 1, the largest whose every tap meets a pixel of a size x size map."""
    return ".".join(str(min(kernel, 2 * size - 1)) for kernel in kernel_sizes(kernels))


def _canonical_kernels(kernels: str, _place: Place, _arguments: Arguments) -> str:
    """Write kernel groups the one way that stands for all ("03" is "3"); order and repeats stay."""
    return ".".join(map(str, kernel_sizes(kernels)))


def one_of(default: str, names: Iterable[str], structural: bool = False) -> Option:
    """Return an option that is one of these names."""
    allowed = tuple(names)
    rule = f"one of {', '.join(allowed)}"
    return Option(default, rule, lambda value: value in allowed, structural)


def activation(default: str = "relu") -> Option:
    """Return the option that names an activation function."""
    return one_of(default, ACTIVATIONS)


def kernel(default: str = "3") -> Option:
    """Return the option for the one kernel size of a plain convolution."""
    rule = 'one odd kernel size such as "3"'
    valid = lambda value: _are_kernels(value) and "." not in str(value)  # noqa: E731 - a field
    return Option(default, rule, valid, canonical=_canonical_kernels, fit=_fitting_kernels)


def kernels() -> Option:
    """Return the option that lists the kernel groups."""
    rule = 'odd kernel sizes such as "3" or "3.5.7"'
    valid, canonical, fit = _are_kernels, _canonical_kernels, _fitting_kernels
    return Option("3", rule, valid, structural=True, canonical=canonical, fit=fit)


def partition() -> Option:
    """Return the option that says how channels are shared among kernel groups."""
    rule = "equal or exponential"
    return Option("equal", rule, lambda value: value in PARTITIONS, structural=True)


def count(
    default: int, rule: str = "a whole number of at least 1", *, least: int = 1, most: int = 4096,
    structural: bool = False,
) -> Option:  # fmt: skip
    """Return an option that counts something: groups, experts, splits."""
    valid = lambda value: type(value) is int and least <= value <= most  # noqa: E731 - a field
    return Option(default, rule, valid, structural)


def groups() -> Option:
    """Return the option that counts the groups of a convolution."""
    return count(1, structural=True)


def flag(default: bool, *, structural: bool = False) -> Option:
    """Return an option that is on or off."""
    return Option(default, "true or false", lambda value: isinstance(value, bool), structural)


def ratio(default: float, low: float = 0.0, high: float = 1.0, structural: bool = False) -> Option:
    """Return an option that is a number between two bounds, both included."""
    valid = lambda value: _is_number(value) and low <= float(value) <= high  # noqa: E731 - a field
    return Option(default, f"a number from {low:g} to {high:g}", valid, structural)


def rate() -> Option:
    """Return the option for the probability that something is dropped in training."""
    rule = "a probability from 0 to under 1"
    return Option(0.0, rule, lambda value: _is_number(value) and 0 <= float(value) < 1)


def expansion(default: float = 6, *, of_output: bool = False) -> Option:
    """Return the option that says how many times as wide as its input a block is inside.

    With `of_output` the expansion is of the output's width.
    """
    rule = ratio(default, low=1, high=MAX_RATIO, structural=True)
    return rule._replace(
        canonical=lambda value, place, _: canonical_expansion(
            float(value), place.out_channels if of_output else place.in_channels
        )
    )


def squeeze_excite() -> dict[str, Option]:
    """Return the options of squeeze-and-excitation; without a ratio there is none.

    The squeeze has int(se_ratio x width) channels, at least 1: the width of the block's input, or
    the expanded one. Where `se_divisor` is not 1 it is rounded to a multiple of it instead.
    """
    share = ratio(0.0, high=MAX_RATIO, structural=True)
    return {
        "se_ratio": share._replace(canonical=_canonical_se_ratio),
        "se_from": one_of("input", SE_FROM, structural=True)._replace(canonical=lambda *_: "input"),
        "se_divisor": count(1, structural=True)._replace(canonical=lambda *_: 1),
        "se_gate": one_of("sigmoid", GATES),
        "se_activation": one_of("same", ("same", *ACTIVATIONS)),
    }


def read_squeeze(values: Options, in_channels: int, hidden_channels: int) -> Instance | None:
    """Return the squeeze of a module's constructor; raises SpaceError for one that is too wide."""
    ratio, divisor = values["se_ratio"], values["se_divisor"]
    if not ratio:
        return None
    width = ratio * (in_channels if values["se_from"] == "input" else hidden_channels)
    channels = max(1, int(width)) if divisor == 1 else round_channels(width, divisor)
    if channels > MAX_RATIO * in_channels:
        raise SpaceError(
            f"A squeeze has at most {MAX_RATIO:g} times the {in_channels} input channels,"
            f" not {channels}."
        )
    named = values["se_activation"]
    activation = ACTIVATIONS[values["activation"] if named == "same" else named]
    return SQUEEZE(channels=channels, activation=activation, gate=GATES[values["se_gate"]])


def _canonical_se_ratio(ratio: float, place: Place, arguments: Arguments) -> float:
    """Write every squeeze as a share of the input's width."""
    if not (se := arguments["se"]):
        return 0.0
    if max(1, int(ratio * place.in_channels)) != se.channels:  # of the expanded width, or rounded
        ratio = se.channels / place.in_channels
    return canonical_ratio(float(ratio), place.in_channels, se.channels)


def residual() -> dict[str, Option]:
    """Return the options of a skip and of its stochastic depth.

    "identity" has an effect where the shapes agree, "pool" (3x3 average) where the widths do.
    """
    return {"skip": one_of("identity", SKIPS), "drop_path": rate()}


def read_skip(values: Options, place: Place) -> Instance | None:
    """Return the skip of a module's constructor; None where the shapes do not allow one."""
    possible = ("identity", "pool") if place.stride == 1 else ("pool",)
    if place.in_channels != place.out_channels or values["skip"] not in possible:
        return None
    return SKIP(kind=values["skip"], drop_path=values["drop_path"])


# Arguments of a constructor that are read from an option; others are passed as they are.
READ: dict[str, Callable[[Options, Place], Any]] = {
    "kernel": lambda values, _: int(values["kernels"]),
    "kernels": lambda values, _: kernel_sizes(values["kernels"]),
    "activation": lambda values, _: ACTIVATIONS[values["activation"]],
    "skip": read_skip,
}


def plain_arguments(values: Options, place: Place, *names: str) -> Arguments:
    """Return the widths, the stride, and the named arguments.

    `READ` says how an argument is read; one that it does not have is the option of its name.
    """
    arguments = place.sizes()
    for name in names:  # a loop: this is asked for every row that is counted
        read = READ.get(name)
        arguments[name] = values[name] if read is None else read(values, place)
    return arguments


def check_groups(what: str, groups: int, *widths: int) -> None:
    """Refuse groups that do not divide the channels of a convolution."""
    if groups > 1 and any(width % groups for width in widths):
        numbers = " in and ".join(map(str, widths)) + " out"
        raise SpaceError(f"{what} divides the channels, {numbers}; {groups} does not.")


def hidden_channels(values: Options, place: Place) -> int:
    """Width after the expansion: int(expansion x block input)."""
    return int(values["expansion"] * place.in_channels)


def group_channels(values: Options, channels: int, kernels: str = "kernels") -> tuple[int, ...]:
    """Share channels among the kernel groups of an option."""
    return partition_channels(channels, len(kernel_sizes(values[kernels])), values["partition"])


def joined_groups(arguments: Arguments) -> Options:
    """Join neighbouring depthwise groups of one kernel size where a partition has those shares."""
    groups = zip(arguments["kernels"], arguments["group_channels"], strict=True)
    joined = [
        (kernel, sum(channels for _, channels in run))
        for kernel, run in itertools.groupby(groups, key=itemgetter(0))
    ]
    shares = tuple(channels for _, channels in joined)
    for name in PARTITIONS:
        with suppress(SpaceError):  # no such partition of so few channels
            if shares == partition_channels(sum(shares), len(shares), name):
                return {"kernels": ".".join(str(kernel) for kernel, _ in joined), "partition": name}
    return {}


@lru_cache(maxsize=65536)
def canonical_ratio(given: float, in_channels: int, width: int) -> float:
    """Return the one ratio that stands for all that give this `width`, at least 1, at this input.

    A usual ratio if one does (1/4 before 1/2 ...), else the shortest decimal.
    """
    decimals = (-(-width * 10**d // in_channels) / 10**d for d in range(1, 9))
    for candidate in (*PREFERRED_RATIOS, *decimals):
        if max(1, int(candidate * in_channels)) == width:
            return candidate
    return given


@lru_cache(maxsize=65536)
def canonical_expansion(expansion: float, in_channels: int) -> float:
    """Return the one expansion that stands for all that give int(expansion x in_channels)."""
    width = int(expansion * in_channels)
    for digits in range(9):
        candidate = float(-(-width * 10**digits // in_channels) / 10**digits)
        if int(candidate * in_channels) == width:
            return int(candidate) if candidate.is_integer() else candidate
    return expansion
