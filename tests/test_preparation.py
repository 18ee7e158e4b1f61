"""What a search is made of before it begins."""

from pathlib import Path

import pytest

from nas.study.options import read
from nas.study.preparation import prepare


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
