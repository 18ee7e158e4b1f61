"""What a recipe may ask of the training loop: optimisers, schedules, updates, regularisation."""

import platform
import random
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import TINY, curve
from torch import nn
from training_kit import few_digits

from nas import search_space
from nas.blocks.modules.stochastic_depth import StochasticDepth
from nas.errors import DataError, Interrupted
from nas.network import build
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.images import normalisation, shuffled, standardised
from nas.training.optimisers import OPTIMISERS
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe
from nas.training.regularisation import regularise
from nas.training.schedules import SCHEDULES, learning_rate
from nas.training.trainer import Control

DIGITS = few_digits()
RECIPE = default_recipe(DIGITS, epochs=4)
NEW = {
    "momentum": 0.5,
    "decay_rate": 0.5,
    "decay_epochs": 1.0,
    "dropout": 0.5,
    "stochastic_depth": 0.5,
    "batch_norm_momentum": 0.3,
    "batch_norm_images": 64,
    "early_stopping": 1,
    "accumulation_steps": 2,
}
ASKED: dict[str, dict[str, Any]] = {
    **{name: {"optimiser": name, "learning_rate": 0.01} for name in OPTIMISERS},
    **{name: {"schedule": name} for name in SCHEDULES},
    "updates": {"epoch_updates": 7},
    "few updates": {"epoch_updates": 2},
    "regularised": {"dropout": 0.3, "stochastic_depth": 0.3, "batch_norm_momentum": 0.2},
    "plain batch norm": {"batch_norm_images": 50, "dropout": 0.3},
    "micro-batches": {"accumulation_steps": 3},
    "mixed": {"augmentation": {"mixup": 0.4, "cutmix": 1.0, "randaugment": 2}},
    "mixed in micro-batches": {"augmentation": {"mixup": 0.4}, "accumulation_steps": 2},
    "stopped early": {"early_stopping": 1, "learning_rate": 0.0, "decay_epochs": 1.0},
}


@pytest.mark.parametrize("changes", ASKED.values(), ids=ASKED)
def test_resumes_bit_for_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a recipe asks for, a training that was stopped ends as one that was not."""
    recipe = replace(RECIPE, **changes)
    whole: list[trainer.EpochResult] = []
    expected = trainer.train(TINY, DIGITS, recipe, control=Control(on_epoch=whole.append))
    assert all(np.isfinite(result.train_loss) for result in whole)

    def stop(result: trainer.EpochResult) -> None:
        if result.epoch == 1:
            raise Interrupted("after an epoch")

    with pytest.raises(Interrupted):
        trainer.train(TINY, DIGITS, recipe, control=Control(Checkpoints(str(tmp_path)), stop))
    rest: list[trainer.EpochResult] = []
    control = Control(Checkpoints(str(tmp_path)), rest.append)
    result = trainer.train(TINY, DIGITS, recipe, control=control)
    assert curve(rest) == curve(whole)
    assert all(torch.equal(result.state[name], expected.state[name]) for name in expected.state)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_each_optimiser_learns(optimiser: str) -> None:
    """The loss falls under each optimiser, and its settings stand in the description."""
    rate = {"sgd": 0.1, "rmsprop": 0.01}.get(optimiser, 0.008)
    recipe = replace(RECIPE, optimiser=optimiser, learning_rate=rate, weight_decay=1e-4)
    losses: list[float] = []
    control = Control(on_epoch=lambda result: losses.append(result.train_loss))
    trainer.train(TINY, DIGITS, recipe, control=control)
    assert losses[-1] < 0.9 * losses[0]
    assert f"learning rate {rate:g}, weight decay 0.0001" in recipe.describe()


@pytest.mark.parametrize(("field", "value"), NEW.items())
def test_new_fields_are_neutral(field: str, value: float) -> None:
    """A field of the loop changes the recipe's id and JSON only where it is not neutral."""
    default = next(each.default for each in fields(Recipe) if each.name == field)
    neutral, changed = (replace(RECIPE, **{field: each}) for each in (default, value))
    assert (neutral.hash, field in neutral.to_json()) == (RECIPE.hash, False)
    assert changed.hash != RECIPE.hash
    assert Recipe.from_json(changed.to_json()) == changed


def test_colour_on_gray_images_is_refused() -> None:
    """An augmentation that needs colours is refused for gray images before training."""
    with pytest.raises(DataError, match="hue needs 3 channels; the images of 'digits' have 1"):
        trainer.train(TINY, DIGITS, replace(RECIPE, augmentation={"hue": 0.1}))


@pytest.mark.parametrize(("images", "updates"), [(50, 3), (50, 20), (5, 4), (64, 1)])
def test_updates_of_an_epoch(images: int, updates: int) -> None:
    """An epoch of k updates has k full batches, and no image comes twice more than another."""
    batches = shuffled(np.zeros(images, np.int64), 16, updates=updates)
    assert [len(batch) for batch in batches] == [min(16, images)] * updates
    counts = np.bincount(np.concatenate(batches), minlength=images)
    assert counts.max() - counts.min() <= 1


def test_updates_follow_a_rungs_share() -> None:
    """An epoch on half of the images makes half of the updates."""
    assert replace(RECIPE, epoch_updates=30).updates(100, 0.5) == 15


def rates(schedule: str, scores: tuple[float, ...] = (), **changes: Any) -> list[float]:
    """Return the learning rate at the end of each of twenty epochs, as shares of its height."""
    recipe = replace(RECIPE, epochs=20, schedule=schedule, learning_rate=1.0, **changes)
    return [learning_rate(recipe, 10 * n + 9, 10, scores[: n + 1]) for n in range(20)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_warms_up_and_decays(schedule: str) -> None:
    """Each climbs from near 0, reaches its height, and ends below it."""
    recipe = replace(RECIPE, epochs=20, schedule=schedule, learning_rate=1.0, decay_epochs=2.0)
    stale = (0.5,) * 20
    steps = [learning_rate(recipe, step, 10, stale[: step // 10]) for step in range(200)]
    assert steps[0] < 0.1
    assert max(steps) == pytest.approx(1.0, abs=0.02)
    assert steps[-1] < 0.9
    top = steps.index(max(steps))
    assert steps[:top] == sorted(steps[:top])
    assert steps[top:] == sorted(steps[top:], reverse=True)


def test_exponential_and_step() -> None:
    """Both multiply the rate by the decay in the given epochs, one continuously, one at once."""
    decay = {"decay_rate": 0.5, "decay_epochs": 4.0, "warmup_epochs": 0.0}
    smooth, steps = rates("exponential", **decay), rates("step", **decay)
    assert smooth[8] == pytest.approx(smooth[4] / 2)
    assert steps[:9] == [1.0] * 4 + [0.5] * 4 + [0.25]


def test_plateau() -> None:
    """The rate falls after the given epochs without a better score, and again after as many."""
    scores = (0.1, 0.2, 0.3, 0.3, 0.2, 0.3, 0.1, 0.4, 0.5)
    shares = rates("plateau", scores, decay_rate=0.5, decay_epochs=2.0, warmup_epochs=0.0)
    assert shares[:9] == [1.0] * 4 + [0.5] * 2 + [0.25] * 3


def test_early_stopping() -> None:
    """A network that does not get better any more is a complete result, of its last epoch."""
    recipe = replace(RECIPE, epochs=30, early_stopping=2, learning_rate=0.0)
    results: list[trainer.EpochResult] = []
    result = trainer.train(TINY, DIGITS, recipe, control=Control(on_epoch=results.append))
    scores = [each.metrics["accuracy"] for each in results]
    assert len(results) == scores.index(max(scores)) + 3 < 30
    assert result.metrics == results[-1].metrics
    assert ["metric_error" in each.metrics for each in results].index(True) == len(results) - 1


@pytest.mark.parametrize("space", sorted(search_space.spaces()))
def test_regularisation_stays_out_of_the_network(space: str) -> None:
    """It changes neither the names of the weights nor what the network answers at inference."""
    drawn = search_space.load(space).draw(random.Random(0))
    architecture = search_space.load(space).decode(drawn).at(classes=3, resolution=32)
    plain = build(architecture).eval()
    module = build(architecture)
    regularise(module, replace(RECIPE, dropout=0.4, stochastic_depth=0.5, batch_norm_momentum=0.2))
    module.load_state_dict(plain.state_dict())
    x = torch.randn(2, architecture.in_channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(module.eval()(x), plain(x))


def test_regularisation_rises_with_depth() -> None:
    """The last residual branch has the recipe's rate, the others in proportion; the head drops."""
    module = build(search_space.load("efficientnet_b0").decode({}))
    regularise(module, replace(RECIPE, dropout=0.4, stochastic_depth=0.2, batch_norm_momentum=0.01))
    depths = [each.rate for each in module.modules() if isinstance(each, StochasticDepth)]
    assert depths == pytest.approx([0.2 * k / 9 for k in range(1, 10)])
    assert [each.p for each in module.modules() if isinstance(each, nn.Dropout)] == [0.4]
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    assert {each.momentum for each in norms} == {0.01}


def test_batch_norm_has_the_statistics_of_plain_images() -> None:
    """The refitted network normalises plain train images; its weights are trained as ever."""
    every = len(DIGITS.splits["train"])
    refitted = trainer.train(TINY, DIGITS, replace(RECIPE, batch_norm_images=every)).state
    expected = trainer.train(TINY, DIGITS, RECIPE).state
    module = build(TINY)
    weights = {name for name, _ in module.named_parameters()}
    assert all(torch.equal(refitted[name], expected[name]) for name in weights)
    module.load_state_dict(refitted)
    norm = next(each for each in module.modules() if isinstance(each, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda *facts: seen.append(facts[2]))
    images = DIGITS.splits["train"].images(TINY.resolution)
    mean, std = normalisation(DIGITS, TINY.resolution)
    with torch.no_grad():
        module.eval()(standardised(images, mean, std, torch.device("cpu")))
    answers = (seen[0] - norm.bias.view(1, -1, 1, 1)) / norm.weight.view(1, -1, 1, 1)
    assert answers.mean((0, 2, 3)).abs().max() < 0.01
    assert (answers.std((0, 2, 3)) - 1).abs().max() < 0.01


FAULTS = """
import resource, sys, torch
from nas.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
before = faults()
for _ in range(20):
    torch.ones(2**24)  # 64 MiB
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_used_again() -> None:
    """A large tensor in the place of a freed one touches no new pages of the system."""
    counts = {}
    for word in ("keep", "return"):
        command = [sys.executable, "-c", FAULTS, word]
        counts[word] = int(
            subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        )
    assert counts["keep"] < 0.5 * counts["return"]
