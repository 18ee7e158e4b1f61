"""Recipes that people name, read, write, compare and change."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_kit import ROOT, arguments, nas_here, result
from test_data_formats import cifar, hub, packed, write_medmnist, write_table
from test_decoders import WRITERS, slices, written
from training_kit import few_digits

from nas import data
from nas.architecture import Architecture, Row
from nas.data import DataSet
from nas.data.dataset import in_memory
from nas.errors import DataError, UserError
from nas.study.options import read
from nas.study.preparation import prepare
from nas.training import recipe_file, recipes
from nas.training.recipe import Recipe
from nas.training.trainer import train

TINY = Architecture(
    in_channels=1,
    resolution=8,
    classes=10,
    stem=(Row("conv", 8, 2, (("kernels", "3"),)),),
    body=(Row("mbconv", 8, 1, (("expansion", 2), ("kernels", "3"))),),
    head=(Row("classifier", 10, 1, ()),),
)
FILE = """
[optimiser]
name = "sgd"
learning_rate = 1

[augmentation]
rotation = 5
cutout = 0
"""


def colours() -> DataSet:
    """Return 40 images of three channels in two classes."""
    random, splits = np.random.RandomState(0), {}
    for name in ("train", "validation", "test"):
        pixels = random.randint(0, 256, (40, 8, 8, 3)).astype(np.uint8)
        splits[name] = in_memory(pixels, np.arange(40) % 2)
    return DataSet("colours", "0" * 32, ("a", "b"), 3, 8, frozenset(), splits)


@pytest.fixture
def digits() -> DataSet:
    """Return the digits with few images for training."""
    return few_digits()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder that has a recipe's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(FILE)
    return tmp_path


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DataSet]]:
    """Return a tiny data set of each kind of source and of labels."""
    root = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(root))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.chdir(root)
        table = write_table(root / "table")
        for kind in ("chestmnist", "retinamnist_64"):
            write_medmnist(root, kind)
        sources: dict[str, str | Path] = {
            "digits": "digits",
            "several labels": "chestmnist",
            "MedMNIST by name": "retinamnist_64",
            "CIFAR": packed(root / "cifar-10-binary.tar.gz", cifar(10)),
            "a table": table,
        }
        if find_spec("pyarrow"):
            sources["Hugging Face"] = hub(root / "hub")
        found = {name: data.load(source, cache_dir=root / "c") for name, source in sources.items()}
        (root / "raw.toml").write_text('shape = [9, 6]\ntype = "uint16"')
        for name in ("npy", "raw", "dicom", "nifti", "png"):
            ending, save = WRITERS[name]
            package = {"dicom": "pydicom", "nifti": "nibabel"}.get(name.partition(".")[0], "numpy")
            if find_spec(package):
                found[name] = written(root / name.replace(" ", "_"), ending, save, slices())
        yield found | {"digits": few_digits(), "colours": colours()}


@pytest.mark.parametrize("name", recipes.names())
def test_a_named_recipe_trains(name: str, every_kind: dict[str, DataSet]) -> None:
    """Every named recipe fits data of every kind, and trains an epoch of two updates."""
    for images in every_kind.values():
        recipe = recipes.compose(images, name)
        assert not images.forbids & recipe.augmentation.keys()
        short = replace(recipe, epochs=1, epoch_updates=2, batch_size=4)
        architecture = TINY.at(classes=len(images.classes), in_channels=images.in_channels)
        assert np.isfinite(train(architecture, images, short).metrics["loss"])


PUBLISHED = (  # of the five systems
    *("mixnet_sweep", "resnet_pneumonia", "convnext_pneumonia", "me_nest_ghost", "se_condconv"),
    *(f"efficientnet_{each}" for each in ("imagenet", "scratch", "finetune", "retina")),
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_says_what_is_stated(name: str) -> None:
    """Its file says which values the paper states and which are filled in."""
    words = recipes.get(name).__doc__
    assert "Stated: " in words
    assert "Filled in: " in words or "filled in" in words or "Filled in, " in words


def test_values_of_the_papers(digits: DataSet) -> None:
    """The values that the papers state are those of the recipes."""
    sweep, sgd = (
        recipes.compose(digits, "mixnet_sweep"),
        recipes.compose(digits, "efficientnet_finetune"),
    )
    assert (sweep.batch_size, sweep.epochs, sweep.learning_rate, sweep.decay_epochs) == (
        32, 20, 0.03, 2.4)  # fmt: skip
    assert (sgd.optimiser, sgd.learning_rate) == ("sgd", 1e-3)
    resnet, convnext = (recipes.compose(digits, f"{n}_pneumonia") for n in ("resnet", "convnext"))
    assert (resnet.optimiser, convnext.optimiser) == ("adam", "adamw")
    assert {resnet.learning_rate, convnext.learning_rate} == {1e-4}
    assert {resnet.class_weights, convnext.class_weights} == {"inverse_frequency"}
    scratch = recipes.compose(digits, "efficientnet_scratch")
    assert (scratch.schedule, scratch.decay_rate, scratch.learning_rate) == ("plateau", 0.5, 1e-3)
    condconv = recipes.compose(digits, "se_condconv")
    assert (condconv.epochs, condconv.learning_rate, condconv.schedule) == (55, 2e-4, "cosine")
    ghost, retina = (
        recipes.compose(digits, name) for name in ("me_nest_ghost", "efficientnet_retina")
    )
    assert (ghost.learning_rate, ghost.final_learning_rate) == (1e-4, 1e-6)
    assert retina.augmentation["randaugment_shape"]


@pytest.mark.parametrize("name", recipes.names())
def test_a_file_is_the_recipe_that_was_shown(name: str, here: Path, digits: DataSet) -> None:
    """What `nas recipe show` prints is read back as the same recipe."""
    recipe, default = recipes.compose(digits, name), recipes.default_recipe(digits)
    (here / "shown.toml").write_text(recipe_file.toml(recipe, default))
    assert recipes.compose(digits, "shown.toml") == recipe


@pytest.mark.parametrize("word", [None, "loss.class_balance=0.0", "loss.name=focal"])
def test_a_balanced_metric_weighs_classes(word: str | None, here: Path, digits: DataSet) -> None:
    """Classes weigh by a power of their frequency for a metric that counts them alike.

    A recipe that says how they weigh keeps that, and so does the file that shows it.
    """
    words = [] if word is None else [word]
    assert recipes.compose(digits, words=words).class_balance == 0.0
    given = {"metric": "balanced_accuracy"}
    balanced = recipes.compose(digits, given=given, words=words)
    assert balanced.class_balance == (recipes.BALANCE if word is None else 0.0)
    assert (
        recipes.compose(digits, "efficientnet_retina", given=given).class_balance == 0.0
    )  # it samples so
    default = recipes.default_recipe(digits, metric="balanced_accuracy")
    (here / "shown.toml").write_text(recipe_file.toml(balanced, default))
    assert recipes.compose(digits, "shown.toml") == balanced


def test_values_survive_their_keys(digits: DataSet) -> None:
    """A recipe is its values, and each value survives being written as key=value."""
    recipe = recipes.compose(colours(), "efficientnet_retina", given={"seed": 3})
    values = recipe_file.values(recipe)
    again = dict(recipe_file.read_word(recipe_file.word(*pair), "--set") for pair in values.items())
    assert again == values
    built = recipe_file.build(again, data="colours", fingerprint="0" * 32, seed=3)
    assert (built, built.hash) == (recipe, recipe.hash)


def test_a_file_may_be_partial(here: Path, digits: DataSet) -> None:
    """What a file leaves out is the default for the data, each augmentation by itself."""
    default, recipe = recipes.default_recipe(digits), recipes.compose(digits, "mine.toml")
    expected = {k: v for k, v in default.augmentation.items() if k != "cutout"} | {"rotation": 5.0}
    changes: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 1.0, "augmentation": expected}
    assert recipe == replace(default, **changes)
    assert recipe.hash == replace(default, **changes).hash


def test_who_wins(here: Path, digits: DataSet) -> None:
    """The options' epochs, metric and seed win over a recipe, --set wins over all."""
    given = {"epochs": 3, "metric": "auroc", "seed": 5}
    recipe = recipes.compose(digits, "convnext_pneumonia", given=given, words=["training.epochs=4"])
    assert (recipe.epochs, recipe.metric, recipe.seed) == (4, "auroc", 5)
    assert recipes.compose(digits, "convnext_pneumonia").metric == "macro_f1"


def test_epochs_are_passes_where_nobody_says_their_updates(digits: DataSet) -> None:
    """The default's epochs have updates; epochs that are set alone are passes."""
    default = recipes.default_recipe(digits)
    assert (default.epochs, default.epoch_updates) == (20, 25)
    assert recipes.default_recipe(digits, epochs=4).epoch_updates == 0
    both = recipes.compose(digits, words=["training.epochs=4", "training.epoch_updates=9"])
    assert (both.epochs, both.epoch_updates) == (4, 9)


def test_more_images_mean_more_updates() -> None:
    """A few hundred images have 500 updates; larger sets more, but fewer passes."""
    sizes = [50, 546, 1079, 4708, 50_000, 1_000_000]
    updates = [recipes.default_updates(size) for size in sizes]
    assert updates[:2] == [500, 500]
    assert updates == sorted(updates)
    passes = [count / size for count, size in zip(updates, sizes, strict=True)]
    assert passes == sorted(passes, reverse=True)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("optimizer.name=sgd", "No table of a recipe named 'optimizer'. Did you mean 'optimiser'?"),
        ("optimiser.lr=1", "No key of a recipe's table optimiser named 'lr'. Available: clip_norm"),
        ("optimiser.name=sdg", "No optimiser named 'sdg'. Did you mean 'sgd'? Available: adam, "),
        ("optimiser.learning_rate=-1", "A recipe's learning_rate is 0 to 100, not -1.0."),
        ("optimiser.learning_rate=nan", "A recipe's learning_rate is 0 to 100, not nan."),
        ("optimiser.learning_rate=fast", "optimiser.learning_rate is a number, not 'fast'."),
        ("training.epochs=2.5", "training.epochs is a whole number, not 2.5."),
        ("training.epochs=true", "training.epochs is a whole number, not True."),
        ("training.seed=3", "No key of a recipe's table training named 'seed'."),
        ("training=3", "training is a table of a recipe; its keys: epochs, metric"),
        ("augmentation.flip=2", "augmentation.flip is true or false, not 2."),
        ("augmentation.rotation=200", "The augmentation rotation is 0 to 180, not 200.0."),
        ("augmentation.randaugment_magnitude=11", "randaugment_magnitude is 0 to 10, not 11.0."),
        ("epochs", "--set is key=value, such as optimiser.learning_rate=3e-3, not 'epochs'."),
    ],
)
def test_a_wrong_value_is_refused(word: str, told: str, here: Path) -> None:
    """A search tells the key, the value and the valid ones, with exit code 2; nothing is written.

    A file tells the same, with its name.
    """
    ended = nas_here("search", "--target-flops", "2M", "--set", word)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr
    key, equals, value = word.partition("=")
    if equals:
        table, _, name = key.partition(".")
        quoted = json.dumps(value) if value.isalpha() and value not in ("true", "nan") else value
        text = f"[{table}]\n{name} = {quoted}\n" if name else f"{table} = {quoted}\n"
        (here / "wrong.toml").write_text(text)
        ended = nas_here("search", "--target-flops", "2M", "--recipe", "wrong.toml")
        assert ended.returncode == 2
        assert f"--recipe wrong.toml: {told}" in ended.stderr or "The augmentation" in ended.stderr
    assert {path.name for path in here.iterdir()} <= {"mine.toml", "wrong.toml"}


def test_what_the_data_forbid_is_refused(here: Path) -> None:
    """An augmentation that the data forbid, or have too few channels for, ends before a study."""
    for word in ("augmentation.flip=true", "augmentation.hue=0.1"):
        ended = nas_here("search", "--target-flops", "2M", "--set", word)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "digits" in ended.stderr
    assert [path.name for path in here.iterdir()] == ["mine.toml"]
    with pytest.raises(DataError, match="forbids flip"):
        recipes.compose(data.load("digits"), words=["augmentation.flip=true"])


def test_one_recipe_however_it_is_given(here: Path) -> None:
    """Words, tables and keys, in Python and in a --config file, are one recipe."""
    forms: list[Any] = [
        "optimiser.learning_rate=3e-3",
        ["optimiser.learning_rate = 0.003"],
        {"optimiser.learning_rate": 3e-3},
        {"optimiser": {"learning_rate": 3e-3}},
    ]
    assert {read({"set": form}).set for form in forms} == {("optimiser.learning_rate=0.003",)}
    (here / "study.toml").write_text(
        'target-flops = "2M"\nrecipe = "mine.toml"\n[set.optimiser]\nlearning_rate = 3e-3\n'
    )
    from nas.study.options import given

    prepared = prepare(read(given("study.toml", {"set": ()})))
    assert prepared.config.recipe.learning_rate == 0.003
    assert prepared.config.recipe.augmentation["rotation"] == 5.0


def test_a_job_carries_its_recipe(here: Path) -> None:
    """`nas submit` sends the file's text and each --set."""
    from nas.cluster.package import pack

    words = ["loss.name=focal", 'training.metric="auroc"']
    given = {"target_flops": "2M", "data": "digits", "recipe": "mine.toml", "set": words}
    packed = pack(given, here=True)
    (name,) = packed.files
    assert packed.files[name] == FILE
    assert packed.words[packed.words.index("--recipe") + 1] == name
    assert packed.words.count("--set") == 2


def test_recipes_are_listed_shown_and_compared(here: Path) -> None:
    """List, show and diff answer people and machines, for names, files and studies."""
    listed = result(nas_here("recipe", "list", "--json"))
    assert [each["name"] for each in listed] == recipes.names()
    shown = result(nas_here("recipe", "show", "mine.toml", "--json"))
    assert shown["values"]["optimiser"]["name"] == "sgd"
    assert set(shown["differs"]) == {
        *("optimiser.name", "optimiser.learning_rate"),
        *("augmentation.rotation", "augmentation.cutout"),
    }
    assert (
        "# [default 0.008] the highest learning rate"
        in nas_here("recipe", "show", "mine.toml").stdout
    )
    found = result(nas_here("recipe", "diff", "short", "short", "--json"))
    assert found["differences"] == []


def test_a_study_has_the_recipe_that_it_was_given(here: Path) -> None:
    """A search trains by the file and --set; its recipe is shown by the study's name."""
    words = arguments(here, trials=1, workers=0, recipe="mine.toml", set="loss.label_smoothing=0")
    nas_here("search", "--json", *words)
    store = ["--store", f"sqlite:///{here}/nas.db"]
    shown = result(nas_here("recipe", "show", "tiny", "--json", *store))
    assert shown["values"]["training"]["epochs"] == 2
    assert shown["values"]["loss"]["label_smoothing"] == 0.0
    diff = ["recipe", "diff", "mine.toml", "tiny", "--data", str(here / "tones.npz"), "--json"]
    keys = [each["key"] for each in result(nas_here(*diff, *store))["differences"]]
    assert keys == ["training.epochs", "training.epoch_updates", "loss.label_smoothing"]
    again = nas_here("search", *arguments(here, trials=1, workers=0, recipe="whole"))
    assert again.returncode == 2
    assert "recipe" in again.stderr


def test_an_unknown_recipe(here: Path) -> None:
    """What is no name, no file and no study is refused with the names."""
    ended = nas_here("recipe", "show", "shrot")
    assert ended.returncode == 2
    assert "No recipe named 'shrot'. Did you mean 'short'? Available: " in ended.stderr
    with pytest.raises(UserError, match=r"--recipe none\.toml can't be read as TOML"):
        recipes.check("none.toml")


def test_the_documents_have_the_tables() -> None:
    """docs/guides/recipes.md has all values and all names as the registries say them."""
    text = (ROOT / "docs" / "guides" / "recipes.md").read_text()
    assert recipe_file.table() in text
    assert "".join(f"| `{name}` | {recipes.words(name)} |\n" for name in recipes.names()) in text


def test_every_field_is_explained() -> None:
    """Each field that decides a recipe's hash has a key, but those of the data and the trial."""
    recipe = Recipe("set", "0" * 32, epochs=3)
    own = {"data", "fingerprint", "seed", "version", "ladder", "augmentation", "start"}
    own |= {"teacher", "unlabelled"}
    keys = {key for key in recipe_file.recipe_keys() if not key.startswith("augmentation.")}
    assert len(keys) == len(vars(recipe).keys() - own)
    assert all(row.words for row in recipe_file.recipe_keys().values())
