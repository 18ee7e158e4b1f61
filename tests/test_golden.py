"""Facts that a change of the code must not change: stored ids, and a store that was written before.

`golden.json` and `golden_store.sql` were written by the program of commit ced38c8. The store holds
two searches of the digits: `finished` has its four trials, `interrupted` was killed in its third of
five. Files of theirs, weights and checkpoints, are gone.
"""

import hashlib
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from search_kit import nas_here, result, telling_of_torch

from nas import data, search_space
from nas.training.recipes import compose

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden.json").read_text())
MEMBERS = (
    *("mixnet_s", "mixnet_m", "mixnet_l", "mixnet_s_k3.5.7", "mnasnet_100", "mnasnet_small"),
    *("mobilenetv2_100", "mobilenetv3_large_100", "mobilenetv3_small_100", "semnasnet_100"),
    *("efficientnet_b0", "efficientnet_b3", "efficientnet_b7", "efficientnet_cc_b0_4e"),
    *("efficientnetv2_s", "efficientnetv2_xl", "tf_efficientnetv2_b0", "ghostnet_100"),
    *("me_nest_ghost_s", "me_nest_ghost_xl_depthwise", "resnet18", "resnet50", "resnext50_32x4d"),
    *("resnest14d", "resnest50d", "convnext_tiny", "convnext_small", "se_condconv_se"),
    *("se_condconv_cond_per_block", "se_condconv_cond_per_conv"),
)
OLD_EPOCHS = 60, 20  # the passes of the old default, over 64 images and over the digits
FULL = "augmentation.overfitting=0"
SPACE = """
from nas.search_space import SearchSpace, block, choice, stage

SPACE = SearchSpace(
    name="golden",
    resolution=16,
    stem=stage(block("conv"), width=8),
    stages=[
        stage(
            block("mbconv", kernels=choice("3", "3.5"), expansion=choice(2, 3, 4)),
            width=choice(8, 16),
            depth=choice(1, 2),
            stride=2,
        )
    ],
)
"""


def architectures() -> dict[str, str]:
    """Return the ids of thirty published networks, and of three draws from each space."""
    ids = {name: search_space.load(name).decode({}).id for name in MEMBERS}
    for name, space in sorted(search_space.spaces().items()):
        rng = random.Random(name)
        ids |= {f"{name} {n}": space.decode(space.draw(rng)).id for n in range(3)}
    return ids


def space_ids() -> dict[str, str]:
    """Return a hash of each shipped space as it is stored."""
    texts = {
        name: json.dumps(space.to_json(), sort_keys=True)
        for name, space in search_space.spaces().items()
    }
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def recipes(folder: Path) -> dict[str, str]:
    """Return the old default recipes' hashes of the digits, of an .npz file and of a folder.

    The old default's augmentation had its full strength in every epoch.
    """
    random_ = np.random.RandomState(0)
    arrays = {}
    for split, count in (("train", 64), ("val", 16), ("test", 16)):
        arrays[f"{split}_images"] = random_.randint(0, 256, (count, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(folder / "noise.npz", **arrays)
    for number, image in enumerate(arrays["train_images"]):
        path = folder / "images" / f"class{number % 2}" / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    hashes = {}
    for name in ("digits", str(folder / "noise.npz"), str(folder / "images")):
        images = data.load(name, cache_dir=folder / "cache")
        given = {"epochs": OLD_EPOCHS[name == "digits"], "seed": 0}
        hashes[images.name] = compose(images, given=given, words=[FULL]).hash
        given = {"metric": "balanced_accuracy", "epochs": 7, "seed": 3}
        balanced = compose(images, given=given, words=[FULL, "loss.class_balance=0.0"])
        hashes[f"{images.name} balanced"] = balanced.hash
    return hashes


def test_architectures_keep_their_ids() -> None:
    """Thirty published networks of all families, and draws from every space, keep their ids."""
    assert architectures() == GOLDEN["architectures"]


def test_spaces_keep_what_is_stored_of_them() -> None:
    """A shipped space is written as it was: a study of it that is stored is still of it."""
    assert space_ids() == GOLDEN["spaces"]


def test_default_recipes_keep_their_ids(tmp_path: Path) -> None:
    """Recipes whose epochs are passes, classes alike, keep their hashes: trainings are reused."""
    assert recipes(tmp_path) == GOLDEN["recipes"]


@pytest.fixture
def old(tmp_path: Path) -> list[str]:
    """Restore the old store in a folder; return the option that names it."""
    text = (HERE / "golden_store.sql").read_text().replace("@FOLDER@", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "nas.db")) as connection:
        connection.executescript(text)
    return ["--store", f"sqlite:///{tmp_path}/nas.db"]


def test_an_old_store_opens(old: list[str]) -> None:
    """Studies of an older program are listed with their trials, and ranked."""
    studies = {study["study"]: study for study in result(nas_here("status", "--json", *old))}
    assert studies["finished"]["trials"]["complete"] == 4
    assert studies["interrupted"]["trials"]["complete"] == 2
    best = result(nas_here("top", "--study", "finished", "--json", *old))
    assert [trial["number"] for trial in best] == [1, 0, 2, 3]


def test_an_old_store_is_checked_without_torch(old: list[str]) -> None:
    """Ids, costs, recipes and scores are counted again, are right, and take no torch."""
    assert nas_here("store", "upgrade", *old).returncode == 0
    ended = telling_of_torch("store", "check", "--json", *old)
    assert (ended.returncode, ended.stderr) == (0, "False\n")
    assert json.loads(ended.stdout)["rows"]["nas_evaluations"] > 0


def test_an_old_study_goes_on(old: list[str]) -> None:
    """The interrupted search is resumed: the trial that was running is taken over and completed."""
    words = ["--study", "interrupted", "--trials", "3", "--workers", "0", "--json"]
    found = result(nas_here("resume", *words, *old))
    assert found["trials"]["complete"] == 3
    assert found["best"]["test"]["accuracy"] > 0.5


def test_an_old_study_is_a_warm_start(old: list[str], tmp_path: Path) -> None:
    """A new search of the same space under the same recipe begins with the old evaluations."""
    (tmp_path / "space.py").write_text(SPACE)
    words = ["--space", str(tmp_path / "space.py"), "--data", "digits", "--target-flops", "250k"]
    more = [
        "--trials",
        "1",
        "--epochs",
        "2",
        "--workers",
        "0",
        "--study",
        "warm",
        "--json",
        "--finalists",
        "0",
        "--set",
        FULL,
    ]
    found = result(nas_here("search", *words, *more, "--out", str(tmp_path / "studies"), *old))
    assert found["trials"]["reused"] == 4


def test_an_old_winner_is_exported(old: list[str], tmp_path: Path) -> None:
    """The winner of the finished search is written as code: its weights are trained once more."""
    words = ["--study", "finished", "--out", str(tmp_path / "out"), "--json", *old]
    found = result(nas_here("export", *words))
    assert Path(found["code"]).read_text().count("class ") > 1
