"""Asynchronous successive halving: Li et al., arXiv:1810.05934; the rules are in `ladder.py`."""

from nas.pruners.none import make

LADDER = True
BRACKETS = False
__all__ = ["BRACKETS", "LADDER", "make"]  # nothing is pruned within a rung
