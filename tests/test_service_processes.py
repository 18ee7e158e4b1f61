"""The service as processes: a search over HTTP to its network, servers that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import postgres_kit
import pytest
from search_kit import ROOT, command, kill_all, nas, read_until, result, write_inputs
from service_kit import ROOT as API
from service_kit import read_events
from store_kit import ready

GUIDE = ROOT / "docs/guides/service.md"
TRIALS = 2  # of each search that is killed


@dataclass
class Process:
    """`nas serve` as a process of its own, and its address."""

    process: "subprocess.Popen[bytes]"
    base: str

    def kill(self) -> None:
        """Kill the server and its workers at once, as a power cut does."""
        kill_all([*children(self.process.pid), self.process.pid])
        self.process.wait(60)


def children(pid: int) -> list[int]:
    """Return the processes that a process has begun, theirs too, the youngest first."""
    words = ["pgrep", "-P", str(pid)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60).stdout.split()
    return [one for each in map(int, found) for one in [*children(each), each]]


@contextmanager
def started(url: str, folder: Path, *words: str) -> Iterator[Process]:
    """Run `nas serve` on a store in a folder, at any port, until the context ends."""
    environment = os.environ | {"NAS_STORE": url}
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            command("serve", "--port", "0", *words), stdout=subprocess.PIPE, stderr=log,
            cwd=folder, env=environment,
        )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        try:
            said = read_until(process.stdout.fileno(), "ends it.")
            address = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert address is not None, said
            yield Process(process, address[0])
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(120)


def token(url: str, scopes: str = "read,submit") -> str:
    """Make a token as an administrator does and return its text."""
    made = nas("token", "create", "--name", "me", "--scopes", scopes, "--store", url, "--json")
    return str(result(made)["token"])


def clients(text: str, *servers: Process) -> list[httpx.Client]:
    """Return a client of each server with a token."""
    headers = {"Authorization": f"Bearer {text}"}
    return [httpx.Client(base_url=each.base + API, headers=headers, timeout=60) for each in servers]


def test_the_script_of_the_documents_finds_a_network(tmp_path: Path) -> None:
    """It submits a search, watches it to its end, and runs the winner with torch alone.

    On PostgreSQL: what else is told here of a server's processes is told on SQLite, too.
    """
    script = re.search(r"`over_http.py`:\n\n```py\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert script is not None
    (home := tmp_path / "client").mkdir()
    (home / "over_http.py").write_text(script[1])
    with ready("postgresql", tmp_path) as url, started(url, tmp_path, "--workers", "1") as server:
        environment = os.environ | {"NAS_SERVER": server.base, "NAS_TOKEN": token(url)}
        ended = subprocess.run(
            [sys.executable, "over_http.py"], capture_output=True, text=True, timeout=300,
            cwd=home, env=environment,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr + (tmp_path / "serve.log").read_text()
    *said, answers = ended.stdout.splitlines()
    assert said[0] in ("queued", "running")
    assert said[-1] == "succeeded"
    assert len(json.loads(answers.replace("'", '"'))) == 2


def options(folder: Path) -> dict[str, Any]:
    """Return a search that takes some seconds, on data below a folder."""
    write_inputs(folder)
    return {
        "space": "mixconv", "data": "tones.npz", "target_flops": "500k", "trials": 4, "epochs": 2,
        "finalists": 0, "folds": 1, "resolution": 8,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_is_lost_or_doubled_when_all_are_killed(kind: str, tmp_path: Path) -> None:
    """Server and workers are killed amid three searches; others go on, and a client's stream does.

    PostgreSQL is killed as well, while clients watch all three: their streams outlive it.
    """
    with ExitStack() as stack:
        server = stack.enter_context(postgres_kit.started()) if kind == "postgresql" else None
        url = server.url if server else stack.enter_context(ready(kind, tmp_path))
        text, asked = token(url), options(tmp_path) | {"trials": TRIALS}
        words = ("--workers", "1", "--data-root", str(tmp_path))
        first = stack.enter_context(started(url, tmp_path, *words))
        (client,) = clients(text, first)
        sent = [
            {"json": asked | {"seed": seed}, "headers": {"Idempotency-Key": f"mine-{seed}"}}
            for seed in range(3)
        ]
        with client:
            answers = [client.post("/searches", **each).json() for each in sent]
            ids = [answer["id"] for answer in answers if "id" in answer]
            assert len(ids) == len(sent), answers
            begun = read_events(client, f"/searches/{ids[0]}/events", until="trial")
        first.kill()
        second = stack.enter_context(started(url, tmp_path, *words))
        (client,) = clients(text, second)
        pool = stack.enter_context(ThreadPoolExecutor(len(ids)))
        with client:
            for found, each in zip(ids, sent, strict=True):
                again = client.post("/searches", **each)
                assert (again.status_code, again.json()["id"]) == (200, found)
            paths = [f"/searches/{found}/events" for found in ids]
            last = [begun[-1][0], None, None]
            streams = [
                pool.submit(read_events, client, path, of, until="end")
                for path, of in zip(paths, last, strict=True)
            ]
            if server:
                read_events(client, paths[1], until="trial")  # one search is over, one goes on
                server.kill()
                server.control("start")
            seen = [stream.result() for stream in streams]
            for found, events in zip(ids, [begun + seen[0], *seen[1:]], strict=True):
                state = client.get(f"/searches/{found}").json()
                assert state["state"] == "succeeded", state
                trials = client.get(f"/searches/{found}/trials").json()["items"]
                told = [data["number"] for _, kind, data in events if kind == "trial"]
                assert sorted(told) == [each["number"] for each in trials] == [*range(TRIALS)]
                assert {each["state"] for each in trials} <= {"complete"}


def test_ctrl_c_lets_go_of_the_search(tmp_path: Path) -> None:
    """SIGTERM ends the server and its workers within a minute; the search waits for the next."""
    with ready("sqlite", tmp_path) as url:
        text, asked = token(url), options(tmp_path) | {"trials": 50}
        with started(url, tmp_path, "--workers", "1", "--data-root", str(tmp_path)) as server:
            (client,) = clients(text, server)
            with client:
                found = client.post("/searches", json=asked).json()["id"]
                end = time.monotonic() + 120
                while client.get(f"/searches/{found}").json()["state"] != "running":
                    assert time.monotonic() < end
                    time.sleep(0.2)
            processes = children(server.process.pid)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(90) == 0
            assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        with started(url, tmp_path) as server:
            (client,) = clients(text, server)
            with client:
                assert client.get(f"/searches/{found}").json()["state"] == "queued"
