"""The Python client of the service: submit, watch over lost connections, download the winner."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from service_kit import Server, run_taken, take, tiny

import nas
from nas.errors import Conflict, NasError, NotFound, StoreAway, UserError
from nas.service import client as clients
from nas.store import tokens

SMALL: dict[str, Any] = {
    "data": "tones.npz", "target_flops": "50k", "trials": 2, "epochs": 1, "finalists": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """Make a token."""
    with server.store.write() as connection:
        return tokens.create(connection, "client", ("read", "submit"))[1]


def test_a_search_is_submitted_watched_and_downloaded(
    server: Server, token: str, tmp_path: Path
) -> None:
    """One call each: the events come while it runs, the files are those of the service."""
    (out := tmp_path / "out").mkdir()
    with nas.Client(server.base, token) as client:
        search = client.search(space=tiny(), key="once", **SMALL)
        assert client.search(space=tiny(), key="once", **SMALL).id == search.id
        assert client.get(search.id).change("pause").state == "paused"
        assert search.change("resume").refresh().state == "queued"
        seen: list[str] = []
        watching = Thread(target=lambda: seen.extend(e.kind for e in search.watch()))
        watching.start()
        run_taken(server, take(server), out)
        watching.join(60)
        assert seen[-1] == "end"
        assert seen.count("trial") == 2
        assert search.state == "succeeded"
        best = search.best()
        assert best.facts["best"]["trial"] in (0, 1)
        folder = best.download(tmp_path / "best")
        assert {path.name for path in folder.iterdir()} == {"model.py", "model.safetensors"}
        assert "(nn.Module)" in (folder / "model.py").read_text()
        asyncio.run(_downloads(server.base, token, search.id, tmp_path / "again"))
    for name in ("model.py", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


async def _downloads(base: str, token: str, search_id: str, folder: Path) -> None:
    """Do the same with the client for asyncio."""
    async with nas.AsyncClient(base, token) as client:
        search = await client.search(space=tiny(), key="once", **SMALL)
        assert search.id == search_id
        assert [event.kind async for event in search.watch()][-1] == "end"
        assert await (await (await client.get(search_id)).best()).download(folder) == folder
        with pytest.raises(Conflict, match="is succeeded"):
            await search.change("pause")


def test_a_mistake_is_the_verbs_own_error(server: Server, token: str) -> None:
    """What the service refuses is raised as the error that nas raises, in the same words."""
    with nas.Client(f"{server.base}/api/v1/", token) as client:
        with pytest.raises(UserError, match="--target-flops is"):
            client.search(target_flops="much")
        with pytest.raises(NotFound, match="No search"):
            client.get("0123456789abcdef")
    with nas.Client(server.base, token + "x") as client, pytest.raises(UserError, match="token"):
        client.get("0123456789abcdef")
    with (
        nas.Client("http://127.0.0.1:1", token) as client,
        pytest.raises(StoreAway, match="does not answer"),
    ):
        client.get("0123456789abcdef")
    for url in ("127.0.0.1:8080", "ftp://host", "http://"):
        with pytest.raises(UserError, match="A server's URL"):
            nas.Client(url, token)
    with pytest.raises(UserError, match="A token is"):
        nas.Client(server.base, "é")


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that is lost after its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        raise httpx.ReadError("lost")

    async def __aiter__(self) -> Any:
        for part in self:
            yield part


def transport(asked: list[str | None]) -> httpx.MockTransport:
    """Return a server whose streams are lost twice, and end the third time."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        state = json.dumps({"id": "1", "state": "failed", "message": "no images"})
        texts = {
            None: f"retry: 2000\n\nid: -1\nevent: state\ndata: {state}\n\nid: 0\nevent: tri",
            "-1": ": still here\n\nid: 0\nevent: trial\ndata: {}\n\n",
            "0": f"id: 0.failed\nevent: end\ndata: {state}\n\n",
        }
        if request.url.path.endswith("/events"):
            return httpx.Response(200, stream=Broken(texts[asked[-1]]))
        return httpx.Response(200, json=json.loads(state))

    return httpx.MockTransport(answer)


def test_an_answer_that_is_not_the_services_is_told() -> None:
    """Another web server at the address: one line, whatever its status."""
    for status in (200, 502):
        page = httpx.Response(status, text="<html>Welcome</html>")
        with pytest.raises(NasError, match="not as nas serve does"):
            clients._checked(page)


def test_a_stream_goes_on_where_it_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event comes once; the search that has failed has no best network."""
    monkeypatch.setattr(clients, "SILENT", 0.0)
    asked: list[str | None] = []
    client = nas.Client("http://server", "token")
    client._http = httpx.Client(base_url="http://server", transport=transport(asked))
    search = client.get("1")
    asked.clear()
    assert [event.kind for event in search.watch()] == ["state", "trial", "end"]
    assert asked == [None, "-1", "0"]
    with pytest.raises(NasError, match="Search 1 is failed: no images"):
        search.best()
    client.close()
    asyncio.run(_goes_on(asked))


async def _goes_on(asked: list[str | None]) -> None:
    async with nas.AsyncClient("http://server", "token") as client:
        await client._http.aclose()
        client._http = httpx.AsyncClient(base_url="http://server", transport=transport(asked))
        search = await client.get("1")
        asked.clear()
        assert [event.kind async for event in search.watch()] == ["state", "trial", "end"]
        assert asked == [None, "-1", "0"]
