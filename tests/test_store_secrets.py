"""Credentials in a store's URL never appear: in no output, log, file, row or command line."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from postgres_kit import Server, started
from search_kit import arguments, command, read_until, write_inputs
from store_kit import opened
from typer.testing import CliRunner

from nas.cli import app
from nas.commands.search import Study
from nas.store import engine, plain, queries, searches, tokens
from nas.store.history import TABLES
from nas.store.queries import Counts
from nas.store.schema import METADATA
from nas.study.worker import WorkOrder

PASSWORD = "hu$h-p@ss/w0rd"
SECRET = quote(PASSWORD, safe="")
SHOWN = (PASSWORD, SECRET, quote(PASSWORD), "p@ss", "p%40ss", "w0rd")
PAGES = ("/api/meta", "/api/studies", "/api/studies/1", "/dashboard", "/csv/1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a PostgreSQL that wants the password."""
    with started(PASSWORD) as made:
        yield made


@pytest.fixture(params=["before the host", "in the query"])
def url(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """Make a database; yield its URL with the password in its usual place, and in the query."""
    name = f"nas_{uuid.uuid4().hex[:8]}"
    host = f"127.0.0.1:{server.port}"
    admin = sa.create_engine(
        f"postgresql+psycopg://nas:{SECRET}@{host}/postgres", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    if request.param == "in the query":
        yield f"postgresql://nas@{host}/{name}?password={SECRET}"
    else:
        yield f"postgresql://nas:{SECRET}@{host}/{name}"


class Watched:
    """Runs commands in a folder and gathers all that could show what they were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: list[tuple[str, str]] = []

    def run(self, url: str, *words: str, code: int = 0) -> None:
        """Run a command in this process, with the store in NAS_STORE."""
        ended = CliRunner().invoke(app, list(words), env={"NAS_STORE": url})
        self.texts += [(f"output of {words}", ended.stdout), (f"errors of {words}", ended.stderr)]
        assert ended.exit_code == code, ended.stderr
        assert isinstance(ended.exception, SystemExit | None)

    def run_process(self, url: str, *words: str) -> None:
        """Run a command that starts workers as a process, and look at all of them meanwhile."""
        process = subprocess.Popen(
            command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, env=os.environ | {"NAS_STORE": url},
        )  # fmt: skip
        ended = threading.Event()
        looking = threading.Thread(target=self._look, args=(process.pid, ended))
        looking.start()
        try:
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
            ended.set()
            looking.join(60)
        self.texts += [(f"output of {words}", out), (f"errors of {words}", err)]
        assert process.returncode == 0, err

    def serve(self, *words: str, store: str, paths: tuple[str, ...]) -> None:
        """Run a command that answers at an address, ask it for these paths, and end it."""
        process = subprocess.Popen(
            command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, env=os.environ | {"NAS_STORE": store},
        )  # fmt: skip
        try:
            assert process.stdout
            said = read_until(process.stdout.fileno(), "\n")
            address = re.search(r"http://[0-9.:]+", said)
            assert address, said
            for path in paths:
                with urllib.request.urlopen(address[0] + path, timeout=60) as answer:
                    self.texts.append((path, answer.read().decode()))
            line = Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        self.texts += [(f"output of {words}", said + out + err), ("command line", line)]

    def _look(self, pid: int, ended: threading.Event) -> None:
        """Gather the command lines of a process and of those it starts."""
        seen = set()
        while not ended.is_set():
            for each in [pid, *descendants(pid)]:
                try:
                    seen.add(Path(f"/proc/{each}/cmdline").read_text())
                except OSError:
                    continue
            time.sleep(0.2)
        self.texts += [("command line", text) for text in seen]
        assert any("nas.study.worker" in text for text in seen)  # the workers were seen

    def leaks(self) -> list[str]:
        """Return where a part of the password was seen: texts so far and every file."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        found = [where for where, text in self.texts if any(secret in text for secret in SHOWN)]
        secrets = [secret.encode() for secret in SHOWN]
        for path in files:
            content = path.read_bytes()
            if any(secret in content for secret in secrets):
                found.append(str(path.relative_to(self.folder)))
        return found


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            found += [each for child in children for each in (int(child), *descendants(int(child)))]
    except OSError:
        return found
    return found


def rows(url: str) -> str:
    """Return all that is in a store as one text."""
    tables = [*TABLES.values(), *METADATA.sorted_tables]
    with queries.connect(url, frozen=True) as connection:
        return repr([list(plain.read(connection, plain.select(table))) for table in tables])


def test_a_password_is_shown_nowhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A search with a worker, a trial that fails over the URL itself, and every other command.

    Looked at: what they print, log and answer, their processes' command lines, every file that is
    written, every row.
    """
    monkeypatch.chdir(tmp_path)
    watched = Watched(tmp_path)
    words = arguments(tmp_path, trials=1, epochs=1, workers=1, store=url)
    at = words.index("--store")
    words = words[:at] + words[at + 2 :]  # the store comes by NAS_STORE
    watched.run(url, "store", "init")
    watched.run_process(url, "search", *words)
    resuming = "resume --study tiny --trials 2 --workers 0"
    with monkeypatch.context() as patched:
        patched.setattr("nas.training.trainer.train", failing(f"can't reach {url} now"))
        watched.run(url, *resuming.split())
    assert "can't reach" in caplog.text
    for verb in (
        "status", "status --json", "status --watch --until-done", "logs", "logs 1 --json", "top",
        "top --pareto", "show", "show --trial 1", "rescore --target-flops 60k", "export --out x",
        "store check", "store check --json", "store upgrade", "store backup backup.db",
    ):  # fmt: skip
        watched.run(url, *verb.split())
    watched.run(url, "search", *words, "--seed", "9", code=2)  # a study with another meaning
    watched.serve("metrics", "serve", "--port", "0", store=url, paths=("/metrics",))
    watched.serve("dashboard", "--port", "0", "--store", url, store="", paths=PAGES)
    watched.texts += [("the database", rows(url)), ("log", caplog.text)]
    assert watched.leaks() == []
    told = [where for where, text in watched.texts if "can't reach postgresql" in text]
    assert {"/metrics", "/api/studies/1", "the database", "log"} < set(told)


def test_a_worker_of_the_queue_shows_no_password(url: str, tmp_path: Path) -> None:
    """Nor does a token's secret lie anywhere: it is printed once, by the command that makes it."""
    watched = Watched(tmp_path)
    watched.run(url, "token", "create", "--name", "me", "--json")
    secret = json.loads(watched.texts[0][1])["token"].split("_", 2)[2]
    watched.run(url, "token", "list")
    submit(url, tmp_path)
    watched.run_process(url, "worker", "--once", "--workers", "1")
    watched.texts += [("the database", rows(url))]
    assert watched.leaks() == []
    assert [where for where, text in watched.texts if secret in text] == [watched.texts[0][0]]


def submit(url: str, folder: Path) -> None:
    """Put a search into the service's queue."""
    _, data = write_inputs(folder)
    asked = {"space": str(folder / "tiny.py"), "data": data, "target_flops": "50k", "trials": 1}
    asked |= {"epochs": 1, "folds": 1, "finalists": 0, "pruner": "none"}
    with opened(url) as store, store.write() as connection:
        token, _ = tokens.create(connection, "me", ["submit"])
        searches.add(connection, token, searches.Wanted("queued", asked, asked))


def failing(words: str) -> Callable[..., None]:
    """Return a training that fails."""

    def train(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    return train


def test_no_error_shows_a_password(url: str, tmp_path: Path) -> None:
    """A wrong password, a closed port, no such host, database, option or driver; no tables yet."""
    watched = Watched(tmp_path)
    port, name = re.findall(r":(\d+)/(\w+)", url)[0]
    wrong = url.replace("hu%24h", "other")
    for bad in (
        wrong,
        url.replace(f":{port}", ":1"),
        url.replace("127.0.0.1", "nas.invalid"),
        url.replace(f"/{name}", "/nas_no_such"),
        url + ("&" if "?" in url else "?") + "nonsense=1",
        url.replace("postgresql://", "oracle://"),
        url.replace(f":{port}", ":port"),
    ):
        watched.run(bad, "status", code=2)
        watched.run(bad, "store", "init", code=2)
    for verb in (
        "resume --study tiny", "status --watch", "top", "show", "logs", "export --out x",
        "jobs list", "rescore --target-flops 1M", "dashboard --port 0", "metrics serve --port 0",
        "store check", "worker --once", "token list", "token create --name me",
        f"search {' '.join(arguments(tmp_path, store=wrong, workers=0))}",
    ):  # fmt: skip
        watched.run(wrong, *verb.split(), code=2)
    watched.run(url, "status", code=2)  # no tables yet
    watched.run(url, "store", "backup", url, code=2)  # it is no file's name
    watched.run(url, "store", "copy", url, url.replace(f":{port}", ":1"), code=2)
    said = "".join(text for _, text in watched.texts)
    assert said.count("password authentication failed") == 17
    assert watched.leaks() == []


def test_what_a_search_returns_is_shown_without_its_store() -> None:
    """A notebook prints a study as its repr, a debugger a worker's job."""
    store = f"postgresql://u:{SECRET}@h/d"
    study = Study("tiny", store, Counts(), None, completed=True)
    order = WorkOrder(store, "tiny", "w1")
    assert order.to_json() == WorkOrder(**json.loads(order.to_json())).to_json()
    assert not any(secret in repr([study, order]) for secret in SHOWN)


def test_what_is_hidden_is_hidden_in_every_form() -> None:
    """As it is meant and as it is written, and in the name by which a store is shown."""
    for text in (f"postgresql://u:{SECRET}@h/d", f"postgresql://u@h/d?password={SECRET}"):
        url = engine.parse(text)
        shown = engine.hidden(url, f"{PASSWORD} {SECRET} {quote(PASSWORD)}")
        assert shown == "*** *** ***"
        assert not any(secret in engine.masked(url) for secret in SHOWN)
