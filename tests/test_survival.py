"""What a trial survives: a replaced worker that wakes up, no memory, no disk, a database away."""

import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from postgres_kit import started
from search_kit import arguments, command, nas_here, read_until, write_inputs
from store_kit import opened, ready
from test_scale import worker as untrained
from test_training import TINY
from torch import nn
from training_kit import few_digits

from nas.commands import search as searching
from nas.commands import studies as commands
from nas.errors import DiskFull, Interrupted, StoreAway, UserError
from nas.store import queries
from nas.store.engine import patient
from nas.study import evaluator
from nas.study import worker as study
from nas.study.options import read
from nas.training import checkpoint, trainer
from nas.training.checkpoint import Checkpoints
from nas.training.losses import Classes
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe
from nas.training.trainer import Control


class Enough(Exception):
    """Ends a training."""


@pytest.fixture
def recipe() -> Recipe:
    """Three epochs on few digits."""
    return default_recipe(few_digits(), epochs=3)


def test_an_older_attempt_cannot_write_over_a_newer_one(tmp_path: Path) -> None:
    """Each attempt has its own file; what has come further is loaded, older files are cleared."""
    folder = tmp_path / "kept"
    first, second = Checkpoints(str(folder), 1), Checkpoints(str(folder), 2)
    first.save({"x": torch.ones(1)}, {"by": "first"}, 1)
    second.save({"x": torch.ones(1)}, {"by": "second"}, 2)
    assert os.listdir(folder) == ["checkpoint-2.safetensors"]
    first.save({"x": torch.ones(1)}, {"by": "first, awake again"}, 1)
    loaded = second.load()
    assert loaded is not None
    assert loaded[1] == {"by": "second"}
    second.drop()
    assert not folder.exists()


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_checkpoints_lie_wherever_fsspec_reaches(
    where: str, recipe: Recipe, tmp_path: Path
) -> None:
    """A training goes on from an object store as from a disk, and its weights come back whole."""
    root = f"memory://{tmp_path.name}" if where == "memory" else str(tmp_path)
    place, digits = Checkpoints(f"{root}/a-r"), few_digits()

    def stop(done: trainer.EpochResult) -> None:
        if done.epoch == 2:
            raise Enough

    with pytest.raises(Enough):
        trainer.train(TINY, digits, recipe, control=Control(place, on_epoch=stop))
    elsewhere = Checkpoints(f"{root}/b-r", 4)
    assert elsewhere.take_over(place)
    seen: list[bool] = []
    ended = trainer.train(
        TINY, digits, recipe, control=Control(elsewhere, on_epoch=lambda e: seen.append(e.restored))
    )
    assert seen == [True, True, False]
    elsewhere.save_weights(ended.state)
    if where == "folder":  # a killed writer's
        Path(elsewhere.url, ".checkpoint-3.safetensors.99").touch()
    elsewhere.drop()
    if where == "folder":
        assert [path.name for path in Path(elsewhere.url).iterdir()] == [checkpoint.WEIGHTS]
    (found,) = checkpoint.with_weights(root)
    assert found.url == elsewhere.url
    kept = found.load_weights()
    assert kept is not None
    assert all(torch.equal(kept[name], ended.state[name]) for name in ended.state)
    found.drop_weights()
    assert (found.load_weights(), elsewhere.load()) == (None, None)


def test_a_url_that_nothing_opens_is_refused() -> None:
    """The message names the option, and the exit code would be 2."""
    with pytest.raises(UserError, match="--checkpoints is a folder or a URL"):
        read({"checkpoints": "nowhere://bucket"})


def test_accumulated_gradients_are_the_batchs(recipe: Recipe) -> None:
    """Micro-batches give the gradients of the whole batch, class weights included."""
    moved = []
    for accumulation_steps in (1, 2, 3, 8):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10))
        training = trainer.begin(module, recipe, accumulation_steps)
        x, labels = torch.randn(17, 1, 8, 8), torch.arange(17) % 10
        classes = Classes(torch.rand(10) + 0.5, torch.zeros(10))
        loss = trainer.train_step(training, x, [(labels, 1.0)], classes, recipe, 0)
        moved.append((loss, [each.grad for each in module.parameters()]))
    for loss, gradients in moved[1:]:
        assert torch.allclose(loss, moved[0][0], rtol=1e-5)
        for ours, whole in zip(gradients, moved[0][1], strict=True):
            assert torch.allclose(ours, whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("images", [2, 5, 7, 97])
def test_no_micro_batch_has_a_single_image(images: int, recipe: Recipe) -> None:
    """Batch norm of a map of one pixel needs two; a small batch has fewer parts."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    training = trainer.begin(module, recipe, accumulation_steps=32)
    classes = Classes(torch.ones(10), torch.zeros(10))
    x, labels = torch.randn(images, 1, 8, 8), torch.arange(images) % 10
    assert trainer.train_step(training, x, [(labels, 1.0)], classes, recipe, 0).isfinite()


@pytest.mark.parametrize(("fits", "state"), [(50, "complete"), (1, "failed")])
def test_a_trial_without_memory_is_tried_once_in_smaller_batches(
    fits: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so; where the half does not fit either, the trial fails with the reason."""
    forward = nn.Conv2d.forward

    def short_of_memory(self: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > fits:
            raise torch.OutOfMemoryError("no memory for so many images")
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", short_of_memory)
    monkeypatch.setattr("nas.study.preparation._estimate", lambda *_: 1.0)
    space, data = write_inputs(tmp_path)
    url = f"sqlite:///{tmp_path}/nas.db"
    searching.search(
        space, data, "50k", trials=1, epochs=1, workers=0, store=url, study="s",
        out=str(tmp_path / "studies"),
    )  # fmt: skip
    with queries.connect(url) as connection:
        (trial,) = queries.trials(connection, queries.study(connection, "s").id)
    assert trial.state == ("complete" if state == "complete" else "fail")
    assert "in 2 parts" in (trial.reason or "") or "no memory" in (trial.reason or "")
    assert (state == "complete") == ("parts" in (trial.reason or ""))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a disk of half a megabyte for every user; skip where that is not permitted."""
    with TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        words = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place]
        if (
            shutil.which("mount") is None
            or subprocess.run(words, capture_output=True, timeout=120).returncode
        ):
            pytest.skip("mounting a small disk is not permitted here")
        yield Path(place)
        subprocess.run(["umount", place], check=True, timeout=120)


def test_a_worker_without_space_says_so_and_can_be_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its log gets the line that the terminal of the search looks for."""
    with pytest.raises(Interrupted):
        evaluator._wait_for_space(DiskFull("No space is left in s3://bucket."), lambda: True)
    assert caplog.messages == ["waiting for space: No space is left in s3://bucket."]


def resize(disk: Path, size: str) -> None:
    """Give a small disk another size."""
    words = ["mount", "-o", f"remount,size={size}", str(disk)]
    subprocess.run(words, check=True, timeout=120)


def test_a_full_disk_pauses_a_training(recipe: Recipe, small_disk: Path) -> None:
    """The epoch's checkpoint waits for space, nothing half-written stays, no epoch is repeated."""
    filler = small_disk / "filler"
    told: list[str] = []

    def make_room(error: DiskFull) -> None:
        told.append(str(error))
        assert [path.name for path in (small_disk / "c").iterdir()] == []
        filler.unlink()

    filler.write_bytes(b"x" * (500 * 1024))
    epochs: list[int] = []
    control = Control(
        Checkpoints(str(small_disk / "c")),
        on_epoch=lambda result: epochs.append(result.epoch),
        on_full=make_room,
    )
    trainer.train(TINY, few_digits(), recipe, control=control)
    assert told == [f"No space is left in {small_disk / 'c'}."]
    assert epochs == [1, 2, 3]


@contextmanager
def searching_with(words: list[str]) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """Run a search as a process, and end it with the block; its errors' file descriptor."""
    run = subprocess.Popen(
        command("search", *words, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    try:
        yield run, run.stderr.fileno()
    finally:
        if run.poll() is None:
            run.kill()
            run.communicate(timeout=60)


@pytest.mark.parametrize("full", ["out", "store"])
def test_a_search_says_that_it_waits_for_space(tmp_path: Path, small_disk: Path, full: str) -> None:
    """The driver and nas status name the full disk; with space the same run goes on to its end."""
    if full == "store":  # a training that is long enough to be seen at work
        given = {"store": f"sqlite:///{small_disk}/nas.db", "epochs": 100}
    else:  # the worker's log would have no space either
        given = {"out": small_disk, "workers": 0, "epochs": 1}
    words = arguments(tmp_path, trials=1, **given)
    store = words[words.index("--store") + 1]
    if full == "store":  # tables need room, so that it fills up only when a trial has begun
        resize(small_disk, "16m")
    else:
        fill(small_disk)
    with searching_with(words) as (run, said):
        if full == "store":
            read_until(said, "1 running")
            fill(small_disk)
        read_until(said, "paused: ")
        wait_for(lambda: commands.status("tiny", store=store)[0].waiting)  # the worker has a trial
        shown = nas_here("status", "--store", store).stdout
        resize(small_disk, "64m")
        rest = run.communicate(timeout=120)
    assert {
        "out": f"B are left for {small_disk / 'tiny'}: a worker without space waits",
        "store": f"waiting for the database: Can't write the store {store}: database or disk is",
    }[full] in shown
    assert json.loads(rest[0].strip().splitlines()[-1])["trials"]["complete"] == 1
    assert commands.status("tiny", store=store)[0].waiting is None


def test_a_search_says_that_its_server_is_full_or_away(tmp_path: Path, small_disk: Path) -> None:
    """The terminal says so and says when it goes on; the run that waited comes to its end."""
    resize(small_disk, "96m")
    with started(disk=small_disk) as server:
        fill(small_disk)
        words = arguments(tmp_path, trials=1, epochs=200, store=server.url)
        with searching_with(words) as (run, said):
            read_until(said, "waiting for the database: Can't read")
            resize(small_disk, "128m")
            read_until(said, "1 running")
            fill(small_disk)
            read_until(said, "paused: waiting for the database: Can't write")
            resize(small_disk, "160m")
            server.kill()
            read_until(said, "waiting for the database: Can't read")
            server.control("start")
            read_until(said, "the database answers again")
            rest = run.communicate(timeout=120)
    assert json.loads(rest[0].strip().splitlines()[-1])["trials"]["complete"] == 1


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after its first packet"])
@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
def test_a_connection_that_breaks_while_it_is_made_is_waited_out(
    abruptly: bool, late: bool
) -> None:
    """A server that dies under a new connection is away, not wrong."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            connection = server.accept()[0]
            if late:
                connection.recv(1024)
            if abruptly:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

        served = pool.submit(serve)
        port = server.getsockname()[1]
        with pytest.raises(StoreAway), queries.connect(f"postgresql://nas@127.0.0.1:{port}/nas"):
            pass
        served.result()


def fill(disk: Path) -> None:
    """Leave no byte on a disk."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


def test_a_trial_whose_workers_die_one_after_another_is_given_up(tmp_path: Path) -> None:
    """After so many deaths without an epoch it has failed, its reason says so, the rest go on."""
    with ready("sqlite", tmp_path) as url, opened(url) as store:
        last = untrained(store, tmp_path, trials=3)
        lease = last.trials.start(last.asker.proposer.propose(0)).lease
        for _ in range(study.MAX_DEATHS - 1):
            assert lease is not None
            assert store.expire(last.trials.info.id, lease.worker.__eq__) == 1
            adopted = untrained(store, tmp_path, trials=3, name="mortal:1:1").trials.adopt()
            assert adopted is not None
            lease = adopted.lease
        assert lease is not None
        store.expire(last.trials.info.id, lease.worker.__eq__)
        last.run()
        with store.read() as connection:
            trials = queries.trials(connection, last.trials.info.id)
    assert [trial.state for trial in trials] == ["fail", "complete", "complete"]
    assert (
        trials[0].reason == f"given up: {study.MAX_DEATHS} workers died without finishing an epoch"
    )


def test_a_step_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again with growing pauses, and gives up in the end."""
    pauses: list[float] = []
    monkeypatch.setattr("nas.store.engine.time.sleep", pauses.append)

    @patient
    def step(tries: int) -> str:
        if len(pauses) < tries:
            raise StoreAway("restarting")
        return "done"

    assert step(3) == "done"
    assert all(
        0.5 * p <= found <= 1.5 * p for p, found in zip((0.1, 0.2, 0.4), pauses, strict=True)
    )
    monkeypatch.setattr("nas.store.engine.PATIENCE", 0.0)
    with pytest.raises(StoreAway):
        step(4)
