"""The trainer: what it learns, how it stops, resumes, and what ends it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from training_kit import few_digits

from nas import data
from nas.architecture import Architecture, Row
from nas.data import DataSet, Split
from nas.errors import DataError, Diverged, Interrupted, OutOfMemory, UnreadableImage
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.images import normalisation, shuffled, standardised
from nas.training.metrics import epoch_metrics
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe
from nas.training.schedules import learning_rate
from nas.training.trainer import Control

TINY = Architecture(
    in_channels=1,
    resolution=8,
    classes=10,
    stem=(Row("conv", 16, 1, (("kernels", "3"),)),),
    body=(
        Row("mbconv", 24, 2, (("expansion", 3), ("kernels", "3.5"))),
        Row("mbconv", 24, 1, (("drop_path", 0.2), ("expansion", 3), ("kernels", "3"))),
    ),
    head=(Row("classifier", 10, 1, (("dropout", 0.2),)),),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def digits() -> DataSet:
    """The digits, fewer of them for training."""
    return few_digits()


@pytest.fixture
def recipe(digits: DataSet) -> Recipe:
    """Three epochs of the default recipe."""
    return default_recipe(digits, epochs=3)


def curve(results: list[trainer.EpochResult]) -> list[tuple[int, float, dict[str, float]]]:
    """Return what must not differ between two trainings of the same recipe."""
    return [(r.epoch, r.train_loss, r.metrics) for r in results]


def test_learns_the_digits() -> None:
    """The default recipe takes a tiny network far above the majority class, in seconds."""
    whole = data.load("digits")
    results: list[trainer.EpochResult] = []
    result = trainer.train(
        TINY, whole, default_recipe(whole, epochs=8), control=Control(on_epoch=results.append)
    )
    assert result.metrics["accuracy"] > 0.9 > 5 * result.metrics["majority_rate"]
    assert result.metrics["predicted_classes"] == 10
    assert [r.epoch for r in results] == list(range(1, 9))
    assert results[-1].train_loss < results[0].train_loss
    assert result.seconds == pytest.approx(sum(r.seconds for r in results))


def test_same_seed_same_curve(digits: DataSet, recipe: Recipe) -> None:
    """Twice the same recipe is the same curve to the last bit; another seed is another one."""
    curves = []
    for seed in (0, 0, 1):
        results: list[trainer.EpochResult] = []
        trainer.train(
            TINY, digits, replace(recipe, seed=seed), control=Control(on_epoch=results.append)
        )
        curves.append(curve(results))
    assert curves[0] == curves[1] != curves[2]


def test_global_generator_is_left_alone(digits: DataSet, recipe: Recipe) -> None:
    """Training neither depends on torch's global generator nor changes it."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    trainer.train(TINY, digits, replace(recipe, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_state_is_what_was_scored(digits: DataSet, recipe: Recipe) -> None:
    """The weights that come back give the metrics that were reported."""
    result = trainer.train(TINY, digits, recipe)
    module = trainer.build(TINY)
    module.load_state_dict(result.state)
    mean, std = normalisation(digits, 8)
    scores = epoch_metrics(trainer.predict(module, digits.splits["validation"], 8, mean, std))
    assert scores["accuracy"] == result.metrics["accuracy"]
    assert scores["loss"] == pytest.approx(result.metrics["loss"], rel=1e-5)


def test_resumes_after_an_interruption(digits: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    """A training stopped in its second epoch goes on and ends as one that never stopped."""
    whole: list[trainer.EpochResult] = []
    expected = trainer.train(TINY, digits, recipe, control=Control(on_epoch=whole.append))
    asked = iter(range(100))
    with pytest.raises(Interrupted, match="epoch 2 of 3"):
        trainer.train(
            TINY,
            digits,
            recipe,
            control=Control(Checkpoints(str(tmp_path)), should_stop=lambda: next(asked) == 6),
        )
    parts: list[trainer.EpochResult] = []
    result = trainer.train(
        TINY, digits, recipe, control=Control(Checkpoints(str(tmp_path)), on_epoch=parts.append)
    )
    assert curve(parts) == curve(whole)
    assert [r.restored for r in parts] == [True, False, False]
    assert all(torch.equal(result.state[name], expected.state[name]) for name in expected.state)


def test_what_on_epoch_raises_passes(digits: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    """A pruner's exception passes through after the epoch was saved, and can be gone on from."""

    class Pruned(Exception):
        pass

    def prune(result: trainer.EpochResult) -> None:
        if not result.restored:
            raise Pruned

    for epochs in (1, 2):
        with pytest.raises(Pruned):
            trainer.train(
                TINY, digits, recipe, control=Control(Checkpoints(str(tmp_path)), on_epoch=prune)
            )
        loaded = Checkpoints(str(tmp_path)).load()
        assert loaded is not None
        assert len(loaded[1]["history"]) == epochs


def test_finished_training_is_not_repeated(digits: DataSet, recipe: Recipe, tmp_path: Path) -> None:
    """A training that has ended gives its result again at once."""
    first = trainer.train(TINY, digits, recipe, control=Control(Checkpoints(str(tmp_path))))
    again = trainer.train(
        TINY,
        digits,
        recipe,
        control=Control(Checkpoints(str(tmp_path)), should_stop=lambda: pytest.fail("trained")),
    )
    assert (again.metrics, again.seconds) == (first.metrics, first.seconds)


@pytest.mark.parametrize("damage", ["recipe", "bytes", "half", "state"])
def test_checkpoint_that_is_not_ours(
    digits: DataSet, recipe: Recipe, tmp_path: Path, damage: str
) -> None:
    """A damaged checkpoint, or one of another recipe, is not resumed: training begins anew."""
    recipe = replace(recipe, epochs=1)
    trainer.train(TINY, digits, recipe, control=Control(Checkpoints(str(tmp_path))))
    path = tmp_path / "checkpoint-1.safetensors"
    if damage == "recipe":
        recipe = replace(recipe, seed=5)
    elif damage == "bytes":
        path.write_bytes(b"not a checkpoint")
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        Checkpoints(str(tmp_path)).save({}, {}, 1)
    results: list[trainer.EpochResult] = []
    trainer.train(
        TINY, digits, recipe, control=Control(Checkpoints(str(tmp_path)), on_epoch=results.append)
    )
    assert [r.restored for r in results] == [False]


CHILD = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_training import TINY, told
from training_kit import few_digits
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.recipes import default_recipe
from nas.training.trainer import Control
def steady():
    if len(sys.argv) > 3: print("batch", flush=True)
    return False
torch.set_num_threads(1)
digits = few_digits()
trainer.train(TINY, digits, default_recipe(digits, epochs=4),
              control=Control(Checkpoints(sys.argv[1]), should_stop=steady,
                              on_epoch=lambda result: print(told(result), flush=True)))
"""


def told(result: trainer.EpochResult) -> str:
    """Say to the last bit how an epoch went."""
    return f"{result.epoch} {result.train_loss.hex()} {result.metrics}"


def test_killed_in_mid_epoch(tmp_path: Path) -> None:
    """A training killed with SIGKILL in mid-epoch goes on with the identical curve."""
    digits, whole = few_digits(), []
    trainer.train(
        TINY,
        digits,
        default_recipe(digits, epochs=4),
        control=Control(on_epoch=lambda r: whole.append(told(r))),
    )
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
    killed = subprocess.Popen([*command, "batches"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    lines = []
    for line in killed.stdout:
        if line != "batch\n":
            lines.append(line.rstrip())
        elif len(lines) == 2:
            os.kill(killed.pid, signal.SIGKILL)  # as the third epoch's first batch begins
            break
    killed.stdout.close()
    assert killed.wait(60) == -signal.SIGKILL
    assert lines == whole[:2]
    rest = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert rest.stdout.splitlines() == whole


def test_divergence(digits: DataSet, recipe: Recipe) -> None:
    """A loss that becomes NaN or infinite ends the training with the epoch it happened in."""
    wild = replace(
        recipe, optimiser="sgd", learning_rate=100.0, weight_decay=100.0, epoch_updates=30
    )
    with pytest.raises(Diverged, match="epoch 1"):
        trainer.train(TINY, digits, wild)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: 1 TB")],
)
def test_out_of_memory(
    digits: DataSet, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever torch or Python raises when memory is short comes out as OutOfMemory."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(nn.Conv2d, "forward", fail)
    with pytest.raises(OutOfMemory):
        trainer.train(TINY, digits, recipe)


def test_real_allocation_failure(digits: DataSet, recipe: Recipe) -> None:
    """An allocation that this machine can't make is recognised by torch's real message."""
    with pytest.raises(OutOfMemory), trainer._reported_out_of_memory():
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_pass(
    digits: DataSet, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a block is no lack of memory."""

    def fail(*_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(nn.Conv2d, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        trainer.train(TINY, digits, recipe)


def test_unreadable_image(digits: DataSet, recipe: Recipe) -> None:
    """An image that has gone bad ends the training with its name."""

    def fail(resolution: int) -> np.ndarray:
        raise UnreadableImage(f"a/1.png at {resolution}")

    splits = {**digits.splits, "validation": Split(digits.splits["validation"].labels, fail)}
    with pytest.raises(UnreadableImage, match=r"a/1\.png at 8"):
        trainer.train(TINY, replace(digits, splits=splits), recipe)


def test_recipe_of_other_data(digits: DataSet, recipe: Recipe) -> None:
    """A recipe for another data set, or one that flips digits, is refused before training."""
    with pytest.raises(DataError, match="The recipe is for 'digits'"):
        trainer.train(TINY, replace(digits, fingerprint="0" * 32), recipe)
    flips = replace(recipe, augmentation={**recipe.augmentation, "flip": True})
    with pytest.raises(DataError, match="'digits' forbids flip"):
        trainer.train(TINY, digits, flips)


@pytest.mark.parametrize(("count", "size"), [(3, 2), (65, 64), (129, 64), (2, 64), (1079, 64)])
def test_no_batch_of_one(count: int, size: int) -> None:
    """Every image is in one batch, and batch norm never sees a single image."""
    batches = shuffled(np.zeros(count, np.int64), size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert min(len(batch) for batch in batches) >= 2


def test_bias_and_norm_do_not_decay(recipe: Recipe) -> None:
    """Weight decay is for the weights of convolutions and linear layers alone."""
    training = trainer.begin(trainer.build(TINY), recipe)
    decayed, others = training.optimiser.param_groups
    assert decayed["weight_decay"] == recipe.weight_decay
    assert others["weight_decay"] == 0
    assert {p.ndim for p in others["params"]} == {1}


def test_learning_rate(recipe: Recipe) -> None:
    """It climbs at first, reaches its height, and falls towards 0 by the last step."""
    rates = [learning_rate(recipe, step, 10) for step in range(recipe.epochs * 10)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.01)
    assert rates[-1] < 0.02 * recipe.learning_rate


def test_cosine_ends_at_the_final_learning_rate(recipe: Recipe) -> None:
    """A cosine falls to the final learning rate, halfway between both in the middle."""
    recipe = replace(recipe, warmup_epochs=0.0, final_learning_rate=recipe.learning_rate / 4)
    steps = recipe.epochs * 10
    shares = [learning_rate(recipe, step, 10) / recipe.learning_rate for step in (0, steps // 2)]
    assert shares == pytest.approx([1.0, 0.625])
    assert learning_rate(recipe, steps, 10) == pytest.approx(recipe.final_learning_rate)


def test_images_reach_the_network_channels_last() -> None:
    """Gray batches too are laid out channels last: their strides leave it open, the speed not."""
    images = np.zeros((4, 8, 8, 1), np.uint8)
    x = standardised(images, (0.5,), (0.1,), torch.device("cpu"))
    y = nn.Conv2d(1, 4, 3).to(memory_format=torch.channels_last)(x)  # type: ignore[call-overload]
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.all(x == -5)


def test_trains_on_images_mapped_from_disk(tmp_path: Path) -> None:
    """A folder of images, kept on disk, is trained on and scored without a warning."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    for index, image in enumerate(pixels):
        folder = tmp_path / "set" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    found = data.load(tmp_path / "set", cache_dir=tmp_path / "cache")
    result = trainer.train(TINY.at(classes=2), found, default_recipe(found, epochs=1))
    assert np.isfinite(result.metrics["loss"])


def test_normalisation(digits: DataSet) -> None:
    """Mean and standard deviation are those of the train split's pixels, in 0 to 1."""
    mean, std = normalisation(digits, 8)
    pixels = digits.splits["train"].images(8) / 255
    assert mean == pytest.approx((pixels.mean(),))
    assert std == pytest.approx((pixels.std(),))


def test_epochs_take_no_time_of_their_own(digits: DataSet, recipe: Recipe) -> None:
    """Beside its epochs a training takes hardly any of the processor's time."""
    trainer.train(TINY, digits, replace(recipe, epochs=1))  # torch imports more of itself
    started = time.process_time()
    result = trainer.train(TINY, digits, recipe)
    assert time.process_time() - started < result.seconds + 2
