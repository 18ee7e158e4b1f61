"""Ray as it dies: heads, nodes and drivers that vanish, clusters too small, tokens."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ray_kit
from tests.search_kit import command, read_until
from tests.test_executors import OVER, search
from tests.test_search import assert_whole, points, until

RAY = ("--executor", "ray", "--address", ray_kit.ADDRESS)


@pytest.fixture
def network() -> Iterator[ray_kit.Cluster]:
    """Give each test a network of its own, without nodes yet."""
    with ray_kit.cluster() as made:
        yield made


def log_of(folder: Path) -> str:
    """Return what Ray and the workers have logged."""
    return (folder / "studies" / "tiny" / "logs" / "ray.log").read_text()


def test_a_driver_that_loses_the_head_says_so_and_goes_on_with_a_new_one(
    network: ray_kit.Cluster, tmp_path: Path
) -> None:
    """Every process of the head is gone: exit code 1, one message; then the search is whole.

    A driver that is killed takes its workers with it before that.
    """
    network.start_head()
    words = command(*search(tmp_path, trials=3, epochs=15, images=320), *RAY)
    killed = network.popen(*words)
    until(lambda: points(tmp_path) >= 2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert network.head is not None
    until(lambda: network.head is not None and network.head.workers() == [], 60)
    bereft, before = network.popen(*words), points(tmp_path)
    until(lambda: points(tmp_path) >= before + 2)
    network.stop()
    _, errors = bereft.communicate(timeout=120)
    assert bereft.returncode == 1, errors
    assert f"The Ray cluster at {ray_kit.ADDRESS} is lost" in errors
    assert "same command goes on" in errors
    assert "Traceback" not in errors
    network.start_head()
    ended = network.run(*words)
    assert ended.returncode == 0, ended.stderr
    assert_whole(tmp_path, 3, 15)


def test_a_node_that_is_cut_off_loses_nothing(tmp_path: Path) -> None:
    """A worker on each of two nodes; one node vanishes: the other ends the search, all whole.

    The nodes have networks of their own, joined by a cable, where that is permitted.
    """
    with ray_kit.cluster(machines=2 if ray_kit.has_cables() else 1) as joined:
        joined.start_head(cpus=1)
        node = joined.add_node(cpus=1)
        words = search(tmp_path, trials=3, epochs=15, images=320)
        on_ray = ("--executor", "ray", "--address", joined.address)
        process = joined.popen(*command(*words, *on_ray))
        until(lambda: len(node.workers()) == 1 and points(tmp_path) >= 4)
        node.kill()
        out, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    assert json.loads(out.splitlines()[-1])["trials"]["complete"] == 3
    assert_whole(tmp_path, 3, 15)


def test_workers_are_given_what_they_ask_for(network: ray_kit.Cluster, tmp_path: Path) -> None:
    """Halves of one GPU; more CPUs than any node has: what waits, for what, until a node joins.

    Two workers with half a GPU share device 0. Without GPUs asked for none is seen.
    """
    network.start_head(cpus=2, gpus=1)
    halves = tmp_path / "halves"
    halves.mkdir()
    words = [*search(halves, epochs=1), *RAY, "--gpus-per-trial", "0.5", "--max-concurrent", "2"]
    ended = network.run(*command(*words))
    assert ended.returncode == 0, ended.stderr
    assert log_of(halves).count("CUDA devices: 0\n") == 2
    words = [*search(tmp_path, epochs=1), *RAY, "--cpus-per-trial", "3", "--gpus-per-trial", "0"]
    late = network.run(*command(*words, "--time", "5s"))
    assert late.returncode == 1, late.stderr
    assert "no trial was completed" in late.stderr
    process = network.popen(*command(*words))
    assert process.stderr is not None
    line = read_until(process.stderr.fileno(), "ask for less")
    assert "1 of 1 workers wait for Ray to find 3 CPU for each, and no node has that" in line
    assert "(2 CPU, 1 GPU)" in line
    network.add_node(cpus=3)
    _, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    assert "CUDA devices: none\n" in log_of(tmp_path)
    assert "CUDA devices: 0" not in log_of(tmp_path)
    assert_whole(tmp_path, 3, 1)


def test_without_an_address_a_ray_is_started_and_ended(
    network: ray_kit.Cluster, tmp_path: Path
) -> None:
    """RAY_ADDRESS unset: Ray lives on this machine for as long as the search."""
    words = command(*search(tmp_path, trials=1, epochs=1), "--executor", "ray")
    process = network.popen(*words)
    until(lambda: points(tmp_path) >= 1)
    started = ray_kit.descendants(process.pid)
    _, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    until(lambda: not any(Path("/proc", str(pid)).exists() for pid in started), 30)


def test_an_address_without_a_ray_is_a_mistake(network: ray_kit.Cluster, tmp_path: Path) -> None:
    """Nothing answers at RAY_ADDRESS: exit code 2, and no study was made."""
    words = command(*search(tmp_path, trials=1), "--executor", "ray")
    ended = network.run(*words, RAY_ADDRESS="127.0.0.1:6380")
    assert ended.returncode == 2, ended.stderr
    assert "Can't use Ray at 127.0.0.1:6380" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "nas.db").exists()
