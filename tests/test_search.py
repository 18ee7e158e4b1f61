"""A search from the command line to the winner's code: its ends, its kills, its resumptions."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from nas.commands import search as commands
from nas.store import queries
from tests.search_kit import ROOT, arguments, command, is_gone, nas, nas_here, result


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Return the folder and the result of a finished search."""
    folder = tmp_path_factory.mktemp("searched")
    return folder, result(nas("search", *arguments(folder), "--json"))


def store_of(folder: Path) -> str:
    """Return the URL of a test's store."""
    return f"sqlite:///{folder}/nas.db"


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Read the database as it lies on disk."""
    with sqlite3.connect(f"file:{folder}/nas.db?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(sql).fetchall()


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.05)


def points(folder: Path) -> int:
    """Count the epochs stored so far; 0 before there is a table."""
    try:
        return int(str(rows(folder, "SELECT count(*) FROM nas_curve_points")[0][0]))
    except sqlite3.OperationalError:
        return 0


def test_a_search_prints_what_machines_read(searched: tuple[Path, dict[str, object]]) -> None:
    """The object printed last has the study, the best with its numbers, and counts by state."""
    folder, found = searched
    best = found["best"]
    assert isinstance(best, dict)
    assert found["study"] == "tiny"
    assert found["trials"]["complete"] == 3
    assert {"score", "metric", "value", "validation", "test", "macs", "params"} <= best.keys()
    assert best["value"] == best["validation"]["accuracy"]
    assert best["code"] == str(folder / "studies" / "tiny" / "best" / "model.py")


def test_the_emitted_file_runs_with_torch_alone(searched: tuple[Path, dict[str, object]]) -> None:
    """The winner's file checks itself in an interpreter that can't import nas."""
    folder, found = searched
    code = str(found["best"]["code"])
    run = subprocess.run(
        [sys.executable, "-I", code], capture_output=True, text=True, cwd=folder, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert f"params: {found['best']['params']}, as stated" in run.stdout
    assert "import nas" not in Path(code).read_text()


def test_the_same_command_again_trains_nothing(searched: tuple[Path, dict[str, object]]) -> None:
    """A finished search run again gives the same winner without an epoch or a look at the test."""
    folder, found = searched
    before = points(folder)
    again = result(nas_here("search", *arguments(folder, workers=0), "--json"))
    assert again["best"] == found["best"]
    assert points(folder) == before


def test_optuna_sees_every_trial(searched: tuple[Path, dict[str, object]]) -> None:
    """Optuna's own reader, the dashboard's view, finds parameters, values and curves."""
    folder, found = searched
    study = optuna.load_study(study_name="tiny", storage=store_of(folder))
    assert study.best_value == found["best"]["score"]
    assert {"stage1.kernels", "stage1.width", "stage1.depth"} <= study.trials[0].params.keys()
    assert all(
        list(trial.intermediate_values) == [1, 2]
        for trial in study.trials
        if "reused_from" not in trial.user_attrs
    )


def test_the_test_split_is_looked_at_once(searched: tuple[Path, dict[str, object]]) -> None:
    """One search makes one counted look at the test split, at its winner."""
    folder, found = searched
    assert rows(folder, "SELECT count(*) FROM nas_test_looks") == [(1,)]
    assert found["best"]["test_looks"] == 1


def test_export_gives_the_trained_outputs(
    searched: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    """nas export writes the winner again, with the same weights."""
    folder, found = searched
    out = tmp_path / "exported"
    words = ("export", "--study", "tiny", "--store", store_of(folder), "--format", "python")
    run = nas_here(*words, "--out", str(out))
    assert run.returncode == 0, run.stderr
    best = Path(str(found["best"]["code"])).parent
    for name in ("model.py", "model.safetensors"):
        assert (out / name).read_bytes() == (best / name).read_bytes()


def test_another_study_reuses_what_was_trained(searched: tuple[Path, dict[str, object]]) -> None:
    """A second study with the same recipe takes equal architectures from the store, untrained."""
    folder, _ = searched
    before = points(folder)
    words = arguments(folder, study="again", trials=1, workers=0)
    again = result(nas_here("search", *words, "--json"))
    assert again["trials"]["reused"] >= 1
    assert points(folder) - before <= 2  # one new evaluation of two epochs at the most


def test_a_study_name_keeps_its_meaning(searched: tuple[Path, dict[str, object]]) -> None:
    """The same study name with another target is refused, and nothing is changed."""
    folder, _ = searched
    before = rows(folder, "SELECT count(*) FROM trials")
    run = nas_here("search", *arguments(folder, target_flops="60k"))
    assert run.returncode == 2
    assert "exists with another objective" in run.stderr
    assert "50000" in run.stderr
    assert rows(folder, "SELECT count(*) FROM trials") == before


def test_a_space_edited_under_a_study_is_refused(searched: tuple[Path, dict[str, object]]) -> None:
    """An edited space under the same study name is refused with the parameter that differs."""
    folder, _ = searched
    words = arguments(folder)
    space = Path(words[words.index("--space") + 1])
    space.write_text(space.read_text().replace('"3", "3.5"', '"3", "5"'))
    run = nas_here("search", *words)
    assert run.returncode == 2
    assert "stage1.kernels has choices 3, 3.5, now 3, 5" in run.stderr


def test_an_exhausted_space_ends_the_search(tmp_path: Path) -> None:
    """A search that asks for more trials than the space has architectures trains each once."""
    words = arguments(tmp_path, trials=60, epochs=1, images=32, max_flops="1M", workers=0)
    found = result(nas_here("search", *words, "--json"))
    ids = rows(tmp_path, "SELECT architecture_id FROM nas_evaluations")
    assert found["trials"]["complete"] == len(set(ids)) == len(ids) == 24


def test_no_trial_breaks_a_hard_limit(tmp_path: Path) -> None:
    """With --max-params every trial's parameters are within the limit before it trains."""
    words = arguments(tmp_path, trials=4, epochs=1, max_params=2000, images=32, workers=0)
    result(nas_here("search", *words, "--json"))
    assert max(rows(tmp_path, "SELECT params FROM nas_architectures"))[0] <= 2000


@pytest.fixture
def two_workers(tmp_path: Path) -> "Iterator[tuple[Path, subprocess.Popen[str], list[str]]]":
    """Start a search with two worker processes and wait for its first epochs."""
    words = arguments(tmp_path, trials=3, epochs=12, workers=2, images=320)
    words = ["search", *words, "--json"]
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: points(tmp_path) >= 4)
    yield tmp_path, process, words
    process.kill()
    process.communicate(timeout=60)


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    words = ["pgrep", "-P", str(pid)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout
    return [int(line) for line in found.split()]


def assert_whole(folder: Path, trials: int, epochs: int) -> None:
    """Hold that each evaluation was completed once, with every epoch once."""
    evaluations = rows(folder, "SELECT state FROM nas_evaluations")
    assert evaluations == [("complete",)] * trials
    curve = "SELECT count(*), count(DISTINCT epoch) FROM nas_curve_points GROUP BY evaluation_id"
    assert rows(folder, curve) == [(epochs, epochs)] * trials
    assert rows(folder, "SELECT count(*) FROM trials WHERE state = 'RUNNING'") == [(0,)]


def test_orphaned_workers_stop(
    two_workers: "tuple[Path, subprocess.Popen[str], list[str]]",
) -> None:
    """Workers whose driver was killed stop by themselves and leave their trials to others."""
    folder, process, _ = two_workers
    workers = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: all(map(is_gone, workers)), 60)
    free = rows(folder, "SELECT expires_at FROM nas_evaluations WHERE state = 'running'")
    assert free
    assert all(row[0] <= time.time() for row in free)


def test_a_sequential_search_repeats_itself(tmp_path: Path) -> None:
    """Two stores, one seed, one worker: the same trials with the same values."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        result(nas_here("search", *arguments(folder, trials=3, images=64, workers=0), "--json"))
        study = optuna.load_study(study_name="tiny", storage=store_of(folder))
        found.append([(trial.params, trial.value) for trial in study.trials])
    assert found[0] == found[1]


def test_a_study_goes_on_from_another_folder(
    searched: tuple[Path, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nas resume with the store's URL alone finds data, checkpoints and the study's folder."""
    folder, _ = searched
    words = ("--study", "tiny", "--store", store_of(folder), "--trials", "4", "--json")
    monkeypatch.chdir(tmp_path)
    again = result(nas_here("resume", *words, "--workers", "0"))
    assert again["trials"]["complete"] + again["trials"]["pruned"] == 4
    assert Path(again["best"]["code"]).is_relative_to(folder)
    assert not list(tmp_path.iterdir())


def test_the_three_lines_of_the_python_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nas.search(...)` from a plain script with two workers gives a study whose best builds."""
    words = arguments(tmp_path)
    options = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    kept = {k: options[k] for k in ("space", "data", "target_flops", "study", "store", "out")}
    script = tmp_path / "script.py"
    script.write_text(
        "import nas\n"
        f"study = nas.search(**{kept!r}, trials=2, epochs=1, workers=2, finalists=0)\n"
        "model = study.best.build()\n"
        "print(sum(p.numel() for p in model.parameters()) == study.best.trial.cost.params)\n"
    )
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, timeout=240
    )
    assert run.stdout.strip() == "True", run.stderr


def test_a_failing_trial_is_recorded_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that diverges is stored as failed with its reason; the others are completed."""
    from nas.errors import Diverged
    from nas.training import trainer

    original, calls = trainer.train, []

    def fails_first(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise Diverged("The training loss became nan in epoch 1, step 3.")
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "train", fails_first)
    words = arguments(tmp_path)
    options = dict(zip((w[2:].replace("-", "_") for w in words[::2]), words[1::2], strict=True))
    options |= {"trials": 3, "epochs": 1, "workers": 0, "finalists": 0, "folds": 1}
    found = commands.search(**options)  # type: ignore[arg-type]
    assert (found.counts.failed, found.counts.complete) == (1, 2)
    with queries.connect(store_of(tmp_path)) as connection:
        study = queries.study(connection, "tiny")
        reasons = queries.failures(connection, study.id)
    assert reasons == {"Diverged: The training loss became nan in epoch 1, step 3.": 1}
