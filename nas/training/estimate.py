"""How long a training will take, measured by a few steps of it."""

import time

import torch
from torch.nn import functional as F

from nas.architecture import Architecture
from nas.network import build
from nas.training.optimisers import optimiser_of
from nas.training.recipe import Recipe

STEPS = 3
VALIDATION = 0.1  # validation's share of an epoch's time, about


def training_seconds(
    architecture: Architecture, recipe: Recipe, images: int, threads: int
) -> float:
    """Return about how many seconds one training takes on `threads` threads of this machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            step = _step_seconds(architecture, recipe)
    finally:
        torch.set_num_threads(before)
    return step * max(1, images // recipe.batch_size) * recipe.epochs * (1 + VALIDATION)


def _step_seconds(architecture: Architecture, recipe: Recipe) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = build(architecture).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = architecture.resolution
    x = torch.randn(recipe.batch_size, architecture.in_channels, size, size, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(recipe.batch_size, dtype=torch.long, device=device)
    optimiser = optimiser_of(module, recipe)
    seconds = []
    for _ in range(1 + STEPS):
        begun = time.perf_counter()
        optimiser.zero_grad()
        F.cross_entropy(module(x), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])  # the first step warms up
