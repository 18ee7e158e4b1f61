"""The duration of a training, estimated from a few of its steps."""

import time

import torch

from nas.architecture import Architecture
from nas.network import build
from nas.training.adaptation import GAP, SEEN
from nas.training.images import channels_last
from nas.training.losses import Classes
from nas.training.methods import NO_AIDS, Aids
from nas.training.recipe import Recipe
from nas.training.trainer import begin, train_step

STEPS = 3
VALIDATION = 0.1  # of the training steps' time, about
FORWARD = 0.3  # of a step's time is the network's answer


def training_seconds(
    architecture: Architecture,
    recipe: Recipe,
    images: int,
    updates: int,
    threads: int,
    aids: Aids = NO_AIDS,
) -> float:
    """Return the seconds that so many updates take, about, on `threads` threads of this machine.

    A batch has at most all the `images` of the train split. The epochs' validation and what batch
    norm is refitted on are included, and images without labels, though not the labels' making.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            batch = min(recipe.batch_size, images)
            step = _step_seconds(architecture, recipe, batch, aids)
            step *= 1 + recipe.unlabelled_ratio * bool(recipe.unlabelled)
    finally:
        torch.set_num_threads(before)
    seen = recipe.batch_norm_images, SEEN * (GAP in recipe.augmentation)  # after each epoch
    answers = recipe.epochs * sum(min(each, images) for each in seen) / batch  # batches
    return step * (updates * (1 + VALIDATION) + answers * FORWARD)


def _step_seconds(architecture: Architecture, recipe: Recipe, batch: int, aids: Aids) -> float:
    training = begin(build(architecture), recipe, aids=aids)
    device = next(training.module.parameters()).device
    size = architecture.resolution
    x = torch.randn(batch, architecture.in_channels, size, size, device=device)
    x, labels = channels_last(x), torch.zeros(len(x), dtype=torch.long, device=device)
    ones = torch.ones(architecture.classes, device=device)
    classes = Classes(weights=ones, log_prior=ones)
    seconds = []
    for step in range(1 + STEPS):
        begun = time.perf_counter()
        train_step(training, x, [(labels, 1.0)], classes, recipe, step).item()  # waits for a GPU
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])  # the first step warms up
