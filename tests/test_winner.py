"""The end of a search: it is read once, written whole, and the test split is looked at once."""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from search_kit import write_inputs
from torch.testing import assert_close

from nas.commands import search as searching
from nas.commands.search import search
from nas.config import Config
from nas.store import queries, schema
from nas.store.store import Store
from nas.study import winner


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny search that came to its end, without what the dashboard shows."""
    folder = tmp_path_factory.mktemp("winner")
    space, data = write_inputs(folder, 24)
    search(
        space, data, "50k", trials=2, epochs=1, workers=0, study="tiny", pruner="none",
        sampler="random", finalists=0, showcase=False,
        store=f"sqlite:///{folder}/nas.db", out=str(folder / "studies"),
    )  # fmt: skip
    return folder


@pytest.fixture
def store(searched: Path) -> Iterator[Store]:
    """Open the search's store."""
    made = Store.open(f"sqlite:///{searched}/nas.db")
    yield made
    made.close()


def conclude(store: Store) -> winner.Best:
    """Conclude the search, which has a winner."""
    best = winner.conclude(store, "tiny")
    assert best is not None
    return best


def test_a_search_hands_back_code_weights_result_and_picture(searched: Path) -> None:
    """All files of the winner are in the study's folder, and are artifacts of the study."""
    folder = searched / "studies" / "tiny"
    for name in ("best/model.py", "best/model.safetensors", "best/architecture.json",
                 "result.json", "search.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    with queries.connect(f"sqlite:///{searched}/nas.db") as connection:
        kinds = connection.execute(sa.text("SELECT kind FROM nas_artifacts ORDER BY id")).scalars()
        kinds = list(kinds)
    assert kinds == ["code", "picture"]


def test_the_end_reads_the_store_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Picture, notes and result are made of the rows of one reading."""
    readings = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self: (readings.append(1), read(self))[1])
    conclude(store)
    assert len(readings) == 1


def test_a_winner_is_not_looked_at_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concluding again takes the stored look at the test split, and counts no other."""
    first = conclude(store)
    monkeypatch.setattr(winner, "_look", lambda *_: pytest.fail("the test split was looked at"))
    again = conclude(store)
    assert (again.test, again.test_looks) == (first.test, 1)
    assert again.to_json() == first.to_json()


def test_of_two_drivers_one_looks(
    store: Store, searched: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two drivers that end together look at the test split once; who waits says so."""
    looks = []
    look = winner._look

    def slow(*arguments: Any) -> dict[str, float]:
        looks.append(time.sleep(1.5))
        return look(*arguments)

    monkeypatch.setattr(winner, "_look", slow)
    with store.write() as connection:
        connection.execute(schema.TEST_LOOKS.delete())
        config = Config.from_json(queries.study(connection, "tiny").config)
    prepared: Any = SimpleNamespace(name="tiny", config=config)
    with ThreadPoolExecutor() as drivers:
        stores = [Store.open(f"sqlite:///{searched}/nas.db") for _ in range(2)]
        ends = list(drivers.map(lambda mine: searching._conclude(prepared, mine), stores))
    for each in stores:
        each.close()
    assert len(looks) == 1
    assert [end.test_looks for end in ends if end is not None] == [1, 1]
    assert "waiting for another driver's end" in caplog.text


def test_weights_that_are_gone_are_trained_again(store: Store) -> None:
    """The same training under the same seed gives the same weights, and they are kept."""
    first = conclude(store)
    with store.read() as connection:
        evaluation = queries.evaluation(connection, first.trial.evaluation_id)
    assert evaluation.checkpoint is not None
    shutil.rmtree(Path(evaluation.checkpoint))
    before = first.build().state_dict()
    after = conclude(store).build().state_dict()
    for name, weights in before.items():
        assert_close(after[name], weights, rtol=1e-3, atol=1e-4)
    assert any(Path(evaluation.checkpoint).iterdir())


def test_the_result_says_what_was_found_without_paths(store: Store, searched: Path) -> None:
    """result.json has the winner, the counts, the best trials and the question, no path."""
    best = conclude(store)
    result: dict[str, Any] = json.loads((searched / "studies/tiny/result.json").read_text())
    assert result["study"] == "tiny"
    assert result["best"]["trial"] == best.trial.number
    assert result["trials"]["complete"] == 2
    assert result["top"][0]["trial"] == best.trial.number
    assert result["config"]["objective"]["target_flops"] == 50_000
    assert not {"folder", "data", "checkpoints", "space"} & set(result["config"])


def test_without_a_complete_trial_there_is_no_winner(store: Store) -> None:
    """A study where nothing was trained whole is concluded with nothing, and no file is written."""
    with store.read() as connection:
        config = queries.study(connection, "tiny").config
    store.create_study("empty", {**config, "folder": "/nowhere"})
    assert winner.conclude(store, "empty") is None
