"""Transfer: a network begins with the weights of another one, so far as they fit.

Blocks at the same place and of the same kind are partners. A smaller kernel is the middle of the
larger one, as in Once-for-All (arXiv:1908.09791); a larger one has it in its middle and zeros
around. Of more channels the most important stay: those whose weights in the layers that read them
have the largest sum of absolute values (arXiv:1608.08710), the same ones in every layer. Channels
that the other network does not have begin as they are and are read with zeros at first, and
residual blocks that it does not have begin as the identity, so that the network computes what the
other one did (arXiv:1511.05641). What has no partner stays as it is: nothing is refused.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.architecture import Architecture
from nas.training.channels import Axes, Channels, blocks_of, channels_of
from nas.training.sources import Source

_UNKNOWN = Axes(torch.empty(0))  # of a tensor that no label met
_GROUP = re.compile(r"\.convs\.\d+\.")  # a convolution among those of a MixConv


class Taken(NamedTuple):
    """How many of a network's parameters are a source's."""

    params: int
    of: int

    def __str__(self) -> str:
        """Say which share they are."""
        return f"{self.params / self.of:.0%} of its {self.of:,} parameters"


class _Piece(NamedTuple):
    """A tensor and its axes; of a MixConv there are several."""

    tensor: Tensor
    axes: Axes


@torch.no_grad()
def transfer(module: nn.Module, architecture: Architecture, source: Source) -> Taken:
    """Give a network the weights of a source so far as they fit; say how many it took.

    `module` is the network of the architecture, on the CPU. Its batch norms take the statistics
    too. With the source's own architecture all tensors are equal afterwards.
    """
    ours, theirs = channels_of(architecture), channels_of(source.architecture)
    match = _Match(ours, theirs, _importance(source.state, theirs))
    state = module.state_dict(keep_vars=True)
    partners = {placed.place: placed for placed in blocks_of(source.architecture)}
    taken = 0
    for placed in blocks_of(architecture):
        partner = partners.get(placed.place)
        own = _pieces(state, placed.name, ours)
        if partner is None or partner.row.block != placed.row.block:
            if placed.name in ours.last_norms:
                state[ours.last_norms[placed.name]].zero_()
            continue
        other = _pieces(source.state, partner.name, theirs)
        for name, pieces in own.items():
            copied = match.copy(pieces, other.get(name, []))
            taken += copied if isinstance(pieces[0].tensor, nn.Parameter) else 0
    return Taken(taken, sum(parameter.numel() for parameter in module.parameters()))


def freeze(module: nn.Module, *, frozen: bool) -> None:
    """Hold all blocks of a network but the classifier, in evaluation mode; or let them go."""
    *body, _ = [block for part in module.children() for block in part.children()]
    for block in body:
        block.requires_grad_(not frozen)
        if frozen:
            block.eval()


def _pieces(state: Mapping[str, Tensor], block: str, channels: Channels) -> dict[str, list[_Piece]]:
    """Return a block's tensors by their names in it; one in groups of kernels has several."""
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for name, tensor in state.items():
        if name.startswith(f"{block}."):
            piece = _Piece(tensor, channels.axes.get(name, _UNKNOWN))
            pieces[_GROUP.sub(".", name.removeprefix(block))].append(piece)
    return pieces


class _Match:
    """Which channel of one network is which of the other: they are paired when they first meet."""

    def __init__(self, ours: Channels, theirs: Channels, importance: list[float]) -> None:
        self.ours, self.theirs, self.importance = ours, theirs, importance
        self.partners: dict[int, int] = {}
        self.paired: set[int] = set()
        self.met: set[int] = set()
        if len(ours.logits) != len(theirs.logits):
            self.met.update(ours.logits)  # other classes

    def copy(self, own: Sequence[_Piece], other: Sequence[_Piece]) -> int:
        """Copy a tensor, which may be in several pieces, so far as it fits; count the numbers."""
        if not other or any(piece.axes is _UNKNOWN for piece in (*own, *other)):
            pairs = zip(own, other, strict=False)
            return sum(_copied_whole(mine.tensor, given.tensor) for mine, given in pairs)
        for axis in ("columns", "experts", "rows"):  # what is read was paired where it was made
            self.pair(_labels(own, axis), _labels(other, axis))
        rows = self.places(_labels(own, "rows"), _labels(other, "rows"))
        copied, at = 0, 0
        for mine in own:
            count = len(mine.axes.rows)
            start = 0
            for given in other:
                end = start + len(given.axes.rows)
                wanted = rows[at : at + count]
                inside = torch.where((wanted >= start) & (wanted < end), wanted - start, -1)
                copied += self._copy(mine, given, inside)
                start = end
            at += count
        return copied

    def pair(self, own: list[int], other: list[int]) -> None:
        """Give the labels that have no partner yet one of those that are left.

        The most important are taken, first of equal hints, and they stay in their order.
        """
        new = [each for each in dict.fromkeys(own) if each not in self.met]
        free = [each for each in dict.fromkeys(other) if each not in self.paired]
        self.met.update(new)
        for hint in dict.fromkeys(self.ours.hints.get(each, ()) for each in new):
            alike = [each for each in free if self.theirs.hints.get(each, ()) == hint]
            self._take([each for each in new if self.ours.hints.get(each, ()) == hint], alike)
        left = [each for each in free if each not in self.paired]
        self._take([each for each in new if each not in self.partners], left)

    def _take(self, new: list[int], free: list[int]) -> None:
        order = sorted(free, key=lambda label: -self.importance[label])
        best = set(order[: len(new)])
        pairs = list(zip(new, (each for each in free if each in best), strict=False))
        self.partners |= dict(pairs)
        self.paired.update(label for _, label in pairs)

    def places(self, own: list[int], other: list[int]) -> Tensor:
        """Return the place in `other` of each label's partner, or -1.

        The second of the places that share a label is partner of the second.
        """
        place = {key: index for index, key in enumerate(_numbered(other))}
        partners = ((self.partners.get(label, -1), turn) for label, turn in _numbered(own))
        found = [place.get(key, -1) for key in partners]
        return torch.tensor(found, dtype=torch.long)

    def _copy(self, mine: _Piece, given: _Piece, rows: Tensor) -> int:
        """Copy a piece; `rows` are the places in the other piece of the rows of this one, or -1."""
        if mine.axes.experts is not None and given.axes.experts is not None:
            places = self.places(mine.axes.experts.tolist(), given.axes.experts.tolist())
            kernels, others = _experts(mine), _experts(given)
            pairs = [(kernels[i], others[place]) for i, place in enumerate(places) if place >= 0]
            return sum(self._copy(each, other, rows) for each, other in pairs)
        ours, theirs = mine.axes.columns, given.axes.columns
        if ours is not None and theirs is not None:
            weights = _four(mine.tensor), _four(given.tensor)
            return self._copy_filters(*weights, ours, theirs, rows)
        return _copied_rows(mine.tensor, given.tensor, rows) if ours is theirs else 0

    def _copy_filters(
        self, own: Tensor, weights: Tensor, ours: Tensor, theirs: Tensor, rows: Tensor
    ) -> int:
        """Copy filters, group by group; a filter reads channels without a partner with zeros.

        `ours` and `theirs` are the labels that the filters read.
        """
        on_images = ours.max() < self.ours.images and theirs.max() < self.theirs.images
        if on_images:
            weights = _for_images(weights, own.shape[1])
        copied, each = 0, len(weights) // len(theirs)
        for group, members in enumerate(torch.arange(len(own)).chunk(len(ours))):
            wanted = rows[members]
            for other in sorted(set((wanted[wanted >= 0] // each).tolist())):
                chosen = (wanted >= other * each) & (wanted < (other + 1) * each)
                partners = self.places(ours[group].tolist(), theirs[other].tolist())
                read = torch.arange(own.shape[1]) if on_images else partners
                if (read < 0).all():
                    continue
                filters = _fitted(weights[wanted[chosen]][:, read[read >= 0]], own.shape[2:])
                fresh = own.new_zeros((len(filters), *own.shape[1:]))
                fresh[:, read >= 0] = filters
                own[members[chosen]] = fresh
                copied += _numbers(filters, weights)
        return copied


def _labels(pieces: Sequence[_Piece], axis: str) -> list[int]:
    """Return the labels of an axis of a tensor in pieces."""
    found = [getattr(piece.axes, axis) for piece in pieces]
    return [label for each in found if each is not None for label in each.flatten().tolist()]


def _numbered(labels: list[int]) -> Iterator[tuple[int, int]]:
    """Yield labels, each with how often it came before."""
    seen: dict[int, int] = defaultdict(int)
    for label in labels:
        yield label, seen[label]
        seen[label] += 1


def _four(weight: Tensor) -> Tensor:
    """Return a linear layer's weight as that of a 1x1 convolution; the same memory."""
    return weight if weight.ndim == 4 else weight[:, :, None, None]


def _experts(piece: _Piece) -> list[_Piece]:
    """Return the kernels of each of CondConv's experts; the same memory."""
    rows, columns = len(piece.axes.rows), piece.axes.columns
    read = 1 if columns is None else columns.shape[-1]
    size = math.isqrt(piece.tensor.shape[1] // (rows * read))
    axes = piece.axes._replace(experts=None)
    return [_Piece(each.view(rows, read, size, size), axes) for each in piece.tensor]


def _fitted(filters: Tensor, size: Sequence[int]) -> Tensor:
    """Return filters with kernels of a size: the middle of larger ones, in the middle of zeros."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        have = filters.shape[axis]
        if have > wanted:
            filters = filters.narrow(axis, (have - wanted) // 2, wanted)
        elif have < wanted:
            before = (wanted - have) // 2
            pad = (before, wanted - have - before)
            filters = F.pad(filters, pad if axis == -1 else (0, 0, *pad))
    return filters


def _numbers(fitted: Tensor, source: Tensor) -> int:
    """Count the numbers of fitted filters that are the source's, not zeros around them."""
    size = [min(a, b) for a, b in zip(fitted.shape[2:], source.shape[2:], strict=True)]
    return math.prod(fitted.shape[:2]) * math.prod(size)


def _copied_rows(own: Tensor, given: Tensor, rows: Tensor) -> int:
    """Copy numbers per channel, or depthwise filters."""
    chosen = rows >= 0
    values = given[rows[chosen]]
    if own.ndim != 4:
        own[chosen] = values
        return values.numel()
    own[chosen] = _fitted(values, own.shape[2:])
    return _numbers(own[chosen], given)


def _copied_whole(own: Tensor, given: Tensor) -> int:
    """Copy a tensor whose axes are not known where the shapes are equal."""
    if own.shape != given.shape:
        return 0
    own.copy_(given)
    return own.numel()


def _for_images(weights: Tensor, channels: int) -> Tensor:
    """Return the filters of a first convolution for images of another number of channels.

    Those for one channel are the sum over the others, those for more repeat: as timm adapts them.
    """
    have = weights.shape[1]
    if channels == have:
        return weights
    if channels == 1:
        return weights.sum(1, keepdim=True)
    repeated = weights.repeat(1, -(-channels // have), 1, 1)[:, :channels]
    return repeated * (have / channels)


def _importance(state: Mapping[str, Tensor], channels: Channels) -> list[float]:
    """Return the sum of the absolute weights that read a label; else of those that make it."""
    count = 1 + max((int(axes.rows.max()) for axes in channels.axes.values()), default=0)
    read, made, is_read = (
        torch.zeros(count),
        torch.zeros(count),
        torch.zeros(count, dtype=torch.bool),
    )
    for name, axes in channels.axes.items():
        weight = state[name].float().abs()
        if axes.experts is not None:
            weight = weight.sum(0)
        if axes.columns is not None:
            groups, columns = axes.columns.shape
            each = weight.reshape(groups, len(axes.rows) // groups, columns, -1).sum((1, 3))
            read.index_add_(0, axes.columns.flatten(), each.flatten())
            is_read[axes.columns.flatten()] = 1
        if axes.columns is not None or weight.ndim == 4:
            made.index_add_(0, axes.rows, weight.reshape(len(axes.rows), -1).sum(1))
    return torch.where(is_read > 0, read, made).tolist()
