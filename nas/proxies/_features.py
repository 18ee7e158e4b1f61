"""Proxies of a study: what the named ones say of architectures, each measured once."""

import time
from collections.abc import Callable, Sequence

from nas import proxies
from nas.architecture import Architecture
from nas.data import DataSet
from nas.proxies._candidate import Batches

KEPT = 50_000  # architectures that are remembered


class Features:
    """What proxies say of an architecture: a number for each name, in that order.

    All are measured on the same images, with initialisations that depend on the seed alone, so that
    every worker of a study has the same numbers. `data` is asked for at the first measurement.
    Raises UserError for an unknown name.
    """

    def __init__(self, names: Sequence[str], data: Callable[[], DataSet], seed: int = 0) -> None:
        self.names, self.seed = proxies.read(names), seed
        self.batches = Batches(data, seed)
        self._known: dict[str, tuple[float, ...]] = {}

    def __call__(self, architecture: Architecture) -> tuple[float, ...]:
        """Return the numbers of an architecture; measured once, then remembered by its id."""
        found = self._known.get(architecture.id)
        if found is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            found = self._known[architecture.id] = self._measured(architecture)
        return found

    def _measured(self, architecture: Architecture) -> tuple[float, ...]:
        return tuple(self.batches.measure(name, architecture) for name in self.names)

    def seconds(self, architecture: Architecture) -> dict[str, float]:
        """Return how long each proxy takes to measure an architecture; nothing is remembered."""
        self.batches.at(architecture.resolution)  # read once for all networks: no proxy's time
        found = {}
        for name in self.names:
            begun = time.perf_counter()
            self.batches.measure(name, architecture)
            found[name] = time.perf_counter() - begun
        return found
