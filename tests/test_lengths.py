"""A short time limit makes trainings shorter, so that a few of them end within it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config import Config
from nas.executors import STARTING
from nas.executors import _processors as processors
from nas.study import lengths, preparation
from nas.study.options import read
from nas.study.preparation import Prepared, open_study, prepare

HOURS = st.floats(0.01, 1e5)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where a training is thought to take 15 minutes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preparation, "_estimate", lambda *_: 900.0)
    return tmp_path


def prepared(heard: list[str], **options: object) -> Prepared:
    """Prepare a search of digits on one worker."""
    wanted = {"target_flops": "2M", "workers": 1, "trials": 20, **options}
    return prepare(read(wanted), say=heard.append)


@given(HOURS, st.integers(1, 50), st.integers(1, 16), HOURS, st.just(0.0) | HOURS)
def test_what_is_shortened_fits(
    seconds: float, trials: int, workers: int, each: float, full: float
) -> None:
    """Both parts of the time hold what they are to hold; nothing is cut that fits as it is."""
    part, final_part = lengths.parts(seconds, trials, workers, each, full)
    wanted = min(trials, lengths.ENOUGH) * each / workers
    spent = wanted * part + full * final_part
    assert 0 < part <= 1
    assert 0 < final_part <= 1
    assert spent <= seconds * 1.0001
    if wanted <= 0.4 * seconds and full <= 0.4 * seconds:
        assert (part, final_part) == (1.0, 1.0)


def test_a_short_limit_makes_trainings_shorter_and_says_so(slow: Path) -> None:
    """Trials, trainings in full and their planned times shrink; the first lines say by how much."""
    heard: list[str] = []
    whole = prepared(heard, time="100h")
    assert heard == []
    short = prepared(heard, time="20m")
    (line,) = heard
    updates = short.config.recipe.epoch_updates
    assert (
        f"a trial has {updates} updates an epoch, not the {whole.config.recipe.epoch_updates}"
        in line
    )
    assert " and a finalist has " in line
    assert 8 * short.estimate <= 10 * 60
    assert whole.config.finals is not None
    assert short.config.finals is not None
    assert short.config.finals.recipe.epoch_updates < whole.config.finals.recipe.epoch_updates
    assert short.final_estimate <= 10 * 60


def test_only_what_is_shorter_is_named(slow: Path) -> None:
    """One trial fits and a training in full does not: the line is about the finalist alone."""
    heard: list[str] = []
    prepared(heard, time="40m", trials=1)
    (line,) = heard
    assert line.startswith("a finalist has ")


@pytest.mark.parametrize("length", [{"epochs": 3}, {"set": "training.epoch_updates=40"}])
def test_a_length_that_was_asked_for_stays(slow: Path, length: dict[str, object]) -> None:
    """Where the user says how long a training is, no limit makes it shorter."""
    heard: list[str] = []
    given_ = prepared(heard, time="1m", **length)
    assert heard == []
    assert given_.config.recipe == prepared(heard, time="100h", **length).config.recipe


def test_the_same_command_goes_on_with_the_stored_length(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study keeps the length it began with, whatever is measured or allowed later."""
    heard: list[str] = []
    first = prepared(heard, time="20m")
    open_study(first).close()
    monkeypatch.setattr(preparation, "_estimate", lambda *_: 400.0)
    for time in ("20m", "5m", "100h"):
        again = prepared(heard, time=time)
        assert again.config == first.config
        open_study(again).close()


def test_another_recipe_is_not_taken_for_a_shorter_one(slow: Path) -> None:
    """Only a length may differ from the recipe that the options give."""
    before = prepared([], time="100h").config
    recipe = replace(before.recipe, epoch_updates=before.recipe.epoch_updates // 2)

    def stored(**changes: object) -> Config:
        config = replace(before, recipe=replace(recipe, **changes))
        return lengths.as_stored(before, config.to_json())

    assert stored().recipe == recipe
    assert stored(seed=1).recipe == before.recipe


@pytest.mark.parametrize(
    ("executor", "workers", "seconds"),
    [
        ("local", 2, STARTING + 2 * 900),
        ("local", 3, 1.5 * STARTING + 900),
        ("in-process", None, 3 * 900),
    ],
)
def test_all_trials_take_their_turns_and_the_workers_start(
    slow: Path,
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    workers: int | None,
    seconds: float,
) -> None:
    """Three trials of 15 minutes: on two workers in two turns; processes take a while to begin."""
    monkeypatch.setattr(processors, "granted", lambda: 2)
    asked = prepared([], trials=3, time=None, executor=executor, workers=workers)
    assert asked.expected == seconds
