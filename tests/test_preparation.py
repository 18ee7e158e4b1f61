"""What a search is made of before it begins."""

from dataclasses import replace
from pathlib import Path

import pytest
from store_kit import CONFIG, opened, ready_file
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import UserError
from nas.study.options import read
from nas.study.preparation import open_study, prepare, study_folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_stays_a_name(here: Path) -> None:
    """A data set's name is stored as it is, also where a folder of that name lies about."""
    (here / "digits").mkdir()
    prepared = prepare(read({"target_flops": "2M", "trials": 1, "epochs": 1}))
    assert prepared.config.data == "digits"
    assert prepared.config.folder == str(here / "studies" / "mixconv-digits-2M")
    assert prepared.config.limits.macs == 3_000_000
    assert prepared.left_out == (24, 28, 32, 48, 56, 64, 96, 128, 160, 192, 224)
    assert sorted(here.iterdir()) == [here / "digits"]


def test_a_study_of_before_goes_on_with_the_kernels_it_has(here: Path) -> None:
    """A new study's kernels fit their maps; one stored without that is the same study as before."""
    options = read({"target_flops": "2M", "trials": 1, "epochs": 1, "store": f"sqlite:///{here}/n"})
    new = prepare(options)
    assert new.config.space.fit_kernels
    as_before = replace(new.config.space, fit_kernels=False)
    open_study(replace(new, config=replace(new.config, space=as_before))).close()
    again = prepare(options)
    assert again.config.space == as_before
    open_study(again).close()


def taken(here: Path, name: str) -> None:
    """Put something into the way of a study of this name."""
    folder = here / "studies" / name
    (folder.parent if name == "file" else folder).mkdir(parents=True)
    if name != "empty":
        (folder if name == "file" else folder / "notes.txt").write_text("mine")


@pytest.mark.parametrize("name", ["file", "folder", "artifacts", "empty"])
@pytest.mark.parametrize("verb", ["search", "train"])
def test_a_folder_of_somebody_else_is_left_alone(name: str, verb: str, here: Path) -> None:
    """A study has no file's name and no folder with other files in it: nothing is written."""
    taken(here, name)
    before = sorted(here.rglob("*"))
    words = ["--study", name, "--epochs", "1", "--store", f"sqlite:///{here}/nas.db"]
    what = ["--target-flops", "2M"] if verb == "search" else ["efficientnet_b0", "--out", "trained"]
    if name == "empty":
        options = read({"study": name, "target_flops": "2M", "trials": 1, "epochs": 1})
        assert prepare(options).config.folder == str(here / "studies/empty")
        return
    ended = CliRunner().invoke(app, [verb, *what, *words])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert str(here / "studies" / name) in ended.stderr.replace("\n", "")
    told = "can't be made" if name == "file" else "Give another --study, --out or --store."
    assert told in ended.stderr
    assert sorted(here.rglob("*")) == before


def test_a_study_s_own_folder_is_no_obstacle(here: Path) -> None:
    """A study that the store has, or may have, goes on; to another store it is somebody's."""
    folder = here / "studies/mine"
    folder.mkdir(parents=True)
    (folder / "x").touch()
    urls = {}
    for study in ("mine", "other"):
        (here / study).mkdir()
        urls[study] = ready_file(here / study)
        with opened(urls[study]) as store:
            store.create_study(study, {**CONFIG, "trials": 5})
    assert study_folder("studies", "mine", urls["mine"]) == str(folder)
    with pytest.raises(UserError, match="has no such study"):
        study_folder("studies", "mine", urls["other"])
    away = "postgresql://nas@127.0.0.1:9/nas"
    assert study_folder("studies", "mine", away) == str(folder)


@pytest.mark.parametrize(
    ("trials", "time", "expected"),
    [
        (None, None, (24, 1800.0)),
        (5, None, (5, None)),
        (None, "2h", (None, 7200.0)),
        (5, 90, (5, 90.0)),
    ],
)
def test_the_default_budget_counts_only_without_another(
    trials: int | None, time: str | None, expected: tuple[int | None, float | None]
) -> None:
    """24 trials or 30 minutes hold where neither is given."""
    complete = read({"trials": trials, "time": time}).complete()
    assert (complete.trials, complete.time) == expected
