"""Hyperband: Li et al., arXiv:1603.06560; the rules are in `ladder.py`."""

from nas.pruners.none import make

LADDER = True
BRACKETS = True
__all__ = ["BRACKETS", "LADDER", "make"]  # nothing is pruned within a rung
