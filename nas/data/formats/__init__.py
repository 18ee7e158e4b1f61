"""The registry of formats that hold a whole data set: one file each, which knows its own paths.

What no format takes is a folder of images per class, or an archive of one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from nas.data.dataset import DataSet
from nas.data.request import DataRequest
from nas.registry import Registry


class Format(Protocol):
    """A format's file. `WORDS` says what its files are, `ENDINGS` how their names end.

    `HAS_GROUPS` tells whether `--groups` may name groups in it.
    """

    WORDS: str
    ENDINGS: tuple[str, ...]
    HAS_GROUPS: bool

    def takes(self, path: Path) -> bool:
        """Tell whether a path, a file's by its name alone or a folder's, is of this format."""
        ...

    def load(self, path: Path, request: DataRequest) -> DataSet:
        """Read a data set; raises DataError."""
        ...

    def image_files(self, path: Path) -> Sequence[str]:
        """Return the paths of the image files that a file names, none where it holds images."""
        ...


_registry: Registry[Format] = Registry("format", __name__)


def every() -> Iterator[Format]:
    """Yield all formats."""
    return map(_registry.get, _registry.names())


def of(path: Path) -> Format | None:
    """Return the format of a file or folder; None for images in folders and archives of them."""
    return next((each for each in every() if each.takes(path)), None)


def endings() -> tuple[str, ...]:
    """Return how the names of all formats' files end."""
    return tuple(ending for each in every() for ending in each.ENDINGS)


def words() -> str:
    """Name all formats of files."""
    return ", ".join(each.WORDS for each in every())
