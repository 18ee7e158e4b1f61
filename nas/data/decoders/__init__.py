"""The registry of image files that Pillow does not know: single arrays and slices of scanners.

A file is told by its content, so that it may lie anywhere; its ending says that it is an image.
"""

import io
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import read_toml
from nas.registry import Registry

DESCRIPTION = "raw.toml"  # of the .raw files of its folder and the folders below it
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


class Decoder(Protocol):
    """A kind of image files; `PACKAGE` is what it needs beside nas's own, or empty.

    `EXTRA` is the extra of nas that brings it.
    """

    ENDINGS: tuple[str, ...]
    PACKAGE: str
    EXTRA: str

    def knows(self, content: bytes) -> bool:
        """Tell a file by its content."""
        ...

    def levels(self, content: bytes) -> tuple[npt.NDArray[Any], int]:
        """Return the levels, (H, W) or (H, W, 3), and 2 where there are more frames, else 1."""
        ...


_registry: Registry[Decoder] = Registry("decoder", __name__)


def every() -> Iterator[Decoder]:
    """Yield all decoders."""
    return map(_registry.get, _registry.names())


@cache
def endings() -> frozenset[str]:
    """Return how the names of such files end."""
    return frozenset(ending for each in every() for ending in each.ENDINGS)


def of(content: bytes) -> Decoder | None:
    """Return the decoder of a file's content; None for Pillow's images."""
    return next((each for each in every() if each.knows(content)), None)


def check_packages(names: Iterable[str]) -> None:
    """Refuse files whose decoder needs a package that is not installed here."""
    absent = [each for each in every() if each.PACKAGE and find_spec(each.PACKAGE) is None]
    for name in names if absent else ():
        for decoder in absent:
            if name.lower().endswith(decoder.ENDINGS):
                raise DataError(
                    f"{name} needs the package {decoder.PACKAGE}, which is not installed here: "
                    f"pip install 'nas[{decoder.EXTRA}]'."
                )


def check_pixels(shape: tuple[int, ...]) -> None:
    """Refuse levels of a shape over the limit, before they are decoded."""
    size = int(np.prod(shape, dtype=object))
    limits().check("pixels", size, " x ".join(map(str, shape)), DataError)


def description_of(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type of a .raw file, from the closest raw.toml above it.

    Raises DataError that says what belongs into it.
    """
    rule = f"A .raw file needs a {DESCRIPTION} in its folder or above, such as shape = [176, 208] "
    rule += f"(rows, columns) and type = 'uint8' ({', '.join(_TYPES)}; byte_order = 'big')"
    found = next(
        (f for each in path.absolute().parents if (f := each / DESCRIPTION).is_file()), None
    )
    if found is None:
        raise DataError(f"{rule}; {path.name} has none.")
    told = read_toml(found)
    shape, kind = told.get("shape"), told.get("type", "uint8")
    order, numbers = told.get("byte_order", ""), shape if isinstance(shape, list) else []
    is_shape = len(numbers) in (2, 3) and all(type(n) is int and n > 0 for n in numbers)
    is_known = told.keys() <= {"shape", "type", "byte_order"} and order in ("", "big", "little")
    if not is_shape or not is_known or kind not in _TYPES:
        raise DataError(f"{rule}; {found} has {told}.")
    return tuple(numbers), np.dtype(kind).newbyteorder(">" if order == "big" else "<")


def described(path: Path, content: bytes) -> bytes:
    """Return a .raw file's content with its shape and type before it, as .npy files have them."""
    shape, kind = description_of(path)
    expected = int(np.prod(shape, dtype=object)) * kind.itemsize
    if len(content) != expected:
        raise DataError(
            f"{len(content):,} bytes, but {shape} of {kind.name} in {DESCRIPTION} are {expected:,}"
        )
    header = io.BytesIO()
    told = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, told)
    return header.getvalue() + content
