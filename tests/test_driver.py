"""The driver: which workers it starts again, when it gives up, and what it shows."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from store_kit import opened, proposal, ready_file, trials

from nas.errors import NasError, UserError
from nas.executors import MISTAKE, Handle, Work
from nas.store import queries
from nas.study import driver as drivers
from nas.study.driver import Driver
from nas.study.progress import Progress
from nas.study.worker import WorkOrder


@dataclass
class Scripted:
    """An executor whose workers end with the given statuses, in the order of their starts.

    None is a worker that never ends; `words` are the last of a dead worker.
    """

    statuses: list[int | None]
    workers: int = 1
    threads: int = 1
    words: str = "killed"
    started: list[str] = field(default_factory=list)
    stopped: int = 0

    def start(self, work: Work) -> Handle:
        """Start a worker that has its end behind it."""
        self.started.append(json.loads(work.order)["worker"])
        status = self.statuses[min(len(self.started), len(self.statuses)) - 1]
        return SimpleNamespace(
            poll=lambda: status, stop=self._stop, wait=lambda _: None, kill=lambda: None,
            last_words=lambda: self.words,
        )  # type: ignore[return-value]  # fmt: skip

    def _stop(self) -> None:
        self.stopped += 1

    def close(self) -> None:
        """Hold nothing."""


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the driver waits for, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(drivers.time, "sleep", seconds.append)
    return seconds


def drive(folder: Path, executor: Scripted, seen: list[Progress] | None = None) -> Driver:
    """Return the driver of an empty study."""
    url = ready_file(folder)
    with opened(url) as store:
        trials(store)
    order = WorkOrder(store=url, study="s", worker="", trials=4, threads=1)
    watch = (seen if seen is not None else []).append
    config: Any = SimpleNamespace(folder=str(folder))
    return Driver(order, config, executor, 60.0, watch)


def test_a_dead_worker_is_started_again_under_its_name(tmp_path: Path, slept: list[float]) -> None:
    """Each death is waited for a second longer; workers that ended stay ended."""
    executor = Scripted([0, -9, -9, 0], workers=2)
    assert drive(tmp_path, executor).run()
    names = [name.rpartition(":")[2] for name in executor.started]
    assert names == ["1", "2", "2", "2"]
    assert [seconds for seconds in slept if seconds >= 1] == [1, 2]


def test_a_dead_worker_leaves_its_trial_to_others(tmp_path: Path, slept: list[float]) -> None:
    """Its lease is ended at once, not when it runs out."""
    executor = Scripted([-9, 0])
    driver = drive(tmp_path, executor)
    start = executor.start

    def begin(work: Work) -> Handle:
        handle = start(work)
        if len(executor.started) == 1:
            with opened(driver.order.store) as store:
                trials(store, worker=executor.started[0]).start(proposal())
        return handle

    executor.start = begin  # type: ignore[method-assign]
    assert driver.run()
    with queries.connect(driver.order.store) as connection:
        (trial,) = queries.running(connection, queries.study(connection, "s").id)
    assert trial.stopped
    assert slept


@pytest.mark.usefixtures("slept")
def test_workers_that_die_again_and_again_end_the_search(tmp_path: Path) -> None:
    """After 20 deaths without progress the error names the last status and its words."""
    executor = Scripted([-11], words="segmentation fault")
    with pytest.raises(NasError, match="21 workers died, the last with status -11: segmentation"):
        drive(tmp_path, executor).run()
    assert len(executor.started) == drivers.MAX_RESTARTS + 1
    assert executor.stopped == 1


@pytest.mark.usefixtures("slept")
@pytest.mark.parametrize("year", [-1, 1])
def test_a_clock_that_is_set_changes_no_time_limit(
    year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers learn how many seconds are left; at the end they are asked to stop, once each."""
    executor, orders, wall = Scripted([None], workers=2), [], time.time
    start = executor.start

    def begin(work: Work) -> Handle:
        orders.append(json.loads(work.order))
        monkeypatch.setattr(time, "time", lambda: wall() + year * 365 * 86_400)
        return SimpleNamespace(
            **vars(start(work)) | {"poll": lambda: 0 if executor.stopped else None}
        )  # type: ignore[return-value]

    executor.start = begin  # type: ignore[method-assign]
    driver = drive(tmp_path, executor)
    driver.deadline = time.monotonic() + 0.5
    assert driver.run()
    assert 0 <= time.monotonic() - driver.deadline < 30
    assert executor.stopped == 2
    assert [0 < order["seconds"] <= 0.5 for order in orders] == [True, True]


@pytest.mark.usefixtures("slept")
def test_a_mistake_of_the_user_is_raised_as_it_is(tmp_path: Path) -> None:
    """A worker that ends with a user's mistake is not started again."""
    executor = Scripted([1], words=f"{MISTAKE}No such data.")
    with pytest.raises(UserError, match=r"^No such data\.$"):
        drive(tmp_path, executor).run()
    assert len(executor.started) == 1


def test_progress_forgives_deaths(
    tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deaths are counted since the study last came further: then many more are survived."""
    executor = Scripted([-9] * 2 * drivers.MAX_RESTARTS + [0])
    driver = drive(tmp_path, executor)
    monkeypatch.setattr(drivers, "SHOWN", 0.0)
    monkeypatch.setattr(drivers, "SHARE", 1e9)
    done = iter(range(1000))
    read = driver.read
    monkeypatch.setattr(
        driver, "read", lambda began: SimpleNamespace(done=next(done), of=read(began))
    )
    assert driver.run()
    assert max(slept) == 1  # each death is the first since the study came further


def test_ctrl_c_stops_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who ends the search gets False, and every worker is asked to stop."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drivers.time, "sleep", interrupt)
    executor = Scripted([None], workers=2)
    assert not drive(tmp_path, executor).run()
    assert executor.stopped == 2


@pytest.mark.usefixtures("slept")
def test_the_end_is_shown_with_the_run_s_own_budget(tmp_path: Path) -> None:
    """The last progress that is shown has the driver's budget and the pre-flight's estimate."""
    seen: list[Progress] = []
    assert drive(tmp_path, Scripted([0, 0], workers=2), seen).run()
    assert (seen[-1].budget, seen[-1].remaining) == (4, 4 * 60.0 / 2)
