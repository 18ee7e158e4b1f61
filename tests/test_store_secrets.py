"""Credentials in a store's URL never appear: in no output, log, file, row or command line."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from search_kit import arguments, command
from store_kit import SERVER, has_postgresql, scratch_database

from nas.store import engine, plain
from nas.store.models import Base
from nas.store.snapshot import snapshot

PASSWORD = "hu$h-p@ss/w0rd"
SHOWN = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), "p@ss", "p%40ss", "w0rd")


@pytest.fixture
def role() -> Iterator[tuple[str, str]]:
    """Make a user with a password that owns a database; yield the user's name and the database."""
    if not has_postgresql():
        pytest.skip("no PostgreSQL answers at 127.0.0.1:5432")
    with scratch_database() as url:
        name = url.rpartition("/")[2]
        admin = sa.create_engine(f"{SERVER}/{name}", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'other'")
            connection.exec_driver_sql(f"GRANT ALL ON SCHEMA public TO {name}")
        try:
            yield name, name
        finally:
            with admin.connect() as connection:
                connection.exec_driver_sql(f"DROP OWNED BY {name}")
                connection.exec_driver_sql(f"DROP ROLE {name}")
            admin.dispose()


def urls(role: tuple[str, str]) -> dict[str, str]:
    """Return a store's URL with the password in its usual place, and in the query."""
    user, database = role
    secret = quote(PASSWORD, safe="")
    return {
        "before the host": f"postgresql://{user}:{secret}@127.0.0.1:5432/{database}",
        "in the query": f"postgresql://{user}@127.0.0.1:5432/{database}?password={secret}",
    }


class Watched:
    """Runs commands in a folder and gathers all that could show what they were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: list[tuple[str, str]] = []

    def run(self, url: str, *words: str, code: int = 0) -> None:
        """Run a command with the store in NAS_STORE, which no other process can read."""
        environment = os.environ | {"NAS_STORE": url}
        process = subprocess.Popen(
            command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, env=environment,
        )  # fmt: skip
        ended = threading.Event()
        looking = threading.Thread(target=self._look, args=(process.pid, ended))
        looking.start()
        out, err = process.communicate(timeout=600)
        ended.set()
        looking.join()
        self.texts += [(f"output of {words}", out), (f"errors of {words}", err)]
        assert process.returncode == code, err
        assert "Traceback" not in err

    def _look(self, pid: int, ended: threading.Event) -> None:
        """Gather the command lines of a process and of those it starts."""
        seen = set()
        while not ended.is_set():
            for each in [pid, *descendants(pid)]:
                try:
                    seen.add(Path(f"/proc/{each}/cmdline").read_text())
                except OSError:
                    continue
            time.sleep(0.05)
        self.texts += [("command line", text) for text in seen]

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
    from optuna.storages._rdb import models

    tables = [*models.BaseModel.metadata.sorted_tables, *Base.metadata.sorted_tables]
    with snapshot(url) as connection:
        return repr([list(plain.read(connection, plain.select(table))) for table in tables])


@pytest.mark.parametrize("place", ["before the host", "in the query"])
def test_a_password_is_shown_nowhere(place: str, role: tuple[str, str], tmp_path: Path) -> None:
    """A search with workers, and every command on its store, keep the URL's password to themselves.

    Looked at: what they print, their processes' command lines, every file, every row.
    """
    url = urls(role)[place]
    watched = Watched(tmp_path)
    words = arguments(tmp_path, trials=2, epochs=1, workers=2, store=url)
    at = words.index("--store")
    words = words[:at] + words[at + 2 :]  # the store comes by NAS_STORE
    watched.run(url, "store", "init")
    watched.run(url, "search", *words)
    for verb in (
        "status", "top", "top --pareto", "show", "rescore --target-flops 60k",
        "export --out exported", "store check", "store upgrade", "store backup backup.db",
        "status --json", "store check --json",
    ):  # fmt: skip
        watched.run(url, *verb.split())
    watched.run(url, "resume", "--study", "tiny", "--trials", "3", "--workers", "1")
    watched.texts.append(("the database", rows(url)))
    watched.run(url, "search", *words, "--seed", "9", code=2)  # a study with another meaning
    assert watched.leaks() == []


@pytest.mark.parametrize("place", ["before the host", "in the query"])
def test_no_error_shows_a_password(place: str, role: tuple[str, str], tmp_path: Path) -> None:
    """A port that is closed, a database or an option that doesn't exist, a wrong driver."""
    good = urls(role)[place]
    watched = Watched(tmp_path)
    for bad in (
        good.replace(":5432", ":1"),
        good.replace(f"/{role[1]}", "/nas_no_such"),
        good + ("&" if "?" in good else "?") + "nonsense=1",
        good.replace("postgresql://", "oracle://"),
        good.replace(":5432", ":port"),
    ):
        watched.run(bad, "status", code=2)
        watched.run(bad, "store", "init", code=2)
    watched.run(good, "status", code=2)  # no tables yet
    watched.run(good, "store", "copy", good, good.replace(":5432", ":1"), code=2)
    shown = [(where, text) for where, text in watched.texts if where != "command line"]
    watched.texts = shown  # a user who writes the URL as an argument has shown it already
    assert watched.leaks() == []


@pytest.mark.parametrize("place", ["before the host", "in the query"])
def test_what_is_hidden_is_hidden_in_every_form(place: str) -> None:
    """As it is meant and as it is written, and in the name by which a store is shown."""
    url = engine.parse(urls(("u", "d"))[place])
    text = f"{PASSWORD} {quote(PASSWORD, safe='')} {quote(PASSWORD)}"
    assert engine.hidden(url, text) == "*** *** ***"
    assert not any(secret in engine.masked(url) for secret in SHOWN)
