"""A study whose store moved, or is away for a while: nothing is lost or trained again."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from search_kit import arguments, nas_here, result

from nas.errors import StoreAway
from nas.store import queries


def weights(folder: Path) -> set[Path]:
    """Return the files of weights below a folder."""
    return set(folder.rglob("weights.safetensors"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, store and studies of a search that has ended."""
    folder = tmp_path_factory.mktemp("searched") / "old"
    folder.mkdir()
    assert nas_here("search", *arguments(folder, workers=0)).returncode == 0
    trained = folder / "studies" / "tiny" / "checkpoints"
    assert all(any(each.iterdir()) for each in trained.iterdir())  # no empty folder is left
    return folder


@pytest.mark.parametrize("place", ["gone", "a file", "still there"])
def test_a_study_that_moved_is_exported_and_gone_on_with(
    place: str, searched: Path, tmp_path: Path
) -> None:
    """It is exported without its data and resumed in its new folder; the old one is left alone."""
    new, kept, out = tmp_path / "new", searched.with_name("kept"), tmp_path / "out"
    shutil.copytree(searched, new)
    if place != "still there":
        searched.rename(kept)
    if place == "a file":
        searched.touch()
    try:
        before = {path: path.stat().st_mtime_ns for path in searched.parent.rglob("*")}
        store = ("--store", f"sqlite:///{new}/nas.db")
        aside = (new / "tones.npz").rename(tmp_path / "tones.npz")
        config = result(nas_here("export", *store, "--out", str(out), "--json"))
        assert Path(config["code"]).read_text() == (new / "studies/tiny/best/model.py").read_text()
        aside.rename(new / "tones.npz")
        resumed = nas_here("resume", "--study", "tiny", "--trials", "4", *store, "--workers", "0")
        assert resumed.returncode == 0, resumed.stderr
        assert len(weights(new)) == 4
        assert result(nas_here("store", "check", *store, "--json"))["findings"] == []
        after = {path: path.stat().st_mtime_ns for path in searched.parent.rglob("*")}
        assert after == before
    finally:
        if place == "a file":
            searched.unlink()
        if place != "still there":
            kept.rename(searched)


def test_a_database_that_is_away_at_the_start_is_waited_for(
    searched: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The terminal says so, and the search goes on when it is back."""
    opened, away = queries.connect, iter([True, True])

    def connect(url: str, **options: bool) -> Any:
        if next(away, False):
            raise StoreAway("Can't read the store: connection refused.")
        return opened(url, **options)

    monkeypatch.setattr(queries, "connect", connect)
    store = ("--store", f"sqlite:///{searched}/nas.db", "--workers", "0")
    resumed = nas_here("resume", "--study", "tiny", "--trials", "3", *store)
    assert resumed.returncode == 0, resumed.stderr
    assert caplog.text.count("waiting for the database: Can't read the store") == 2
