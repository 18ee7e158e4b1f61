"""Ray for tests: real heads and nodes, in a network namespace that has only its loopback.

Ray listens on every interface, and `ray stop` ends every Ray of a machine. Here each cluster has
its own network, and each node its own process tree, which a test can kill at once. Drivers are
plain processes in the network, started with `Cluster.popen`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from nas.executors._processors import granted
from tests.search_kit import read_until

PORT = 6379
MACHINES = ["10.77.0.1", "10.77.0.2"]
FIRST_AGENT_PORT = 52400
AGENT_PORTS = (
    "metrics-export",
    "dashboard-agent-grpc",
    "dashboard-agent-listen",
    "runtime-env-agent",
)
STARTING = 240.0  # seconds for a node to join; 12 on a quiet machine
ENDING = 60.0  # seconds for a killed process to be gone
HOLDER = """
import fcntl, socket, struct, sys
with socket.socket() as probe:  # bring the loopback up; 0x8914: SIOCSIFFLAGS, 0x41: up, running
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
print("up", flush=True)
sys.stdin.read()
"""


@cache
def why_not() -> str:
    """Return the reason that Ray can't start here, or nothing."""
    if find_spec("ray") is None:
        return "Ray is not installed"
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "unshare and nsenter (util-linux) are not installed"
    made = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, timeout=ENDING)
    if made.returncode:
        return f"namespaces are not permitted here: {made.stderr.strip()}"
    return ""


@cache
def has_cables() -> bool:
    """Return whether two networks can be joined here."""
    if why_not() or os.geteuid() or shutil.which("ip") is None:
        return False
    made = ["ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1"]
    ended = subprocess.run([*_unshare(), *made], capture_output=True, timeout=ENDING)
    return ended.returncode == 0


def skip_without_ray() -> None:
    """Skip the test if Ray or namespaces are missing."""
    if why_not():
        pytest.skip(why_not())


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--net", *user]


class Network:
    """A network namespace, held open by a process; at first it has only its loopback."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(
            [*_unshare(), sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        read_until(self.holder.stdout.fileno(), "up\n")

    def within(self, *words: str) -> list[str]:
        """Return the command that runs another in this network."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.holder.pid), "--net", *user, "--", *words]

    def join(self, other: "Network") -> None:
        """Lay a cable between two networks: 10.77.0.1 is this one, 10.77.0.2 the other."""
        self.ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
        self.ip("link", "set", "cable1", "netns", str(other.holder.pid))
        for end, network in enumerate((self, other)):
            network.ip("address", "add", f"{MACHINES[end]}/24", "dev", f"cable{end}")
            network.ip("link", "set", f"cable{end}", "up")

    def ip(self, *words: str) -> None:
        """Configure this network."""
        subprocess.run(self.within("ip", *words), check=True, capture_output=True, timeout=ENDING)

    def close(self) -> None:
        """End the holding process, and with it the network."""
        self.holder.kill()
        self.holder.communicate(timeout=ENDING)


class Cluster:
    """Ray nodes on one machine, or on two that are joined by a cable, and drivers on the first."""

    def __init__(self, folder: Path, *, token: str | None = None, machines: int = 1) -> None:
        self.folder = folder  # short: Ray's sockets lie in it
        self.cpus = max(
            2, granted()
        )  # of a head for many tests: two workers, or one with all cores
        self.head: Node | None = None
        self.nodes: list[Node] = []
        self.started = 0
        self.environment = {
            "RAY_AUTH_MODE": "token" if token else "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "240",  # on a busy machine all is slow to begin
            "RAY_agent_register_timeout_ms": "240000",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # wait for a lost head; 60 by default
            "RAY_health_check_period_ms": "1000",  # five refusals in a row: a node is gone
        }
        if token:
            path = folder / "token"
            path.write_text(token)
            self.environment["RAY_AUTH_TOKEN_PATH"] = str(path)
        self.networks = [Network() for _ in range(machines)]
        self.hosts = MACHINES if machines > 1 else ["127.0.0.1"]
        self.address = f"{self.hosts[0]}:{PORT}"
        if machines > 1:
            self.networks[0].join(self.networks[1])

    @property
    def words(self) -> tuple[str, ...]:
        """The words that run a search's workers on this cluster."""
        return ("--executor", "ray", "--address", self.address)

    def within(self, *words: str) -> list[str]:
        """Return the command that runs another on the first machine."""
        return self.networks[0].within(*words)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a process of this cluster."""
        kept = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "NAS_STORE")}
        return kept | self.environment | more

    def popen(self, *words: str, cwd: Path | None = None, **more: str) -> "subprocess.Popen[str]":
        """Start a command in this network; `more` is added to its environment."""
        return subprocess.Popen(
            self.within(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=self.environ(**more),
        )

    def run(
        self, *words: str, timeout: float = 300, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in this network to its end."""
        return subprocess.run(
            self.within(*words),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environ(**more),
        )

    def start_head(self, *, cpus: int = 2, gpus: int = 0, dashboard: bool = False) -> "Node":
        """Start the head and wait until it answers; `dashboard` opens port 8265 for jobs."""
        with_dashboard = "--include-dashboard=" + str(dashboard).lower()
        words = ["--head", f"--port={PORT}", with_dashboard, f"--temp-dir={self.folder}/ray"]
        words.append(f"--node-ip-address={self.hosts[0]}")
        self.head = self._start(*words, cpus=cpus, gpus=gpus)
        return self.head

    def add_node(self, *, cpus: int = 1, gpus: int = 0) -> "Node":
        """Start another node, on the last machine, and wait until it has joined."""
        words = (f"--address={self.address}", f"--node-ip-address={self.hosts[-1]}")
        return self._start(*words, machine=len(self.networks) - 1, cpus=cpus, gpus=gpus)

    def _start(self, *words: str, cpus: int, gpus: int, machine: int = 0) -> "Node":
        log = self.folder / f"node{self.started}.log"
        # Two nodes on one machine: ports of their own, known before they are taken.
        base = FIRST_AGENT_PORT + 10 * self.started
        ports = [f"--{name}-port={base + n}" for n, name in enumerate(AGENT_PORTS)]
        self.started += 1
        node = Node(self, machine, log, *words, *ports, f"--num-cpus={cpus}", f"--num-gpus={gpus}")
        self.nodes.append(node)
        node.wait_until_up()
        return node

    def stop(self) -> None:
        """End every node at once; the network stays."""
        for node in self.nodes:
            node.kill()
        self.nodes, self.head = [], None

    def close(self) -> None:
        """End every node and the network."""
        self.stop()
        for network in self.networks:
            network.close()


class Node:
    """A Ray node: `ray start` and its child processes, which `kill` ends at once."""

    def __init__(self, cluster: Cluster, machine: int, log: Path, *words: str) -> None:
        self.cluster, self.log = cluster, log
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
        ray.append("--disable-usage-stats")
        mortal = ["setpriv", "--pdeathsig", "KILL"]  # no test that is killed leaves a Ray behind
        tree = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if machine:  # a disk of its own for what Ray keeps of a machine
            ray = ["sh", "-c", f'mount -t tmpfs none {cluster.folder}/ray && exec "$@"', "sh", *ray]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*mortal, *cluster.networks[machine].within(*tree, *ray)],
                stdout=file,
                stderr=file,
                env=cluster.environ(),
                process_group=0,  # Ctrl-C in a terminal is not for it
            )

    def wait_until_up(self) -> None:
        """Wait until `ray start` says that it runs; raises AssertionError with its log."""
        end = time.monotonic() + STARTING
        while "Ray runtime started" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"Ray did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """Return the process ids of the `nas` workers on this node, in this machine's numbering."""
        return [pid for pid in descendants(self.process.pid) if "NasWorker" in _title(pid)]

    def kill(self) -> None:
        """Kill every process of the node at once."""
        self.process.kill()
        self.process.wait(ENDING)


def _title(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process's descendants."""
    words = ["pgrep", "-P", str(pid)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=ENDING).stdout
    children = [int(line) for line in found.split()]
    return children + [each for child in children for each in descendants(child)]


@contextmanager
def cluster(*, token: str | None = None, machines: int = 1) -> Iterator[Cluster]:
    """Yield a network without nodes; skip the test if Ray or namespaces are missing."""
    skip_without_ray()
    if machines > 1 and not has_cables():
        pytest.skip("two networks can't be joined: iproute2 or veth is not there")
    folder = Path(tempfile.mkdtemp(prefix="nasray"))
    made = Cluster(folder, token=token, machines=machines)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def kill(pid: int) -> None:
    """Kill a process at once, as a power cut does."""
    os.kill(pid, signal.SIGKILL)
