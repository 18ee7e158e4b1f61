"""Where a study's files lie: where they were recorded, or where they moved to with their store.

Paths are recorded whole, with the folder that the store's file had then (`home`). A store that is
elsewhere now looks for them as they lay from there, then beside itself.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nas.credentials import is_url
from nas.store.engine import sqlite_file

PATHS = ("folder", "data", "checkpoints")  # of a configuration; each may be a URL or a name


def home(store: sa.URL | sa.Connection) -> str | None:
    """Return the folder of a store's file; None of a server's store."""
    path = sqlite_file(store if isinstance(store, sa.URL) else store.engine.url)
    return None if path is None else str(path.resolve().parent)


def located(config: Mapping[str, Any], here: str | None) -> dict[str, Any]:
    """Return a study's configuration with its paths as they are now, without `home`."""
    then = config.get("home")
    paths = {key: config[key] for key in PATHS if isinstance(config.get(key), str)}
    now = {key: found(path, here, then, moves=key == "folder") for key, path in paths.items()}
    return {key: now.get(key, value) for key, value in config.items() if key != "home"}


def found(path: str, here: str | None, then: str | None = None, *, moves: bool = False) -> str:
    """Return where a recorded path is now, from the store's folder now and then, if that is known.

    What is still there has not moved, unless the store has and `moves` it.
    """
    if here is None or here == then or is_url(path) or not os.path.isabs(path):
        return path
    if not (moves and then) and os.path.lexists(path):
        return path
    return next((each for each in _candidates(path, here, then) if os.path.exists(each)), path)


def _candidates(path: str, here: str, then: str | None) -> Iterator[str]:
    if then is not None:
        yield os.path.normpath(os.path.join(here, os.path.relpath(path, then)))
    parts = Path(path).parts[1:]
    yield from (os.path.join(here, *parts[start:]) for start in range(len(parts)))
