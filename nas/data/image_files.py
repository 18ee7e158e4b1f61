"""Image files, opened within the limits: known formats, bounded bytes and pixels, whole."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import simplejpeg
from PIL import Image
from PIL.ImageFile import ImageFile

from nas.data import decoders
from nas.data.layout import EXTENSIONS
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import check_regular

BAND = 2**20  # pixels of a large image that are worked on at once


def content_of(path: Path) -> bytes:
    """Return the bytes of an image file; raises DataError for too many and for what is no file."""
    limits().check("image_bytes", check_regular(path, DataError), path.name, DataError)
    content = path.read_bytes()
    return decoders.described(path, content) if _is_raw(path) else content


def state_of(path: Path) -> list[int | str]:
    """Return what tells that a file is unchanged: its size and time, and a .raw one's shape."""
    status = path.stat()
    state: list[int | str] = [status.st_size, status.st_mtime_ns]
    return [*state, str(decoders.description_of(path))] if _is_raw(path) else state


def _is_raw(path: Path) -> bool:
    return path.suffix.lower() == ".raw"


@contextmanager
def opened(content: bytes) -> Iterator[ImageFile]:
    """Open an image that has no more pixels than the limit; they are not decoded yet.

    Pillow's plugins raise nearly anything on a damaged file. The plugins that run other programs
    are left out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            check_pixels(image)
            yield image


def check_pixels(image: Image.Image, colours: int = 1) -> None:
    """Refuse an image over the limit; where `colours` are decoded one by one, each counts."""
    size = f"{image.width} x {image.height}" + (f" x {colours} colours" if colours > 1 else "")
    limits().check("pixels", colours * image.width * image.height, size, DataError)


@cache
def _formats() -> tuple[str, ...]:
    known = Image.registered_extensions()
    wanted = {known[ending] for ending in EXTENSIONS if ending in known}
    return tuple(name for name in Image.ID if name in wanted)  # in the order of Pillow's


def bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image piece by piece: the first row, and a copy of it and the rows below it."""
    step = max(1, BAND // image.width)
    for top in range(0, image.height, step):
        yield top, image.crop((0, top, image.width, min(top + step, image.height)))


def check_end(content: bytes, image: ImageFile) -> None:
    """Refuse a JPEG whose data end before its last row, though it has an end marker.

    libjpeg paints the rest, and Pillow does not pass on its warning.
    """
    if image.format in ("JPEG", "MPO"):
        try:
            simplejpeg.decode_jpeg(content, "GRAY", fastdct=True, min_factor=8, strict=True)
        except ValueError as error:
            if "premature end" in str(error):
                raise DataError("rows of the image are missing") from None


def check_rows(content: bytes, image: Image.Image) -> None:
    """Refuse an image with rows that are missing, `image` being the decoded one.

    Decoders leave them black without a word. So where a row at an edge is black, the file is
    decoded again over white, and both are compared.
    """
    size = image.height
    edges = (image.crop((0, y, image.width, y + 1)) for y in {0, 1, size - 2, size - 1} if y >= 0)
    if all(edge.getbbox(alpha_only=False) for edge in edges):
        return
    with opened(content) as again:
        whole = getattr(again, "_tile_size", None) or again.size  # a TIFF's, before it is turned
        again.im = Image.new(again.mode, whole, (255,) * len(again.getbands())).im
        again.load()
        pairs = zip(bands(again), bands(image), strict=False)
        if again.mode == image.mode and any(a.tobytes() != b.tobytes() for (_, a), (_, b) in pairs):
            raise DataError("rows of the image are missing")
