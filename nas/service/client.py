"""Clients of the service, one that waits and one for asyncio: submit, watch, download the best.

Both need httpx and no torch. A mistake is told by the error that the verb itself raises.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from nas.errors import Conflict, NasError, NotFound, QuotaSpent, StoreAway, UserError

try:
    import httpx
except ImportError:
    raise UserError("The client needs a package of its own: pip install 'nas[client]'.") from None

Wish = Literal["pause", "resume", "cancel", "delete"]
ROOT, UPLOAD = "/api/v1", "upload:"
BINARY, PART = "application/octet-stream", 2**20  # bytes that are sent at once
LARGEST_PAGE = 200
FILES = {"code": "model.py", "weights": "model.safetensors"}
TIMEOUT = 60.0  # seconds without a byte; a stream of events shows life more often
BUILDING = 600.0  # seconds for a file that is built first
TRIES = 10  # times in a row that a stream is asked for and nothing comes
SILENT = 2.0  # seconds between them
KINDS: Mapping[int, type[NasError]] = {
    404: NotFound, 409: Conflict, 429: QuotaSpent, 503: StoreAway,
}  # fmt: skip


@dataclass(frozen=True)
class RemoteEvent:
    """What happened to a search: `state`, `progress`, `trial` or `end`, with its data."""

    kind: str
    data: Mapping[str, Any]


@dataclass
class _Lines:
    """Reads server-sent events line by line; `last` is the id that a stream goes on after."""

    last: str | None = None
    is_over: bool = False
    _fields: dict[str, str] = field(default_factory=dict)

    def add(self, line: str) -> RemoteEvent | None:
        """Take a line; return an event at its end."""
        name, _, value = line.partition(": ")
        if line:
            self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if "event" not in fields:
            return None
        self.last, self.is_over = fields.get("id", self.last), fields["event"] == "end"
        return RemoteEvent(fields["event"], json.loads(fields["data"]))

    def headers(self) -> dict[str, str]:
        """Return the headers that let a stream go on."""
        self._fields = {}
        return {} if self.last is None else {"Last-Event-ID": self.last}


class ApiRequest(NamedTuple):
    """A request of the API: `body` is sent as JSON, `content` as it is."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] | None = None
    content: Any = None


def read(path: str, **query: object) -> ApiRequest:
    """Return a request that reads at a path below the root; what is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    words = urlencode(given, doseq=True)
    return ApiRequest("GET", f"{ROOT}{path}{f'?{words}' if words else ''}")


def wished(search_id: str, wish: Wish) -> ApiRequest:
    """Return the request that changes a search's state."""
    path = f"{ROOT}/searches/{search_id}"
    return ApiRequest("DELETE", path) if wish == "delete" else ApiRequest("POST", f"{path}/{wish}")


def _upload(path: Path, file: BinaryIO) -> ApiRequest:
    headers = {"Content-Type": BINARY, "Content-Length": str(path.stat().st_size)}
    query = urlencode({"name": path.name})
    return ApiRequest("POST", f"{ROOT}/uploads?{query}", headers=headers, content=file)


def _sent(request: ApiRequest) -> dict[str, Any]:
    """Return a request as httpx takes it; the server checks what is uploaded before it answers."""
    return {
        "method": request.method, "url": request.path, "json": request.body,
        "content": request.content, "headers": request.headers,
        "timeout": TIMEOUT if request.content is None else BUILDING,
    }  # fmt: skip


def _following(page: Mapping[str, Any]) -> ApiRequest | None:
    """Return the request for the page after a page; its address is as a proxy's client sees it."""
    if page["next"] is None:
        return None
    return read("/searches", **parse_qs(urlsplit(page["next"]).query))


async def _parts(file: BinaryIO) -> AsyncIterator[bytes]:
    while part := file.read(PART):
        yield part


def _submission(options: Mapping[str, Any], key: str | None) -> ApiRequest:
    space: Any = options.get("space")
    given = {**options, "space": space.to_json()} if hasattr(space, "to_json") else dict(options)
    headers = None if key is None else {"Idempotency-Key": key}
    return ApiRequest("POST", f"{ROOT}/searches", given, headers)


def _settings(url: str, token: str) -> dict[str, Any]:
    """Return how a server is asked; raises UserError for what is no URL and no token."""
    try:
        parts = httpx.URL(url)
        if parts.scheme not in ("http", "https") or not parts.host:
            raise httpx.InvalidURL("")
    except httpx.InvalidURL:
        raise UserError(
            f"A server's URL is one such as http://127.0.0.1:8080, not {url!r}."
        ) from None
    if not token.isascii() or not token.isprintable():
        raise UserError("A token is the text that nas token create has shown.")
    headers = {"Authorization": f"Bearer {token}"}
    return {"base_url": url.rstrip("/").removesuffix(ROOT), "headers": headers, "timeout": TIMEOUT}


def _checked(answer: httpx.Response) -> Any:
    """Return an answer's JSON; raises the error that its problem is."""
    if answer.is_success:
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise NasError("The server answers, and not as nas serve does.") from None
    try:
        details = answer.json()
        faults = [each["detail"] for each in details["errors"]]
        text = "; ".join(faults) or details["detail"]
    except (ValueError, LookupError, TypeError):
        text = f"The server answers {answer.status_code}, and not as nas serve does."
    is_mistake = 400 <= answer.status_code < 500
    raise KINDS.get(answer.status_code, UserError if is_mistake else NasError)(text)


@contextmanager
def _translated() -> Iterator[None]:
    """Tell of a server that does not answer in one line."""
    try:
        yield
    except httpx.HTTPError as error:
        raise StoreAway(f"The server does not answer: {error}") from None


@dataclass
class _SearchThere:
    """A search on the server, as it was when it was last asked for."""

    facts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its id, and the name of its study."""
        return str(self.facts["id"])

    @property
    def state(self) -> str:
        """Whether it waits, runs or has ended, and how."""
        return str(self.facts["state"])

    @property
    def path(self) -> str:
        """Its address below the server's."""
        return f"{ROOT}/searches/{self.id}"

    def _heard(self, event: RemoteEvent) -> RemoteEvent:
        if event.kind in ("state", "end"):
            self.facts = event.data
        return event

    def check(self) -> None:
        """Raise NasError where it has ended without a winner, or goes on."""
        if self.state != "succeeded":
            why = self.facts.get("message")
            raise NasError(f"Search {self.id} is {self.state}{f': {why}' if why else '.'}")


class Client:
    """A client that waits for its answers.

    with nas.Client("http://127.0.0.1:8080", token) as client:
        search = client.search(space="mixconv", data="digits", target_flops="2M")
        for event in search.watch():
            print(event.kind)
        search.best().download("best")
    """

    def __init__(self, url: str, token: str) -> None:
        settings = _settings(url, token)
        self.url: str = settings["base_url"]
        self._http = httpx.Client(**settings)

    def search(self, *, key: str | None = None, **options: Any) -> "RemoteSearch":
        """Submit a search by the options of nas.search; the same `key` is the same search."""
        return RemoteSearch(self.ask(_submission(options, key)), self)

    def get(self, search_id: str) -> "RemoteSearch":
        """Return a search by its id."""
        return RemoteSearch(self.ask(read(f"/searches/{search_id}")), self)

    def searches(self, title: str | None = None) -> "Iterator[RemoteSearch]":
        """Yield the searches that the token sees, the newest first, with `title` those of it."""
        request: ApiRequest | None = read("/searches", limit=LARGEST_PAGE, title=title)
        while request is not None:
            page = self.ask(request)
            yield from (RemoteSearch(facts, self) for facts in page["items"])
            request = _following(page)

    def upload(self, path: str | Path) -> str:
        """Send a file of data and return the `data` of a search that is to read it."""
        with Path(path).open("rb") as file:
            return f"{UPLOAD}{self.ask(_upload(Path(path), file))['id']}"

    def ask(self, request: ApiRequest) -> Any:
        """Send a request and return its answer's JSON; raises the error that its problem is."""
        with _translated():
            return _checked(self._http.request(**_sent(request)))

    def events(self, path: str) -> Iterator[RemoteEvent]:
        """Yield events until the last, over lost connections and restarts of the server."""
        lines, silent = _Lines(), 0
        while not lines.is_over:
            try:
                with self._http.stream("GET", path, headers=lines.headers()) as answer:
                    if answer.status_code == 204:
                        return
                    if not answer.is_success:
                        answer.read()
                        _checked(answer)
                    for line in answer.iter_lines():
                        if (event := lines.add(line)) is not None:
                            silent = 0
                            yield event
            except (httpx.HTTPError, StoreAway) as error:
                if silent >= TRIES:
                    raise StoreAway(f"The server does not answer: {error}") from None
            silent += 1
            if not lines.is_over:
                time.sleep(SILENT)

    def save(self, path: str, file: Path) -> None:
        """Write a download to a file."""
        with _translated(), self._http.stream("GET", path, timeout=BUILDING) as answer:
            if not answer.is_success:
                answer.read()
                _checked(answer)
            with file.open("wb") as out:
                for part in answer.iter_bytes():
                    out.write(part)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class RemoteSearch(_SearchThere):
    """A search on the server."""

    client: Client

    def refresh(self) -> Self:
        """Ask how it is now."""
        self.facts = self.client.ask(ApiRequest("GET", self.path))
        return self

    def change(self, wish: Wish) -> Self:
        """Pause it, let it go on, cancel or delete it."""
        self.facts = self.client.ask(wished(self.id, wish)) or self.facts
        return self

    def watch(self) -> Iterator[RemoteEvent]:
        """Yield what happens to it, until it ends."""
        for event in self.client.events(f"{self.path}/events"):
            yield self._heard(event)

    def best(self) -> "RemoteNetwork":
        """Wait until it ends and return its winner; raises NasError where it has not succeeded."""
        for _ in self.watch():
            pass
        self.refresh().check()
        return RemoteNetwork(self.client.ask(ApiRequest("GET", f"{self.path}/winner")), self)


@dataclass(frozen=True)
class RemoteNetwork:
    """The winner of a search, with its numbers."""

    facts: Mapping[str, Any]
    search: RemoteSearch

    def download(self, folder: str | Path) -> Path:
        """Write model.py and model.safetensors into a folder and return it."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, file in FILES.items():
            self.search.client.save(f"{self.search.path}/{name}", Path(folder, file))
        return Path(folder)


class AsyncClient:
    """A client for asyncio, with the methods of `Client`; those that ask are awaited."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(**_settings(url, token))

    async def search(self, *, key: str | None = None, **options: Any) -> "AsyncRemoteSearch":
        """Submit a search by the options of nas.search; the same `key` is the same search."""
        return AsyncRemoteSearch(await self.ask(_submission(options, key)), self)

    async def get(self, search_id: str) -> "AsyncRemoteSearch":
        """Return a search by its id."""
        return AsyncRemoteSearch(await self.ask(read(f"/searches/{search_id}")), self)

    async def searches(self, title: str | None = None) -> "AsyncIterator[AsyncRemoteSearch]":
        """Yield the searches that the token sees, the newest first, with `title` those of it."""
        request: ApiRequest | None = read("/searches", limit=LARGEST_PAGE, title=title)
        while request is not None:
            page = await self.ask(request)
            for facts in page["items"]:
                yield AsyncRemoteSearch(facts, self)
            request = _following(page)

    async def upload(self, path: str | Path) -> str:
        """Send a file of data and return the `data` of a search that is to read it."""
        with Path(path).open("rb") as file:
            request = _upload(Path(path), file)
            answer = await self.ask(request._replace(content=_parts(file)))
        return f"{UPLOAD}{answer['id']}"

    async def ask(self, request: ApiRequest) -> Any:
        """Send a request and return its answer's JSON; raises the error that its problem is."""
        with _translated():
            return _checked(await self._http.request(**_sent(request)))

    async def events(self, path: str) -> AsyncIterator[RemoteEvent]:
        """Yield events until the last, over lost connections and restarts of the server."""
        lines, silent = _Lines(), 0
        while not lines.is_over:
            try:
                async with self._http.stream("GET", path, headers=lines.headers()) as answer:
                    if answer.status_code == 204:
                        return
                    if not answer.is_success:
                        await answer.aread()
                        _checked(answer)
                    async for line in answer.aiter_lines():
                        if (event := lines.add(line)) is not None:
                            silent = 0
                            yield event
            except (httpx.HTTPError, StoreAway) as error:
                if silent >= TRIES:
                    raise StoreAway(f"The server does not answer: {error}") from None
            silent += 1
            if not lines.is_over:
                await asyncio.sleep(SILENT)

    async def save(self, path: str, file: Path) -> None:
        """Write a download to a file."""
        with _translated():
            async with self._http.stream("GET", path, timeout=BUILDING) as answer:
                if not answer.is_success:
                    await answer.aread()
                    _checked(answer)
                with file.open("wb") as out:
                    async for part in answer.aiter_bytes():
                        out.write(part)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


@dataclass
class AsyncRemoteSearch(_SearchThere):
    """A search on the server, for asyncio."""

    client: AsyncClient

    async def refresh(self) -> Self:
        """Ask how it is now."""
        self.facts = await self.client.ask(ApiRequest("GET", self.path))
        return self

    async def change(self, wish: Wish) -> Self:
        """Pause it, let it go on, cancel or delete it."""
        self.facts = await self.client.ask(wished(self.id, wish)) or self.facts
        return self

    async def watch(self) -> AsyncIterator[RemoteEvent]:
        """Yield what happens to it, until it ends."""
        async for event in self.client.events(f"{self.path}/events"):
            yield self._heard(event)

    async def best(self) -> "AsyncRemoteNetwork":
        """Wait until it ends and return its winner; raises NasError where it has not succeeded."""
        async for _ in self.watch():
            pass
        (await self.refresh()).check()
        facts = await self.client.ask(ApiRequest("GET", f"{self.path}/winner"))
        return AsyncRemoteNetwork(facts, self)


@dataclass(frozen=True)
class AsyncRemoteNetwork:
    """The winner of a search, with its numbers, for asyncio."""

    facts: Mapping[str, Any]
    search: AsyncRemoteSearch

    async def download(self, folder: str | Path) -> Path:
        """Write model.py and model.safetensors into a folder and return it."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, file in FILES.items():
            await self.search.client.save(f"{self.search.path}/{name}", Path(folder, file))
        return Path(folder)
