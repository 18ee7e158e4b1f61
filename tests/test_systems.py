"""The module behind the studies of the five published systems."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from benchmarks import systems
from nas import network
from nas.commands.networks import architecture_of

ROOT = Path(__file__).parent.parent
KERNELS = ("3.5.7", "5.7.9", "7.9.11", "9.11.13", "11.13.15", "13.15.17", "15.17.19", "17.19.21")
RETINA = ["quadratic_kappa", "accuracy", "auroc"]
PAGES: list[tuple[str, list[str], list[str]]] = [  # metrics and rows of tables of trainings
    (
        "kernel-sweep",
        ["balanced_accuracy", "kappa", "auroc"],
        [*(f"k{each}" for each in KERNELS), "own"],
    ),
    (
        "convnext-resnet",
        ["f1:1", "accuracy", "auroc"],
        ["scratch_resnet", "scratch_convnext", "transfer_resnet", "transfer_convnext"],
    ),
    ("convnext-resnet", ["f1:1", "auroc"], list(systems.ROAD)),
    ("efficientnet-retina", RETINA, ["plain", "randaugment", "balanced", "both"]),
    ("efficientnet-retina", RETINA, ["scratch", "transfer", "half", "student"]),
    ("efficientnet-retina", RETINA, ["half_refitted", "student_refitted"]),
    (
        "me-nest-ghost",
        ["accuracy"],
        ["efficientnetv2_s", "me_nest_ghost_s", "me_nest_ghost_s_depthwise"],
    ),
    ("me-nest-ghost", [], []),
    (
        "se-condconv",
        ["accuracy"],
        ["standard", "se", "cond_per_conv", "cond_per_block"],
    ),
    ("se-condconv", [], []),
]


def jpeg(level: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the bytes of a small picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(file, "JPEG")
    return np.frombuffer(file.getvalue(), np.uint8)


def test_a_part_of_packed_images_keeps_the_classes_shares(tmp_path: Path) -> None:
    """JPEGs are unpacked; validation comes out of train, no image twice; classes in proportion."""
    packed: dict[str, Any] = {"classes": np.array(["a", "b", "c"])}
    for split, count in (("train", 60), ("test", 30)):
        files = [jpeg(4 * number) for number in range(count)]
        packed[f"{split}_jpeg"] = np.concatenate(files)
        packed[f"{split}_offsets"] = np.cumsum([0, *map(len, files)])
        packed[f"{split}_labels"] = np.arange(count) % 3
    np.savez(tmp_path / "all.npz", **packed)
    counts = {"train": 30, "validation": 15, "test": 0}
    systems.make_data(tmp_path / "all.npz", counts, tmp_path / "part.npz")
    with np.load(tmp_path / "part.npz") as part:
        assert np.bincount(part["train_labels"]).tolist() == [10, 10, 10]
        assert np.bincount(part["val_labels"]).tolist() == [5, 5, 5]
        assert np.bincount(part["test_labels"]).tolist() == [10, 10, 10]
        seen = np.concatenate([part["train_images"], part["val_images"]])[:, 0, 0, 0]
        assert len(set(seen.tolist())) == 45


def test_one_class_against_the_rest(tmp_path: Path) -> None:
    """Class 0 stays, all others are class 1; every image stays with its label.

    Images of class 1 are left out until class 0 has the share that is asked for. Of two sets that
    differ in their test images alone, the others are the same.
    """
    images = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    labels = np.arange(12) % 4
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    np.savez(tmp_path / "all.npz", **arrays, **{f"{s[:-7]}_labels": labels for s in arrays})
    systems.make_data(tmp_path / "all.npz", dict.fromkeys(systems.SPLITS, 0),
                      tmp_path / "two.npz", rest=True)  # fmt: skip
    with np.load(tmp_path / "two.npz") as two:
        expected = np.minimum(two["train_images"][:, 0, 0] % 4, 1)
        assert two["train_labels"].tolist() == expected.tolist()
    systems.make_data(tmp_path / "all.npz", dict.fromkeys(systems.SPLITS, 0),
                      tmp_path / "most.npz", rest=True, first=0.5)  # fmt: skip
    with np.load(tmp_path / "most.npz") as most:
        assert np.bincount(most["test_labels"]).tolist() == [3, 3]
        expected = np.minimum(most["train_images"][:, 0, 0] % 4, 1)
        assert most["train_labels"].tolist() == expected.tolist()
        seen = most["train_images"]
    systems.make_data(tmp_path / "all.npz", dict.fromkeys(systems.SPLITS, 0),
                      tmp_path / "no_test.npz", rest=True, first=0.5, test=False)  # fmt: skip
    with np.load(tmp_path / "no_test.npz") as no_test:
        assert set(no_test) == {
            f"{s}_{what}" for s in ("train", "val") for what in ("images", "labels")
        }
        assert np.array_equal(no_test["train_images"], seen)


def test_a_narrow_member_has_the_members_layers(tmp_path: Path) -> None:
    """Widths shrink to multiples of 8, the layers, their kernels and strides stay."""
    systems.make_narrow("mixnet_s_k5.7.9", 0.25, tmp_path / "n.json", resolution=32)
    narrow, whole = architecture_of(str(tmp_path / "n.json")), architecture_of("mixnet_s_k5.7.9")
    assert len(narrow.body) == len(whole.body)
    assert [dict(each.options).get("kernels") for each in narrow.body] == [
        dict(each.options).get("kernels") for each in whole.body
    ]
    assert all(each.out_channels % 8 == 0 for each in narrow.body)
    assert sum(each.out_channels for each in narrow.body) < 0.4 * sum(
        each.out_channels for each in whole.body
    )


def test_the_road_stays_near_its_macs(tmp_path: Path) -> None:
    """From ResNet-50 to ConvNeXt-T each step is another network, near the macs and not above."""
    systems.make_road(2_000_000, tmp_path, resolution=32)
    steps = [architecture_of(str(path)) for path in tmp_path.glob("*.json")]
    assert len({each.id for each in steps}) == len(systems.ROAD)
    assert all(1_600_000 <= network.cost(each).macs <= 2_000_000 for each in steps)
    ends = [
        architecture_of(str(tmp_path / name)) for name in ("0_resnet50.json", "12_convnext.json")
    ]
    for end, member in zip(ends, ("resnet50", "convnext_tiny"), strict=True):
        assert [each.block for each in end.rows] == [
            each.block for each in architecture_of(member).rows
        ]


def test_images_left_out_go_to_a_folder(tmp_path: Path) -> None:
    """Of ten train images six are drawn, and the other four are written without a label."""
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    labels = {f"{split}_labels": np.arange(10) % 2 for split in ("train", "val", "test")}
    np.savez(tmp_path / "all.npz", **arrays, **labels)
    counts = {"train": 6, "validation": 0, "test": 0}
    systems.make_data(
        tmp_path / "all.npz", counts, tmp_path / "part.npz", unlabelled=tmp_path / "others"
    )
    with np.load(tmp_path / "part.npz") as part:
        drawn = part["train_images"][:, 0, 0].tolist()
    others = [int(np.asarray(Image.open(path))[0, 0]) for path in (tmp_path / "others").iterdir()]
    assert sorted(drawn + others) == list(range(10))
    assert len(others) == 4


def test_a_table_has_intervals_and_differences(tmp_path: Path) -> None:
    """Means and Student's intervals over the seeds, Welch's of the difference, and a picture."""
    (tmp_path / "results").mkdir()
    for name, values in (("plain", (0.5, 0.6, 0.7)), ("other", (0.8, 0.9, 1.0))):
        trainings = [{"metrics": {"accuracy": value}} for value in values]
        result = {"macs": 2_000_000, "params": 1_000, "trainings": trainings,
                  "test": {"accuracy": 0.55}, "test_spread": {"accuracy": 0.01}}  # fmt: skip
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(result))
    of = {"metrics": {"precision": 0.5, "recall": 1, "f1": 0.6667, "f2": 0.8333}}
    evaluated = {"classes": ["cat"], "metrics": {"accuracy": 0.5}, "per_class": {"cat": of},
                 "confusion_matrix": [[1, 0], [1, 0]]}  # fmt: skip
    (tmp_path / "results" / "test_other.json").write_text(json.dumps(evaluated))
    text = systems.table(tmp_path, ["accuracy"], ["plain", "other"], "drawn.png")
    assert text.endswith("| other | 0.500 | 0.50, 1.00, 0.67, 0.83 | 1 0; 1 0 |")
    *_, plain, other = text.partition("\n\n")[0].splitlines()
    # t(0.975, 2) = 4.303 times 0.1 / sqrt(3), and t(0.975, 4) = 2.776 times 0.1 x sqrt(2 / 3)
    assert plain == "| plain | 2M | 1k | 0.600 (0.352 to 0.848) |  | 0.550 ± 0.010 |"
    assert "+0.300 (+0.073 to +0.527)" in other
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


def test_commands_of_a_page_are_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the page runs in a folder of its own; what has a result is not run again."""
    monkeypatch.setattr(systems, "ROOT", tmp_path)
    study = tmp_path / "studies" / "page"
    study.mkdir(parents=True)
    (study / "README.md").write_text(
        "# A page\n\n## Commands\n\n```text\n"
        "python -m benchmarks.systems narrow se_condconv_se --width 0.1 --resolution 8"
        " --out n.json\n"
        "nas train n.json --data digits --epochs 1 --set training.epoch_updates=1 --seeds 2"
        " --workers 0 --no-showcase --out trained\n"
        "nas evaluate trained --data digits --out test_trained.png\n```\n"
    )
    monkeypatch.chdir(tmp_path)
    systems.run(study, tmp_path)
    result = study / "results" / "trained.json"
    assert len(json.loads(result.read_text())["trainings"]) == 2
    evaluated = json.loads((study / "results" / "test_trained.json").read_text())
    assert sum(map(sum, evaluated["confusion_matrix"])) > 0
    assert (study / "test_trained.png").read_bytes().startswith(b"\x89PNG")
    written = result.stat().st_mtime_ns
    (tmp_path / "build" / "page" / "trained" / "result.json").unlink()
    systems.run(study, tmp_path)
    assert result.stat().st_mtime_ns == written


@pytest.mark.parametrize(("name", "metrics", "rows"), PAGES)
def test_a_page_has_the_table_of_its_results(
    name: str, metrics: list[str], rows: list[str], tmp_path: Path
) -> None:
    """The table of a page follows from the results beside it, to the last digit."""
    study = ROOT / "studies" / name
    shutil.copytree(study / "results", tmp_path / "results")
    assert systems.table(tmp_path, metrics, rows) in (study / "README.md").read_text()


def test_networks_take_turns(tmp_path: Path) -> None:
    """Each network has its turns of processor time, beside its cost; as a step and as inference."""
    given = ["se_condconv_standard", "se_condconv_se"]
    for inference in (False, True):
        out = tmp_path / "times.json"
        systems.time_steps(
            given, out, batch=2, turns=2, inference=inference, resolution=8, classes=3
        )
        found = json.loads(out.read_text())
        assert list(found["networks"]) == given
        for name, row in found["networks"].items():
            cost = network.cost(architecture_of(name).at(resolution=8, classes=3))
            assert row["macs"] == cost.macs
            assert len(row[systems.MEASURED]) == 2
            assert min(row[systems.MEASURED]) > 0


def test_kappa_follows_from_accuracy_and_balanced_accuracy() -> None:
    """Of two classes it is scikit-learn's, whichever is the more frequent; one answer is 0."""
    rng = np.random.default_rng(0)
    for share in (0.2, 0.7):
        labels = (rng.random(97) < share).astype(int)
        for answers in (labels ^ (rng.random(97) < 0.3), np.zeros_like(labels)):
            own = {
                "accuracy": accuracy_score(labels, answers),
                "balanced_accuracy": balanced_accuracy_score(labels, answers),
                "majority_rate": max(labels.mean(), 1 - labels.mean()),
            }
            result = {"trainings": [{"metrics": own}]}
            wanted = pytest.approx(cohen_kappa_score(labels, answers), abs=1e-9)
            assert systems.by_seed(result, "kappa") == [wanted]
