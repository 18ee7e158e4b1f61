"""Image files with their labels, splits and groups, wherever these are told: as a data set.

Images are gray when all of them are, else RGB. They are decoded one by one and kept, resized, as
uint8 arrays on disk that are mapped into memory: a set may be larger than memory. A manifest
beside them remembers every file's content by size and time, so that the next load is quick.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image, UnidentifiedImageError

from nas.data.dataset import (
    SPLITS,
    DataSet,
    Images,
    Labels,
    Origin,
    Split,
    check_classes,
    content_hash,
    fill_splits,
    resize,
)
from nas.data.decoders import check_packages
from nas.data.groups import Groups, check_apart, numbered
from nas.data.image_files import content_of, state_of
from nas.data.labels import in_order
from nas.data.pixels import FilePixels, PixelReading, decode, reading_of
from nas.data.request import DataRequest
from nas.errors import DataError, UnreadableImage
from nas.files import held
from nas.files.reading import why

log = logging.getLogger("nas")
T = TypeVar("T")
_NAMED = 20  # unreadable images that an error names
_Content = tuple[str, FilePixels]  # a file's hash and the facts about its pixels


@dataclass(frozen=True)
class ImageFile:
    """One image: its path below the root, its labels, its split ("" if not given), its group.

    `labels` are the names of its one class, or of several labels.
    """

    path: str
    labels: tuple[str, ...]
    split: str = ""
    group: str | None = None
    sha256: str = ""
    pixels: FilePixels = field(default_factory=FilePixels)


@dataclass(frozen=True)
class ImageList:
    """The image files of a data set, all below a root, and how they were found.

    `source` is the folder or the file that tells them; the manifest is kept by it. `several` says
    that an image has any number of labels instead of one class. `classes` are all names in their
    order; without them they are those of the files, sorted, numbers by their value.
    """

    name: str
    root: Path
    source: Path
    files: Sequence[ImageFile]
    several: bool = False
    classes: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)


def load_images(listed: ImageList, request: DataRequest) -> DataSet:
    """Decode the listed images and make a data set of them.

    Raises DataError that names the images that are unreadable, unless the request skips them.
    """
    cache = request.cache_dir or user_cache()
    check_packages(file.path for file in listed.files)
    files, unreadable = examined(listed, cache)
    if unreadable and not request.skip_unreadable:
        raise unreadable_error(listed.root, unreadable, len(listed.files))
    names = {name for file in files for name in file.labels}
    classes = listed.classes or in_order(names)
    labels = _numbered(files, classes, several=listed.several)
    given = {
        name: np.array(
            [i for i, file in enumerate(files) if (file.split or "train") == name], np.intp
        )
        for name in SPLITS
    }
    check_classes(classes, labels[given["train"]], where=listed.source)
    given = {name: part for name, part in given.items() if len(part)}
    keys = [file.group for file in files if file.group is not None]
    numbers = None
    if keys:
        check_apart(given, keys)
        numbers = numbered(keys)
    parts = fill_splits(given, labels, classes, numbers)
    check_classes(classes, labels[parts["train"]], where=listed.source)
    pixels = [[files[i].pixels for i in part] for part in parts.values()]
    found = _data_set(
        replace(listed, files=files, classes=classes), labels, parts, numbers,
        cache=cache, reading=reading_of(pixels, request.reading),
    )  # fmt: skip
    left_out = dict(listed.origin.left_out)
    if unreadable:
        left_out["unreadable"] = list(unreadable)
    notes = [*listed.origin.notes, *found.origin.notes]
    return replace(found, origin=replace(found.origin, left_out=left_out, notes=notes))


def _numbered(files: Sequence[ImageFile], classes: Sequence[str], *, several: bool) -> Labels:
    """Return class indices, (N,), or 0 and 1 for each of several labels, (N, L)."""
    number = {name: index for index, name in enumerate(classes)}
    if not several:
        return np.array([number[file.labels[0]] for file in files], np.int64)
    labels = np.zeros((len(files), len(classes)), np.int64)
    for row, file in zip(labels, files, strict=True):
        row[[number[name] for name in file.labels]] = 1
    return labels


def read_image(path: Path, channels: int, reading: PixelReading) -> Image.Image:
    """Decode an image file as those of a data set: gray for 1 channel, else RGB.

    Raises UnreadableImage that names the file.
    """
    return _readable(path, lambda content: decode(content, reading, channels))


def _data_set(
    listed: ImageList,
    labels: Labels,
    parts: Mapping[str, npt.NDArray[np.intp]],
    groups: Groups | None,
    *,
    cache: Path,
    reading: PixelReading,
) -> DataSet:
    files, root = listed.files, listed.root
    pixels = [file.pixels for file in files]
    lines = "\n".join(f"{file.path}\t{'|'.join(file.labels)}\t{file.sha256}" for file in files)
    content: list[bytes | npt.NDArray[Any]] = [lines.encode(), labels, *parts.values()]
    content += reading.content()
    fingerprint = content_hash(content if groups is None else [*content, groups])
    channels = 1 if all(each.gray for each in pixels) else 3

    def read(content: bytes) -> Image.Image:
        return decode(content, reading, channels)

    splits = {
        name: Split(
            labels[part],
            images_of(root, [files[i] for i in part], cache / f"{fingerprint}-{name}", read),
            None if groups is None else groups[part],
            [files[i].path for i in part],
        )
        for name, part in parts.items()
    }
    return DataSet(
        name=listed.name,
        fingerprint=fingerprint,
        classes=listed.classes,
        in_channels=channels,
        native_resolution=max(max(each.width, each.height) for each in pixels),
        forbids=frozenset(),
        splits=splits,
        reading=reading,
        origin=Origin(
            Counter((each.width, each.height) for each in pixels),
            Counter(each.mode for each in pixels),
            notes=_notes(pixels),
        ),
    )


def _notes(pixels: Sequence[FilePixels]) -> tuple[str, ...]:
    """Say which files have more than one image in them."""
    several = sum(each.frames > 1 for each in pixels)
    return (f"the first page or frame of {several:,} files of several",) if several else ()


def user_cache() -> Path:
    """Return the folder of files that can be made or fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nas"


def unreadable_error(root: Path, why: Mapping[str, str], count: int) -> DataError:
    """Return the error for images that can't be decoded, all of them named, or most of many."""
    shown = [f"{path} is not: {reason}." for path, reason in list(why.items())[:_NAMED]]
    shown.insert(0, f"below {root} {len(why)} of {count} are not.")
    if len(why) > _NAMED:
        shown.append(f"And {len(why) - _NAMED} more.")
    return DataError(f"Every image needs to be readable; {' '.join(shown)}")


def examined(listed: ImageList, cache: Path) -> tuple[list[ImageFile], dict[str, str]]:
    """Return the readable files with their content, and by path why others are unreadable.

    The content is the manifest's where size and time are the same.
    """
    root = listed.root
    manifest = cache / f"{content_hash([str(listed.source.resolve()).encode()])}.json"
    stored = _read_manifest(manifest)
    entries: dict[str, list[Any]] = {}
    read: list[ImageFile] = []
    unreadable: dict[str, str] = {}
    for file in listed.files:
        try:
            key = state_of(root / file.path)
            known = _known(stored.get(file.path), key) or _open(root / file.path, _examine)
        except DataError as error:
            unreadable[file.path] = str(error)
            continue
        read.append(replace(file, sha256=known[0], pixels=known[1]))
        entries[file.path] = [*key, known[0], asdict(known[1])]
    if entries != stored and not unreadable:
        content = json.dumps([_sum(entries), entries]).encode()
        _write(manifest, lambda file: file.write(content))
    return read, unreadable


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        total, entries = json.loads(path.read_text())
        return entries if total == _sum(entries) else {}
    except (OSError, ValueError, TypeError, RecursionError):  # then everything is examined anew
        return {}


def _sum(entries: Mapping[str, Any]) -> str:
    return _hash(json.dumps(entries).encode())


def _known(entry: Any, key: Sequence[int | str]) -> _Content | None:
    """Return a file's hash and facts from the manifest, if they are those of this file."""
    try:
        *stored, sha256, facts = entry
        return (str(sha256), FilePixels(**facts)) if stored == list(key) else None
    except (TypeError, ValueError):  # of another version, or damaged
        return None


def _examine(content: bytes) -> _Content:
    """Decode one image wholly; return its hash and the facts about its pixels."""
    return _hash(content), FilePixels.of(content)


def _open(path: Path, read: Callable[[bytes], T]) -> T:
    """Return what is read of a file's content; raises DataError that says why it can't be."""
    try:
        return read(content_of(path))
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        unknown = isinstance(error, UnidentifiedImageError)
        raise DataError("no image that Pillow knows" if unknown else why(error)) from error


def _readable(path: Path, read: Callable[[bytes], T]) -> T:
    """Return what is read of a file's content; raises UnreadableImage that names the file."""
    try:
        return _open(path, read)
    except DataError as error:
        raise UnreadableImage(
            f"Every image needs to be readable; {path} is not: {error}."
        ) from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def images_of(
    root: Path, files: Sequence[ImageFile], stem: Path, read: Callable[[bytes], Image.Image]
) -> Callable[[int], Images]:
    """Return the function from a resolution to the images of files, kept in files named by `stem`.

    `read` decodes one.
    """

    @lru_cache(None)
    def images(resolution: int) -> Images:
        path = stem.with_name(f"{stem.name}-{resolution}.npy")

        def cached() -> Images | None:
            return _cached(path, (len(files), resolution, resolution))

        if (found := cached()) is None:
            build = partial(_build, root, files, resolution=resolution, read=read)
            _write(path, build, unless=lambda: cached() is not None)
            found = cached()
        if found is None:
            raise DataError(f"The resized images in {path} are not what was written there.")
        return found

    return images


def _cached(path: Path, shape: tuple[int, ...]) -> Images | None:
    """Map resized images into memory; None where they are missing or damaged."""
    try:
        found = np.lib.format.open_memmap(path, mode="r")
        whole = found.offset + found.nbytes == path.stat().st_size
    except Exception:  # the header's text is evaluated
        return None
    fits = found.dtype == np.uint8 and found.ndim == 4 and found.shape[:3] == shape
    return found if whole and fits else None


def _build(
    root: Path,
    files: Sequence[ImageFile],
    output: BinaryIO,
    *,
    resolution: int,
    read: Callable[[bytes], Image.Image],
) -> None:
    """Decode and resize the images one by one into a .npy file: (N, R, R, C) uint8."""

    def decoded(content: bytes) -> tuple[str, Image.Image]:
        return _hash(content), read(content)

    for file in files:
        sha256, image = _readable(root / file.path, decoded)
        if sha256 != file.sha256:
            raise UnreadableImage(f"{root / file.path} has changed since the data set was loaded.")
        pixels = resize(image, resolution)
        if file is files[0]:
            shape = (len(files), *pixels.shape)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(output, header)
        output.write(pixels.tobytes())


def _write(
    path: Path, write: Callable[[BinaryIO], object], *, unless: Callable[[], bool] = lambda: False
) -> None:
    """Make a file at once or not at all, one process at a time; the lock dies with its process.

    With `unless`, only where that does not hold: no other process was quicker.

    Raises DataError when the cache can't be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        waits = partial(log.info, "another process makes %s now: waiting for it", path)
        with held(FileLock(path.with_name(f"{path.name}.lock")), waits):
            if not unless():
                with temporary.open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())  # or a power cut leaves a file of zeros
                os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"The folder for resized images needs to be writable; {path.parent} is not: {error}"
        ) from error
