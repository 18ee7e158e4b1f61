"""`nas serve`: the HTTP API on a store, and processes that work off its queue."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, UserError
from nas.executors._processors import granted
from nas.files import check_folder
from nas.service.sockets import is_loopback, listening
from nas.store import audit
from nas.store import engine as engines
from nas.study import options

if TYPE_CHECKING:
    import uvicorn

    from nas.service.api.service import Service

log = logging.getLogger("nas")
INSTALL = "pip install 'nas[service]'"
SERVER = "NAS_SERVER_PROCESS"  # the variable of a worker process with the one that began it
TIDIED = 3600.0  # seconds between two looks for uploads that are over
QUICK = 10.0  # seconds: a worker process that ends sooner is begun again after a pause
LEAVING = 60.0  # seconds for the worker processes to let go of their searches
BACKLOG = 512


@dataclass(frozen=True)
class Serve:
    """How a server is started: its address and names, its folders, its worker processes.

    Below `roots` searches may name data; `folder` holds uploads and downloads; `root_path` is the
    path that a proxy serves it at. Records of who did what are kept for `audit_seconds`. With
    `open_to_loopback` this machine's users need no token. `where` has the options of the worker
    processes, the executor say: with any of them there is at least one.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    names: Collection[str] = ()
    workers: int = 0
    roots: Sequence[str] = ()
    folder: str = "studies/service"
    root_path: str = ""
    audit_seconds: float = audit.KEPT
    open_to_loopback: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)

    def checked_roots(self) -> tuple[Path, ...]:
        """Return the data roots; raises UserError for what is no folder."""
        roots = [Path(root).expanduser() for root in self.roots]
        for root in roots:
            if not root.is_dir():
                raise UserError(f"--data-root is a folder, not {str(root)!r}.")
        return tuple(root.resolve() for root in roots)


def serve(
    store: str | None = None, how: Serve | None = None, *, say: Callable[[str], None] = print
) -> None:
    """Serve the API on a store until Ctrl-C or SIGTERM.

    Raises UserError without the extra and for an address that can't be had, StoreError for a store
    that can't be opened.
    """
    how = how or Serve()
    try:
        import uvicorn

        from nas.service.api.app import Serving, application
    except ImportError:
        raise UserError(f"The service needs packages of its own: {INSTALL}.") from None
    from nas.service.api.access import nobody
    from nas.service.api.service import Service
    from nas.store.store import Store

    if how.open_to_loopback and not is_loopback(how.host):
        raise UserError(f"--no-auth-on-loopback is for --host 127.0.0.1, not for {how.host}.")
    options.read(how.where).new_executor()  # a mistake is told now, not by each worker
    url, roots, folder = engines.resolve(store), how.checked_roots(), Path(how.folder)
    check_folder(folder)
    with closing(_bound(how.host, how.port)) as bound, closing(Store.open(url)) as opened:
        service = Service(opened, url, folder.resolve(), roots, how.audit_seconds)
        anybody = nobody(opened) if how.open_to_loopback else None
        app = application(service, Serving(how.host, how.names, anybody=anybody))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=2, proxy_headers=False, backlog=BACKLOG,
            root_path=how.root_path,
        )  # fmt: skip
        shown = f"[{how.host}]" if ":" in how.host else how.host
        Thread(target=_tidy, args=(service,), daemon=True).start()
        server = uvicorn.Server(config)
        with _ended_by_signals(server), Workers(url, how):
            say(f"API of {engines.masked(url)}: http://{shown}:{bound.getsockname()[1]}/api/v1")
            say("Ctrl-C ends it.")
            server.run(sockets=[bound])


def _tidy(service: "Service") -> None:
    """Remove what nobody needs any more, now and every hour."""
    from nas.service.api.uploads import tidy

    while True:
        try:
            tidy(service)
        except (NasError, OSError) as error:
            log.warning("old uploads and records are not removed: %s", error)
        time.sleep(TIDIED)


@contextmanager
def _ended_by_signals(server: "uvicorn.Server") -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the server alone; uvicorn raises them once more at its end."""

    def end(*_: object) -> None:
        server.should_exit = True

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises UserError for an address that can't be had."""
    with listening(host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)


class Workers:
    """Processes of `nas worker`, begun again when they end, until the context ends."""

    def __init__(self, url: str, how: Serve) -> None:
        self._url, self._where, self._over = url, how.where, Event()
        self._count = how.workers or min(1, len(how.where))
        self._threads: list[Thread] = []

    def __enter__(self) -> "Workers":
        self._threads = [Thread(target=self._keep, daemon=True) for _ in range(self._count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask the processes to let go, and wait for them."""
        self._over.set()
        for thread in self._threads:
            thread.join(LEAVING + QUICK)

    def _keep(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            environment = {"NAS_STORE": self._url, SERVER: str(os.getpid())}
            process = subprocess.Popen(
                [sys.executable, "-m", "nas.cli", "worker", *self._share()],
                stdin=subprocess.DEVNULL, env=os.environ | environment, start_new_session=True,
            )  # fmt: skip
            while process.poll() is None:
                if self._over.wait(0.2):
                    process.send_signal(signal.SIGTERM)
                    self._wait(process)
            if not self._over.is_set():
                log.warning("a worker has ended with %s and is begun again", process.returncode)
                self._over.wait(max(0.0, QUICK - (time.monotonic() - began)))

    def _share(self) -> list[str]:
        """Return the options of a process: of several each has its part of the processors."""
        if self._where:
            pairs = self._where.items()
            return [word for k, v in pairs for word in (options.declared()[k].flag, str(v))]
        return [] if self._count == 1 else ["--workers", str(max(1, granted() // self._count))]

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        try:
            process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            process.kill()
