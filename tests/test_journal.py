"""The log of a trial: what is in it, what a kill leaves of it, what never gets into it."""

import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_kit import opened, point, proposal, ready_file, trials

from nas.observers import Observers
from nas.observers.journal import Journal, Reader, path_of
from nas.store.records import CurvePoint, Lease
from nas.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open an empty store."""
    with opened(ready_file(tmp_path)) as made:
        yield made


def begin(store: Store, folder: Path, worker: str = "w1", lease: float = 60.0) -> tuple[Any, Lease]:
    """Start a trial, or take it over from the dead; log that, and return the journal and lease."""
    mine = trials(store, worker=worker, lease=lease)
    started = mine.adopt() or mine.start(proposal())
    assert started.lease is not None
    assert started.evaluation is not None
    journal = Journal(folder)
    journal.started(started.lease, started.evaluation)
    return journal, started.lease


def test_a_log_goes_on_over_attempts_and_workers(store: Store, tmp_path: Path) -> None:
    """Who takes a trial over adds to its log: one story, in order, each line with its attempt."""
    journal, lease = begin(store, tmp_path, lease=0.01)
    journal.epoch(lease, point(1), 0.5)
    time.sleep(0.05)
    journal, lease = begin(store, tmp_path, worker="w2")
    journal.epoch(lease, point(2), 0.6)
    journal.ended(lease, "complete", {"accuracy": 0.6}, None)
    told = [(e["event"], e["worker"], e["attempt"]) for e in Reader(tmp_path, 0).read()]
    assert told == [
        ("started", "w1", 1), ("epoch", "w1", 1), ("started", "w2", 2), ("epoch", "w2", 2),
        ("complete", "w2", 2),
    ]  # fmt: skip


def test_an_epoch_has_all_its_numbers(store: Store, tmp_path: Path) -> None:
    """Metrics, score, seconds and learning rate are in the line; what is no number is null."""
    journal, lease = begin(store, tmp_path)
    metrics = {"accuracy": 0.5, "loss": math.nan}
    said = CurvePoint(epoch=1, metrics=metrics, train_loss=math.inf, seconds=2, learning_rate=0.1)
    journal.epoch(lease, said, 0.4)
    event = Reader(tmp_path, 0).read()[-1]
    assert event["metrics"] == {"accuracy": 0.5, "loss": None}
    assert (event["score"], event["train_loss"], event["learning_rate"]) == (0.4, None, 0.1)
    assert (event["epoch"], event["seconds"]) == (1, 2)


def test_a_torn_line_is_left_out_and_spoils_no_other(store: Store, tmp_path: Path) -> None:
    """After a kill in the middle of a write, what was and what comes is read, half a line not."""
    journal, lease = begin(store, tmp_path)
    journal.epoch(lease, point(1), 0.5)
    file = path_of(tmp_path, 0)
    file.write_bytes(file.read_bytes()[:-20])
    assert [event["event"] for event in Reader(tmp_path).read()] == ["started"]
    journal.epoch(lease, point(2), 0.5)
    assert [event.get("epoch") for event in Reader(tmp_path).read()] == [None, 2]


def test_a_reader_returns_what_is_new(store: Store, tmp_path: Path) -> None:
    """Following a log shows each event once, a line that is being written when it is whole."""
    journal, lease = begin(store, tmp_path)
    reader = Reader(tmp_path)
    assert len(reader.read()) == 1
    assert reader.read() == []
    journal.epoch(lease, point(1), 0.5)
    file = path_of(tmp_path, 0)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert reader.read() == []
    file.write_bytes(whole)
    assert [event["epoch"] for event in reader.read()] == [1]


def test_no_password_gets_into_a_log(store: Store, tmp_path: Path) -> None:
    """An error's text that has a URL with a password loses the password, and nothing else."""
    journal, lease = begin(store, tmp_path)
    reason = "Can't read postgresql+psycopg://user:pa55%40word@host/db, see https://host:80/a"
    journal.ended(lease, "failed", {}, reason)
    text = path_of(tmp_path, 0).read_text()
    assert "pa55" not in text
    assert "postgresql+psycopg://user:***@host/db, see https://host:80/a" in text


def test_a_log_that_cannot_be_written_ends_no_trial(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the folder is a file the worker's log says so, and the trial goes on."""
    (tmp_path / "study").write_text("")
    lease = trials(store).start(proposal()).lease
    Observers([Journal(tmp_path / "study")]).tell("epoch", lease, point(1), 0.5)
    (record,) = caplog.records
    assert record.getMessage() == "Journal: epoch"
    assert record.exc_info is not None
    assert "study" in str(record.exc_info[1])


def write_for_ever(folder: str, lease: Lease, most: int) -> None:
    """Run in a process of its own: log epochs as fast as it goes."""
    journal = Journal(folder)
    for epoch in range(1, most + 1):
        journal.epoch(lease, point(epoch), 0.5)


def test_lines_of_several_processes_do_not_mix(store: Store, tmp_path: Path) -> None:
    """Two processes that log to one file at once leave every line whole."""
    _, lease = begin(store, tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_for_ever, args=(str(tmp_path), lease, 300)) for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    lines = path_of(tmp_path, 0).read_text().splitlines()
    # A line is empty where a writer took what the other was just writing for torn.
    assert len([json.loads(line) for line in lines if line]) == 601


def test_a_kill_leaves_every_event_before_it(store: Store, tmp_path: Path) -> None:
    """After a SIGKILL of a process that was writing, all lines but at most the last are whole."""
    journal, lease = begin(store, tmp_path)
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=write_for_ever, args=(str(tmp_path), lease, 10**9))
    writer.start()
    file = path_of(tmp_path, 0)
    until = time.monotonic() + 120
    while file.stat().st_size < 100_000 and time.monotonic() < until:
        time.sleep(0.02)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(60)
    journal.ended(lease, "complete", {}, None)
    events = Reader(tmp_path).read()
    epochs = [event["epoch"] for event in events if event["event"] == "epoch"]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > 100
    assert events[-1]["event"] == "complete"
