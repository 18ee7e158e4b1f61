"""`nas export --package`: a package that needs torch alone, its script the trainer's."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import kornia
import numpy as np
import pytest
import referee
import torch
from kornia.geometry.transform import get_affine_matrix2d
from PIL import Image
from search_kit import nas_here
from test_export import FACTS, SMALL, trained
from torch import Tensor
from training_kit import few_digits

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.errors import UserError
from nas.export import Exportable, ExportOptions, _plain_changes, proof
from nas.export import package as packages
from nas.export._training import (
    CHOSEN,
    DIFFERENCES,
    OF_METHODS,
    OPERATION_CODE,
    READ,
    REFUSED,
    script,
)
from nas.export.python import source
from nas.pruners.ladder import Rung
from nas.training import trainer
from nas.training.augmentations import OPERATIONS
from nas.training.changes import from_pixels
from nas.training.images import gather, standardised
from nas.training.losses import LOSSES, WEIGHTINGS
from nas.training.optimisers import OPTIMISERS
from nas.training.recipe import Recipe
from nas.training.schedules import SCHEDULES
from nas.training.targets import LabelTargets

PLAIN = Recipe("digits", "0" * 32, epochs=2, batch_size=16, augmentation={}, ema_decay=0.0)
VARIANTS = {
    "default": {},
    "adamw": {"final_learning_rate": 2e-3},
    "sgd": {
        "optimiser": "sgd", "loss": "focal", "schedule": "exponential", "clip_norm": 0.0,
        "class_weights": "effective_number", "ema_decay": 0.9, "batch_norm_momentum": 0.3,
    },
    "rmsprop": {
        "optimiser": "rmsprop", "loss": "logit_adjusted", "schedule": "one_cycle",
        "class_weights": "inverse_frequency", "learning_rate": 1e-3,
    },
    "adam": {
        "optimiser": "adam", "loss": "ordinal", "schedule": "step", "class_balance": 0.5,
        "batch_norm_images": 300, "ema_decay": 0.5,  # more than are normalised at once
    },
}  # fmt: skip
WITHOUT_DROPOUT = blocks.canonical(
    Architecture(
        1, 8, 10,
        (Row("conv", 8),),
        (Row("mbconv", 12, 2, (("kernels", "3.5"), ("se_ratio", 0.5))), Row("mbconv", 12)),
        (Row("classifier", 10),),
    )
)  # fmt: skip
# Of the weights after six updates, relative to the largest of a tensor, as rounding grows by then.
TOLERANCE = 5e-5
EVERY = {  # every augmentation at once
    name: row.tuned or (min(row.high, 0.25) if isinstance(row.neutral, float) else True)
    for name, row in OPERATIONS.items()
} | {"shear": 10.0, "randaugment": 2, "randaugment_magnitude": 8.0, "blur": 0.05}  # fmt: skip
NOISE = torch.Generator().manual_seed(0)


def colours() -> Tensor:
    """Return images (N, 3, H, W) from 0 to 1, one of them gray."""
    x = torch.rand(12, 3, 16, 16, generator=NOISE)
    x[0] = x[0, :1]
    x[1, :, :4] = 0
    return x


def exportable(recipe: Recipe | None, name: str = "My study!") -> Exportable:
    """Return a network for gray images with a recipe."""
    options = ExportOptions(package=True)
    return Exportable(SMALL, trained(SMALL), FACTS, options, recipe=recipe, name=name)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a package, whose own test has run."""
    folder = tmp_path_factory.mktemp("export")
    recipe = replace(PLAIN, augmentation={"flip": True, "rotation": 20.0, "mixup": 0.2})
    proven = proof.prove("python", exportable(recipe), folder)
    assert (proven.failure, dict(proven.stated)) == (None, {"package": "convnet_my_study"})
    return folder / "package"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that imports the training script of a recipe, beside its model.py."""
    made = []

    def of(recipe: Recipe, architecture: Any = SMALL, facts: Any = FACTS) -> ModuleType:
        name = f"convnet_{len(made)}_of_{os.getpid()}"
        made.append(name)
        (tmp_path / name).mkdir()
        text = source(architecture, facts)
        names = re.findall(r"^(?:class|def) (\w+)", text, re.MULTILINE)
        (tmp_path / name / "model.py").write_text(text)
        (tmp_path / name / "train.py").write_text(script(recipe, names, name))
        return importlib.import_module(f"{name}.train")

    monkeypatch.syspath_prepend(tmp_path)
    yield of
    for name in [each for each in sys.modules if each.partition(".")[0] in made]:
        del sys.modules[name]


def test_a_package_has_what_it_needs(package: Path) -> None:
    """A project that depends on torch alone, model, weights, script, test, example; no cache."""
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    module = {"__init__.py", "model.py", "model.safetensors", "train.py"}
    assert files == {
        "pyproject.toml", "examples/predict.py", "tests/test_network.py",
        *(f"convnet_my_study/{name}" for name in module),
    }  # fmt: skip
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == "convnet-my-study"
    assert [re.split(r"\W", each)[0] for each in project["dependencies"]] == ["torch"]


def test_the_example_classifies_images_or_noise(package: Path, tmp_path: Path) -> None:
    """Noise and an image get classes; a file that is no image gets one line, no traceback."""
    (tmp_path / "torn.png").write_text("no image")
    Image.new("L", (20, 20), 128).save(tmp_path / "gray.png")
    line = [sys.executable, "-B", "examples/predict.py"]
    environment = os.environ | {"PYTHONPATH": str(package)}

    def run(*images: str) -> subprocess.CompletedProcess[str]:
        words = [*line, *(str(tmp_path / image) for image in images)]
        return subprocess.run(
            words, cwd=package, env=environment, capture_output=True, text=True, timeout=120
        )

    noise, image, torn = run(), run("gray.png"), run("torn.png")
    assert noise.returncode == 0
    assert re.fullmatch(r".+: \d+\.\d%\n", noise.stdout)
    assert image.returncode == 0
    assert image.stdout.splitlines()[1].startswith(f"{tmp_path / 'gray.png'},")
    assert torn.returncode != 0
    assert "torn.png is no image for this network" in torn.stderr
    assert "Traceback" not in torn.stderr


@pytest.mark.parametrize("augmentation", [{}, EVERY], ids=["none", "every"])
def test_the_script_is_laid_out_as_a_person_would(augmentation: Any, tmp_path: Path) -> None:
    """`ruff format` has nothing to change, nothing is unused, and nothing of ours is imported."""
    recipe = replace(PLAIN, augmentation=augmentation, stochastic_depth=0.1, batch_norm_images=9)
    text = script(recipe, ["Network", "Classifier"], "convnet")
    assert referee.formatting(text) == ""
    path = tmp_path / "train.py"
    path.write_text(text)
    line = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=100"]
    ruff = subprocess.run(
        [*line, "--select=E,F,I", path], capture_output=True, text=True, timeout=120
    )
    assert ruff.returncode == 0, ruff.stdout
    roots = set(re.findall(r"^ *(?:from|import) ([\w.]+)", text, re.MULTILINE))
    assert {root.partition(".")[0] for root in roots} - sys.stdlib_module_names == {
        "PIL",
        "torch",
        "",
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_are_those_of_the_trainer(
    variant: str, imported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of three updates on the same batches give the trainer's weights, within 5e-5."""
    data = few_digits()
    recipe = replace(PLAIN, fingerprint=data.fingerprint, **VARIANTS[variant])
    architecture = WITHOUT_DROPOUT
    (material,) = gather(data, recipe, Rung(recipe.epochs), 8)
    facts = replace(
        FACTS, mean=material.mean, std=material.std, class_names=tuple(map(str, range(10)))
    )
    rows = [np.arange(start, start + 16) for start in (0, 16, 32)]
    torch.manual_seed(3)
    built = network.build(architecture)
    train = imported(recipe, architecture, facts)
    ours = train.Network()
    ours.load_state_dict(built.state_dict())
    monkeypatch.setattr(trainer, "_batches", lambda *_: rows)
    monkeypatch.setattr(train, "batches", lambda *_: [torch.from_numpy(row) for row in rows])
    monkeypatch.setattr(train, "Network", lambda: ours)
    # Standardised by the same sum: Adam makes steps of the rounding where a gradient should be 0.
    monkeypatch.setattr(
        train, "normalise",
        lambda x: standardised(
            x.permute(0, 2, 3, 1).numpy(), material.mean, material.std, torch.device("cpu")
        ),
    )  # fmt: skip

    training = trainer.begin(built, recipe)
    for epoch in (1, 2):
        trainer._train_epoch(training, material, recipe, epoch, [], should_stop=lambda: False)
    images = torch.from_numpy(np.array(data.splits["train"].images(8))).permute(0, 3, 1, 2)
    found = train.train(images, torch.from_numpy(data.splits["train"].labels))

    expected = training.ema.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        difference = (tensor - expected[name]).abs().max() / expected[name].abs().max()
        assert difference <= TOLERANCE, name


def test_the_variants_have_every_row() -> None:
    """Each optimiser, loss, weighting and schedule but plateau is held to the trainer's."""
    usual = {each.name: each.default for each in fields(Recipe)}
    for field, rows in {
        "optimiser": OPTIMISERS, "loss": LOSSES, "class_weights": WEIGHTINGS, "schedule": SCHEDULES
    }.items():  # fmt: skip
        held = {values.get(field, usual[field]) for values in VARIANTS.values()}
        assert rows.keys() - held <= {"plateau"}


def test_batches_are_drawn_as_the_trainer_draws_them(imported: Any) -> None:
    """Every image once without balance; with it rare classes come as often as frequent ones."""
    labels = torch.arange(100).clamp(max=90) // 90  # ten of class 1
    plain = imported(PLAIN)
    drawn = torch.cat(plain.batches(labels, plain.RECIPE))
    assert sorted(drawn.tolist()) == list(range(100))
    balanced = imported(replace(PLAIN, balanced_sampling=1.0, epoch_updates=50))
    batches = balanced.batches(labels, balanced.RECIPE)
    assert (len(batches), {len(batch) for batch in batches}) == (50, {16})
    assert 0.4 < labels[torch.cat(batches)].float().mean() < 0.6


def test_every_augmentation_runs(imported: Any) -> None:
    """A script with all operations at once changes colour images, without drawing what is off."""
    architecture = replace(SMALL, resolution=16).at(in_channels=3)
    facts = replace(FACTS, mean=(0.5,) * 3, std=(0.25,) * 3)
    train = imported(replace(PLAIN, augmentation=EVERY), architecture, facts)
    assert OPERATION_CODE.keys() == {
        row.make.__name__ for row in OPERATIONS.values() if row.make is not None
    }
    torch.manual_seed(0)
    x = (colours() - 0.5) / 0.25
    changed = train.augmented(x)
    assert changed.shape == x.shape
    assert changed.isfinite().all()
    assert ((changed - x).abs().amax((1, 2, 3)) > 0.1).all()


def test_pixels_change_as_kornia_changes_them() -> None:
    """Saturation, hue, blur, posterize, sharpness, equalize and gray are kornia's, within 1e-5."""
    x, plain = colours(), _plain_changes
    factor = torch.rand(12, generator=NOISE) * 2
    bits = (8 - 4 * factor / 2).round().int()
    sharp = kornia.filters.box_blur(x, 3)
    pairs = {
        "saturation": (plain.saturated(x, factor), kornia.enhance.adjust_saturation(x, factor)),
        "hue": (plain.hued(x, factor - 1), kornia.enhance.adjust_hue(x, factor - 1)),
        "gray": (plain._gray(x), kornia.color.rgb_to_grayscale(x)),
        "blur": (
            plain.blurred(x, factor + 0.1, 3),
            kornia.filters.gaussian_blur2d(x, 7, (factor + 0.1)[:, None].expand(-1, 2), "reflect"),
        ),
        "posterize": (plain._posterized(x, factor / 2), kornia.enhance.posterize(x, bits)),
        "equalize": (plain._equalized(x, factor), kornia.enhance.equalize(x)),
        "sharpness": (
            plain._sharpened(x, factor),
            sharp + (x - sharp) * (1 + 0.9 * factor).view(-1, 1, 1, 1),
        ),
    }
    for name, (found, expected) in pairs.items():
        assert (found - expected).abs().max() < 1e-5, name


def test_geometry_is_kornias() -> None:
    """Of the same angles, scales, shifts and shears come the matrices of kornia's RandomAffine."""
    angle, across, down = torch.rand(3, 5, generator=NOISE) - 0.5
    scale, (x, y) = 0.8 + torch.rand(5, generator=NOISE), torch.rand(2, 5, generator=NOISE)
    pixels = get_affine_matrix2d(
        torch.stack([x, y], 1) * 8, torch.full((5, 2), 7.5), scale[:, None].expand(-1, 2),
        angle.rad2deg(), across, down,
    )  # fmt: skip
    found = _plain_changes.placed(angle, scale, x, y, across, down)
    torch.testing.assert_close(found, from_pixels(pixels, 16, 16), rtol=1e-4, atol=1e-5)


def test_every_setting_is_done_told_or_refused() -> None:
    """A script reads each field of a recipe, is decided by it, tells it, or refuses it."""
    known = READ | CHOSEN | DIFFERENCES.keys() | REFUSED | OF_METHODS
    assert {each.name for each in fields(Recipe)} == known
    more = {"balanced_sampling": 1.0, "dropout": 0.1, "focal_gamma": 1.0}
    recipes = [replace(PLAIN, **values) for values in (*VARIANTS.values(), more)]
    text = "\n".join(script(recipe, ["Classifier"], "convnet") for recipe in recipes)
    read = set(re.findall(r"\b(?:recipe|RECIPE)\.([a-z]\w+)", text))
    assert read - {"_replace"} >= READ


def test_differences_are_told() -> None:
    """The docstring names what is left out: folds, rungs, micro-batches, an early end."""
    recipe = replace(
        PLAIN, folds=5, ladder=(Rung(1, 0.5, 1.0),), accumulation_steps=2, early_stopping=3,
        metric="macro_f1",
    )  # fmt: skip
    told = " ".join(script(recipe, [], "convnet").partition('"""\n\n')[0].split())
    for words in (
        "scored 5 more networks", "2 micro-batches", "after 3 without a better score",
        "up to epoch 1 50% of the images", "the search chose by macro f1",
    ):  # fmt: skip
        assert words in told


@pytest.mark.parametrize("name", ["a\\x1", "\\user", 'say"""hi', "left_eye"])
def test_a_class_of_any_name_may_be_the_metrics(name: str) -> None:
    """The script's docstring stays one, and the class keeps its name where it can."""
    text = script(replace(PLAIN, metric=f"recall:{name}"), [], "convnet")
    said = " ".join(str(ast.get_docstring(ast.parse(text))).split())
    assert f"recall:{name.replace(chr(92), '/').replace(chr(34), chr(39))}" in said


def test_what_no_package_can_say_is_refused(tmp_path: Path) -> None:
    """Plateau, several labels, a network without a recipe, by name; and nothing is written."""
    plateau = exportable(replace(PLAIN, schedule="plateau"))
    with pytest.raises(UserError, match="plateau"):
        packages.check(plateau)
    with pytest.raises(UserError, match="several labels"):
        packages.check(replace(exportable(PLAIN), facts=replace(FACTS, targets=LabelTargets())))
    with pytest.raises(UserError, match="needs a study"):
        packages.check(exportable(None))
    with pytest.raises(UserError, match="plateau"):
        proof.prove("python", plateau, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for words in (["--member", "mnasnet_small"], ["--format", "json"]):
        refused = nas_here("export", *words, "--package", "--out", str(tmp_path / "out"))
        assert refused.returncode == 2
        assert "--package" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("study", ['"""', "torch", "été 2024/../x", "a" * 300, ""])
def test_a_package_has_a_name_that_python_takes(study: str) -> None:
    """Any study's name gives an identifier, which is no other package's."""
    name = packages.name_of(study)
    assert name.isidentifier()
    assert name.startswith("convnet")
    assert len(name) < 50


def test_the_script_trains_on_a_folder_with_torch_alone(package: Path, tmp_path: Path) -> None:
    """Without nas, numpy and safetensors it trains on image files and writes weights that load."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 20), np.uint8)
    for index, image in enumerate(pixels):
        place = tmp_path / ("train" if index < 9 else "validation") / FACTS.class_names[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index}.png")
    for name in (".DS_Store", "._0.png", "notes.txt"):  # no images
        (tmp_path / "train" / FACTS.class_names[0] / name).write_text("?")
    code = (
        "import runpy, sys; sys.path.insert(0, '.');"
        "sys.modules.update(dict.fromkeys(['nas', 'numpy', 'safetensors', 'kornia']));"
        "runpy.run_module('convnet_my_study.train', run_name='__main__', alter_sys=True);"
        "from convnet_my_study.model import check, load; check(load(sys.argv[3]))"
    )
    out = str(tmp_path / "model.safetensors")
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path), "--out", out],
        cwd=package, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert re.match(r"epoch 1 of 2: loss \d\.\d+, validation accuracy \d\.\d+\n", ended.stdout)
