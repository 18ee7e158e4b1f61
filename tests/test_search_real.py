"""Tables that are trained here, and the comparison of samplers in real searches."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from search_kit import ROOT, write_inputs

from benchmarks import engine
from benchmarks.search import real, table
from benchmarks.search.goal import Goal
from nas import network
from nas.search_space import SearchSpace, block, choice, load, stage

STUDY = ROOT / "studies" / "mixconv-digits-288"


def words(folder: Path, **options: object) -> list[str]:
    """Return the arguments of a tiny table: 8 networks, 2 seeds, an epoch."""
    space, data = write_inputs(folder, 16)
    text = Path(space).read_text()
    Path(space).write_text(text.replace("expansion=choice(2, 3, 4)", "expansion=2"))
    chosen: dict[str, object] = {"space": space, "data": data, "epochs": 1, "seeds": 2}
    chosen |= {"out": folder / "out"} | options
    return [part for name, value in chosen.items() for part in (f"--{name}", str(value))]


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_space_is_trained_in_full_and_a_killed_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was trained is not trained again; the table has all networks, and loads."""
    trained = []
    training = real._training

    def until(plan: real.Plan, architecture: object, seed: int) -> dict[str, str]:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(seed)
        return training(plan, architecture, seed)

    monkeypatch.setattr(real, "_training", until)
    with pytest.raises(KeyboardInterrupt):
        real.main(words(tmp_path))
    first = rows(tmp_path / "out" / "trainings.csv")
    assert [len(first), len(rows(tmp_path / "out" / "table.csv"))] == [3, 1]
    monkeypatch.setattr(real, "_training", training)
    assert real.main(words(tmp_path)) == 0
    every = rows(tmp_path / "out" / "trainings.csv")
    assert (every[:3], len(every)) == (first, 16)
    found = table.read(tmp_path / "out" / "table.csv")
    assert (len(found), found.is_pool) == (8, False)
    assert Goal(found, "scalarised", 5e4).true.max() > 0


def test_a_table_sees_the_validation_split_with_one_seed_and_the_test_split_with_others(
    tmp_path: Path,
) -> None:
    """`search_score` is seed 0 on validation; `test_score` the mean of the others on test."""
    assert real.main(words(tmp_path, seeds=3)) == 0
    trainings = rows(tmp_path / "out" / "trainings.csv")
    assert all((row["test_score"] == "") == (row["seed"] == "0") for row in trainings)
    for row in rows(tmp_path / "out" / "table.csv"):
        mine = {each["seed"]: each for each in trainings if each["id"] == row["id"]}
        scores = [float(mine[seed]["test_score"]) for seed in ("1", "2")]
        assert row["search_score"] == mine["0"]["epoch_1"]
        assert float(row["test_score"]) == pytest.approx(np.mean(scores), abs=1e-3)


def test_a_sample_grows_and_the_rest_of_the_train_split_is_scored(tmp_path: Path) -> None:
    """The first networks of a larger sample are those of a smaller; one seed is its own test."""
    chosen = {"seeds": 1, "train-images": 8, "set": "training.batch_size=4"}
    assert real.main(words(tmp_path, sample=2, **chosen)) == 0
    first = rows(tmp_path / "out" / "table.csv")
    assert real.main(words(tmp_path, sample=3, **chosen)) == 0
    more = rows(tmp_path / "out" / "table.csv")
    assert (more[:2], len({row["id"] for row in more})) == (first, 3)
    assert all(row["search_score"] == row["test_score"] for row in more)
    plan = real.read_options(words(tmp_path, **chosen))
    sizes = {name: len(split) for name, split in plan.data.splits.items()}
    assert sizes == {"train": 8, "validation": 32 + 8, "test": 32}
    assert plan.recipe.batch_size == 4


def test_another_recipe_does_not_go_on_with_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor another space or number of seeds: exit status 2, and the rows stay as they are."""
    real._claim(real.read_options(words(tmp_path)))
    assert real.main(words(tmp_path, epochs=2)) == 2
    assert "holds trainings of another space, recipe or number" in capsys.readouterr().err
    assert not (tmp_path / "out" / "table.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds is a whole number of at least 1"),
        ({"sample": 0}, "--sample is a whole number of at least 1"),
        ({"sample": 9}, "--sample 9: tiny has only 8 networks"),
        ({"train-images": 16}, "--train-images is below 16, all there are, not 16"),
        ({"set": "training.warmth=3"}, "training.warmth"),
        ({"epochs": 0}, "--epochs is a whole number of at least 1"),
        ({"space": "mixconv"}, "assignments, over 5,000"),
        ({"data": "no.npz"}, "no.npz"),
    ],
)
def test_a_mistake_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, object], message: str
) -> None:
    """Exit status 2, the rule and the value."""
    assert real.main(words(tmp_path, **options)) == 2
    assert message in capsys.readouterr().err


def test_assignments_are_those_of_active_parameters() -> None:
    """As many as the space says, all different, and each decodes."""
    blocks = choice(block("conv"), block("mbconv", expansion=choice(2, 3)))
    space = SearchSpace("s", [stage(blocks, width=choice(8, 16), depth=2)], resolution=8)
    found = real.assignments(space)
    assert len(found) == space.size() == 6
    assert len({space.decode(values).id for values in found}) == 6


def test_the_committed_table_is_of_networks_of_mixconv() -> None:
    """Whole, each network in the shipped space, macs as counted, scores as trained."""
    space, shipped = load(STUDY / "space.py"), load("mixconv")
    found = table.read(STUDY / "table.csv")
    assert (len(found), found.is_pool) == (space.size(), False)
    last = {(row["id"], row["seed"]): row["epoch_3"] for row in rows(STUDY / "trainings.csv")}
    assert len(last) == 4 * space.size()
    for number in random.Random(0).sample(range(len(found)), 5):
        architecture = space.decode(found.assignment(number), in_channels=1, classes=10)
        values = shipped.encode(architecture)
        assert shipped.decode(values, in_channels=1, classes=10) == architecture
        assert network.cost(architecture).macs == found.macs[number]
        assert float(last[architecture.id, "0"]) == found.search[number]


def compare(folder: Path, **options: object) -> int:
    """Compare two samplers in tiny searches."""
    space, data = write_inputs(folder, 16)
    chosen: dict[str, object] = {"space": space, "data": data, "samplers": "nas,random"}
    chosen |= {"seeds": 2, "trials": 2, "epochs": 1, "target-flops": "50k", "resolution": 8}
    chosen |= {"out": folder / "out"} | options
    return engine.main([part for k, v in chosen.items() for part in (f"--{k}", str(v))])


def test_real_searches_are_compared_training_by_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal trainings each, the best never falls, and a finished search is not made again."""
    assert compare(tmp_path, seeds=1) == 0
    searched = []
    search = engine.search
    monkeypatch.setattr(engine, "search", lambda *a: searched.append(a[1:]) or search(*a))
    assert compare(tmp_path) == 0
    assert searched == [("nas", 1), ("random", 1)]
    assert compare(tmp_path, again="random", seeds=1) == 0
    assert searched[2:] == [("random", 0)]
    assert compare(tmp_path) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [run["complete"] for run in result["runs"]] == [2, 2, 2, 2]
    for run in result["runs"]:
        best = [point["best"] for point in run["points"]]
        assert best == sorted(best)
        assert run["winner"]["score"] == best[-1]
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "README.md").read_text() in capsys.readouterr().out
    assert compare(tmp_path, trials=3) == 2
    assert "name another --out" in capsys.readouterr().err


def made(sampler: str, seed: int, *best: float) -> engine.Run:
    """Return a search's result."""
    points = [
        {"evaluations": n, "processor_seconds": 2.0 * n, "best": value}
        for n, value in enumerate(best, 1)
    ]
    winner = {"validation_accuracy": best[-1], "macs": 10**6}
    return {"sampler": sampler, "seed": seed, "points": points, "winner": winner}


def test_what_is_said_follows_from_the_intervals() -> None:
    """Seed by seed: ahead or behind where the gain's interval leaves 0 out, else a tie."""
    runs = [made("nas", seed, 0.5, 0.9 + seed / 100) for seed in range(3)]
    runs += [made("tpe", seed, 0.5, 0.8 + seed / 100) for seed in range(3)]
    runs += [made("random", seed, 0.5, 0.92 - seed / 100) for seed in range(3)]
    summary = engine.summarise(runs)
    assert summary["nas"]["final_best"]["mean"] == pytest.approx(0.91)
    low, high = summary["nas"]["final_best"]["interval"]
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)
    assert [line.split(":")[0] for line in engine.verdicts(summary)] == [
        "`nas` is ahead of `tpe`",
        "`nas` and `random` are a tie",
    ]


def test_curves_are_steps() -> None:
    """Between two trainings the best is that of the last one that ended."""
    found = engine.at([made("nas", 0, 0.1, 0.4)], "processor_seconds", np.array([2.0, 3.9, 4.0]))
    assert found.tolist() == [[0.1, 0.1, 0.4]]
