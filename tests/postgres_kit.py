"""A PostgreSQL server for one test, which can stop it, kill it and start it again."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.search_kit import is_gone, kill_all

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
INITDB = shutil.which("initdb") or (str(PROGRAMS) if PROGRAMS else None)


def _here(*words: str) -> list[str]:
    return list(words)


STARTS = 10  # attempts


class Server:
    """A server in a folder, on a port of the loopback; root runs it as the user postgres.

    `within` turns a command into one that runs in another network namespace. The server checks the
    password if there is one; without one it trusts every client.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        within: Callable[..., list[str]] = _here,
        password: str | None = None,
    ) -> None:
        self.folder, self.port, self.within = folder / "data", port, within
        self.password = password
        self.bin = Path(str(INITDB)).parent
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user is not None:
            shutil.chown(folder, self.user)
        self.url = f"postgresql+psycopg://nas@127.0.0.1:{port}/postgres"

    def run(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's programs to its end."""
        dropped = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        own = [*(dropped if self.user else []), str(self.bin / program), *words]
        subprocess.run(
            self.within(*own), check=True, timeout=120, cwd="/", stdout=subprocess.DEVNULL
        )

    def make(self) -> None:
        """Make the server's files and start it."""
        words, file = ["-A", "trust"], self.folder.with_name("password")
        if self.password is not None:
            file.write_text(self.password)
            words = ["-A", "scram-sha-256", f"--pwfile={file}"]
        self.run("initdb", "-D", str(self.folder), "-U", "nas", "--no-sync", *words)
        file.unlink(missing_ok=True)
        self.control("start")

    def control(self, what: str, *words: str) -> None:
        """Start, stop or restart the server, and wait for it."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        log = str(self.folder / "log")
        call = ("pg_ctl", what, "-D", str(self.folder), "-l", log, "-w", "-o", options, *words)
        for _ in range(STARTS - 1 if what == "start" else 0):
            try:
                return self.run(*call)
            except subprocess.CalledProcessError:  # a killed server's memory is not free yet
                time.sleep(2)
        return self.run(*call)

    def kill(self) -> None:
        """Kill the server and its connections' processes at once, as a power cut does."""
        postmaster = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        words = ["pgrep", "-P", str(postmaster)]
        found = subprocess.run(words, capture_output=True, text=True, timeout=60)
        killed = [postmaster, *map(int, found.stdout.split())]
        kill_all(killed)
        end = time.monotonic() + 60
        while not all(map(is_gone, killed)):  # its memory is not free before
            assert time.monotonic() < end, "a killed server is still there"
            time.sleep(0.05)
        (self.folder / "postmaster.pid").unlink()  # its process may be there as a zombie


@contextmanager
def started(password: str | None = None, disk: Path | None = None) -> Iterator[Server]:
    """Run a server on a free port; skip the test if PostgreSQL's programs are missing.

    Its files lie on a disk that the user postgres reaches, by default that of temporary files.
    """
    if INITDB is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    with TemporaryDirectory(ignore_cleanup_errors=True, dir=disk) as folder:
        os.chmod(folder, 0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = Server(Path(folder), port, password=password)
        made.make()
        try:
            yield made
        finally:
            made.control("stop", "-m", "immediate")
