"""A training's checkpoints and weights: safetensors files with JSON in their header, in a folder.

The folder is a path, or any URL that fsspec opens (s3://bucket/folder), which all machines see.
Nothing is ever unpickled. A file appears whole or not at all: it is renamed into place on a disk,
and an object store shows an object only when it is there.
"""

import errno
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.errors import DiskFull, UserError

WEIGHTS = "weights.safetensors"
_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_PART = re.compile(r"\.(?:checkpoint-\d+|weights)\.safetensors\.\d+")  # not yet renamed
OLD_PART = 3600.0  # seconds: nobody writes a file for so long
_UNREADABLE = (OSError, SafetensorError, ValueError, KeyError)


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training, as the worker with this attempt number writes it.

    Each attempt has a file of its own, so that a worker that was replaced and wakes up again can't
    write over its successor's. A training repeats itself exactly: of two files, the one that has
    come further replaces the other.
    """

    url: str
    attempt: int = 1

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return _opened(self.url)

    def try_out(self) -> None:
        """Write a file, read it and delete it; raise UserError where that fails.

        Where only space is missing, all is well: a training waits for it, and says so.
        """
        name = f".{uuid.uuid4().hex}"
        try:
            self._write(name, b"nas")
            if self._read(name) != b"nas":
                raise OSError("it reads other than it was written")
            self._delete(name)
            self.remove_folder()
        except DiskFull:
            return
        except Exception as error:  # each file system has errors of its own
            raise UserError(
                f"Checkpoints can't be kept in {self.url}: {type(error).__name__}: {error}. "
                "--checkpoints is a folder, or a URL such as s3://bucket/folder, to write to."
            ) from None

    def remove_folder(self) -> bool:
        """Remove the training's folder on a local disk if it is empty; tell whether it was."""
        fs, path = self._place
        if isinstance(fs, LocalFileSystem):
            with suppress(OSError):
                Path(path).rmdir()
                return True
        return False

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], progress: int) -> None:
        """Write tensors and plain state; raise DiskFull, and leave what was there, without space.

        `progress` is the number of epochs done.
        """
        header = {"state": json.dumps(state), "progress": str(progress)}
        self._write(_name(self.attempt), save(_contiguous(tensors), header))
        for attempt in self._attempts():
            if attempt < self.attempt:
                self._delete(_name(attempt))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the checkpoint that has come furthest; None when there is no whole one."""
        furthest: tuple[int, int] = (-1, 0)
        result = None
        for attempt in self._attempts():
            try:
                content = self._read(_name(attempt))
                tensors, header = load(content), _header(content)
                state, progress = json.loads(header["state"]), int(header["progress"])
            except _UNREADABLE:
                continue
            if (progress, attempt) > furthest:
                furthest, result = (progress, attempt), (tensors, state)
        return result

    def take_over(self, source: "Checkpoints") -> bool:
        """Copy another training's checkpoint, as it is now, where there is one and none is here."""
        theirs = source._attempts()
        if source.url == self.url or self._attempts() or not theirs:
            return False
        try:
            content = source._read(_name(max(theirs)))
        except FileNotFoundError:  # its study has just finished with it
            return False
        self._write(_name(self.attempt), content)
        return True

    def drop(self) -> None:
        """Delete the checkpoints: they are not needed any more."""
        for attempt in self._attempts():
            self._delete(_name(attempt))
        self.remove_parts()
        self.remove_folder()

    def remove_parts(self, older_than: float = 0.0) -> int:
        """Remove what killed writers left half written on a local disk; return the count."""
        fs, path = self._place
        if not isinstance(fs, LocalFileSystem):
            return 0
        latest = time.time() - older_than
        files = [file for file in Path(path).glob(".*") if _PART.fullmatch(file.name)]
        parts = [file for file in files if file.stat().st_mtime <= latest]
        for part in parts:
            part.unlink(missing_ok=True)
        return len(parts)

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Keep a finished training's weights; raise DiskFull without space."""
        self._write(WEIGHTS, save(_contiguous(state)))

    def load_weights(self) -> dict[str, Tensor] | None:
        """Read a finished training's weights; None when they are gone or damaged."""
        try:
            return load(self._read(WEIGHTS))
        except (OSError, SafetensorError):
            return None

    def drop_weights(self) -> None:
        """Delete the weights: they can be trained again."""
        self._delete(WEIGHTS)
        self.remove_folder()

    def _attempts(self) -> list[int]:
        fs, path = self._place
        try:
            paths = fs.ls(path, detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        matches = (_NAME.fullmatch(str(each).rpartition("/")[2]) for each in paths)
        return [int(match[1]) for match in matches if match]

    def _read(self, name: str) -> bytes:
        fs, path = self._place
        return bytes(fs.cat_file(f"{path}/{name}"))

    def _write(self, name: str, content: bytes) -> None:
        """Make a file: whole, or not at all."""
        fs, path = self._place
        temporary = Path(path, f".{name}.{os.getpid()}")
        try:
            fs.makedirs(path, exist_ok=True)
            if not isinstance(fs, LocalFileSystem):
                fs.pipe_file(f"{path}/{name}", content)
                return
            try:
                temporary.write_bytes(content)
                os.replace(temporary, Path(path, name))
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"No space is left in {self.url}.") from error
            raise

    def _delete(self, name: str) -> None:
        fs, path = self._place
        with suppress(FileNotFoundError):
            fs.rm_file(f"{path}/{name}")


def remove_leftovers(url: str) -> int:
    """Remove half-written files and empty folders of killed workers below a folder; count them."""
    fs, path = _opened(url)
    if not isinstance(fs, LocalFileSystem):
        return 0
    folders = [Checkpoints(str(each)) for each in Path(path).glob("*") if each.is_dir()]
    parts = sum(folder.remove_parts(OLD_PART) for folder in folders)
    return parts + sum(folder.remove_folder() for folder in folders)


def with_weights(url: str) -> list[Checkpoints]:
    """Return the trainings under a folder or URL that have weights."""
    fs, path = _opened(url)
    paths = fs.glob(f"{path}/*/{WEIGHTS}")
    return [Checkpoints(f"{url}/{str(each).split('/')[-2]}") for each in paths]


def _opened(url: str) -> tuple[Any, str]:
    fs, path = url_to_fs(url)  # type: ignore[no-untyped-call]
    return fs, str(path)


def _name(attempt: int) -> str:
    return f"checkpoint-{attempt}.safetensors"


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _header(content: bytes) -> dict[str, str]:
    """Return the text in a safetensors file's header."""
    end = 8 + int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8:end])["__metadata__"])
