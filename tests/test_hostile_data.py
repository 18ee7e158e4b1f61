"""Hostile and damaged data: refused in one message, before memory or disk is taken."""

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas import data
from nas.errors import DataError

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
