"""Pixels: what files hold, as images of 8 bits, gray or RGB, in a way that is one for a whole set.

Levels of more than 8 bits (16-bit scans, whole or floating-point TIFF) are scaled by the range that
the train split uses: a scanner that fills 12 of 16 bits would be black else. Transparent pixels are
laid on a background, white, black or grey, that differs most from what is to be seen: the ink of
icons and glyphs may be any of them, and the colour that is stored under full transparency is none.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from nas.data import decoders, image_files
from nas.errors import DataError

Levels = tuple[float, float]

WHITE, BLACK, GREY = 255, 0, 128
BACKGROUNDS = {WHITE: "white", BLACK: "black", GREY: "grey"}
UNIT = (0.0, 1.0)  # levels of images that are shares of full brightness
CLIPPED = 0.1  # percent of an image's pixels at either end that do not count for its range
RARE = 0.01  # share of the images at either end whose range does not count for the set's
_GRAY = ("1", "L", "LA", "La", "LA16", "I", "F")  # modes without colour
_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class FilePixels:
    """The facts about a file's pixels. Width and height are those of the upright image.

    `mode` is Pillow's, of the file, with 16 behind it for colours of 16 bits, and `frames` 2
    if it has several pages or frames. `range` is that of levels of more than 8 bits, without a few
    extreme pixels. `ink` is the mean brightness, 0 to 255, of what is to be seen of an image that
    is transparent somewhere.
    """

    gray: bool = False
    width: int = 0
    height: int = 0
    mode: str = ""
    frames: int = 1
    range: Levels | None = None
    ink: float | None = None

    @classmethod
    def of(cls, content: bytes) -> "FilePixels":
        """Decode an image file wholly and return its facts."""
        file = _read(content)
        found = None if file.levels is None else range_of(file.levels)
        image = file.eight_bits(found)
        gray = file.mode in _GRAY or file.mode.startswith("I;16")
        return cls(gray, *image.size, file.mode, file.frames, found, _ink(image))


@dataclass(frozen=True)
class PixelReading:
    """How a set's pixels become 8 bits: the levels that become 0 and 255, and the background.

    Levels are None where all files have 8 bits, the background where none is transparent.
    """

    levels: Levels | None = None
    background: int | None = None

    def words(self) -> Iterator[str]:
        """Say what is done to pixels; nothing where they are taken as they are."""
        if self.levels is not None:
            low, high = self.levels
            yield f"levels {low:g} to {high:g} become 0 to 255"
        if self.background is not None:
            yield f"transparent pixels on {BACKGROUNDS[self.background]}"

    def content(self) -> list[bytes]:
        """Return what a fingerprint has to know of it: nothing where pixels are as they are."""
        return [] if self == PixelReading() else [repr(sorted(asdict(self).items())).encode()]


def reading_of(
    splits: Sequence[Sequence[FilePixels]], given: PixelReading | None = None
) -> PixelReading:
    """Choose how a set is read by the files of its first split, or of all where only these need it.

    A `given` reading, such as a trained network's, comes first. Raises DataError for levels of two
    kinds.
    """
    deep = [[each for each in split if each.range] for split in splits]
    inks = [[each.ink for each in split if each.ink is not None] for split in splits]
    kinds = Counter(each.mode == "F" for each in chain(*deep))
    if len(kinds) > 1:
        raise DataError(
            "All files of more than 8 bits need whole levels, or all of them fractional ones (mode "
            f"'F'); {kinds[True]} of {kinds.total()} have fractional ones."
        )
    given = given or PixelReading()
    levels, background = given.levels, given.background
    if any(deep) and levels is None:
        levels = _joined([each.range for each in deep[0] or chain(*deep) if each.range])
    if any(inks) and background is None:
        background = _background(inks[0] or list(chain(*inks)))
    return PixelReading(levels if any(deep) else None, background if any(inks) else None)


def reading_of_array(
    images: npt.NDArray[Any],
    train: npt.NDArray[np.intp],
    where: str,
    given: PixelReading | None = None,
) -> PixelReading:
    """Choose how an array of images, (N, H, W, C), is read, by its train images.

    Truth values and floats that fill most of 0 to 1 are shares of it. A network's reading, which is
    `given`, comes next. Without it numbers that fill most of 0 to 255 are as they are, and others
    have levels of their own, as those have that are beyond what a network of 8 bits reads.
    """
    if images.dtype == np.uint8:
        return PixelReading()
    if not np.isfinite(images).all():
        raise DataError(f"Images need numbers that are finite; some of {where} are not.")
    low, high = images.min(), images.max()
    if images.dtype.kind == "b" or (images.dtype.kind == "f" and low >= 0 and 0.25 < high <= 1):
        return PixelReading(UNIT)
    if given is not None and given.levels not in (None, UNIT):
        return PixelReading(given.levels)
    if given is not None and low >= 0 and images.dtype.kind == "f" and high <= 1:
        return PixelReading(UNIT)
    if low >= 0 and (64 if given is None else 0) <= high <= 255:
        return PixelReading()
    return PixelReading(_joined([range_of(images[index]) for index in train]))


def eight_bits(images: npt.NDArray[Any], reading: PixelReading) -> npt.NDArray[np.uint8]:
    """Return images, (N, H, W, C), with 8 bits a channel."""
    if images.dtype == np.uint8:
        return images
    result = np.empty(images.shape, np.uint8)
    for index, image in enumerate(images):  # one by one: numbers of 64 bits are large
        result[index] = scaled(image, reading.levels) if reading.levels else np.rint(image)
    return result


def _joined(ranges: Sequence[Levels]) -> Levels:
    """Return the range of a set, without that of a few odd images."""
    lows, highs = np.array(ranges).T
    low = np.quantile(lows, RARE, method="lower").item()
    high = np.quantile(highs, 1 - RARE, method="higher").item()
    return _not_empty((low, high))


def _not_empty(bounds: Levels) -> Levels:
    """Return bounds that differ: a single level is the highest."""
    low, high = bounds
    return (low, high) if low < high else (high - 1, high)


def _background(inks: Sequence[float]) -> int:
    """Return the background that differs most from the image that is closest to it."""
    return max(BACKGROUNDS, key=lambda level: min(abs(ink - level) for ink in inks))


def range_of(levels: npt.NDArray[Any]) -> Levels:
    """Return the range of levels, without a few extreme pixels."""
    low, high = np.percentile(levels, (CLIPPED, 100 - CLIPPED), method="nearest").tolist()
    return low, high


def scaled(levels: npt.NDArray[Any], bounds: Levels) -> npt.NDArray[np.uint8]:
    """Scale levels to 0..255; levels out of bounds are clipped."""
    low, high = _not_empty(bounds)
    found = np.empty(levels.shape, np.uint8)
    step = max(1, image_files.BAND // max(1, levels[:1].size))
    for top in range(0, len(levels), step):
        share = (levels[top : top + step].astype(np.float64) - low) / (high - low)
        found[top : top + step] = np.rint(share.clip(0, 1) * 255)
    return found


def decode(content: bytes, reading: PixelReading, channels: int) -> Image.Image:
    """Decode an image file as a set's: 8 bits, gray for 1 channel, else RGB, upright.

    Raises DataError for levels of more than 8 bits where the set has none; Pillow's plugins raise
    nearly anything on a damaged file.
    """
    image, mode = _read(content).eight_bits(reading.levels), "L" if channels == 1 else "RGB"
    if image.has_transparency_data:
        return _composed(image, WHITE if reading.background is None else reading.background, mode)
    return image if image.mode == mode else image.convert(mode)


def _composed(image: Image.Image, level: int, mode: str) -> Image.Image:
    """Lay an image on a background, piece by piece."""
    found = Image.new(mode, image.size)
    for top, band in image_files.bands(image):
        ground = Image.new("RGBA", band.size, (level, level, level, 255))
        found.paste(Image.alpha_composite(ground, band.convert("RGBA")).convert(mode), (0, top))
    return found


@dataclass(frozen=True)
class _Decoded:
    """A decoded file: Pillow's image and, where it has more than 8 bits, the levels.

    `levels`: (H, W) or (H, W, 3); `image` has the alpha of colours.
    """

    image: Image.Image
    mode: str
    frames: int
    levels: npt.NDArray[Any] | None = None

    def eight_bits(self, levels: Levels | None) -> Image.Image:
        """Return the image with 8 bits a channel and, where it has one, its alpha."""
        if self.levels is None:
            return self.image
        if levels is None or (levels == UNIT and self.mode != "F"):
            raise DataError(f"more than 8 bits (mode {self.mode!r}); the data set has 8")
        image = Image.fromarray(scaled(self.levels, levels))
        if "A" in self.image.getbands():
            image.putalpha(self.image.getchannel("A"))
        return image


def _of_array(levels: npt.NDArray[Any], frames: int) -> _Decoded:
    """Return what a decoder of arrays has read."""
    if levels.dtype.kind not in "buif":
        raise DataError(f"levels need to be numbers, not {levels.dtype}")
    levels = levels.astype(np.uint8) * WHITE if levels.dtype.kind == "b" else levels
    mode = "L" if levels.ndim == 2 else "RGB"
    if levels.dtype == np.uint8:
        return _Decoded(Image.fromarray(np.ascontiguousarray(levels)), mode, frames)
    if levels.dtype.kind == "f":
        if mode == "RGB":
            raise DataError("colours need whole levels")
        if not np.isfinite(levels).all():
            raise DataError("pixels that are not finite")
    deep = {"L": "F" if levels.dtype.kind == "f" else "I;16", "RGB": "RGB16"}
    size = (levels.shape[1], levels.shape[0])
    return _Decoded(Image.new(mode, size), deep[mode], frames, levels)


def _read(content: bytes) -> _Decoded:
    if (decoder := decoders.of(content)) is not None:
        return _of_array(*decoder.levels(content))
    with image_files.opened(content) as opened:
        # Counting the frames of an animation would read all of them.
        raw, frames = _raw_mode(opened), 1 + bool(getattr(opened, "is_animated", False))
        is_deep = raw.startswith(("RGB", "LA")) and ";16" in raw
        if is_deep:
            image_files.check_pixels(opened, 3)
        opened.load()
        image_files.check_end(content, opened)
        image_files.check_rows(content, opened)
        ImageOps.exif_transpose(opened, in_place=True)
    image: Image.Image = opened
    if is_deep:
        levels, image = _of_16_bits(content, image, raw)
        return _Decoded(image, f"{image.mode}16", frames, levels)
    if not image.mode.startswith(("I", "F")):
        return _Decoded(image, image.mode, frames)
    levels = np.asarray(image)
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise DataError("pixels that are not finite")
    return _Decoded(image, image.mode, frames, levels)


def _raw_mode(image: ImageFile) -> str:
    """Return Pillow's word for the bytes of a pixel, such as RGB;16B; empty where it has none."""
    if not image.tile or image.tile[0].codec_name not in ("zip", "raw", "libtiff"):
        return ""
    args = image.tile[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _of_16_bits(
    content: bytes, upper: Image.Image, raw: str
) -> tuple[npt.NDArray[np.uint16], Image.Image]:
    """Return the levels of 16-bit colours, of which Pillow reads one byte of two, and the image.

    The other byte is what it reads where the order of the two is said to be the other one. Gray
    with alpha comes as four bytes a pixel.
    """
    other = "RGBA" if raw.startswith("LA") else raw[:-1] + _SWAPPED[raw[-1]]
    with image_files.opened(content) as opened:
        opened.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in opened.tile
        ]
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)
        is_gray = raw.startswith("LA")
        levels = np.empty((opened.height, opened.width, 3)[: 2 if is_gray else 3], np.uint16)
        for (top, high), (_, low) in zip(
            image_files.bands(upper), image_files.bands(opened), strict=True
        ):
            low_bytes = np.asarray(low).astype(np.uint16)
            rows = levels[top : top + high.height]
            if is_gray:
                rows[:] = low_bytes[..., 0] * 256 + low_bytes[..., 1]
            else:
                rows[:] = (np.asarray(high).astype(np.uint16) * 256 + low_bytes)[..., :3]
    return levels, upper.convert("LA") if is_gray else upper


def _ink(image: Image.Image) -> float | None:
    """Return the mean brightness of what is to be seen of an image; None where all is."""
    if not image.has_transparency_data:
        return None
    bright, shown = 0.0, 0.0
    for _, band in image_files.bands(image):
        pixels = band.convert("RGBA")
        alpha = np.asarray(pixels.getchannel("A"), np.float64)
        bright += float((np.asarray(pixels.convert("L"), np.float64) * alpha).sum())
        shown += float(alpha.sum())
    is_opaque = shown == 255.0 * image.width * image.height
    return None if is_opaque else round(bright / max(1.0, shown), 3)
