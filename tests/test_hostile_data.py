"""Hostile and damaged data: refused in one message, before memory or disk is taken."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas import data
from nas.data import archive
from nas.errors import DataError
from nas.files.limits import limits

MEBIBYTE = 2**20


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> bytes:
    """Return an array's file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def lying(shape: str, descr: str = "'|u1'", version: bytes = b"\x01\x00") -> bytes:
    """Return an array's file whose header says what is not there."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(117) + b"\n"
    length = len(header).to_bytes(2 if version[:1] == b"\x01" else 4, "little")
    return b"\x93NUMPY" + version + length + header + b"\0" * 64


def members() -> dict[str, bytes]:
    """Return the arrays of a good file by the names of their members."""
    random, found = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        found[f"{split}_images.npy"] = npy(random.integers(0, 256, (12, 8, 8), dtype=np.uint8))
        found[f"{split}_labels.npy"] = npy((np.arange(12) % 2).astype(np.uint8))
    return found


def npz(path: Path, method: int = zipfile.ZIP_DEFLATED, **changes: bytes) -> Path:
    """Write an .npz file with changed arrays."""
    with zipfile.ZipFile(path, "w", method) as archive:
        arrays = members() | {f"{name}.npy": content for name, content in changes.items()}
        for name, content in arrays.items():
            archive.writestr(name, content)
    return path


def patched(path: Path, at: dict[bytes, int], value: int) -> Path:
    """Write a byte into all headers of a zip file, at the places counted from their marks."""
    content = bytearray(npz(path).read_bytes())
    for mark, offset in at.items():
        start = content.find(mark)
        while start >= 0:
            content[start + offset] = value
            start = content.find(mark, start + 4)
    path.write_bytes(content)
    return path


def repeated(path: Path) -> Path:
    """Write an .npz file that has an array twice."""
    with zipfile.ZipFile(npz(path), "a") as archive:
        archive.writestr("train_labels", members()["train_labels.npy"])
    return path


def many(path: Path) -> Path:
    """Write a zip file that states a list of members of 2 GiB."""
    content = bytearray(npz(path).read_bytes())
    at = content.rfind(b"PK\5\6")
    content[at + 12 : at + 16] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    return path


LOCAL, LISTED = b"PK\3\4", b"PK\1\2"
TRAIN = "array 'train_images' of "
BAD_NPZ: dict[str, tuple[Callable[[Path], Path], str]] = {
    "shape": (lambda p: npz(p, train_images=lying("(10**12, 8, 8)")), TRAIN),
    "large shape": (lambda p: npz(p, train_images=lying("(1000000000000, 8, 8)")), TRAIN),
    "overflow": (lambda p: npz(p, train_images=lying(f"({10**30}, 8, 8)")), TRAIN),
    "negative": (lambda p: npz(p, train_images=lying("(-1, -64)")), TRAIN),
    "small shape": (lambda p: npz(p, train_images=lying("(2, 8)")), TRAIN),
    "element": (lambda p: npz(p, train_images=lying("(64,)", "'|V1000000000'")), TRAIN),
    "no type": (lambda p: npz(p, train_images=lying("(64,)", "'xyz'")), TRAIN),
    "objects": (lambda p: npz(p, train_images=npy(np.array([{}, {}]))), TRAIN),
    "deep header": (lambda p: npz(p, train_images=lying("(" * 9_000)), TRAIN),
    "long header": (
        lambda p: npz(p, train_images=lying("(64,)" + " " * 10**7, version=b"\x02\x00")), TRAIN
    ),
    "version": (lambda p: npz(p, train_images=lying("(64,)", version=b"\x09\x00")), TRAIN),
    "no header": (lambda p: npz(p, train_images=b"\x93NUMPY"), TRAIN),
    "no array": (lambda p: npz(p, train_images=b""), TRAIN),
    "cut": (lambda p: npz(p, train_images=members()["train_images.npy"][:-9]), TRAIN),
    "no characters": (
        lambda p: npz(p, classes=lying("(8,)", "'<U2'").replace(b"\0", b"\xff")),
        "array 'classes' of ",
    ),
    "encrypted": (lambda p: patched(p, {LOCAL: 6, LISTED: 8}, 1), "is encrypted"),
    "method": (lambda p: patched(p, {LOCAL: 8, LISTED: 10}, 99), "compressed by method 99"),
    "bzip2": (lambda p: npz(p, zipfile.ZIP_BZIP2), "compressed by method 12"),
    "twice": (repeated, "more than one array 'train_labels'"),
    "list": (many, "over the limit of 250,000"),
    "sum": (lambda p: patched(p, {LOCAL: 14, LISTED: 16}, 1), "Bad CRC-32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_damaged_npz_is_refused(case: str, tmp_path: Path) -> None:
    """One message names the array and what is wrong with it; no hint leads to pickles."""
    make, message = BAD_NPZ[case]
    path = make(tmp_path / "x.npz")
    tracemalloc.start()
    with pytest.raises(DataError) as told:
        data.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message in str(told.value)
    assert "pickle" not in str(told.value)
    assert peak < 50 * MEBIBYTE


def test_arrays_that_nobody_asks_for_are_not_unpacked(tmp_path: Path) -> None:
    """An array of another name takes no memory, whatever it holds; it is told as left out."""
    large = npy(np.zeros(64 * MEBIBYTE, np.uint8))
    path = npz(tmp_path / "x.npz", extra=large, broken=b"\x93NUMPY", more=npy(np.array([{}])))
    tracemalloc.start()
    found = data.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * MEBIBYTE
    assert found.fingerprint == data.load(npz(tmp_path / "y.npz")).fingerprint


def test_arrays_over_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array's own bytes and those of all are bounded; the message says what allows them."""
    path = npz(tmp_path / "x.npz")  # 896 bytes of images in each split
    for name, limit in (("array_bytes", 800), ("total_bytes", 1_500)):
        monkeypatch.setenv("NAS_LIMITS", f"{name}={limit}")
        with pytest.raises(DataError, match=rf"over the limit of {limit:,}\. NAS_LIMITS={name}="):
            data.load(path)
    monkeypatch.setenv("NAS_LIMITS", "array_bytes=10k")
    assert data.load(path).name == "x"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    """A pipe or a device under the name of an .npz file is not opened."""
    path = tmp_path / "x.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(DataError, match=r"not a file|has no images"):
        data.load(path)


def png(size: tuple[int, int] = (6, 6), level: int = 0) -> bytes:
    """Return an image of one gray."""
    out = io.BytesIO()
    Image.new("L", size, level).save(out, "PNG")
    return out.getvalue()


IMAGES = {f"{name}/{i}.png": png(level=10 * i + n) for n, name in enumerate("ab") for i in range(6)}


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytearray:
    """Return the header of a tar's member; a negative size too."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, max(0, size)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        block[124:136] = (256**12 + size).to_bytes(12, "big")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return block


def tar(path: Path, more: bytes = b"", *, images: int = 12, end: bytes = bytes(1024)) -> Path:
    """Write a tar of images, more of its blocks, and its end; with gzip where its name says so."""
    content = bytearray()
    for name, image in list(IMAGES.items())[:images]:
        content += header(name, len(image)) + image + bytes(-len(image) % 512)
    content += more + end
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def pax(text: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Return blocks with a record about the member that comes next."""
    record = text.encode()
    return bytes(header("x", len(record), kind) + record + bytes(-len(record) % 512))


def zipped(path: Path, **changes: bytes) -> Path:
    """Write a zip of images."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (IMAGES | changes).items():
            archive.writestr(name, content)
    return path


def cut(path: Path, at: int) -> Path:
    """Cut a file's end off."""
    path.write_bytes(path.read_bytes()[:at])
    return path


def listed(path: Path, count: int) -> Path:
    """Let a zip state another number of members."""
    content = bytearray(zipped(path).read_bytes())
    at = content.rfind(b"PK\5\6")
    content[at + 8 : at + 12] = count.to_bytes(2, "little") * 2
    path.write_bytes(content)
    return path


def stretched(path: Path) -> Path:
    """Let a zip's stored member state more bytes than it has."""
    content = bytearray(zipped(path).read_bytes())
    size = len(next(iter(IMAGES.values())))
    at = content.find(LISTED)
    content[at + 24 : at + 28] = (size + 5).to_bytes(4, "little")
    path.write_bytes(content)
    return path


LONG = b"a" * (3 * MEBIBYTE)
BAD_ARCHIVES: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "negative": ("x.tar", lambda p: tar(p, header("b/z.png", -512)), "a size of -512 bytes"),
    "negative, packed": ("x.tar.gz", lambda p: tar(p, header("b/z.png", -1024)), "-1,024 bytes"),
    "negative in a record": (
        "x.tar", lambda p: tar(p, pax("14 size=-1024\n") + header("b/z.png", 0)), "a size of -1,024"
    ),
    "long name": (
        "x.tar.gz", lambda p: tar(p, header("x", len(LONG), b"L") + LONG), "over the limit of 1,048"
    ),
    "long record": (
        "x.tar.gz", lambda p: tar(p, header("x", len(LONG), b"x") + LONG), "over the limit of 1,048"
    ),
    "endless record": ("x.tar", lambda p: tar(p, pax("0 path=x\n")), "a record of no length"),
    "no record": ("x.tar", lambda p: tar(p, pax("x" * 100)), "can't be read"),
    "sparse": ("x.tar", lambda p: tar(p, header("b/z.png", 0, b"S")), "a link or a device"),
    "sparse record": (
        "x.tar",
        lambda p: tar(p, pax("22 GNU.sparse.major=1\n") + header("b/z.png", 0)),
        "a link or a device",
    ),
    "huge": ("x.tar", lambda p: tar(p, header("b/z.bin", 2**36)), "over the limit of 34,359,738"),
    "huge image": ("x.tar", lambda p: tar(p, header("b/z.png", 2**28)), "cut or damaged"),
    "cut between members": ("x.tar", lambda p: tar(p, images=9, end=b""), "cut or damaged at byte"),
    "packed, cut between members": ("x.tgz", lambda p: tar(p, images=9, end=b""), "cut or damaged"),
    "cut in a member": ("x.tar", lambda p: cut(tar(p), 1500), "cut or damaged"),
    "cut in gzip": ("x.tar.gz", lambda p: cut(tar(p), 300), "ended before the end-of-stream"),
    "cut in gzip's sum": (
        "x.tar.gz", lambda p: cut(tar(p), len(tar(p).read_bytes()) - 6), "ended before the end"
    ),
    "no header": ("x.tar", lambda p: tar(p, b"\1" * 512), "cut or damaged"),
    "cut zip": ("x.zip", lambda p: cut(zipped(p), 1500), "not a zip file"),
    "zip of fewer": ("x.zip", lambda p: listed(p, 16), "says that it has 16 members, not 12"),
    "zip of more": ("x.zip", lambda p: listed(p, 9), "says that it has 9 members, not 12"),
    "stretched zip": ("x.zip", stretched, "can't be read|of .* bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_damaged_archive_is_refused(case: str, tmp_path: Path) -> None:
    """The message names the archive and the reason; little memory is taken, nothing is left."""
    name, make, message = BAD_ARCHIVES[case]
    path = make(tmp_path / name)
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        archive.unpack(path, tmp_path / "out", name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MEBIBYTE
    assert not (tmp_path / "out").exists()


def test_archives_of_all_kinds_are_unpacked(tmp_path: Path) -> None:
    """Long names, in both kinds of tar, names of other alphabets and empty records do no harm."""
    long = f"a/{'x' * 90}/{'y' * 90}.png"
    for number, kind in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)):
        path, out = tmp_path / f"{number}.tar.gz", tmp_path / str(number)
        with tarfile.open(path, "w:gz", format=kind) as file:
            for name in (*IMAGES, long, "ü/ß.png"):
                info = tarfile.TarInfo(name)
                info.size = len(png())
                file.addfile(info, io.BytesIO(png()))
        archive.unpack(path, out, path.name)
        found = {each.relative_to(out).as_posix() for each in out.rglob("*.png")}
        assert found == {*IMAGES, long, "ü/ß.png"}


def test_members_and_bytes_of_an_archive_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More members, more bytes in all, or more bytes of an image are refused with the limit."""
    for limit in ("members=5", "total_bytes=500", "image_bytes=50"):
        monkeypatch.setenv("NAS_LIMITS", limit)
        for path in (tar(tmp_path / "x.tar"), zipped(tmp_path / "x.zip")):
            with pytest.raises(DataError, match=rf"over the limit of .*NAS_LIMITS={limit[:7]}"):
                archive.unpack(path, tmp_path / "out", path.name)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    total = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + total


def png_of(
    width: int, height: int, rows: bytes, *, more: bytes = b"", bits: int = 8, colour: int = 0
) -> bytes:
    """Return a PNG file that states this size and has these rows, gray ones by default."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    image = chunk(b"IHDR", size) + more + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + image + chunk(b"IEND", b"")


def rows(count: int, width: int = 40) -> bytes:
    """Return rows of a gray PNG, each with its filter's number."""
    pixels = np.random.default_rng(0).integers(1, 256, (count, width), dtype=np.uint8)
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def saved(kind: str, **options: object) -> bytes:
    """Return a noisy image in a format of Pillow's."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


BAD_IMAGES = {
    "bomb": (png_of(13_000, 13_000, bytes(10**6)), r"over the limit of 36,000,000"),
    "larger bomb": (png_of(60_000, 60_000, bytes(10**6)), "limit"),
    "bomb of text": (
        png_of(40, 40, rows(40), more=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8)))),
        "too large",
    ),
    "3 of 40 rows": (png_of(40, 40, rows(3)), "rows of the image are missing"),
    "39 of 40 rows": (png_of(40, 40, rows(39)), "rows of the image are missing"),
    "no rows": (png_of(40, 40, b""), "rows of the image are missing|truncated"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no image"),
    "nothing": (b"", "no image"),
} | {
    f"cut {kind} at {share}": (content[: int(len(content) * share)], ".")
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000")
    for content in [saved(kind)]
    for share in (0.3, 0.9)
}


def folder(path: Path) -> Path:
    """Write a folder of images of two classes."""
    for name, content in IMAGES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_a_damaged_image_is_refused(case: str, tmp_path: Path) -> None:
    """A bomb, an image without some of its rows and a program are named; little memory is taken."""
    content, message = BAD_IMAGES[case]
    (folder(tmp_path / "pets") / "a" / "bad.png").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"bad\.png is not: .*({message})"):
        data.load(tmp_path / "pets", cache_dir=tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * MEBIBYTE


def test_images_with_black_rows_are_whole(tmp_path: Path) -> None:
    """An image whose rows are all there is read, black ones too."""
    black = [png_of(40, 40, bytes(41 * 40)), png_of(40, 40, rows(20) + bytes(41 * 20))]
    path = folder(tmp_path / "pets")
    for number, content in enumerate([*black, saved("GIF"), saved("JPEG"), png((1, 1))]):
        (path / "a" / f"more{number}.png").write_bytes(content)
    found = data.load(path, cache_dir=tmp_path / "cache")
    assert sum(len(split) for split in found.splits.values()) == 17


def test_large_files_and_pixels_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image file over the limit is not read; the limit of pixels can be changed."""
    path = folder(tmp_path / "pets")
    with (path / "a" / "huge.png").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(DataError, match=r"huge\.png: 100,000,000,000 bytes of one image file"):
        data.load(path, cache_dir=tmp_path / "cache")
    (path / "a" / "huge.png").unlink()
    monkeypatch.setenv("NAS_LIMITS", "pixels=35")
    with pytest.raises(DataError, match="6 x 6: 36 pixels of one image, over the limit of 35"):
        data.load(path, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("damage", ["empty", "cut", "long", "other", "zeros", "garbage"])
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    """Resized images and the manifest that are not what was written are rebuilt."""
    path, kept = folder(tmp_path / "pets"), tmp_path / "cache"
    before = {n: s.images(8).copy() for n, s in data.load(path, cache_dir=kept).splits.items()}
    for file in [*kept.glob("*.npy"), *kept.glob("*.json")]:
        content = file.read_bytes()
        changed = {
            "empty": b"",
            "cut": content[:-1],
            "long": content + b" x",
            "other": npy(np.zeros((1, 8, 8, 1), np.uint8)) if file.suffix == ".npy" else b'["",{}]',
            "zeros": bytes(len(content)),
            "garbage": content.replace(b"6", b"9") if file.suffix == ".json" else b"\x93NUMPY((((",
        }
        file.write_bytes(changed[damage])
    found = data.load(path, cache_dir=kept)
    for name, images in before.items():
        np.testing.assert_array_equal(found.splits[name].images(8), images)
    assert len({file.stat().st_size for file in kept.glob("*-train-8.npy")}) == 1


def peak(folder: Path) -> int:
    """Return the most memory, in bytes, of a process that loads a folder and its images."""
    words = (
        "import resource, sys; from nas import data; found = data.load(sys.argv[1]);"
        "found.splits['train'].images(32);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / ".cache")}
    run = subprocess.run(
        [sys.executable, "-c", words, str(folder)],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return int(run.stdout) * (1 if sys.platform == "darwin" else 1024)


def test_the_largest_images_take_bounded_memory(tmp_path: Path) -> None:
    """An image with the most pixels takes at most 300 MB over a small one, of whatever kind."""
    side = int(limits().pixels ** 0.5)
    third = int(side / 3**0.5)
    kinds = {  # side, channels, bits, PNG's number for the colours
        "small": (32, 1, 8, 0),
        "RGB": (side, 3, 8, 2),
        "RGBA": (side, 4, 8, 6),
        "gray, 16 bits": (side, 1, 16, 0),
        "RGB, 16 bits": (third, 3, 16, 2),
    }
    memory = {}
    for name, (size, channels, bits, colour) in kinds.items():
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(4):
                image = np.random.default_rng([ord(label), number]).integers(0, 256, (32, 32))
                Image.fromarray(image.astype(np.uint8)).save(
                    tmp_path / name / label / f"{number}.png"
                )
        black = bytes((1 + size * channels * bits // 8) * size)
        image = png_of(size, size, black, bits=bits, colour=colour)
        (tmp_path / name / "a" / "0.png").write_bytes(image)
        memory[name] = peak(tmp_path / name)
    over = {name: (taken - memory["small"]) / 1e6 for name, taken in memory.items()}
    assert max(over.values()) < 300, over
