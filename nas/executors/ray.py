"""Workers on a Ray cluster: Ray places, schedules and autoscales them; we ask, watch and let go.

A worker is one Ray actor that runs until nothing is left to do; one that waits for room is a
pending request, which is what Ray's autoscaler looks at. Ray itself is spoken to by a process
beside this one (`_ray_bridge`): a head that is lost can neither end nor stop the driver.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.errors import NasError, UserError
from nas.executors import Executor, Request, Work

DEFAULT_CPUS = 1.0
DEFAULT_GPUS = 0.25  # where the cluster has any
CONNECTING = 180.0  # seconds until a cluster, or a local Ray, has to be there
SILENCE = 60.0  # seconds without a sign of life of the head, after which it is given up
PULSE_OF_HEAD = 2.0  # seconds between two signs of life
WAITING = 15.0  # seconds, until a person is told that workers wait, and again 8 times later
CLOSING = 15.0  # seconds that Ray gets to end a driver in order
log = logging.getLogger("nas")


def make(request: Request) -> "RayCluster":
    """Return the executor; nothing is connected yet. Raises UserError where Ray is absent."""
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray, which is not here: pip install 'nas[ray]'.")
    if request.workers is not None:
        raise UserError(
            f"--workers {request.workers} is for this machine; on Ray, --max-concurrent says how "
            "many workers run at once."
        )
    cpus = DEFAULT_CPUS if request.cpus is None else request.cpus
    gpus = request.gpus
    if gpus is not None and gpus > 1 and gpus % 1:
        raise UserError(f"--gpus-per-trial is a share from 0 to 1 or a whole number, not {gpus:g}.")
    address = request.address or os.environ.get("RAY_ADDRESS")
    return RayCluster(address, cpus, gpus, request.max_concurrent)


class RayCluster(Executor):
    """Runs workers on the cluster at an address, or on a Ray of this machine's own for None.

    `gpus` of None is a quarter of a GPU where the cluster has any.
    """

    def __init__(
        self, address: str | None, cpus: float, gpus: float | None, max_concurrent: int | None
    ) -> None:
        self.address, self.cpus, self.asked, self.most = address, cpus, gpus, max_concurrent
        self.handles: list[RayWorker] = []
        self.warned = 0.0  # when a person last heard of workers that wait
        self.pause = WAITING

    @cached_property
    def bridge(self) -> "BridgeProcess":
        """The process that speaks to Ray, connected when it is first needed."""
        return BridgeProcess(self.address, self.handles)

    @cached_property
    def gpus(self) -> float:
        """GPUs per worker."""
        if self.asked is not None:
            return self.asked
        return DEFAULT_GPUS if any(node.get("GPU") for node in self.bridge.nodes) else 0.0

    @cached_property
    def workers(self) -> int:
        """As many as asked, else as the cluster's CPUs and GPUs hold now, at least one."""
        room = sum(self._room(node) for node in self.bridge.nodes)
        return max(1, room) if self.most is None else self.most

    @property
    def threads(self) -> int:
        """One for each whole CPU of a worker."""
        return max(1, int(self.cpus))

    def _room(self, node: dict[str, float]) -> int:
        """Return how many workers a node with these resources holds."""
        room = node.get("CPU", 0.0) / self.cpus
        if self.gpus:
            room = min(room, node.get("GPU", 0.0) / self.gpus)
        return int(room + 1e-9)

    def start(self, work: Work) -> "RayWorker":
        """Ask Ray for a worker and return at once; the order goes to it as JSON text."""
        handle = RayWorker(self, len(self.handles))
        self.handles.append(handle)
        self.bridge.order(
            "start",
            handle.number,
            module=work.module,
            work=work.order,
            environment=self._environment(work.threads),
            cpus=self.cpus,
            gpus=self.gpus,
            folder=os.getcwd(),
            log=str(Path(work.log).with_name("ray.log").absolute()),
        )
        return handle

    def _environment(self, threads: int) -> dict[str, str]:
        """Return what a worker's process is told; which GPUs are its own Ray tells it."""
        shared = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        return shared if self.gpus else shared | {"CUDA_VISIBLE_DEVICES": ""}

    def tell_waiting(self) -> None:
        """Say which workers wait for room, first after a while and then seldom."""
        waiting = [worker for worker in self.handles if worker.is_waiting]
        if not waiting:
            return
        since = max(self.warned, min(worker.begun for worker in waiting))
        if time.monotonic() - since < self.pause:
            return
        self.warned, self.pause = time.monotonic(), 8 * WAITING
        log.warning("%s", self._why_waiting(len(waiting)))

    def _why_waiting(self, count: int) -> str:
        running = sum(worker.status is None and worker.placed for worker in self.handles)
        each = f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        text = f"{count} of {count + running} workers wait for Ray to find {each} for each"
        nodes = self.bridge.nodes
        if any(self._room(node) for node in nodes):
            return f"{text}: the cluster is busy."
        has = "; ".join(f"{n.get('CPU', 0):g} CPU, {n.get('GPU', 0):g} GPU" for n in nodes)
        return (
            f"{text}, and no node has that ({has or 'no node'}). They begin when a node that does "
            "joins, by an autoscaler say; --cpus-per-trial and --gpus-per-trial ask for less."
        )

    def close(self) -> None:
        """Leave the cluster: workers that still run end; so does a Ray that was started here."""
        if "bridge" in vars(self):
            self.bridge.close()


class RayWorker:
    """A worker on the cluster, as far as the bridge has told."""

    def __init__(self, cluster: RayCluster, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.status: int | None = None
        self.words = ""
        self.placed = False
        self.begun = time.monotonic()
        self.ended = threading.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether no node has taken it yet."""
        return self.status is None and not self.placed

    def hear(self, news: dict[str, Any]) -> None:
        """Take in what the bridge tells of this worker."""
        if news["news"] == "placed":
            self.placed = True
        else:
            self.status, self.words = news["status"], news["words"]
            self.ended.set()

    def poll(self) -> int | None:
        """Return None while the worker waits or runs, 0 when it has ended, 1 when it died.

        Raises NasError when the cluster is lost.
        """
        if self.status is not None:
            return self.status
        self.cluster.bridge.check()
        self.cluster.tell_waiting()
        return None

    def stop(self) -> None:
        """Ask the worker to stop at the next batch; one that waits for room is withdrawn."""
        self.cluster.bridge.order("stop", self.number)

    def wait(self, seconds: float) -> None:
        """Wait for the worker's end, at most this long, and not at all without a cluster."""
        end = time.monotonic() + seconds
        while not self.cluster.bridge.lost and time.monotonic() < end:
            if self.ended.wait(0.2):
                return

    def kill(self) -> None:
        """End the worker's process now; its lease expires."""
        if self.status is None:
            self.cluster.bridge.order("kill", self.number)

    def last_words(self) -> str:
        """Return what the worker died of."""
        return self.words


class BridgeProcess:
    """The process that speaks to Ray: orders go in and news come out as lines of JSON."""

    def __init__(self, address: str | None, workers: list["RayWorker"]) -> None:
        self.workers = workers
        self.where = f"at {address}" if address else "on this machine"
        self.nodes: list[dict[str, float]] = []
        self.failure = ""
        self.heard = time.monotonic()
        self.ready = threading.Event()
        self.empty = tempfile.TemporaryDirectory(prefix="nas-ray-", ignore_cleanup_errors=True)
        with tempfile.TemporaryFile() as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nas.executors._ray_bridge"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,  # Ctrl-C is for the driver, which asks for a stop
            )
            self.writing = threading.Lock()
            threading.Thread(target=self._listen, name="ray", daemon=True).start()
            self.order(
                "connect", None, address=address, pulse=PULSE_OF_HEAD, folder=self.empty.name
            )
            if not self.ready.wait(CONNECTING):
                self.failure = f"no answer in {CONNECTING:g} s"
            if self.failure or not self.nodes:
                self.close()
                errors.seek(0)
                printed = errors.read().decode(errors="replace").strip().splitlines()
                raise UserError(
                    f"Can't use Ray {self.where}: {self.failure or (printed or ['no node'])[-1]}"
                )

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            news = json.loads(line)
            self.heard = time.monotonic()
            if news["news"] == "failed":
                self.failure = news["words"]
            elif news["news"] == "pulse":
                self.nodes = news["nodes"]
                self.ready.set()
            else:
                self.workers[news["worker"]].hear(news)
        self.failure = self.failure or "its process here has ended"
        self.ready.set()

    def order(self, order: str, worker: int | None, **details: object) -> None:
        """Send an order; one that can't be sent is found missing by `check`."""
        line = json.dumps({"order": order, "worker": worker, **details})
        with self.writing, suppress(OSError, ValueError):
            if self.process.stdin is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

    @property
    def lost(self) -> str:
        """Why the cluster is given up; nothing while it is there."""
        if self.failure:
            return self.failure
        silence = time.monotonic() - self.heard
        return f"no answer for {silence:.0f} s" if silence > SILENCE else ""

    def check(self) -> None:
        """Raise NasError when the cluster is lost."""
        if self.lost:
            raise NasError(
                f"The Ray cluster {self.where} is lost: {self.lost}. What was trained is kept; the "
                "same command goes on when the cluster is back."
            )

    def close(self) -> None:
        """End the process, and with it, their owner, the workers."""
        with self.writing, suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        try:
            self.process.wait(0 if self.lost else CLOSING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.empty.cleanup()
