"""A search as it goes on: server-sent events, which a client resumes where it lost them.

An event's id says which trials the client has been told of: `12+14+17` is all up to number 12, and
14 and 17. It is read from the store and not kept by a server, so that any server goes on after any
other, and a client is told of each trial once.
"""

import asyncio
import json
import re
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Annotated, Any

import sqlalchemy as sa
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse

from nas.errors import NasError, NotFound, StoreAway
from nas.service.api.exchange import Route
from nas.service.api.searches import SearchId, shown
from nas.service.api.service import Reader, Server, Service, visible
from nas.store import queries, searches, tokens
from nas.store.searches import Search
from nas.store.tokens import Token
from nas.study.options import SUFFIX
from nas.study.progress import progress

router = APIRouter(prefix="/searches/{search_id}", tags=["results"], route_class=Route)
EVERY, HEARTBEAT = 1.0, 15.0  # seconds between two looks, and at most between two signs of life
PULSE = 3.0  # seconds between two looks at whether the token is still valid
ENDED = ("complete", "pruned", "failed")
LONGEST = 3600.0  # seconds of a stream; the client asks again
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
        return self.all([number])

    def all(self, numbers: Iterable[int]) -> "Told":
        """Return what a client has been told of after more trials."""
        up_to, others = self.up_to, self.others.union(numbers)
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
    """A search at one moment: its row, its progress, the trials that ended by their numbers."""

    search: Search
    progress: dict[str, Any] | None = None
    ended: tuple[queries.TrialInfo, ...] = ()

    @cached_property
    def news(self) -> Any:
        """What a look at another moment has otherwise where something has happened."""
        return _steady(self.search.to_json()), _steady(self.progress), len(self.ended)

    def ended_after(self, number: int) -> Sequence[queries.TrialInfo]:
        """Return the trials above a number that ended."""
        return self.ended[bisect_right(self.ended, number, key=lambda trial: trial.number) :]

    @property
    def settled(self) -> int:
        """The number up to which all trials ended: they are read no more."""
        return Told().all(trial.number for trial in self.ended).up_to


def look(server: Service, search_id: str, before: Look | None = None) -> Look:
    """Read a search, of its trials those that may have ended since; NotFound where it is gone."""
    with server.store.read() as connection:
        search = searches.get(connection, search_id)
        progress = progress_of(connection, search_id)
        if progress is None:  # no worker has begun it
            return Look(search)
        server.recent.keep(search_id, progress)
        study, settled = queries.study(connection, search_id), before.settled if before else -1
        newer = queries.trials(connection, study.id, after=settled)
    known = before.ended[: settled + 1] if before else ()
    return Look(search, progress, (*known, *(t for t in newer if t.state in ENDED)))


def progress_of(connection: sa.Connection, search_id: str) -> dict[str, Any] | None:
    """Return how far a search and its finalists are; None before a worker has begun it."""
    status = status_of(connection, search_id)
    if status is not None:
        status["finalists"] = status_of(connection, search_id + SUFFIX)
    return status


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
        """Look again and again; wake the watchers where something has happened."""
        while True:
            before = self.last if isinstance(self.last, Look) else None
            try:
                self.last = await run_sync(look, self.server, self.search_id, before)
            except StoreAway:  # it may be back soon; the watchers keep their connection
                pass
            except NasError as error:
                self.last = error
            if not (before and isinstance(self.last, Look) and self.last.news == before.news):
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
        """Yield each look with news of a search, and None where there is none for a while."""
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
                        await asyncio.wait_for(feed.news.wait(), PULSE)
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


@dataclass
class Watcher:
    """A client that watches a search with a token, and what it has been told of."""

    request: Request
    server: Service
    token: Token
    told: Told
    before: dict[str, Any] = field(default_factory=dict)

    async def stream(self, feeds: Feeds, search_id: str) -> AsyncIterator[str]:
        """Yield the events of a search until it ends or is deleted, or the token opens no more."""
        yield "retry: 2000\n\n"
        began = heard = checked = time.monotonic()
        async for seen in feeds.looks(search_id):
            now = time.monotonic()
            if now - checked > PULSE:
                checked = now
                if not await run_sync(self._is_valid):
                    return
            if isinstance(seen, NasError):  # it was deleted
                return
            for news in await run_sync(self.events, seen) if seen else ():
                heard = now
                yield news
            if seen is not None and seen.search.has_ended:
                self.told = replace(self.told, end=seen.search.state)
                yield event("end", shown(self.request, seen.search), self.told)
                return
            if now - began > LONGEST:
                return
            if now - heard > HEARTBEAT:
                heard = now
                yield ": still here\n\n"

    def _is_valid(self) -> bool:
        try:
            with self.server.store.read() as connection:
                return tokens.is_valid(connection, self.token.id)
        except StoreAway:  # nobody can tell now
            return True

    def events(self, seen: Look) -> list[str]:
        """Write the events of what the client was not told of, each with all that it says."""
        return [event(kind, data, self.told) for kind, data in self.news(seen)]

    def news(self, seen: Look) -> Iterator[tuple[str, Any]]:
        """Yield what the client was not told of: the state, trials that ended, the progress."""
        yield from self._changed("state", shown(self.request, seen.search))
        for trial in seen.ended_after(self.told.up_to):
            if trial.number not in self.told:
                self.told = self.told.also(trial.number)
                yield "trial", visible(self.server, self.token, trial.to_json())
        yield from self._changed("progress", visible(self.server, self.token, seen.progress))

    def _changed(self, kind: str, data: Any) -> Iterator[tuple[str, Any]]:
        steady = _steady(data)
        if steady is not None and self.before.get(kind) != steady:
            self.before[kind] = steady
            yield kind, data


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
        Watcher(request, server, token, told).stream(feeds, search_id),
        media_type="text/event-stream",
        headers=headers,
    )
