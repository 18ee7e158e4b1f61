"""What a proxy looks at: an untrained network and one batch of train images."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from nas import proxies
from nas.architecture import Architecture
from nas.blocks.modules.stochastic_depth import StochasticDepth
from nas.blocks.options import ACTIVATIONS
from nas.data import DataSet
from nas.network import build
from nas.training.images import normalisation

IMAGES = 64  # of the batch; fewer where they are large, so that it has about a million pixels
PIXELS = 2**20
ACTIVATION_TYPES = tuple(each.load() for each in ACTIVATIONS.values())
NORM_TYPES = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
CHANCE_TYPES = (nn.modules.dropout._DropoutNd, StochasticDepth)


@dataclass(frozen=True)
class Batch:
    """Train images, standardised, (N, C, R, R), and their labels, (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Candidate:
    """One initialisation of an architecture, built when it is asked for, and the batch.

    A proxy may do with the module what it likes: nobody uses it afterwards.
    """

    architecture: Architecture
    batch: Batch

    @cached_property
    def module(self) -> nn.Module:
        """The network in training mode: norms use the batch's statistics, nothing is dropped."""
        module = build(self.architecture).train()
        for part in module.modules():
            if isinstance(part, CHANCE_TYPES):
                part.eval()
        return module


class Batches:
    """One batch of a data set's train images at each resolution, always of the same images.

    `data` is asked for when the first batch is.
    """

    def __init__(self, data: Callable[[], DataSet], seed: int = 0) -> None:
        self.data, self.seed = data, seed
        self._made: dict[int, Batch] = {}

    def at(self, resolution: int) -> Batch:
        """Return the batch at a resolution."""
        if resolution not in self._made:
            self._made[resolution] = self._make(resolution)
        return self._made[resolution]

    def measure(self, name: str, architecture: Architecture) -> float:
        """Return a proxy's value of an architecture on its batch, initialised by the seed."""
        return measure(name, architecture, self.at(architecture.resolution), seed=self.seed)

    def _make(self, resolution: int) -> Batch:
        data = self.data()
        train = data.splits["train"]
        count = min(len(train), IMAGES, max(16, PIXELS // resolution**2))
        chosen = np.sort(np.random.RandomState(self.seed).permutation(len(train))[:count])
        pixels = torch.from_numpy(np.array(train.images(resolution)[chosen]))  # (N, R, R, C)
        mean, std = (torch.tensor(each) for each in normalisation(data, resolution))
        images = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
        return Batch(images, torch.from_numpy(train.labels[chosen]))


def measure(
    name: str,
    architecture: Architecture,
    batch: Batch,
    *,
    seed: int = 0,
    repeats: int | None = None,
) -> float:
    """Return a proxy's value of an architecture: a finite number, higher for what promises more.

    It is the mean over `repeats` initialisations (the proxy's own number of them), which depend on
    the seed alone. The value depends neither on other proxies nor on how many threads there are,
    and no generator of random numbers is touched. A network that does not fit into memory counts
    as one whose outcome is not finite.
    """
    proxy = proxies.get(name)
    count = proxy.REPEATS if repeats is None else repeats
    values = []
    with _alone(), torch.random.fork_rng(range(torch.cuda.device_count())), torch.enable_grad():
        for repeat in range(count):
            state = np.random.SeedSequence([seed, repeat]).generate_state(1)
            torch.manual_seed(int(state[0]))
            values.append(_finite(proxy, Candidate(architecture, batch)))
    return sum(values) / count


def _finite(proxy: proxies.Proxy, candidate: Candidate) -> float:
    try:
        value = proxy.measure(candidate)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        return proxy.NOT_FINITE
    return value if math.isfinite(value) else proxy.NOT_FINITE


@contextmanager
def _alone() -> Iterator[None]:
    """Compute with one thread: sums of several are rounded otherwise, which may turn a rank."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
