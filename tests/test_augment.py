"""Recipes and their ids, the registries of training, augmentation and metrics."""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace

import kornia.augmentation as ka
import pytest
import torch
from search_kit import ROOT

from nas import data
from nas.errors import UserError
from nas.training import augmentations
from nas.training.augmentations import OPERATIONS, augmenter, mixer
from nas.training.metrics import CLASS_METRICS, METRICS
from nas.training.recipe import Recipe, RecipeField
from nas.training.recipes import default_recipe

RECIPE = Recipe("set", "0" * 32, epochs=3)
TUNED = augmentations.tuned()


def test_recipe_json() -> None:
    """A recipe survives JSON with its hash; every field of it decides about the hash."""
    again = Recipe.from_json(json.loads(json.dumps(RECIPE.to_json())))
    assert (again, again.hash) == (RECIPE, RECIPE.hash)
    assert len(RECIPE.hash) == 16
    assert replace(RECIPE, seed=1).hash != RECIPE.hash
    assert replace(RECIPE, augmentation={}).hash != RECIPE.hash


def test_neutral_values_are_not_written() -> None:
    """What a training does not do stands in no JSON; JSON that names it is the same recipe."""
    recipe = replace(RECIPE, augmentation=TUNED | {"flip": False})
    written = recipe.to_json()
    assert "flip" not in written["augmentation"]
    assert written.keys().isdisjoint({"class_balance", "ladder", "optimiser", "schedule", "loss"})
    spelt_out = written | {
        "augmentation": written["augmentation"] | {"flip": False},
        "class_balance": 0.0,
        "loss": "cross_entropy",
    }
    assert Recipe.from_json(spelt_out) == recipe
    assert Recipe.from_json(spelt_out).hash == recipe.hash


def test_a_new_augmentation_changes_no_stored_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its neutral value it is no part of the JSON and of the hash, at another it is of both."""
    before, written = RECIPE.hash, RECIPE.to_json()
    new = replace(OPERATIONS["contrast"], neutral=1.0, tuned=1.0, high=3.0)
    monkeypatch.setitem(OPERATIONS, "gamma", new)
    for strengths in (TUNED, TUNED | {"gamma": 1.0}, augmentations.tuned()):
        recipe = replace(RECIPE, augmentation=strengths)
        assert (recipe.hash, recipe.to_json()) == (before, written)
    changed = replace(RECIPE, augmentation=TUNED | {"gamma": 2.0})
    assert changed.hash != before
    assert changed.to_json()["augmentation"]["gamma"] == 2.0
    assert Recipe.from_json(changed.to_json()) == changed
    assert "contrast ±200%" in changed.describe()


def test_a_new_field_changes_no_stored_recipe() -> None:
    """A field of the recipe that is added later is hashed and written where it is not neutral."""

    @dataclass(frozen=True)
    class Later(Recipe):
        mixup: float = field(
            default=0.0,
            metadata={"setting": RecipeField("augmentation", "mixes images", neutral=True)},
        )

    neutral, changed = (Later("set", "0" * 32, epochs=3, mixup=value) for value in (0.0, 0.2))
    assert (neutral.hash, neutral.to_json()) == (RECIPE.hash, RECIPE.to_json())
    assert Later.from_json(RECIPE.to_json()) == neutral
    assert changed.hash != RECIPE.hash
    assert changed.to_json()["mixup"] == 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "acuracy"}, "No metric named 'acuracy'. Did you mean 'accuracy'"),
        ({"epochs": 0}, "epochs is 1 to 100000, not 0"),
        ({"batch_size": 1}, "batch_size is 2 to 65536, not 1"),
        ({"epoch_updates": -1}, "epoch_updates is 0 to 100000, not -1"),
        ({"optimiser": "adamm"}, "No optimiser named 'adamm'. Did you mean 'adam'"),
        ({"accumulation_steps": 33}, "64 has 1 to 32 accumulation_steps, not 33"),
        ({"decay_epochs": 0}, "decay_epochs is 0.01 to 100000, not 0"),
        ({"momentum": 1.0}, "momentum is 0 to 0.9999, not 1"),
        ({"dropout": 1.0}, "dropout is 0 to 0.95, not 1"),
        ({"schedule": "one_cycel"}, "Did you mean 'one_cycle'"),
        ({"label_smoothing": 1.5}, "label_smoothing is 0 to 1, not 1.5"),
        ({"learning_rate": -1.0}, "learning_rate is 0 to 100, not -1"),
        ({"final_learning_rate": 0.1}, "at most its learning_rate, 0.008, not 0.1"),
        ({"augmentation": {"flipp": True}}, "No augmentation named 'flipp'. Did you mean 'flip'"),
        ({"augmentation": {"rotation": 200}}, "rotation is 0 to 180, not 200"),
        ({"augmentation": {"randaugment": 1.5}}, "randaugment is a whole number, not 1.5"),
    ],
)
def test_bad_recipe(change: dict[str, object], message: str) -> None:
    """A recipe that can't be trained is refused with the rule and the value."""
    with pytest.raises(UserError, match=message):
        Recipe.from_json(RECIPE.to_json() | change)


def test_an_epoch_is_a_pass_or_so_many_updates() -> None:
    """Without `epoch_updates` an epoch is one pass; with it, a rung's share of the updates."""
    fixed = replace(RECIPE, epoch_updates=30)
    assert [RECIPE.updates(images) for images in (640, 650, 10)] == [10, 10, 1]
    assert [fixed.updates(10_000), fixed.updates(100, share=0.5)] == [30, 15]
    assert "3 epochs of 30 updates in batches of 64" in fixed.describe()
    assert "epoch_updates" not in RECIPE.to_json()


def test_recipe_with_unknown_fields() -> None:
    """What is no recipe is refused with the fields that a recipe has."""
    with pytest.raises(UserError, match=r"'optimizer'.*Its fields: data, "):
        Recipe.from_json(RECIPE.to_json() | {"optimizer": "sgd"})


def test_default_recipe_obeys_the_data_set() -> None:
    """Digits are not flipped; everything else of the tuned augmentation stays, and is said."""
    recipe = default_recipe(data.load("digits"), metric="macro_f1", seed=3)
    assert recipe.augmentation == {k: v for k, v in TUNED.items() if k != "flip"}
    assert (recipe.metric, recipe.seed, recipe.data) == ("macro_f1", 3, "digits")
    assert "mirrored" not in recipe.describe()
    assert "turned by up to" in recipe.describe()
    assert "not at all" in replace(recipe, augmentation={}).describe()


def test_documents_list_the_metrics() -> None:
    """The table of metrics in the documents is what the registry says."""
    rows = "".join(f"| `{name}` | {row.words} |\n" for name, row in METRICS.items())
    by_class = "".join(f"| `{name}:CLASS` | {row.words} |\n" for name, row in CLASS_METRICS.items())
    text = (ROOT / "docs" / "guides" / "data.md").read_text()
    assert f"| metric | means |\n| --- | --- |\n{rows}\n" in text
    assert f"| metric of one class | means |\n| --- | --- |\n{by_class}\n" in text


def test_registries_import_no_torch() -> None:
    """A command line reads the registries, for its help, without torch, NumPy or scikit-learn."""
    code = (
        "import sys, nas.training.recipes, nas.training.recipe_file;"
        "print({'torch', 'numpy', 'sklearn'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "set()", run.stderr


def changed(strengths: dict[str, float], x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Change a batch that was standardised with mean 0.5 and standard deviation 0.25."""
    torch.manual_seed(seed)
    statistics = (0.5,) * x.shape[1], (0.25,) * x.shape[1]
    return augmenter(augmentations.switched_on(strengths), *statistics)(x.clone())


def alone(operation: str, strength: float) -> dict[str, float]:
    """Return an operation that is on, with the one that it is a setting of."""
    row = OPERATIONS[operation]
    return {row.of: 2, operation: strength} if row.of else {operation: strength}


def batch(channels: int, size: int, count: int = 16) -> torch.Tensor:
    """Return a standardised batch of smooth images and noise."""
    random = torch.Generator().manual_seed(0)
    x = torch.rand(count, channels, size, size, generator=random)
    x[::2] = torch.nn.functional.avg_pool2d(x[::2], 5, 1, 2)
    return (x - 0.5) / 0.25


PAINTED = [name for name, row in OPERATIONS.items() if row.make is not None]


@pytest.mark.parametrize("operation", PAINTED)
def test_each_operation_alone(operation: str) -> None:
    """Each operation changes a batch, keeps its shape and type, and repeats with the seed."""
    row = OPERATIONS[operation]
    middle = row.high / (1 if row.whole else 2)
    strengths = alone(operation, middle if row.tuned == row.neutral else row.tuned)
    x = batch(3, 20)
    outputs = [changed(strengths, x, seed) for seed in (0, 0, 1)]
    assert outputs[0].shape == x.shape
    assert outputs[0].dtype == x.dtype
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], x)


@pytest.mark.parametrize("size", [8, 13, 28, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_at_its_ends(operation: str, channels: int, size: int) -> None:
    """At both ends of its range an operation gives finite images of the same shape."""
    row = OPERATIONS[operation]
    for strength in (row.low, row.high):
        strengths = augmentations.switched_on(alone(operation, strength))
        if augmentations.too_few_channels(strengths, channels):
            assert (channels, row.channels) == (1, 3)
            continue
        x = batch(channels, size)
        y, mix = changed(strengths, x), mixer(strengths)
        if mix is not None:
            y, others, share = mix(y)
            assert 0 <= share <= 1
            assert sorted(others.tolist()) == list(range(len(x)))
        assert y.shape == x.shape
        assert y.isfinite().all()


def test_the_default_is_kornias() -> None:
    """The default augmentation is what kornia's modules do one after the other, by the seed."""
    modules = [
        ka.RandomAffine(20.0, (0.1, 0.1), (1 / 1.2, 1.2), padding_mode="border", p=1.0),
        ka.RandomHorizontalFlip(p=0.5),
        ka.RandomContrast((0.5, 1.5), clip_output=False, p=1.0),
        ka.RandomBrightness((0.5, 1.5), clip_output=False, p=1.0),
        ka.RandomErasing(scale=(0.16, 0.16), ratio=(1.0, 1.0), value=0.0, p=0.5),
    ]
    for x in (batch(1, 28, 64), batch(3, 33, 64)):
        torch.manual_seed(5)
        expected = ka.AugmentationSequential(*modules, data_keys=["input"])(x)
        after = torch.rand(1)
        torch.testing.assert_close(changed(TUNED, x, 5), expected, atol=2e-4, rtol=1e-4)
        assert torch.rand(1) == after


def test_one_sampling_of_all_geometry() -> None:
    """Two mirrors are half a turn, and a crop shows a window of the image alone."""
    x = batch(1, 16, 200)
    y = changed({"flip": True, "vertical_flip": True}, x)
    variants = torch.stack([x, x.flip(3), x.flip(2), x.flip(2, 3)])
    distances = (variants - y).abs().amax((2, 3, 4))
    assert distances.min(0).values.max() < 1e-4
    assert (distances < 1e-4).sum(1).min() > 30
    ramp = torch.linspace(-1, 1, 16).expand(200, 1, 16, 16)
    span = changed({"crop": 0.5}, ramp).amax((1, 2, 3)) - changed({"crop": 0.5}, ramp).amin(
        (1, 2, 3)
    )
    assert span.max() < 1.05
    shifted = changed({"shift_y": 0.5}, ramp)
    torch.testing.assert_close(shifted, ramp.contiguous(), atol=1e-4, rtol=0)


def test_randaugments_settings_need_it() -> None:
    """A setting of RandAugment is no part of a recipe without RandAugment, and is said with it."""
    idle = replace(RECIPE, augmentation=TUNED | {"randaugment_magnitude": 3.0})
    assert (idle, idle.hash) == (RECIPE, RECIPE.hash)
    strengths = {"randaugment": 2, "randaugment_magnitude": 3.0, "randaugment_shape": True}
    recipe = replace(RECIPE, augmentation=strengths)
    words = "RandAugment with 2 operations, of magnitude 3, that favour shape over colour"
    assert words in recipe.describe()
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_randaugment_favours_shape() -> None:
    """With weights for shape the grey levels of an even image are mostly left alone."""
    x = batch(1, 16, 400)[:, :, :1, :1].expand(-1, -1, 16, 16).contiguous()
    moved = [
        (changed({"randaugment": 1, "randaugment_shape": shape}, x) - x).abs().amax((1, 2, 3))
        > 0.01
        for shape in (False, True)
    ]
    assert moved[1].float().mean() < 0.5 * moved[0].float().mean()


@pytest.mark.parametrize("operation", ["mixup", "cutmix"])
def test_mixed_images(operation: str) -> None:
    """The own share of the labels is the own share of the pixels."""
    x, mix = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16), mixer({operation: 1.0})
    assert mix is not None
    torch.manual_seed(3)
    for _ in range(20):
        y, others, share = mix(x)
        expected = share * x.mean((1, 2, 3)) + (1 - share) * x[others].mean((1, 2, 3))
        torch.testing.assert_close(y.mean((1, 2, 3)), expected, atol=1e-4, rtol=0)
        if operation == "cutmix":
            assert torch.all((y == x) | (y == x[others]))


def test_no_operation() -> None:
    """Without augmentation a batch stays as it is."""
    x = torch.randn(2, 1, 8, 8)
    assert augmenter({}, (0.5,), (0.25,))(x) is x


def test_values_are_not_clipped() -> None:
    """Standardised pixels lie beyond 0 to 1, and augmentation leaves them there."""
    x = torch.randn(64, 1, 16, 16) * 3
    y = changed({"brightness": 0.3, "contrast": 0.3}, x)
    assert y.min() < -4
    assert y.max() > 4


@pytest.mark.parametrize("size", [8, 28, 57, 96])
def test_sizes_are_shares_of_the_side(size: int) -> None:
    """Cutout blanks the same share of half of the images at any resolution."""
    torch.manual_seed(0)
    y = changed({"cutout": 0.5}, torch.ones(200, 1, size, size))
    blank = (y == 0).float().mean((1, 2, 3))
    assert (blank > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert blank[blank > 0].mean().item() == pytest.approx(0.25, abs=0.05)
