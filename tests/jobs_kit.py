"""A command line beside a Ray cluster of `ray_kit`, in its network."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray_kit import Cluster, Node
from search_kit import ROOT, read_until

ADDRESS = "http://127.0.0.1:8265"
WAITED = 240.0  # seconds: a machine may be busy
# Runs `nas` commands one after the other in one process: each import of torch takes seconds.
LOOP = """
import json, sys
from typer.testing import CliRunner
from nas.cli import app
for line in sys.stdin:
    ended = CliRunner().invoke(app, json.loads(line))
    print(json.dumps([ended.exit_code, ended.stdout, ended.stderr, repr(ended.exception)]))
    sys.stdout.flush()
"""


@dataclass(frozen=True)
class Said:
    """The output and the exit code of a `nas` command."""

    code: int
    out: str
    err: str


class Home:
    """The folder of a user on the head's machine who submits jobs."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self.cluster, self.token, self.folder = cluster, token, cluster.folder
        cluster.environment["PYTHONPATH"] = str(ROOT)
        cluster.environment["OMP_NUM_THREADS"] = "1"
        cluster.environment["RAY_DASHBOARD_STARTUP_TIMEOUT_S"] = "120"  # on a busy machine
        self._loop: subprocess.Popen[str] | None = None

    def start_head(self) -> Node:
        """Start a head and wait until it takes jobs."""
        head = self.cluster.start_head(dashboard=True)
        wait_for(lambda: "ray_version" in self.get("/api/version"))
        return head

    def nas(self, *words: str) -> Said:
        """Run a `nas` command in the cluster's network; fail if it prints a traceback."""
        if self._loop is None:
            self._loop = subprocess.Popen(
                self.cluster.within(sys.executable, "-c", LOOP),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.folder,
                env=self.cluster.environ(),
            )  # fmt: skip
        assert self._loop.stdin
        assert self._loop.stdout
        self._loop.stdin.write(json.dumps(words) + "\n")
        self._loop.stdin.flush()
        answer = read_until(self._loop.stdout.fileno(), "\n", WAITED)
        code, out, err, error = json.loads(answer)
        assert error == "None" or error.startswith("SystemExit"), error
        return Said(code, out, err)

    def get(self, path: str) -> str:
        """Return the head's answer to a request with its token."""
        header = f"Authorization: Bearer {self.token}"
        return self.cluster.run("curl", "-s", "-m", "20", "-H", header, ADDRESS + path).stdout

    def listed(self, store: str) -> list[dict[str, Any]]:
        """Return the jobs of `nas jobs list`."""
        found: list[dict[str, Any]] = json.loads(
            self.nas("jobs", "list", "--store", store, "--json").out
        )
        return found

    def close(self) -> None:
        """End the command line."""
        if self._loop is not None:
            self._loop.kill()
            self._loop.communicate(timeout=60)


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAITED
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.5)
