"""Files that verbs write: refused beforehand where they can't be, and never seen half written."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas.errors import UserError

SOON = 1.0  # seconds that a lock is waited for in silence


def check_folder(path: Path) -> None:
    """Refuse a folder for --out that can't be made or written."""
    nearest = _nearest(path)
    if not nearest.is_dir():
        raise UserError(f"--out is a folder to write to, not {str(path)!r}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"--out is a folder to write to; {nearest} can't be written.")


def check_file(path: Path, option: str = "--out") -> None:
    """Refuse a file for an option that can't be written."""
    nearest = _nearest(path.parent)
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(
            f"{option} is a file to write, in a folder that can be written, not {str(path)!r}."
        )


def check_picture(path: Path) -> None:
    """Refuse a picture for --out that has another suffix than .svg or .png, or can't be written."""
    rule = "--out is a file that ends in .svg or .png"
    if path.suffix.lower() not in (".svg", ".png"):
        raise UserError(f"{rule}, not {str(path)!r}.")
    if path.is_dir():
        raise UserError(f"{rule}, not {str(path)!r}, which is a folder.")
    nearest = _nearest(path.parent)
    if not nearest.is_dir():
        raise UserError(f"{rule}, in a folder, not {str(path)!r}: {nearest.name!r} is a file.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{rule}, in a folder that can be written, not {str(path)!r}.")


def _nearest(folder: Path) -> Path:
    """Return a folder, or where it does not exist the closest path above it that does."""
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))


@contextmanager
def writing(*paths: Path) -> Iterator[None]:
    """Make the folders of files that are written in the block; name the file that can't be."""
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"Can't write {error.filename or paths[0]}: {error.strerror}.") from None


@contextmanager
def held(lock: FileLock, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock in the block; call `waiting` where another process has it for a while."""
    try:
        lock.acquire(timeout=SOON)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as indented JSON."""
    write(path, f"{json.dumps(data, indent=1)}\n".encode())
