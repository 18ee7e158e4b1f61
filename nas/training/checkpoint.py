"""A training's checkpoints and weights: safetensors files with JSON in their header, in a folder.

The folder is a path, or any URL that fsspec opens (s3://bucket/folder), which all machines see.
Nothing is ever unpickled. A file appears whole or not at all: it is renamed into place on a disk,
and an object store shows an object only when it is there.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.errors import DiskFull

WEIGHTS = "weights.safetensors"
_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one training, as the worker with this attempt number writes it.

    Each attempt has a file of its own, so that a worker that was replaced and wakes up again can't
    write over what its successor saved. A training repeats itself exactly: whichever file has come
    further is as good as the other.
    """

    url: str
    attempt: int = 1

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return _opened(self.url)

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], progress: int) -> None:
        """Write tensors and plain state; raise DiskFull, and leave what was there, without space.

        `progress` is the number of epochs done.
        """
        header = {"state": json.dumps(state), "progress": str(progress)}
        whole = _contiguous(tensors)
        self._write(_name(self.attempt), lambda path: save_file(whole, path, metadata=header))
        for attempt in self._attempts():
            if attempt < self.attempt:
                self._delete(_name(attempt))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the checkpoint that has come furthest; None when there is no whole one."""
        found: list[tuple[int, int, dict[str, Tensor], dict[str, Any]]] = []
        for attempt in self._attempts():
            with self._local(_name(attempt)) as path:
                try:
                    with safe_open(path, framework="pt") as file:
                        header = file.metadata() or {}
                        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
                    state, progress = json.loads(header["state"]), int(header["progress"])
                except (OSError, SafetensorError, ValueError, KeyError):
                    continue
            found.append((progress, attempt, tensors, state))
        return max(found, key=lambda one: one[:2])[2:] if found else None

    def take_over(self, source: "Checkpoints") -> bool:
        """Copy another training's checkpoint, as it is now, where there is one and none is here."""
        theirs = source._attempts()
        if source.url == self.url or self._attempts() or not theirs:
            return False
        with source._local(_name(max(theirs))) as path:
            try:
                self._write(_name(self.attempt), partial(shutil.copyfile, path))
            except FileNotFoundError:  # its study has just finished with it
                return False
        return True

    def drop(self) -> None:
        """Delete the checkpoints: they are not needed any more."""
        for attempt in self._attempts():
            self._delete(_name(attempt))

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Keep a finished training's weights; raise DiskFull without space."""
        whole = _contiguous(state)
        self._write(WEIGHTS, lambda path: save_file(whole, path))

    def load_weights(self) -> dict[str, Tensor] | None:
        """Read a finished training's weights; None when they are gone or damaged."""
        with self._local(WEIGHTS) as path:
            try:
                return load_file(path)
            except (OSError, SafetensorError):
                return None

    def drop_weights(self) -> None:
        """Delete the weights: they can be trained again."""
        self._delete(WEIGHTS)

    def _attempts(self) -> list[int]:
        fs, path = self._place
        try:
            paths = fs.ls(path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        matches = (_NAME.fullmatch(str(each).rpartition("/")[2]) for each in paths)
        return [int(match[1]) for match in matches if match]

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        """Make a file with what `write` puts into it: whole, or not at all."""
        fs, path = self._place
        local = isinstance(fs, LocalFileSystem)  # where a file is renamed into place
        with _full_disk_reported(self.url), tempfile.TemporaryDirectory() as elsewhere:
            fs.makedirs(path, exist_ok=True)
            temporary = Path(path if local else elsewhere, f".{name}.{os.getpid()}")
            try:
                write(temporary)
                if local:
                    os.replace(temporary, Path(path, name))
                else:
                    fs.put_file(str(temporary), f"{path}/{name}")
            finally:
                temporary.unlink(missing_ok=True)

    def _delete(self, name: str) -> None:
        fs, path = self._place
        try:
            fs.rm_file(f"{path}/{name}")
        except FileNotFoundError:
            return

    @contextmanager
    def _local(self, name: str) -> Iterator[Path]:
        """Yield a path with a file's content: the file itself on a disk; it may not exist."""
        fs, path = self._place
        if isinstance(fs, LocalFileSystem):
            yield Path(path, name)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, name)
            try:
                fs.get_file(f"{path}/{name}", str(copy))
            except FileNotFoundError:
                copy.unlink(missing_ok=True)
            yield copy


def with_weights(url: str) -> list[Checkpoints]:
    """Return the trainings under a folder or URL that have weights."""
    fs, path = _opened(url)
    found = fs.glob(f"{path}/*/{WEIGHTS}")
    return [Checkpoints(f"{url}/{str(each).split('/')[-2]}") for each in found]


def _opened(url: str) -> tuple[Any, str]:
    fs, path = url_to_fs(url)  # type: ignore[no-untyped-call]
    return fs, str(path)


def _name(attempt: int) -> str:
    return f"checkpoint-{attempt}.safetensors"


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


@contextmanager
def _full_disk_reported(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else None
        told = any(f"os error {each}" in str(error) for each in _FULL)  # how safetensors says it
        if number in _FULL or told:
            raise DiskFull(f"No space is left in {url}.") from error
        raise
