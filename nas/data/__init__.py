"""Data sets: a registered name, an .npz file, a folder of images or an archive of it, or a URL.

A new data set with a name is one file in `nas/data/named/` with a function `load`; every test of
`tests/test_data.py` then runs over it.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from nas.credentials import is_url
from nas.data import archive
from nas.data.dataset import SPLITS, DataSet, Split
from nas.data.folder import load_folder, user_cache
from nas.data.layout import Patterns
from nas.data.npz import load_npz
from nas.data.pixels import PixelReading
from nas.data.remote import fetch
from nas.errors import DataError, unknown
from nas.quantities import plain
from nas.registry import Registry

__all__ = ["SPLITS", "DataSet", "Split", "load", "names"]

log = logging.getLogger("nas")


class Named(Protocol):
    """A data set's file."""

    def load(self) -> DataSet:
        """Return the data set."""
        ...


_registry: Registry[Named] = Registry("data set", f"{__name__}.named", error=DataError)
names = _registry.names


@cache
def _named(name: str) -> DataSet:
    """Load a data set of the registry, once in a process."""
    return _registry.get(name).load()


def absent(source: str) -> DataError:
    """Return the error for a source that is neither a name, a path nor a URL."""
    return DataError(
        f"No such file or folder: {source}. {unknown('data set', source, names())} "
        "Or give the path of an .npz file or of a folder of images per class, or a URL."
    )


def check_choice(source: str, groups: str | None, patterns: object) -> None:
    """Refuse groups and patterns of data that have none: those with a name, and one file."""
    if patterns and (source in names() or source.lower().endswith(".npz")):
        raise DataError(f"--include and --exclude choose files of a folder; {source!r} is none.")
    if groups is not None and source in names():
        raise DataError(
            "--groups is for a folder, whose files' names have them, or an .npz file with such "
            f"arrays; {source!r} has none."
        )


def load(
    source: str | Path,
    *,
    cache_dir: Path | None = None,
    groups: str | None = None,
    patterns: Patterns | None = None,
    forbid: Collection[str] = (),
    skip_unreadable: bool = False,
    reading: PixelReading | None = None,
    say: Callable[[str], None] = log.info,
) -> DataSet:
    """Load a data set by its name, from an .npz file or a folder of images per class, or by URL.

    `cache_dir` holds the resized images of folders; the user's cache directory by default, which is
    also where files behind URLs are fetched to. `groups` says which images belong together: for a
    folder a regular expression with one group, found in each file's name, for an .npz file the name
    of arrays such as `train_groups` after the split's. `patterns` choose the files of a folder;
    with `skip_unreadable` images that can't be decoded are left out. `forbid` names augmentations
    that would destroy labels. A `reading`, such as a trained network's, says how pixels are read.
    `say` hears of downloads, and of a name that is also that of a file here.
    Raises DataError with the rule, the value and the valid options.
    """
    name, patterns = str(source), patterns or Patterns()
    check_choice(name, groups, patterns != Patterns())
    read = partial(
        _read,
        cache_dir=cache_dir,
        groups=groups,
        patterns=patterns,
        skip_unreadable=skip_unreadable,
        reading=reading,
    )
    if name in names():
        if Path(name).exists():
            say(f"--data {name} is the data set of that name; ./{name} here is another source")
        found = _named(name)
    elif is_url(name):
        path = fetch(name, user_cache(), say)
        try:
            found = read(path)
        except DataError as error:
            raise DataError(f"{name}, as it was fetched: {error}") from error
    else:
        found = read(_local(name, say))
    return replace(found, forbids=found.forbids.union(forbid))


def _local(source: str, say: Callable[[str], None]) -> Path:
    """Return the file or folder of a path, an archive unpacked."""
    path = Path(plain(source))
    if not path.exists():
        raise absent(source)
    if path.is_dir() or path.suffix.lower() == ".npz":
        return path
    if path.name.lower().endswith(archive.TYPES):
        return archive.unpacked(path, user_cache(), say)
    raise DataError(
        f"A data file needs to be an .npz in MedMNIST's layout, or an archive of a folder of images"
        f" ({', '.join(archive.TYPES)}); got {path.name!r}. Other sources: a folder of images per "
        f"class, or a name: {', '.join(names())}."
    )


def _read(
    path: Path, *, groups: str | None, reading: PixelReading | None, **of_folders: Any
) -> DataSet:
    if path.is_dir():
        return load_folder(path, groups=groups, reading=reading, **of_folders)
    return load_npz(path, groups, reading=reading)
