"""Data sets: a registered name, an .npz file in MedMNIST's layout, a folder of images, or a URL.

A new data set with a name is one file in `nas/data/named/` with a function `load`; every test of
`tests/test_data.py` then runs over it.
"""

import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from nas.credentials import is_url
from nas.data.dataset import SPLITS, DataSet, Split
from nas.data.folder import load_folder, user_cache
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


def check_groups(source: str, groups: str | None) -> None:
    """Refuse groups of a data set that has a name; the others have theirs in their files."""
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
    skip_unreadable: bool = False,
    reading: PixelReading | None = None,
    say: Callable[[str], None] = log.info,
) -> DataSet:
    """Load a data set by its name, from an .npz file or a folder of images per class, or by URL.

    `cache_dir` holds the resized images of folders; the user's cache directory by default, which is
    also where files behind URLs are fetched to. `groups` says which images belong together: for a
    folder a regular expression with one group, found in each file's name, for an .npz file the name
    of arrays such as `train_groups` after the split's. With `skip_unreadable` images of a folder
    that can't be decoded are left out. A `reading`, such as a trained network's, says how pixels
    are read. `say` hears of downloads.
    Raises DataError with the rule, the value and the valid options.
    """
    if str(source) in names():
        check_groups(str(source), groups)
        return _named(str(source))
    folder = partial(
        load_folder,
        cache_dir=cache_dir,
        groups=groups,
        skip_unreadable=skip_unreadable,
        reading=reading,
    )
    if is_url(str(source)):
        path = fetch(str(source), user_cache(), say)
        try:
            return folder(path) if path.is_dir() else load_npz(path, groups, reading=reading)
        except DataError as error:
            raise DataError(f"{source}, as it was fetched: {error}") from error
    path = Path(plain(source))
    if path.is_dir():
        return folder(path)
    if not path.exists():
        raise absent(str(source))
    if path.suffix.lower() != ".npz":
        raise DataError(
            f"A data file needs to be an .npz in MedMNIST's layout; got {path.name!r}. "
            f"Other sources: a folder of images per class, or a name: {', '.join(names())}."
        )
    return load_npz(path, groups, reading=reading)
