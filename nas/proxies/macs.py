"""Multiply-accumulates for one image: a baseline, since larger networks are often better."""

from nas import network
from nas.proxies._candidate import Candidate

REPEATS = 1
NOT_FINITE = 0.0  # does not occur


def measure(candidate: Candidate) -> float:
    """Count the architecture's macs; nothing is built."""
    return float(network.cost(candidate.architecture).macs)
