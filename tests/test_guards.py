"""Guards warn on studies that mislead, and stay silent on a sound one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from search_kit import arguments, nas_here, result
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from benchmarks.scale.load import config as synthetic
from nas.config import Config, Finals
from nas.cost import Cost
from nas.data import DataSet
from nas.data.dataset import in_memory
from nas.objective import objective
from nas.store import queries
from nas.store.queries import TrialInfo
from nas.study import chance
from nas.study.finalists import Ranking, Standing
from nas.study.guards import GUARDS, Evidence, warnings

ROOT = Path(__file__).parent.parent
CONFIG = synthetic("studies/guarded")


def images(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return noise images of 8x8 pixels, (N, 8, 8, 1)."""
    return np.random.RandomState(seed).randint(0, 255, (count, 8, 8, 1)).astype(np.uint8)


def data(validation: int = 400, rare: float = 0.5, copies: int = 0) -> DataSet:
    """Return two classes, one of them with a share of `rare`; test images may be train images."""
    counts = {"train": 600, "validation": validation, "test": 200}
    pixels = {name: images(count, seed) for seed, (name, count) in enumerate(counts.items())}
    pixels["test"][:copies] = pixels["train"][:copies]
    labels = {name: (np.arange(n) < round(n * rare)).astype(np.int64) for name, n in counts.items()}
    splits = {name: in_memory(pixels[name], labels[name]) for name in counts}
    name = f"guarded-{validation}-{rare}-{copies}"
    return DataSet(name, name, ("no", "yes"), 1, 8, frozenset(), splits)


def trial(number: int, accuracy: float, auroc: float = 0.9, classes: int = 2) -> TrialInfo:
    """Return a complete trial of a network of its own."""
    metrics = {
        "accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": accuracy, "auroc": auroc,
        "predicted_classes": classes,
    }  # fmt: skip
    return TrialInfo(
        number=number, state="complete", score=accuracy, evaluation_id=number,
        architecture_id=f"{number:08x}", notation="", cost=Cost(10**6 + number, 1, 1, 1),
        metrics=metrics, reason=None, seconds=1.0, fidelity=45, attempt=1, worker="",
        reused_from=None, stopped=False,
    )  # fmt: skip


def finalists(*trainings: Sequence[TrialInfo], searched: float = 0.9) -> Ranking:
    """Return finalists with these trainings, which had an accuracy in the search."""
    standings = [
        Standing(trial(number, searched), each, "accuracy") for number, each in enumerate(trainings)
    ]
    return Ranking(standings, objective(10**6))


def evidence(of: DataSet, **changes: Any) -> Evidence:
    """Return a sound study's facts: 20 networks and two finalists that are well above chance."""
    sound = Evidence(
        config=CONFIG,
        data=of,
        ranking=finalists(*[[trial(i, 0.90 + i / 100) for i in range(3)] for _ in range(2)]),
        networks=[trial(i, 0.92 - i / 100) for i in range(20)],
        choices={},
        looks=1,
    )
    return replace(sound, **changes)


def guards(of: Evidence) -> dict[str, str]:
    """Return the texts of the warnings by their guards."""
    return {warning.guard: warning.text for warning in warnings(of)}


def by_metric(metric: str) -> Config:
    """Return the study with another metric."""
    return replace(CONFIG, recipe=replace(CONFIG.recipe, metric=metric))


def test_a_sound_study_has_no_warning() -> None:
    """Enough images, networks above chance, finalists as good as in the search, one look."""
    assert guards(evidence(data())) == {}
    assert guards(Evidence(config=CONFIG, data=data())) == {}


def test_one_class() -> None:
    """A winner that gives one answer in a training: an error with the count of trainings."""
    blind = [trial(0, 0.9, classes=1), trial(1, 0.9), trial(2, 0.9)]
    found = guards(evidence(data(), ranking=finalists(blind)))
    assert list(found) == ["one_class"]
    assert "all 400 validation images in 1 of its 3 trainings" in found["one_class"]


def test_one_class_of_a_network_that_ranks() -> None:
    """Where its AUROC is above chance, batch norm that its recipe does not refit is named.

    AUROC and recipe are those of the trainings that give one answer, finalists here.
    """
    texts = []
    for auroc, images in ((0.5, 0), (0.8, 0), (0.8, 512)):
        whole = replace(CONFIG.recipe, batch_norm_images=images)
        config = replace(CONFIG, finals=Finals(1, 2, whole))
        ranking = finalists([trial(0, 0.9, auroc, classes=1), trial(1, 0.9, 0.95)])
        of = evidence(data(), config=config, ranking=ranking)
        texts.append(guards(of)["one_class"])
    assert ["it has learnt nothing" in text for text in texts] == [True, False, False]
    assert ["AUROC of 0.800 is above chance" in text for text in texts] == [False, True, True]
    assert ["batch_norm_images=512" in text for text in texts] == [False, True, False]


def test_twelve_validation_images_are_too_few() -> None:
    """They are too few before a network is there, and too few to rank the best ones."""
    early = guards(Evidence(config=CONFIG, data=data(12)))
    assert "standard error of accuracy is 8.7 points" in early["validation_small"]
    late = guards(evidence(data(12)))
    assert "the best 5 lie within 4.0 points" in late["validation_small"]
    rare = Evidence(config=by_metric("balanced_accuracy"), data=data(400, 0.05))
    assert "400 validation images are too few" in guards(rare)["validation_small"]


def test_images_that_teach_nothing() -> None:
    """All alike, blank, or the same in two classes: told with the count before anything trains."""
    sound = data()
    noise = sound.splits["train"].images(8)
    for pixels, told in (
        (np.zeros_like(noise), "images have the same pixels: there is nothing to learn"),
        (np.where(np.arange(600)[:, None, None, None] < 30, noise[:, :1, :1], noise),
         "90 have a single level each"),
        (noise[np.arange(600) % 300], "1800 have the same pixels as an image of another class"),
    ):  # fmt: skip
        train = in_memory(pixels, sound.splits["train"].labels)
        splits = dict.fromkeys(sound.splits, train)
        of = replace(sound, splits=splits, fingerprint=told)
        assert told in guards(Evidence(config=CONFIG, data=of))["alike"]


def marked(columns: tuple[tuple[int, int], tuple[int, int]]) -> DataSet:
    """Return two classes of noise with a bright mark, whose column is from a range of the class."""
    sound = data()
    pixels, labels = sound.splits["train"].images(8) // 4, sound.splits["train"].labels
    rng = np.random.RandomState(0)
    for image, label in zip(pixels, labels, strict=True):
        row, column = rng.randint(0, 6), rng.randint(*columns[label])
        image[row : row + 3, column : column + 3] = 250
    splits = sound.splits | {"train": in_memory(pixels, labels)}
    return replace(sound, splits=splits, fingerprint=str(columns))


def test_left_and_right_are_told_where_images_are_mirrored() -> None:
    """Two classes that a flip swaps are named; without the flip, or both alike mirrored, none."""
    sides, middle = marked(((0, 2), (4, 6))), marked(((2, 4), (0, 6)))
    upright = replace(CONFIG, recipe=replace(CONFIG.recipe, augmentation={"rotation": 20.0}))
    told = guards(Evidence(config=CONFIG, data=sides))["mirrored"]
    assert "images of 'no' and 'yes' look like the other class when they are mirrored" in told
    assert "--forbid flip" in told
    assert "mirrored" not in guards(Evidence(config=upright, data=sides))
    assert "mirrored" not in guards(Evidence(config=CONFIG, data=middle))
    assert "mirrored" not in guards(Evidence(config=CONFIG, data=data()))


def test_noise_labels_are_within_chance_of_the_majority() -> None:
    """The best of 20 networks that guess is told in 19 of 20 studies, whatever the images' number.

    A network far above the majority rate is not.
    """
    random = np.random.RandomState(0)
    for count in (12, 60, 400):
        told = 0
        for _ in range(200):
            scores = sorted(random.binomial(count, 0.5, 20) / count, reverse=True)
            networks = [trial(i, score, 0.5) for i, score in enumerate(scores)]
            winner = finalists([networks[0]], searched=scores[0])
            told += "majority" in guards(evidence(data(count), ranking=winner, networks=networks))
        assert told >= 180, (count, told)
    assert "majority" not in guards(evidence(data(60)))


def test_a_network_that_ranks_is_told_from_one_that_guesses() -> None:
    """Accuracy at the majority rate, AUROC far above chance: the text names another metric."""
    ranks = evidence(data(400, 0.1), ranking=finalists([trial(0, 0.9, 0.85)]))
    assert "it ranks images" in guards(ranks)["majority"]
    blind = evidence(data(400, 0.1), ranking=finalists([trial(0, 0.9, 0.51)]))
    assert "Nothing shows" in guards(blind)["majority"]


def test_a_metric_without_a_score_of_no_skill_is_judged_by_auroc() -> None:
    """A study of kappa is held to AUROC 0.5."""
    guesses = evidence(data(), config=by_metric("kappa"), ranking=finalists([trial(0, 0.9, 0.5)]))
    assert "auroc of 0.500" in guards(guesses)["majority"]


def test_the_search_over_fitted_validation() -> None:
    """Finalists that are worse than their scores in the search, beyond the error of the seeds."""
    trained = [[trial(i, 0.90 + i / 100) for i in range(3)] for _ in range(4)]
    lucky = guards(evidence(data(), ranking=finalists(*trained, searched=0.95)))
    assert lucky["overfitted_validation"].startswith("the search's accuracy of its 4 finalists was")
    assert "4.0 ± 1.3 points" in lucky["overfitted_validation"]
    assert guards(evidence(data(), ranking=finalists(*trained, searched=0.92))) == {}
    alone = [[trial(0, 0.9)] for _ in range(2)]
    assert guards(evidence(data(), ranking=finalists(*alone, searched=0.92))) == {}
    assert guards(evidence(data(), ranking=finalists(*alone, searched=0.95))) != {}


def edges(scores: npt.NDArray[np.float64], random: np.random.RandomState) -> Evidence:
    """Return a study whose networks have uniform choices; `scores` (choices, values) add up."""
    ordered = [p for p in CONFIG.space.parameters() if len(p.choices) > 2 and not p.parents]
    ordered = [p for p in ordered if all(type(c) is int for c in p.choices)]
    choices: dict[int, dict[str, Any]] = {}
    networks = []
    for number in range(60):
        at = [random.randint(len(p.choices)) for p in ordered]
        choices[number] = {p.name: p.choices[i] for p, i in zip(ordered, at, strict=True)}
        score = 0.5 + sum(scores[k, i] for k, i in enumerate(at[: len(scores)]))
        networks.append(trial(number, score + random.normal(0, 0.01)))
    networks.sort(key=lambda each: -(each.score or 0.0))
    winner = Standing(networks[0], networks[:1], "accuracy")
    ranking = Ranking([winner], objective(10**6), is_final=False)
    return evidence(data(), networks=networks, choices=choices, ranking=ranking)


def test_several_choices_at_the_edge() -> None:
    """Scores that rise towards the edge in three choices are told; noise hardly ever is."""
    rising = np.tile(np.linspace(0, 0.1, 8), (3, 1))
    found = guards(edges(rising, np.random.RandomState(1)))
    assert "are at the edge of the space" in found["edge"]
    random, flat = np.random.RandomState(2), np.zeros((0, 0))
    assert sum("edge" in guards(edges(flat, random)) for _ in range(100)) <= 1


def test_looks_at_test_are_counted() -> None:
    """A second look is told."""
    assert guards(evidence(data(), looks=2))["test_looks"].startswith(
        "the test split was looked at 2 times"
    )


def test_one_test_image_that_is_a_train_image() -> None:
    """It is counted, with both splits' names."""
    found = guards(Evidence(config=CONFIG, data=data(copies=1)))
    assert "1 of 200 test images are copies of train images" in found["duplicates"]


def test_accuracy_on_imbalanced_classes() -> None:
    """A rare class is told where accuracy is the metric, and not where another is."""
    assert "'yes' 60" in guards(Evidence(config=CONFIG, data=data(rare=0.1)))["imbalance"]
    balanced = Evidence(config=by_metric("auroc"), data=data(rare=0.1))
    assert "imbalance" not in guards(balanced)


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_no_skill_is_what_scikit_learn_gives_one_answer(rate: float) -> None:
    """The majority answer's metrics, by definition."""
    labels = np.arange(100) < 100 * rate
    answers, counts = np.ones(100, bool), np.array([100 - 100 * rate, 100 * rate], np.intp)
    macro = f1_score(labels, answers, average="macro")
    assert chance.no_skill("accuracy", counts) == accuracy_score(labels, answers)
    assert chance.no_skill("balanced_accuracy", counts) == balanced_accuracy_score(labels, answers)
    assert chance.no_skill("macro_f1", counts) == pytest.approx(macro)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auroc"])
def test_standard_errors_are_those_of_redrawn_images(metric: str) -> None:
    """Images drawn anew spread a metric as the formula says, within a fifth."""
    random, counts = np.random.RandomState(0), np.array([150, 50])
    labels = np.repeat([0, 1], counts)
    values = []
    for _ in range(400):
        scores = random.normal(0, 1, 200) + 1.2 * labels
        recalls = [(scores[labels == 0] < 0.6).mean(), (scores[labels == 1] > 0.6).mean()]
        pairs = (scores[labels == 1][:, None] > scores[labels == 0]).mean()
        right = (recalls * counts).sum() / 200
        values.append({"auroc": pairs, "accuracy": right}.get(metric, np.mean(recalls)))
    expected = chance.standard_error(metric, float(np.mean(values)), counts)
    assert np.std(values) == pytest.approx(expected, rel=0.2)


def test_each_guard_is_documented_with_its_level() -> None:
    """The page has a row for each, in the order of the registry."""
    text = (ROOT / "docs/guides/guards.md").read_text()
    rows = [f"| `{name}` | {guard.level} | {guard.when} |" for name, guard in GUARDS.items()]
    assert [row for row in rows if row not in text] == []


def misleading(folder: Path) -> Path:
    """Write noise images with 12 for validation, a rare class, and a train image among the test."""
    arrays = {}
    for seed, (split, count) in enumerate({"train": 64, "val": 12, "test": 32}.items()):
        arrays[f"{split}_images"] = images(count, seed)[..., 0]
        arrays[f"{split}_labels"] = (np.arange(count) % 8 == 0).astype(np.int64)
    arrays["test_images"][3] = arrays["train_images"][5]
    np.savez(folder / "noise.npz", **arrays)  # type: ignore[arg-type]
    return folder / "noise.npz"


def test_a_search_tells_and_stores_its_warnings(tmp_path: Path) -> None:
    """First lines, JSON, result.json, `status`, `show` and the dashboard's note say the same."""
    words = arguments(tmp_path, workers=0, trials=2, epochs=1)
    words[words.index("--data") + 1] = str(misleading(tmp_path))
    run = nas_here("search", *words, "--json")
    found = result(run)["warnings"]
    told = {each["guard"]: each for each in found}
    assert {"one_class", "majority", "validation_small", "duplicates", "imbalance"} <= told.keys()
    assert told["duplicates"]["level"] == "warning"
    assert told["duplicates"]["count"] == 1
    assert "1 of 32 test images are copies of train images" in run.stderr
    written = json.loads((tmp_path / "studies/tiny/result.json").read_text())
    assert written["warnings"] == found
    store = ("--store", f"sqlite:///{tmp_path}/nas.db")
    assert result(nas_here("status", "tiny", *store, "--json"))["warnings"] == found
    assert result(nas_here("show", *store, "--json"))["warnings"] == found
    assert f"warning: {told['majority']['text']} [majority]" in nas_here("show", *store).stderr
    again = nas_here("search", *words)
    assert f"nas: warning: {told['duplicates']['text']} [duplicates]" in again.stderr
    with queries.connect(store[1]) as connection:
        text = connection.exec_driver_sql(
            "SELECT value_json FROM study_system_attributes WHERE key = 'dashboard:note_str:0'"
        ).scalar_one()
    assert told["majority"]["text"] in json.loads(text)


def test_a_sound_search_is_silent(tmp_path: Path) -> None:
    """Enough images that can be told apart: the JSON has an empty list."""
    words = arguments(tmp_path, workers=0, trials=3, epochs=8, finalists=1, final_seeds=2)
    random = np.random.RandomState(3)
    arrays = {}
    for split, count in (("train", 128), ("val", 400), ("test", 64)):
        labels = np.arange(count) % 2
        pixels = random.randint(0, 160, (count, 8, 8)) + 90 * labels[:, None, None]
        arrays |= {f"{split}_images": pixels.astype(np.uint8), f"{split}_labels": labels}
    np.savez(tmp_path / "tones.npz", **arrays)
    assert result(nas_here("search", *words, "--json"))["warnings"] == []
