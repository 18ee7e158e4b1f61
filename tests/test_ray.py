"""Ray as it dies: heads, nodes and drivers that vanish, clusters too small."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.store import queries
from tests import ray_kit
from tests.search_kit import command, is_gone, nas_here, read_until, result, write_inputs
from tests.test_executors import OVER, search
from tests.test_search import assert_whole, points, until


@pytest.fixture
def network() -> Iterator[ray_kit.Cluster]:
    """Give a test a network of its own, without nodes."""
    with ray_kit.cluster() as made:
        yield made


def log_of(folder: Path) -> str:
    """Return what Ray and the workers have logged."""
    return (folder / "studies" / "tiny" / "logs" / "ray.log").read_text()


def test_a_node_that_is_cut_off_loses_nothing(head: ray_kit.Cluster, tmp_path: Path) -> None:
    """A worker on each of two nodes; one node vanishes: the other ends the search, all whole.

    The nodes have networks of their own, joined by a cable, where that is permitted.
    """
    node = head.add_node(cpus=head.cpus)
    words = [*search(tmp_path, trials=3, epochs=15, images=320), *head.words]
    process = head.popen(*command(*words, "--cpus-per-trial", str(head.cpus)))
    until(lambda: len(node.workers()) == 1 and points(tmp_path) >= 4)
    node.kill()
    out, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    assert json.loads(out.splitlines()[-1])["trials"]["complete"] == 3
    assert_whole(tmp_path, 3, 15)


def test_workers_are_given_what_they_ask_for(head: ray_kit.Cluster, tmp_path: Path) -> None:
    """More CPUs than any node has: what waits, for what, until a node joins or the time is up.

    Two workers with half a GPU share device 0. Without GPUs asked for none is seen.
    """
    late, rest, halves = (tmp_path / name for name in ("late", "rest", "halves"))
    for folder in (late, rest, halves):
        folder.mkdir()
    cpus = head.cpus + 1
    wide = (*head.words, "--cpus-per-trial", str(cpus), "--gpus-per-trial", "0")
    short = head.popen(*command(*search(late, epochs=1), *wide, "--time", "5s"))
    process = head.popen(*command(*search(rest, trials=1, epochs=1), *wide))
    assert process.stderr is not None
    said = read_until(process.stderr.fileno(), "ask for less")
    assert f"1 of 1 workers wait for Ray to find {cpus} CPU for each, and no node has that" in said
    assert f"({head.cpus} CPU, 0 GPU" in said
    _, errors = short.communicate(timeout=OVER)
    assert short.returncode == 1, errors
    assert "no trial was completed" in errors
    head.add_node(cpus=cpus, gpus=1)
    _, errors = process.communicate(timeout=OVER)
    assert process.returncode == 0, errors
    assert "CUDA devices: none\n" in log_of(rest)
    assert "CUDA devices: 0" not in log_of(rest)
    assert_whole(rest, 1, 1)
    words = [*search(halves, trials=2, epochs=1), *head.words, "--gpus-per-trial", "0.5"]
    ended = head.run(*command(*words, "--max-concurrent", "2"))
    assert ended.returncode == 0, ended.stderr
    assert log_of(halves).count("CUDA devices: 0\n") == 2


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
    until(lambda: all(map(is_gone, started)), 30)


def test_an_address_without_a_ray_is_a_mistake(network: ray_kit.Cluster, tmp_path: Path) -> None:
    """Nothing answers at RAY_ADDRESS: exit code 2, and no study was made."""
    words = command(*search(tmp_path, trials=1), "--executor", "ray")
    ended = network.run(*words, RAY_ADDRESS="127.0.0.1:6380")
    assert ended.returncode == 2, ended.stderr
    assert "Can't use Ray at 127.0.0.1:6380" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "nas.db").exists()


def test_a_driver_that_loses_the_head_says_so_and_goes_on_with_a_new_one(
    head: ray_kit.Cluster, tmp_path: Path
) -> None:
    """Every process of the head is gone: exit code 1, one message; a new head: it goes on.

    A driver that is killed there takes its worker with it; in the end the search is whole.
    """
    words = search(tmp_path, trials=3, epochs=15, images=320)
    on_ray = command(*words, *head.words, "--max-concurrent", "1")
    bereft = head.popen(*on_ray)
    until(lambda: points(tmp_path) >= 2)
    head.stop()
    _, errors = bereft.communicate(timeout=120)
    assert bereft.returncode == 1, errors
    assert f"The Ray cluster at {head.address} is lost" in errors
    assert "same command goes on" in errors
    assert "Traceback" not in errors
    before = points(tmp_path)
    new = head.start_head(cpus=head.cpus)
    killed = head.popen(*on_ray)
    until(lambda: points(tmp_path) >= before + 2)
    assert new.workers()
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    until(lambda: new.workers() == [], 60)
    head.stop()  # files that come after this one need no Ray
    result(nas_here(*words, "--executor", "in-process"))
    assert_whole(tmp_path, 3, 15)


def test_a_server_runs_its_searches_on_ray(head: ray_kit.Cluster, tmp_path: Path) -> None:
    """nas serve --executor ray: a search by HTTP is trained by Ray's workers, to its winner."""
    pytest.importorskip("fastapi")
    space, data = write_inputs(tmp_path)
    store = {"NAS_STORE": f"sqlite:///{tmp_path}/nas.db"}
    made = head.run(
        *command("token", "create", "--name", "me", "--scopes", "read,submit", "--json"), **store
    )
    words = ("serve", "--port", "8099", "--data-root", str(tmp_path), *head.words)
    server = head.popen(*command(*words, "--max-concurrent", "1"), cwd=tmp_path, **store)
    try:
        assert server.stdout is not None
        read_until(server.stdout.fileno(), "Ctrl-C")
        asked = ("--space", space, "--data", Path(data).name, "--target-flops", "50k",
                 "--trials", "2", "--epochs", "1", "--finalists", "0", "--folds", "1")  # fmt: skip
        ended = head.run(
            *command("--server", "http://127.0.0.1:8099", "search", *asked, "--json"),
            NAS_TOKEN=result(made)["token"],
        )
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=OVER)
    assert result(ended)["trials"]["complete"] == 2, ended.stderr
    with queries.connect(store["NAS_STORE"]) as connection:
        (info,) = queries.studies(connection)
    assert (tmp_path / "studies" / info.name / "logs" / "ray.log").is_file()
