"""How MixConv, arXiv:1907.09595, shares channels among its kernel groups."""

from functools import lru_cache

from nas.errors import SpaceError


@lru_cache(maxsize=65536)
def partition_channels(channels: int, groups: int, partition: str = "equal") -> tuple[int, ...]:
    """Share `channels` among kernel groups.

    Equal: channels // groups each, the remainder to the first group (16 over 3: 6, 5, 5).
    Exponential: group i (from 1) gets floor(channels / 2^i), the last as many as the one before it,
    each at least 1, and the remainder, which may be negative, goes to the first (30 over 4:
    17, 7, 3, 3); the paper and its reference code leave the rounding open. Raises SpaceError for
    more groups than channels, or where the first group is left with none.
    """
    if groups > channels:
        raise SpaceError(
            f"kernels: {groups} groups need at least {groups} channels, not {channels}."
        )
    if partition == "equal":
        share = channels // groups
        return (channels - share * (groups - 1), *[share] * (groups - 1))
    powers = [min(i, groups - 1) for i in range(1, groups + 1)] if groups > 1 else [0]
    rest = [max(1, channels >> power) for power in powers[1:]]
    if channels <= sum(rest):
        raise SpaceError(
            f"{groups} exponential kernel groups of {channels} channels leave none for the first."
        )
    return (channels - sum(rest), *rest)
