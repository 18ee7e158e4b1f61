"""Whole studies that look metrics up in a table: kills, stops and resumptions change nothing."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import table_kit
from search_kit import is_gone
from store_kit import opened, ready
from test_search import children, until

from nas.store import checking, queries
from nas.store.store import Store
from nas.study.contents import compare

LADDER, PLAIN = 12, 10  # trials of a study with a ladder, of one without


@dataclass(frozen=True)
class Ended:
    """What a study has in the end: evaluations by their trials' numbers, the winner."""

    evaluations: list[tuple[object, ...]]
    winner: tuple[object, ...]
    attempts: int


def ended(url: str) -> Ended:
    """Read a study that has ended; hold that each evaluation and each epoch is there once.

    The store is sound, whatever was killed.
    """
    assert checking.check(url, compare).findings == ()
    with opened(url) as store, store.read() as connection:
        study = queries.study(connection, table_kit.STUDY).id
        trials = queries.trials(connection, study)
        best = queries.best(connection, study, 1)[0]
        for trial in trials:
            curve = queries.curve(connection, trial.evaluation_id)
            assert [point.epoch for point in curve] == list(range(1, trial.fidelity + 1))
            table = table_kit.table(trial.architecture_id, trial.fidelity)
            assert curve[-1].metrics == trial.metrics == table
    assert {trial.state for trial in trials} <= {"complete", "pruned"}
    keys = [(trial.architecture_id, trial.fidelity) for trial in trials]
    assert max(Counter(keys).values()) == 1
    assert [trial.number for trial in trials] == list(range(len(trials)))
    return Ended(
        [(t.number, t.architecture_id, t.fidelity, t.state, t.score) for t in trials],
        (best.number, best.architecture_id, best.fidelity, best.score),
        sum(trial.attempt for trial in trials),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Return how the studies end with one worker that nothing happens to."""
    found = {}
    for pruner, trials in (("successive_halving", LADDER), ("none", PLAIN)):
        folder = tmp_path_factory.mktemp(pruner)
        with ready("sqlite", folder) as url:
            config = table_kit.study(url, folder, pruner=pruner)
            process = table_kit.start(url, config, trials, 1)
            process.join(120)
            assert process.exitcode == 0
            found[pruner] = ended(url)
            assert found[pruner].attempts == len(found[pruner].evaluations)
    return found


def points(store: Store) -> int:
    """Count the epochs that are stored."""
    with store.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM nas_curve_points").scalar_one())


def killed_and_resumed(url: str, folder: Path, config: Any, trials: int, workers: int) -> None:
    """Run a study to its end; on the way a worker, a driver and its workers die, one is stopped.

    However slow the machine is, the study waits for each of these.
    """

    def further() -> None:
        before = points(store)
        table_kit.grant(folder, 3)  # one more than is waited for: a kill may lose one
        until(lambda: points(store) >= before + 2, 60)

    table_kit.grant(folder, 0)
    with opened(url) as store:
        process = table_kit.start(url, config, trials, workers)
        further()
        os.kill(children(process.pid)[0], signal.SIGKILL)
        further()
        for pid in [process.pid, *children(process.pid)]:
            with suppress(ProcessLookupError):  # a worker ends by itself without its driver
                os.kill(pid, signal.SIGKILL)
        process.join(60)
        process = table_kit.start(url, config, trials, workers)
        further()
        orphans = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        until(lambda: all(map(is_gone, orphans)), 60)
        process = table_kit.start(url, config, trials, workers)
        further()
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 130
        with store.read() as connection:
            study = queries.study(connection, table_kit.STUDY).id
            assert all(trial.stopped for trial in queries.running(connection, study))
        (folder / "granted").unlink()
        process = table_kit.start(url, config, trials, workers)
        process.join(120)
        assert process.exitcode == 0


def test_a_climb_that_is_killed_and_resumed_is_the_same(
    url: str, tmp_path: Path, undisturbed: dict[str, Ended]
) -> None:
    """On a ladder: the same evaluations in the same order, each once, and the same winner."""
    config = table_kit.study(url, tmp_path)
    killed_and_resumed(url, tmp_path, config, LADDER, 1)
    found, whole = ended(url), undisturbed["successive_halving"]
    assert found.evaluations == whole.evaluations
    assert found.winner == whole.winner
    assert found.attempts > whole.attempts
    assert {fidelity for _, _, fidelity, *_ in found.evaluations} == {1, 3, 9}
    assert found.winner[2] == table_kit.EPOCHS


def test_workers_that_are_killed_share_out_the_same_trials(
    url: str, tmp_path: Path, undisturbed: dict[str, Ended]
) -> None:
    """Two workers, random proposals: number by number the evaluations that one worker makes."""
    config = table_kit.study(url, tmp_path, pruner="none")
    killed_and_resumed(url, tmp_path, config, PLAIN, 2)
    found = ended(url)
    assert found.evaluations == undisturbed["none"].evaluations
    assert found.winner == undisturbed["none"].winner


def test_two_drivers_share_one_study(
    url: str, tmp_path: Path, undisturbed: dict[str, Ended]
) -> None:
    """Two commands at once: the budget holds, nothing is evaluated twice, both end well."""
    config = table_kit.study(url, tmp_path, pruner="none")
    both = [table_kit.start(url, config, PLAIN, 2) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    found = ended(url)
    assert found.evaluations == undisturbed["none"].evaluations
    assert found.attempts == PLAIN


def test_an_epoch_is_evaluated_once_but_for_a_kill(tmp_path: Path) -> None:
    """A stop costs no epoch: each goes on from its checkpoint, on the next rung, too."""
    with ready("sqlite", tmp_path) as url, opened(url) as store:
        config = table_kit.study(url, tmp_path)
        table_kit.grant(tmp_path, 4)
        process = table_kit.start(url, config, LADDER, 2)
        until(lambda: points(store) >= 3, 60)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        (tmp_path / "granted").unlink()
        process = table_kit.start(url, config, LADDER, 2)
        process.join(120)
        assert process.exitcode == 0
        ended(url)
    logs = list(tmp_path.rglob("epochs"))
    assert len(logs) == LADDER
    for log in logs:
        lines = log.read_text().splitlines()
        assert lines == [str(epoch) for epoch in range(1, len(lines) + 1)]


def test_a_paused_worker_that_was_replaced_changes_nothing(tmp_path: Path) -> None:
    """Stopped for longer than its lease and woken after its successor's end, it lets go."""
    with ready("sqlite", tmp_path) as url, opened(url) as store:
        table_kit.study(url, tmp_path, pruner="none")
        table_kit.grant(tmp_path, 3)
        asleep = table_kit.start_worker(url, "asleep", trials=1, lease=0.5)
        until(lambda: points(store) >= 2, 60)
        os.kill(asleep.pid, signal.SIGSTOP)
        (tmp_path / "granted").unlink()
        time.sleep(0.6)
        awake = table_kit.start_worker(url, "awake", trials=1, lease=0.5)
        awake.join(60)
        before = ended(url)
        os.kill(asleep.pid, signal.SIGCONT)
        asleep.join(60)
        assert (awake.exitcode, asleep.exitcode) == (0, 0)
        assert ended(url) == before
        assert before.attempts == 2
    (journal,) = (tmp_path / table_kit.STUDY / "logs").glob("*.jsonl")
    assert '"event": "left"' in journal.read_text().splitlines()[-1]
