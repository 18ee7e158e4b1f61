"""A search as it goes on: server-sent events, which a client resumes where it lost them.

An event's id says which trials the client has been told of: `12+14+17` is all up to number 12, and
14 and 17. It is read from the store and not kept by a server, so that any server goes on after any
other, and a client is told of each trial once.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Annotated, Any

import sqlalchemy as sa
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from nas.errors import NasError, NotFound, StoreAway
from nas.service.api.exchange import Route
from nas.service.api.searches import SearchId, shown
from nas.service.api.service import Reader, Server, Service
from nas.store import queries, searches
from nas.store.searches import Search
from nas.study.options import SUFFIX
from nas.study.progress import progress

router = APIRouter(prefix="/searches/{search_id}", tags=["results"], route_class=Route)
EVERY, HEARTBEAT = 1.0, 15.0  # seconds between two looks, and at most between two signs of life
ENDED = ("complete", "pruned", "failed")
LONGEST = 3600.0  # seconds of a stream: the client asks again, with a token that is still valid
_ID = re.compile(r"(-1|\d{1,9})((?:\+\d{1,9}(?:-\d{1,9})?){0,1000})(?:\.([a-z]+))?")
MOST = 100_000  # trials above a gap


@dataclass(frozen=True)
class Told:
    """The trials that a client has been told of: all up to a number, and some above it.

    `end` is the state in which the client was told that the search has ended.
    """

    up_to: int = -1
    others: frozenset[int] = frozenset()
    end: str | None = None

    @classmethod
    def read(cls, text: str | None) -> "Told":
        """Read an event's id; anything that is none begins anew."""
        match = _ID.fullmatch(text or "")
        if match is None:
            return cls()
        others: set[int] = set()
        for part in filter(None, match[2].split("+")):
            first, _, last = part.partition("-")
            others.update(range(int(first), min(int(last or first), int(first) + MOST) + 1))
            if len(others) > MOST:
                return cls()
        return cls(int(match[1]), frozenset(others), match[3])

    def __contains__(self, number: int) -> bool:
        return number <= self.up_to or number in self.others

    def also(self, number: int) -> "Told":
        """Return what a client has been told of after one more trial."""
        up_to, others = self.up_to, self.others | {number}
        while up_to + 1 in others:
            up_to += 1
        return Told(up_to, frozenset(each for each in others if each > up_to))

    def __str__(self) -> str:
        numbers = sorted(self.others)
        runs = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
        parts = [[number for _, number in run] for _, run in runs]
        words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in parts]
        return "+".join([str(self.up_to), *words]) + (f".{self.end}" if self.end else "")


@dataclass(frozen=True)
class Look:
    """A search at one moment: its row, its progress, the trials that ended."""

    search: Search
    progress: dict[str, Any] | None = None
    ended: tuple[queries.TrialInfo, ...] = ()


def look(server: Service, search_id: str) -> Look:
    """Read a search; raises NotFound where it was deleted."""
    with server.store.read() as connection:
        search = searches.get(connection, search_id)
        status = status_of(connection, search_id)
        if status is None:  # no worker has begun it
            return Look(search)
        study = queries.study(connection, search_id)
        ended = [t for t in queries.trials(connection, study.id) if t.state in ENDED]
        status["finalists"] = status_of(connection, search_id + SUFFIX)
    return Look(search, status, tuple(ended))


def status_of(connection: sa.Connection, name: str) -> dict[str, Any] | None:
    """Return how far a study is; None where there is none."""
    try:
        info = queries.study(connection, name)
    except NotFound:
        return None
    return progress(connection, info).to_json()


@dataclass
class Feed:
    """The looks at one search, which all its watchers share; somebody looks while one watches."""

    server: Service
    search_id: str
    watchers: int = 0
    last: Look | NasError | None = None
    looks: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    async def run(self) -> None:
        """Look again and again."""
        while True:
            try:
                self.last = await run_sync(look, self.server, self.search_id)
            except StoreAway:  # it may be back soon; the watchers keep their connection
                pass
            except NasError as error:
                self.last = error
            self.looks += 1
            seen, self.news = self.news, asyncio.Event()
            seen.set()
            await asyncio.sleep(EVERY)


class Feeds:
    """The feeds of a server: one for each search that somebody watches."""

    def __init__(self, server: Service) -> None:
        self.server = server
        self._feeds: dict[str, Feed] = {}

    async def looks(self, search_id: str) -> AsyncIterator[Look | NasError | None]:
        """Yield each look at a search, and None where there is none for a while."""
        feed = self._feeds.setdefault(search_id, Feed(self.server, search_id))
        feed.watchers += 1
        feed.task = feed.task or asyncio.create_task(feed.run())
        seen = 0
        try:
            while not feed.task.done():
                if feed.looks > seen:
                    seen = feed.looks
                    yield feed.last
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(feed.news.wait(), EVERY)
                    if feed.looks == seen:
                        yield None
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                feed.task.cancel()
                self._feeds.pop(search_id, None)


def event(kind: str, data: Any, told: Told) -> str:
    """Write an event."""
    return f"id: {told}\nevent: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n"


async def stream(request: Request, feeds: Feeds, search_id: str, told: Told) -> AsyncIterator[str]:
    """Yield the events of a search until it ends, or is deleted."""
    yield "retry: 2000\n\n"
    before: dict[str, Any] = {}
    began = heard = time.monotonic()
    async for seen in feeds.looks(search_id):
        if isinstance(seen, NasError):  # it was deleted
            return
        for kind, data, so_far in news(request, seen, before, told) if seen else ():
            heard, told = time.monotonic(), so_far
            yield event(kind, data, told)
        if seen is not None and seen.search.has_ended:
            told = replace(told, end=seen.search.state)
            yield event("end", shown(request, seen.search), told)
            return
        if time.monotonic() - began > LONGEST:
            return
        if time.monotonic() - heard > HEARTBEAT:
            heard = time.monotonic()
            yield ": still here\n\n"


def news(
    request: Request, seen: Look, before: dict[str, Any], told: Told
) -> Iterable[tuple[str, Any, Told]]:
    """Yield what a client has not been told of: the state, trials that ended, the progress."""
    for kind, data in (("state", shown(request, seen.search)), ("progress", seen.progress)):
        if kind == "progress":
            for trial in seen.ended:
                if trial.number not in told:
                    told = told.also(trial.number)
                    yield "trial", trial.to_json(), told
        steady = _steady(data)
        if steady is not None and before.get(kind) != steady:
            before[kind] = steady
            yield kind, data, told


def _steady(data: Any) -> Any:
    """Return data without the times that pass by themselves."""
    passing = ("seconds", "recent", "overall", "remaining", "idle", "workers", "now", "elapsed")
    if not isinstance(data, dict):
        return data
    return {key: _steady(value) for key, value in data.items() if key not in passing}


@router.get(
    "/events", name="events",
    responses={
        200: {"description": "Events.", "content": {"text/event-stream": {"schema": {}}}},
        204: {"description": "The search has ended, and the client has been told all of it."},
    },
)  # fmt: skip
async def events(
    request: Request,
    server: Server,
    token: Reader,
    search_id: SearchId,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20_000)] = None,
) -> Response:
    """Watch a search: `state`, `progress`, each `trial` that ended, at last `end`."""
    search = await run_sync(server.search, token, search_id)
    told = Told.read(last)
    if search.has_ended and told.end == search.state:
        return Response(status_code=204)  # tells a browser to ask no more
    feeds: Feeds = request.app.state.feeds
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        stream(request, feeds, search_id, told), media_type="text/event-stream", headers=headers
    )
