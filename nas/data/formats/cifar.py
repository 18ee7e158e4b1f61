"""CIFAR-10 and CIFAR-100 in their binary version, as an archive or the folder that it holds.

A record of CIFAR-10 is a label and 3,072 bytes, the red, green and blue planes of 32 x 32 pixels;
one of CIFAR-100 has the coarse label first. The version for Python consists of pickles, which are
programs: it is refused.
A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data import tarred
from nas.data.array_set import array_set
from nas.data.dataset import DataSet, Images, Labels, Origin, check_classes
from nas.data.request import DataRequest
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import check_regular

WORDS = "CIFAR's cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
ENDINGS = ()  # an archive of images has the same
HAS_GROUPS = False
ARCHIVE = re.compile(r"cifar-100?-(binary|python)\.(tar\.gz|tgz|tar)", re.IGNORECASE)
SIDE = 32  # pixels
PIXELS = 3 * SIDE * SIDE  # bytes of an image


@dataclass(frozen=True)
class _Version:
    """One of the two sets: its files, the bytes of labels of a record, the last of which counts."""

    name: str
    classes: int
    names: str
    train: tuple[str, ...]
    test: str
    labels: int

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read."""
        return (self.names, *self.train, self.test)


_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_VERSIONS = (
    _Version("cifar-10", 10, "batches.meta.txt", _BATCHES, "test_batch.bin", 1),
    _Version("cifar-100", 100, "fine_label_names.txt", ("train.bin",), "test.bin", 2),
)
_OF_PYTHON = ("batches.meta", "meta")  # the pickles with the names of the classes


def takes(path: Path) -> bool:
    """Tell an archive by the name that it is published under, a folder by the names of classes."""
    if not path.is_dir():
        return ARCHIVE.fullmatch(path.name) is not None
    return _is_of_python(path) or any((path / each.names).is_file() for each in _VERSIONS)


def load(path: Path, request: DataRequest) -> DataSet:
    """Read an archive or its folder. Raises DataError for the version for Python."""
    request.refuse(path.name)
    if _is_of_python(path):
        raise DataError(
            f"{path.name} consists of pickles, which are programs that run as they are read: "
            f"nas reads none. The same images are in {_binary(path)}."
        )
    contents = dict(_contents(path))
    version = next((each for each in _VERSIONS if each.names in contents), None)
    if version is None:
        names = " or ".join(each.names for each in _VERSIONS)
        raise DataError(f"CIFAR's binary version has a file {names}; {path} has none.")
    if missing := [name for name in version.files if name not in contents]:
        raise DataError(f"{version.name} needs {', '.join(version.files)}; {path} lacks {missing}.")
    classes = tuple(filter(None, contents[version.names].decode("utf-8", "replace").split()))
    if len(classes) != version.classes:
        raise DataError(
            f"{version.name} has {version.classes} classes; {version.names} of {path} names "
            f"{len(classes)}."
        )
    parts = {"train": version.train, "test": (version.test,)}
    read = {split: _records(contents, names, version) for split, names in parts.items()}
    images = {split: pixels for split, (pixels, _) in read.items()}
    labels = {split: numbers for split, (_, numbers) in read.items()}
    check_classes(classes, labels["train"], where=path)
    notes = ["the fine labels, not the 20 coarse ones"] if version.labels > 1 else []
    found = Path(version.name)  # the set's name, whatever the archive is called
    return array_set(
        found, images, labels, classes, origin=Origin(notes=notes), reading=request.reading
    )


def image_files(_: Path) -> Sequence[str]:
    """Return no path: the images lie in the file."""
    return ()


def _is_of_python(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in _OF_PYTHON) and not any(
            (path / each.names).is_file() for each in _VERSIONS
        )
    return "python" in path.name.lower()


def _binary(path: Path) -> str:
    number = 100 if "100" in path.name or (path / "meta").is_file() else 10
    return f"cifar-{number}-binary.tar.gz"


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that are read, of an archive or a folder, by their names."""
    known = {name for each in _VERSIONS for name in each.files}
    if path.is_dir():
        for name in sorted(known):
            if (file := path / name).is_file():
                _check(check_regular(file, DataError), name)
                yield name, file.read_bytes()
        return
    what = f"{path} can't be read"
    with tarred.opened(path, what) as archive:
        for member in tarred.members(archive, what):
            name = member.name.rpartition("/")[2]
            if member.is_file and name in known:
                _check(member.size, name)
                yield name, member.read(archive).read()


def _check(size: int, name: str) -> None:
    limits().check("array_bytes", size, name, DataError)


def _records(
    contents: Mapping[str, bytes], names: tuple[str, ...], version: _Version
) -> tuple[Images, Labels]:
    """Return images, (N, 32, 32, 3), and labels, (N,), of some files."""
    size = version.labels + PIXELS
    for name in names:
        if not contents[name] or len(contents[name]) % size:
            raise DataError(
                f"{name} of {version.name} needs records of {size:,} bytes; it has "
                f"{len(contents[name]):,} bytes."
            )
    joined = b"".join(contents[name] for name in names)
    records = np.frombuffer(joined, np.uint8).reshape(-1, size)
    labels = records[:, version.labels - 1].astype(np.int64)
    if labels.max() >= version.classes:
        raise DataError(
            f"Labels of {version.name} are 0 to {version.classes - 1}; {', '.join(names)} have "
            f"{labels.max()}."
        )
    planes = records[:, version.labels :].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
