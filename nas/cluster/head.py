"""A Ray head, asked through its Jobs API. Every error of Ray's becomes a ClusterError here.

Tokens go into a header and nowhere else: no message and no log holds one, and no redirect is
followed, so that neither the token nor a job's files reach another host than the one named.
"""

import asyncio
import http.client
import json
import logging
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from nas.errors import ClusterError, NoHead

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PATIENCE = 10.0  # seconds for a head to answer a small question
WATCHED = 15.0  # seconds between two looks at a head whose logs are followed
STOPPING = 60  # seconds a stopped job gets until it is killed: trials end at the next batch
ADDRESS = "RAY_API_SERVER_ADDRESS"  # the environment variable that Ray's own commands read
CHATTY = (  # loggers of Ray that tell what this module's callers print themselves
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
Ask = Callable[[str], str | None]  # asks a person for the token of an address


@dataclass(frozen=True)
class JobStatus:
    """What a head says of a job: pending, running, succeeded, failed or stopped, and why."""

    state: str
    message: str | None

    @property
    def ended(self) -> bool:
        """Whether the job will not run any more."""
        return self.state not in ("pending", "running")


def find_token() -> str | None:
    """Return the token that Ray's own environment variables or its default file give, if any."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    given = os.environ.get("RAY_AUTH_TOKEN")
    if given:
        return given.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    try:
        return file.read_text().strip() or None
    except OSError as error:
        if path:
            raise ClusterError(
                f"RAY_AUTH_TOKEN_PATH names a file with the cluster's token; {path} can't be read: "
                f"{error.strerror}."
            ) from None
        return None


def check_address(given: str | None) -> str:
    """Return a head's address without a slash at its end; by default that of Ray's variable."""
    address = (given or os.environ.get(ADDRESS) or "").rstrip("/")
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.username or parts.password:
        raise ClusterError(
            "--address has no user and no password; a token is given by RAY_AUTH_TOKEN."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(
            f"--address is that of a head's Jobs API, such as http://head:8265, not {address!r}; "
            f"{ADDRESS} may name it instead of --address."
        )
    return address


class Head:
    """A head that answers; `connect` finds it."""

    def __init__(self, address: str, token: str | None) -> None:
        self.address, self._token = address, token
        self._client = _client(address, _headers(token))

    @classmethod
    def connect(cls, address: str | None, ask: Ask = lambda _: None) -> "Head":
        """Connect to a head; `ask` is called where it wants a token and none is set.

        Raises NoHead where none answers, ClusterError where it refuses the token.
        """
        where, token = check_address(address), find_token()
        if _refused(where, token) and token is None:
            token = ask(where)
        refusal = _refused(where, token)
        if refusal:
            raise ClusterError(
                f"The head at {where} {refusal}: set RAY_AUTH_TOKEN to its token, or "
                "RAY_AUTH_TOKEN_PATH to a file that holds it."
            )
        return cls(where, token)

    def is_here(self) -> bool:
        """Tell whether the head runs on this machine, and not only answers through a tunnel."""
        if not _is_local(urlsplit(self.address).hostname or ""):
            return False
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                nodes = _get(f"{self.address}/nodes?view=hostNameList", self._token)
                names = list(nodes["data"]["hostNameList"])
                if names or time.monotonic() >= deadline:
                    return socket.gethostname() in names
                time.sleep(0.5)  # it has just started and does not know its own name yet
        except (OSError, ValueError, LookupError, TypeError):  # another Ray: take it for far away
            return False

    def submit(self, job_id: str, entrypoint: str, folder: Path) -> bool:
        """Submit a job that runs in a copy of `folder`; return False if the id was used before."""
        environment = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOPPING)}
        try:
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=job_id,
                runtime_env={"working_dir": str(folder), "env_vars": environment},
            )
        except Exception as error:
            if f"{job_id} already exists" in str(error):
                return False
            raise self._failed("run the job", error) from None
        return True

    def look(self, job_id: str) -> JobStatus | None:
        """Return what the head says of a job; None if it knows none of that id."""
        try:  # not through Ray's client, which would wait for ever where a machine is gone
            info = _get(f"{self.address}/api/jobs/{quote(job_id)}", self._token)
        except (OSError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == 404:
                return None
            raise self._failed(f"tell of job {job_id}", error) from None
        state, code = info["status"].lower(), info.get("driver_exit_code")
        message = info.get("message") if state == "failed" else None
        if message and code is not None:  # it ran: the message is the end of its log once more
            message = f"exit code {code}"
        return JobStatus(state, message)

    def stop(self, job_id: str) -> None:
        """Ask a job to stop, as Ctrl-C does; it is killed if it takes longer than `STOPPING`."""
        try:
            self._client.stop_job(job_id)
        except Exception as error:
            raise self._failed(f"stop job {job_id}", error) from None

    def logs(self, job_id: str) -> str:
        """Return all that a job has printed."""
        try:
            return str(self._client.get_job_logs(job_id))
        except Exception as error:
            raise self._failed(f"give the logs of job {job_id}", error) from None

    def follow(self, job_id: str, write: Callable[[str], None]) -> None:
        """Write what a job prints, from its beginning, until it ends.

        Raises ClusterError when the head dies meanwhile, also when it dies without a word.
        """
        try:
            asyncio.run(self._follow(job_id, write))
        except ClusterError:
            raise
        except Exception as error:
            raise self._failed(f"give the logs of job {job_id}", error) from None
        if self.look(job_id) is None:
            raise ClusterError(f"The head at {self.address} has forgotten job {job_id}.")

    async def _follow(self, job_id: str, write: Callable[[str], None]) -> None:
        tail = asyncio.ensure_future(self._tail(job_id, write))
        try:
            while not (await asyncio.wait({tail}, timeout=WATCHED))[0]:
                if await asyncio.to_thread(self.look, job_id) is None:
                    break
            else:
                tail.result()
        finally:
            tail.cancel()
            with suppress(BaseException):
                await tail

    async def _tail(self, job_id: str, write: Callable[[str], None]) -> None:
        async for text in self._client.tail_job_logs(job_id):
            write(text)

    def _failed(self, doing: str, error: Exception) -> ClusterError:
        """Say what the head at this address did not do; Ray's own text may hold a traceback."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(". ")
        return ClusterError(f"The head at {self.address} did not {doing}: {reason}.")


def _client(address: str, headers: dict[str, str]) -> "JobSubmissionClient":
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError:
        raise ClusterError("Jobs on a cluster need Ray: pip install 'nas[ray]'.") from None
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)

    class JobsOfHead(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, *words: Any, **options: Any) -> Any:
            return super()._do_request(*words, **options, allow_redirects=False)

    with _only(address):
        try:
            return JobsOfHead(address, headers=headers)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            raise ClusterError(f"The head at {address} does not take jobs: {reason}.") from None


@contextmanager
def _only(address: str) -> Iterator[None]:
    """Hide other addresses: Ray prefers those of its environment variables to the one given."""
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS]
        else:
            os.environ[ADDRESS] = before


def _refused(address: str, token: str | None) -> str | None:
    """Return how a head refuses a token, None if it does not; raises NoHead where none answers."""
    try:
        _get(f"{address}/api/version", token)["ray_version"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return "wants a token" if token is None else "refuses the token it was given"
        if error.code in range(300, 400):
            raise NoHead(
                f"What answers at {address} sends requests elsewhere, and a token is not sent "
                "after them: give the head's own address."
            ) from None
        raise NoHead(f"What answers at {address} is not a Ray head: status {error.code}.") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise NoHead(
            f"No Ray head answers at {address}: {getattr(reason, 'strerror', None) or reason}. Is "
            "it up, and is this the address of its dashboard, http://HEAD:8265?"
        ) from None
    except (ValueError, LookupError, TypeError, http.client.HTTPException):
        raise NoHead(f"What answers at {address} is not a Ray head.") from None
    return None


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes an HTTPError of a redirect: urllib would send the headers, and the token, along."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


_open = urllib.request.build_opener(_NoRedirect).open


def _get(url: str, token: str | None) -> Any:
    """Return the JSON at a URL of a head."""
    request = urllib.request.Request(url, headers=_headers(token))
    with _open(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def _is_local(host: str) -> bool:
    """Tell whether a host's address is one of this machine's: only then can it be bound."""
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind((address[0], 0))
                return True
    except OSError:
        return False
    return False
