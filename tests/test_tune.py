"""Ray Tune on a study of ours: what ASHA stops is pruned, a killed driver loses nothing."""

import json
import signal
import sqlite3
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
import ray_kit
from search_kit import ROOT, write_inputs

from nas.errors import StoreError, UserError

DRIVER = str(Path(__file__).with_name("tune_driver.py"))
EPOCHS = 4

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

from nas.tune import NasSearch, trainable  # noqa: E402 # after the skip


def words(folder: Path, samples: int, how: str) -> list[str]:
    """Return the command of a driver."""
    return [sys.executable, DRIVER, str(folder), str(samples), str(EPOCHS), how]


def tuned(head: ray_kit.Cluster, folder: Path, samples: int, how: str) -> dict[str, list[object]]:
    """Run a driver to its end; return Tune's results by the number of the study's trial."""
    ended = head.run(*words(folder, samples, how), RAY_ADDRESS=head.address)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, list[object]] = json.loads(ended.stdout.splitlines()[-1])
    return found


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Read the database; nothing before it has tables."""
    try:
        with sqlite3.connect(f"file:{folder}/nas.db?mode=ro", uri=True, timeout=30) as connection:
            return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []


def study_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the trials as Optuna reads them, without those that were answered from the store."""
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/nas.db")
    return [trial for trial in study.trials if "reused_from" not in trial.user_attrs]


def assert_whole(folder: Path, samples: int) -> None:
    """Hold that each trial ended, that its epochs are there once, and that limits were kept."""
    trials = study_of(folder)
    assert len(trials) == samples
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    for trial in trials:
        reached = list(trial.intermediate_values)
        assert reached == list(range(1, len(reached) + 1))
        assert (len(reached) == EPOCHS) == (trial.state.name == "COMPLETE")
        assert trial.user_attrs["macs"] <= 60_000
    curve = "SELECT count(*), count(DISTINCT epoch) FROM nas_curve_points GROUP BY evaluation_id"
    assert all(count == distinct for count, distinct in rows(folder, curve))
    assert rows(folder, "SELECT study_name FROM studies") == [("tiny",)]


def test_what_asha_stops_is_pruned_with_its_step(head: ray_kit.Cluster, tmp_path: Path) -> None:
    """Tune's trials name the study's and agree with them; the same script again trains nothing.

    SIGKILL of the driver: `Tuner.restore` ends with as many trials of the same study. The epochs
    that a trial had before are shown to Tune again, which may stop it at one of them there.
    """
    write_inputs(tmp_path, 48)
    driver = head.popen(*words(tmp_path, 6, "fresh"), RAY_ADDRESS=head.address)
    end = time.monotonic() + 240
    ended = "SELECT 1 FROM nas_evaluations WHERE state <> 'running'"
    saved = tmp_path / "ray" / "tiny"
    while not (rows(tmp_path, ended) and list(saved.glob("searcher-state-*"))):
        assert driver.poll() is None, driver.communicate(timeout=60)[1][-3000:]
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=60)
    trained = "SELECT evaluation_id, epoch, seconds FROM nas_curve_points"  # kept by a checkpoint
    before = rows(tmp_path, trained)
    begun_before = [trial.number for trial in study_of(tmp_path)]
    found = tuned(head, tmp_path, 6, "restore")
    assert_whole(tmp_path, 6)
    assert set(before) <= set(rows(tmp_path, trained))
    for trial in study_of(tmp_path):
        epoch, score, error = found[str(trial.number)]
        assert error == ""
        assert epoch == max(trial.intermediate_values) or trial.number in begun_before
        assert score == pytest.approx(trial.intermediate_values[epoch])
    points = rows(tmp_path, "SELECT * FROM nas_curve_points")
    assert tuned(head, tmp_path, 6, "fresh").keys() == found.keys()
    assert rows(tmp_path, "SELECT * FROM nas_curve_points") == points
    assert_whole(tmp_path, 6)


def test_the_documented_example_runs(head: ray_kit.Cluster, tmp_path: Path) -> None:
    """With one epoch and two trials: both are in the study that it names, within its limit."""
    text = (ROOT / "docs/guides/ray-tune.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    for long, short in (("epochs=20", "epochs=1"), ("num_samples=24", "num_samples=2")):
        assert long in code
        code = code.replace(long, short)
    code = code.replace(", grace_period=2", "")
    (tmp_path / "example.py").write_text(f"{code}\nimport os\nmain()\nos._exit(0)\n")
    more = {"HOME": str(tmp_path), "RAY_ADDRESS": head.address}  # results go to the home folder
    driver = head.popen(sys.executable, "example.py", cwd=tmp_path, **more)
    _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, errors[-3000:]
    study = optuna.load_study(study_name="tune-2M", storage=f"sqlite:///{tmp_path}/studies/nas.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert all(trial.user_attrs["params"] <= 500_000 for trial in study.trials)


def searching(folder: Path, **changes: object) -> NasSearch:
    """Make a searcher of a tiny study; nothing of Ray is started."""
    space, data = write_inputs(folder, 16)
    options = {"study": "tiny", "store": f"sqlite:///{folder}/nas.db", "epochs": 2}
    options |= {"out": str(folder / "studies")}
    return NasSearch(space, data, "50k", **(options | changes))


def test_a_study_is_named_and_keeps_its_meaning(tmp_path: Path) -> None:
    """The same name with other epochs is refused; with the same configuration it goes on."""
    first = searching(tmp_path).suggest("a")
    with pytest.raises(StoreError, match="tiny"):
        searching(tmp_path, epochs=3)
    again = searching(tmp_path)
    assert isinstance(first, dict)
    assert again.suggest("b") == first
    other = again.suggest("c")
    assert isinstance(other, dict)
    assert other["trial"] == first["trial"] + 1


def test_an_experiment_is_restored_to_its_own_study(tmp_path: Path) -> None:
    """Trials that Tune names are not named again; a study made anew is another one."""
    first, state = searching(tmp_path), tmp_path / "state.json"
    named = first.suggest("a")
    first.save(str(state))
    again = searching(tmp_path)
    again.restore(str(state))
    assert again.suggest("b") != named
    state.write_text(state.read_text().replace('"study_id": 1', '"study_id": 7'))
    with pytest.raises(StoreError, match="deleted and made anew"):
        again.restore(str(state))


def test_what_tune_stops_before_an_epoch_stays_free(tmp_path: Path) -> None:
    """It is neither pruned nor failed: the next experiment on the study names it first."""
    search = searching(tmp_path)
    named = search.suggest("a")
    search.on_trial_complete("a")
    assert searching(tmp_path).suggest("b") == named


@pytest.mark.parametrize("place", ["me:hush@127.0.0.1:1/db", "me@127.0.0.1:1/db?password=hush"])
def test_no_password_gets_into_tunes_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL with one is refused where it is given, and left to NAS_STORE where it stands there."""
    url = f"postgresql://{place}"
    with pytest.raises(UserError, match="NAS_STORE") as refused:
        trainable("tiny", store=url)
    assert "hush" not in str(refused.value)
    monkeypatch.setenv("NAS_STORE", url)
    made = trainable("tiny")
    assert [cell.cell_contents for cell in made.__closure__ or ()] == ["tiny", None]


@pytest.mark.parametrize("option", [{"trials": 3}, {"pruner": "median"}, {"workers": 2}])
def test_what_tune_decides_is_refused(option: dict[str, object], tmp_path: Path) -> None:
    """A budget, a pruner and workers belong to the Tuner; nothing is written."""
    with pytest.raises(UserError, match="Tuner decides"):
        searching(tmp_path, **option)
    assert not (tmp_path / "nas.db").exists()
