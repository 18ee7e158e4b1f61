"""Pixels: alpha, palettes, 16 bits, one way of reading for a set, its network and its file."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas import data
from nas.data.dataset import DataSet
from nas.data.image_list import read_image
from nas.data.inspection import describe
from nas.data.pixels import FilePixels, PixelReading, decode, reading_of, reading_of_array
from nas.errors import DataError, UnreadableImage
from nas.export import Facts, python

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's number for so many channels


def png16(levels: np.ndarray[Any, Any]) -> bytes:
    """Encode levels (H, W) or (H, W, C) as a PNG of 16 bits, which Pillow can't write in colour."""
    height, width, *channels = levels.shape
    kind = COLOURS[channels[0] if channels else 1]

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff16(levels: np.ndarray[Any, Any]) -> bytes:
    """Encode colours (H, W, 3) as a TIFF of 16 bits, uncompressed."""
    height, width, _ = levels.shape
    pixels = levels.astype("<u2").tobytes()
    bits = 8 + len(pixels)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height)]
    tags += [(279, 4, 1, len(pixels))]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", bits + 6) + pixels + struct.pack("<HHH", 16, 16, 16)
    return head + struct.pack("<H", len(tags)) + directory + b"\0\0\0\0"


def write(root: Path, images: dict[str, list[Any]], ending: str = "png") -> Path:
    """Write images, or the bytes of files, of each class."""
    for label, each in images.items():
        (root / label).mkdir(parents=True)
        for number, image in enumerate(each):
            path = root / label / f"{number:02}.{ending}"
            path.write_bytes(image) if isinstance(image, bytes) else image.save(path)
    return root


def loaded(root: Path) -> DataSet:
    """Load a folder with a cache beside it."""
    return data.load(root, cache_dir=root.with_name("cache"))


def every(found: DataSet, side: int) -> np.ndarray[Any, Any]:
    """Return all images of a set, (N, R, R, C)."""
    return np.concatenate([split.images(side) for split in found.splits.values()])


def shapes(ink: int, mode: str) -> dict[str, list[Image.Image]]:
    """Draw bars and discs whose shape is in the alpha channel alone, all in one colour."""
    random, drawn = np.random.default_rng(0), {}
    for label in ("bar", "disc"):
        drawn[label] = []
        for _ in range(5):
            y, x = np.mgrid[:16, :16] - random.integers(6, 10, 2)[:, None, None]
            shape = (abs(x) < 2) if label == "bar" else (x * x + y * y < 16)
            image = Image.new("RGBA", (16, 16), (ink, ink, ink))
            image.putalpha(Image.fromarray((255 * shape).astype(np.uint8)))
            drawn[label].append(image.convert(mode))
    return drawn


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("ink", "background"), [(0, 255), (255, 0), (120, 255)])
def test_a_shape_in_the_alpha_channel_is_seen(
    tmp_path: Path, ink: int, background: int, mode: str
) -> None:
    """Ink of any brightness lies on a background that differs from it, which is told."""
    found = loaded(write(tmp_path / "set", shapes(ink, mode)))
    assert found.reading == PixelReading(background=background)
    images = every(found, 16)
    assert set(np.unique(images).tolist()) == {ink, background}
    assert images.shape[3] == (1 if mode == "LA" else 3)
    words = describe(found)
    assert f"transparent pixels on {'white' if background else 'black'}" in words


def test_hidden_colours_are_not_shown(tmp_path: Path) -> None:
    """Whatever is stored where alpha is 0, the image is the same; opaque alpha changes nothing."""
    random = np.random.default_rng(0)
    hidden = [random.integers(0, 256, (8, 8, 4), dtype=np.uint8) for _ in range(10)]
    for image in hidden:
        image[2:6, 2:6] = (10, 20, 30, 255)
        image[:2, :, 3] = image[6:, :, 3] = 0
        image[:, :2, 3] = image[:, 6:, 3] = 0
    parts = [Image.fromarray(image) for image in hidden]
    found = loaded(write(tmp_path / "set", {"a": parts[:5], "b": parts[5:]}))
    assert len(np.unique(every(found, 8), axis=0)) == 1
    opaque = [image.convert("RGB").convert("RGBA") for image in parts]
    plain = [image.convert("RGB") for image in parts]
    sets = {"opaque": opaque, "plain": plain}
    images = {}
    for name, each in sets.items():
        read = loaded(write(tmp_path / name / "set", {"a": each[:5], "b": each[5:]}))
        assert read.reading == PixelReading()
        images[name] = every(read, 8)
    assert (images["opaque"] == images["plain"]).all()


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    """A transparent entry of a palette, and a transparent grey, show the background."""
    palette = Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (4, 1)), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0])
    grey = Image.fromarray(np.tile(np.array([0, 90, 180, 250], np.uint8), (4, 1)))
    for name, image in (("p.png", palette), ("l.png", grey)):
        key = 0 if name == "p.png" else 250
        image.save(tmp_path / name, transparency=key)
        content = (tmp_path / name).read_bytes()
        reading = reading_of([[FilePixels.of(content)]])
        assert reading.background is not None
        pixels = np.asarray(decode(content, reading, 3))[0]
        assert set(pixels[0 if key == 0 else 3].tolist()) == {reading.background}
    image = Image.new("P", (4, 4))
    image.save(tmp_path / "opaque.png")
    assert FilePixels.of((tmp_path / "opaque.png").read_bytes()).ink is None


def scans(high: int, count: int = 10, channels: int = 1) -> list[np.ndarray[Any, Any]]:
    """Make scans of 16 bits that use levels up to a number, and one marker at the very top."""
    random = np.random.default_rng(high)
    images = [random.integers(0, high + 1, (40, 40, channels)) for _ in range(count)]
    for image in images:
        image[0, 0] = 65535
    return [image.astype(np.uint16).squeeze() for image in images]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_scans_of_12_bits_keep_their_levels(tmp_path: Path, channels: int) -> None:
    """Gray, gray with alpha and colours of 16 bits are scaled by the range in use."""
    images = scans(4095, channels=channels)
    for image in images:
        if channels in (2, 4):
            image[..., -1] = 65535
    files = [png16(image) for image in images]
    found = loaded(write(tmp_path / "set", {"a": files[:5], "b": files[5:]}))
    assert found.in_channels == (1 if channels < 3 else 3)
    low, high = found.reading.levels or (0, 0)
    assert 0 <= low <= 8
    assert 4087 <= high <= 4095
    assert len(np.unique(every(found, 40))) == 256
    assert f"levels {low:g} to {high:g} become 0 to 255" in describe(found)
    colours = images[0] if channels % 2 else images[0][..., :-1].squeeze()
    expected = np.rint(((colours.astype(float) - low) / (high - low)).clip(0, 1) * 255)
    actual = np.asarray(decode(files[0], found.reading, found.in_channels))
    assert (actual == expected).all()
    again = loaded(tmp_path / "set")  # from the manifest
    assert (again.fingerprint, again.reading) == (found.fingerprint, found.reading)


def test_other_kinds_of_deep_files(tmp_path: Path) -> None:
    """Floating-point and 32-bit TIFF, 16-bit TIFF in colour and PGM are read; kinds do not mix."""
    image = scans(4095)[0]
    (tmp_path / "a.tif").write_bytes(tiff16(np.stack([image, image // 2, image // 4], 2)))
    Image.fromarray(image.astype(np.float32) / 4096).save(tmp_path / "b.tif")
    Image.fromarray(image.astype(np.int32) - 1000).save(tmp_path / "c.tif")
    (tmp_path / "d.pgm").write_bytes(b"P5 40 40 65535\n" + image.astype(">u2").tobytes())
    pixels = {}
    for name, mode in (("a.tif", "RGB16"), ("b.tif", "F"), ("c.tif", "I"), ("d.pgm", "I")):
        content = (tmp_path / name).read_bytes()
        pixels[name] = FilePixels.of(content)
        assert pixels[name].mode == mode
        shown = np.asarray(decode(content, reading_of([[pixels[name]]]), 3))
        assert len(np.unique(shown[..., 0])) > 240
    assert (np.asarray(decode((tmp_path / "a.tif").read_bytes(), PixelReading((0, 4095)), 3))
            [1:, :, 1] == np.rint(image[1:] // 2 / 4095 * 255)).all()  # fmt: skip
    with pytest.raises(DataError, match="1 of 2 have fractional ones"):
        reading_of([[pixels["b.tif"], pixels["c.tif"]]])
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(DataError, match="not finite"):
        FilePixels.of((tmp_path / "nan.tif").read_bytes())


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_every_orientation_is_upright(tmp_path: Path, ending: str, mode: str) -> None:
    """One scene, stored in all eight orientations of EXIF data, is read as any viewer shows it."""
    if mode == "I;16" and ending in ("jpg", "webp"):
        return
    scene = Image.fromarray(np.kron([[255, 0, 0], [90, 0, 0]], np.ones((12, 12))).astype(np.uint8))
    flip = Image.Transpose
    for number, turn in enumerate([None, flip.FLIP_LEFT_RIGHT, flip.ROTATE_180,
            flip.FLIP_TOP_BOTTOM, flip.TRANSPOSE, flip.ROTATE_90, flip.TRANSVERSE,
            flip.ROTATE_270], 1):  # fmt: skip
        stored = scene if turn is None else scene.transpose(turn)
        if mode == "I;16":
            stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257)
        exif = Image.Exif()
        exif[0x0112] = number
        stored.convert(mode).save(tmp_path / f"x.{ending}", exif=exif)
        content = (tmp_path / f"x.{ending}").read_bytes()
        found = FilePixels.of(content)
        assert (found.width, found.height) == (36, 24)
        upright = np.asarray(decode(content, reading_of([[found]]), 1)).astype(int)
        assert abs(upright - np.asarray(scene).astype(int)).max() < 20, number


def test_an_odd_image_does_not_decide() -> None:
    """One image of 200 whose levels reach far above the others' changes no range."""
    usual = [FilePixels(True, 8, 8, "I;16", 1, (10, 4000 + i % 7)) for i in range(200)]
    odd = [*usual[1:], FilePixels(True, 8, 8, "I;16", 1, (0, 65535))]
    assert reading_of([odd]) == reading_of([usual]) == PixelReading((10, 4006))


def test_pages_are_told(tmp_path: Path) -> None:
    """A file of several frames is read at its first one, and the count of such files is told."""
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    root = write(tmp_path / "set", {"a": [Image.new("L", (8, 8), i) for i in range(5)]})
    write(tmp_path / "set" / "b", {"": []})
    for number in range(5):
        path = root / "b" / f"{number}.tif"
        frames[0].save(path, save_all=True, append_images=frames[1:])
    found = loaded(root)
    assert "the first page or frame of 5 files of several" in describe(found)
    assert every(found, 8).max() == 10


def test_the_emitted_file_reads_as_training_did(tmp_path: Path) -> None:
    """`preprocess` scales levels and composes alpha as the data set's images were read."""
    from test_export import SMALL, trained

    images = np.stack(scans(4095, 2))
    reading = PixelReading((5, 4090), 255)
    facts = Facts(mean=(0.5,), std=(0.25,), class_names=("a", "b", "c"), reading=reading)
    code = python.export(SMALL, trained(SMALL), tmp_path, facts)
    emitted = python.read(code)
    assert emitted.reading == reading
    preprocess = python.runpy.run_path(str(code))["preprocess"]
    x = torch.from_numpy(images.astype(np.int32))[:, None]
    alpha = torch.zeros_like(x)
    alpha[..., :20] = 255
    seen = [np.asarray(decode(png16(image), reading, 1), np.float32) for image in images]
    for given, expected in (
        (x, np.stack(seen)),
        (torch.cat([x, alpha], 1), np.where(alpha[:, 0] == 255, np.stack(seen), 255)),
    ):
        plain = python.runpy.run_path(str(code))["F"].interpolate(
            torch.from_numpy(expected)[:, None], (16, 16), mode="bilinear", antialias=True
        )
        wanted = (plain / 255 - 0.5) / 0.25
        torch.testing.assert_close(preprocess(given), wanted, atol=0.01, rtol=0)


def test_a_network_reads_files_as_its_own_data(tmp_path: Path) -> None:
    """A file of 16 bits is refused for a network of 8; a given reading wins over a set's own."""
    root = write(tmp_path / "set", {name: [png16(i) for i in scans(900)] for name in "ab"})
    own = loaded(root)
    given = data.load(root, cache_dir=tmp_path / "cache", reading=PixelReading((0, 4095), 0))
    assert given.reading == PixelReading((0, 4095))  # nothing is transparent
    assert given.fingerprint != own.fingerprint
    same = data.load(root, cache_dir=tmp_path / "cache", reading=own.reading)
    assert same.fingerprint == own.fingerprint
    file = root / "a" / "00.png"
    assert np.asarray(read_image(file, 1, own.reading)).max() == 255
    with pytest.raises(UnreadableImage, match=r"00\.png is not: more than 8 bits"):
        read_image(file, 1, PixelReading())


@pytest.mark.parametrize(
    ("images", "own", "read"),
    [
        (np.full((4, 2, 2, 1), 200, np.uint16), PixelReading((0, 4000)), PixelReading((0, 4000))),
        (np.full((4, 2, 2, 1), 0.2), PixelReading((0.0, 1.0)), PixelReading((0.0, 1.0))),
        (np.full((4, 2, 2, 1), 40.0), PixelReading(), PixelReading()),
        (np.full((4, 2, 2, 1), 4000.0), PixelReading(), PixelReading((3999.0, 4000.0))),
        (np.full((4, 2, 2, 1), 40.0), None, PixelReading((39.0, 40.0))),
    ],
    ids=["deep", "shares", "8 bits", "beyond 8 bits", "no network"],
)
def test_a_network_reads_dim_arrays_as_its_own_data(
    images: Any, own: PixelReading | None, read: PixelReading
) -> None:
    """Images darker than those it was trained on stay dark; what 8 bits can't hold is stretched."""
    assert reading_of_array(images, np.arange(4), "x.npz", own) == read
