"""Data sets: a registered name, a file in one of the formats, a folder of images, or a URL.

A new data set with a name is one file in `nas/data/named/` with a function `load`; every test of
`tests/test_data.py` then runs over it. A new format is one file in `nas/data/formats/`.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from nas.credentials import is_url
from nas.data import archive, formats, hub, medmnist
from nas.data.dataset import SPLITS, DataSet, Split
from nas.data.folder import load_folder
from nas.data.image_list import user_cache
from nas.data.layout import Patterns
from nas.data.pixels import PixelReading
from nas.data.remote import fetch
from nas.data.request import DataRequest
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


def is_name(source: str) -> bool:
    """Tell a data set's name from a path or a URL; a path wins over MedMNIST's absent files."""
    if source in names():
        return True
    return source in medmnist.names() and (
        medmnist.file_of(source).exists() or not Path(source).exists()
    )


def absent(source: str) -> DataError:
    """Return the error for a source that is neither a name, a path nor a URL."""
    known = [*names(), *medmnist.CLASSES]
    return DataError(
        f"No such file or folder: {source}. {unknown('data set', source, known)} "
        "Or give the path of a file, such as an .npz, or of a folder of images per class, or a URL."
    )


def check_here(source: str) -> None:
    """Refuse a source that is neither a name, a URL, nor a file or folder that is here."""
    if not (is_name(source) or is_url(source) or Path(plain(source)).exists()):
        raise absent(source)


def check_choice(source: str, groups: str | None, patterns: Patterns) -> None:
    """Refuse groups and patterns of data that have none: those with a name, and single files."""
    request = DataRequest(groups=groups, patterns=patterns)
    if is_name(source):
        request.refuse(repr(source))
    elif (of := formats.of(Path(source))) is not None:
        request.refuse(repr(source), groups=not of.HAS_GROUPS)


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
    """Load a data set by its name, from a file, from a folder of images per class, or by URL.

    `cache_dir` holds the resized images of folders; the user's cache directory by default, which is
    also where files behind URLs are fetched to. `groups` says which images belong together: for a
    folder a regular expression with one group, found in each file's name, for an .npz file the name
    of arrays such as `train_groups` after the split's. `patterns` choose the files of a folder;
    with `skip_unreadable` images that can't be decoded are left out. `forbid` names augmentations
    that would destroy labels. A `reading`, such as a trained network's, says how pixels are read.
    `say` hears of downloads, and of a name that is also that of a file here.
    Raises DataError with the rule, the value and the valid options.
    """
    name = str(source)
    request = DataRequest(
        cache_dir, groups, patterns or Patterns(), skip_unreadable, reading=reading, say=say
    )
    check_choice(name, groups, request.patterns)
    if is_name(name):
        if Path(name).exists():
            say(f"--data {name} is the data set of that name; ./{name} here is another source")
        found = _named(name) if name in names() else medmnist.load(name, request)
    elif hub.is_dataset(name):
        found = replace(_read(hub.folder_of(name), request), name=name.rpartition("/")[2])
    elif is_url(name):
        path = fetch(name, user_cache(), say)
        try:
            found = _read(path, request)
        except DataError as error:
            raise DataError(f"{name}, as it was fetched: {error}") from error
    else:
        found = _read(_local(name, say), request)
    return replace(found, forbids=found.forbids.union(forbid))


def _local(source: str, say: Callable[[str], None]) -> Path:
    """Return the file or folder of a path, an archive of images unpacked."""
    path = Path(plain(source))
    if not path.exists():
        raise absent(source)
    if path.is_dir() or formats.of(path) is not None:
        return path
    if archive.holds_images(path.name):
        return archive.unpacked(path, user_cache(), say)
    raise DataError(
        f"A data file needs to be one of {formats.words()}, an archive of a folder of images"
        f" ({', '.join(archive.TYPES)}); got {path.name!r}. Other sources: a folder of images per "
        f"class, or a name: {', '.join([*names(), *medmnist.CLASSES])}."
    )


def _read(path: Path, request: DataRequest) -> DataSet:
    found = formats.of(path)
    return load_folder(path, request) if found is None else found.load(path, request)
