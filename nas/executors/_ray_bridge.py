"""The process beside the driver that speaks to Ray, and owns the workers on it.

Ray ends a process that has lost its head for a minute, and a call to a lost head may never come
back; here that takes nothing with it. Orders come in and news go out as lines of JSON. When the
orders end, because the driver has, this process ends, and Ray ends the workers of an owner that
is gone.
"""

import json
import os
import queue
import signal
import socket
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import IO, Any

import ray

from nas.executors._ray_worker import NasWorker

TICK = 0.2  # seconds between two looks at orders and workers
KNOCKING = 10.0  # seconds for a head's port to open
LONGEST = 400  # characters of what a worker died of


class Bridge:
    """Does what it is ordered to and tells what comes of it."""

    def __init__(self, news: IO[str], pulse: float) -> None:
        self.news, self.pulse, self.beat = news, pulse, 0.0
        self.node = ray.get_runtime_context().get_node_id()
        self.actors: dict[int, Any] = {}
        self.placing: dict[Any, int] = {}
        self.running: dict[Any, int] = {}
        self.logging = False

    def tell(self, news: str, **details: object) -> None:
        """Send news to the driver."""
        self.news.write(json.dumps({"news": news, **details}) + "\n")
        self.news.flush()

    def start(self, number: int, order: dict[str, Any]) -> None:
        """Ask Ray for a worker."""
        if not self.logging:
            _log_to(order["log"])
            self.logging = True
        # One call runs, the other asks it to stop. The driver replaces a worker that died.
        actor = (
            ray.remote(NasWorker)
            .options(
                num_cpus=order["cpus"], num_gpus=order["gpus"], max_restarts=0, max_concurrency=2
            )
            .remote(order["folder"], order["environment"])
        )
        self.actors[number] = actor
        self.placing[actor.where.remote()] = number
        self.running[actor.run.remote(order["module"], order["work"])] = number

    def stop(self, number: int) -> None:
        """Ask a worker to stop; withdraw one that has no place yet."""
        if number in self.placing.values():
            self.withdraw([number])
        elif number in self.actors:
            self.actors[number].stop.remote()

    def kill(self, number: int) -> None:
        """End a worker's process."""
        if number in self.actors:
            ray.kill(self.actors[number])

    def withdraw(self, numbers: list[int]) -> None:
        """Take back the request for workers that nobody needs any more."""
        for number in numbers:
            self.kill(number)
            self.forget(number)
            self.tell("ended", worker=number, status=0, words="")

    def forget(self, number: int) -> None:
        """Drop what belongs to a worker that is over."""
        self.actors.pop(number, None)
        self.placing = {ref: worker for ref, worker in self.placing.items() if worker != number}
        self.running = {ref: worker for ref, worker in self.running.items() if worker != number}

    def look(self) -> None:
        """Tell which workers have found a place and which are over."""
        refs = [*self.running, *self.placing]
        if not refs:
            time.sleep(TICK)
            return
        ready, _ = ray.wait(refs, num_returns=1, timeout=TICK)
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in self.running:
                self.end(self.running[ref], ref)
            elif ref in self.placing:
                self.place(self.placing[ref], ref)

    def place(self, number: int, ref: Any) -> None:
        """Tell that a worker has a place; where it died instead, its end tells so."""
        self.placing.pop(ref)
        try:
            self.tell("placed", worker=number, **ray.get(ref))
        except ray.exceptions.RayError:
            return

    def end(self, number: int, ref: Any) -> None:
        """Tell how a worker ended; one that ended well has left nothing to those that wait."""
        try:
            words = ray.get(ref)
        except ray.exceptions.RayError as error:
            words = _why(error)
        self.forget(number)
        self.tell("ended", worker=number, status=0 if words is None else 1, words=words or "")
        if words is None:
            self.withdraw(list(self.placing.values()))

    def live(self) -> None:
        """Tell now and then that the head answers, and what its nodes have."""
        if time.monotonic() - self.beat < self.pulse:
            return
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if self.node not in [node["NodeID"] for node in nodes]:
            raise ConnectionError("the head knows this node no more")
        self.beat = time.monotonic()
        has = [
            {name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU")} for node in nodes
        ]
        self.tell("pulse", nodes=has)

    def obey(self, orders: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
        """Work until the orders end."""
        while True:
            self.live()
            while not orders.empty():
                order = orders.get()
                if order is None:
                    return
                match order["order"]:
                    case "start":
                        self.start(order["worker"], order)
                    case "stop":
                        self.stop(order["worker"])
                    case "kill":
                        self.kill(order["worker"])
            self.look()


def _why(error: BaseException) -> str:
    """Return a Ray error in one line; what it says of itself comes first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("The actor is dead because")]
    return textwrap.shorten(" ".join(reasons or lines), LONGEST, placeholder=" ...")


def _log_to(path: str) -> None:
    """Send what Ray and the workers print to a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _knock(address: str | None) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), KNOCKING).close()


def _connect(address: str | None, empty: str) -> None:
    """Join the cluster at an address, or start a Ray here that ends with this process.

    Ray puts the current folder on the workers' path: an empty one shadows nothing there.
    """
    _knock(address)
    token = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if token:
        os.environ["RAY_AUTH_TOKEN_PATH"] = os.path.abspath(token)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ |= {"RAY_DEDUP_LOGS": "0", "RAY_COLOR_PREFIX": "0"}  # for a file, not a terminal
    os.chdir(empty)
    sys.argv = [""]
    ray.init(address=address or "local", include_dashboard=None if address else False)


def _read(orders: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    orders.put(None)
    time.sleep(10)  # the end of the orders may find us in a call to Ray that never returns
    os._exit(0)


def main() -> None:
    """Be the bridge: the first order says where the cluster is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    news = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no news
    first = json.loads(sys.stdin.readline())
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=[orders], daemon=True).start()  # while connecting, too
    try:
        _connect(first["address"], first["folder"])
        bridge = Bridge(news, first["pulse"])
        bridge.obey(orders)
    except BrokenPipeError:  # the driver is gone
        os._exit(0)
    except Exception as error:
        words = textwrap.shorten(str(error), LONGEST, placeholder=" ...")
        news.write(json.dumps({"news": "failed", "words": words}) + "\n")
        news.flush()
        os._exit(1)  # nothing that Ray does at exit may keep us
    ray.shutdown()


if __name__ == "__main__":
    main()
