"""The HTTP API in this process, at a port of the loopback, and clients with tokens for it."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
import uvicorn
from search_kit import SPACE, nas_here, write_inputs
from store_kit import ready

from nas.search_space import load
from nas.service.api.app import Serving, application
from nas.service.api.service import Service
from nas.store import searches, tokens
from nas.store.searches import Search
from nas.store.store import Store
from nas.store.tokens import Quotas

ROOT = "/api/v1"
SEARCH: dict[str, Any] = {"target_flops": "500k", "trials": 2, "epochs": 1, "finalists": 0}


@dataclass(frozen=True)
class Server:
    """A server that runs, its store, and the application behind its gate."""

    base: str
    store: Store
    service: Service

    def client(self, *scopes: str, **quotas: int) -> httpx.Client:
        """Return a client with a new token of these scopes; without scopes it has no token."""
        headers = {}
        if scopes:
            with self.store.write() as connection:
                _, text = tokens.create(connection, "test", scopes, quotas=Quotas(**quotas))
            headers["Authorization"] = f"Bearer {text}"
        return httpx.Client(base_url=self.base + ROOT, headers=headers, timeout=60)


@contextmanager
def serving(
    url: str, folder: Path, roots: tuple[Path, ...] = (), root_path: str = "", **how: Any
) -> Iterator[Server]:
    """Serve the API of a store from a thread of this process."""
    with closing(Store.open(url)) as store:
        service = Service(store, url, folder / "service", roots)
        config = uvicorn.Config(
            application(service, Serving(**how)), port=0, log_config=None, lifespan="off",
            timeout_graceful_shutdown=1, root_path=root_path,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = Thread(target=server.run)
        thread.start()
        try:
            end = time.monotonic() + 30
            while not server.started:
                assert time.monotonic() < end, "the server does not start"
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield Server(f"http://127.0.0.1:{port}", store, service)
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def serving_data(folder: Path, **how: Any) -> Iterator[Server]:
    """Serve an empty store of a folder, with the tests' data below a data root."""
    (folder / "data").mkdir()
    write_inputs(folder / "data")
    with (
        ready("sqlite", folder) as url,
        serving(url, folder, (folder / "data",), **how) as served,
    ):
        yield served


def submit(client: httpx.Client, **changes: Any) -> str:
    """Submit a small search and return its id."""
    answer = client.post("/searches", json=SEARCH | changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def read_events(
    client: httpx.Client, path: str, last: str | None = None, until: str = "progress"
) -> list[tuple[str, str, Any]]:
    """Return the ids, kinds and data of a search's events, up to the first of a kind."""
    headers = {} if last is None else {"Last-Event-ID": last}
    found: list[tuple[str, str, Any]] = []
    fields: dict[str, str] = {}
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
                continue
            if "event" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                if fields["event"] == until:
                    break
            fields = {}
    return found


def take(server: Server) -> Search:
    """Take the next search as a worker does."""
    with server.store.write() as connection:
        taken = searches.take(connection, "test", 600)
    assert taken is not None
    return taken


def tiny() -> Any:
    """Return the tests' small space as JSON."""
    with TemporaryDirectory() as folder:
        (path := Path(folder, "tiny.py")).write_text(SPACE)
        return load(path).to_json()


def run_search(server: Server, owner: httpx.Client, out: Path, **changes: Any) -> str:
    """Submit a search of the tests' data below the data root, run it, return its id."""
    small = {"data": "tones.npz", "space": tiny(), "target_flops": "50k", "priority": 100}
    found = submit(owner, **small | changes)
    run_taken(server, take(server), out)
    return found


def run_taken(server: Server, taken: Search, out: Path) -> None:
    """Run a search that was taken as its worker does, in this process."""
    write_inputs(out)
    wanted = {"trials": 2, "epochs": 1, "finalists": 0} | dict(taken.options)
    ended = nas_here(
        "search", "--space", str(out / "tiny.py"), "--data", wanted["data"],
        "--target-flops", "50k", "--trials", str(wanted["trials"]),
        "--epochs", str(wanted["epochs"]), "--finalists", str(wanted["finalists"]),
        "--workers", "0", "--folds", "1", "--study", taken.id, "--store", server.service.url,
        "--out", str(out),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    with server.store.write() as connection:
        searches.finish(connection, taken, "succeeded")
