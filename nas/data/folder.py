"""A folder of images per class, with or without train, validation and test folders above them.

    root/cat/1.jpg  root/dog/2.png                    splits are carved out: 60/20/20
    root/train/cat/1.jpg  root/val/...  root/test/... splits that are missing come out of train

Images are gray when all of them are, else RGB. They are decoded one by one and kept, resized, as
uint8 arrays on disk that are mapped into memory: a set may be larger than memory. A manifest
beside them remembers every file's content by size and time, so that the next load is quick.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image, ImageOps, UnidentifiedImageError

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
from nas.data.groups import Groups, check_apart, numbered, of_names
from nas.errors import DataError, UnreadableImage

EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_ENTRY = 7  # values of a file in the manifest: size, time, and what `_examine` returns
_GRAY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class _File:
    """One image: its path below the root, class name, split ("" if not given) and content.

    Width and height in pixels are those of the upright image; `mode` is Pillow's, of the file.
    """

    path: str
    label: str
    split: str
    sha256: str = ""
    gray: bool = False
    width: int = 0
    height: int = 0
    mode: str = ""

    @property
    def name(self) -> str:
        """The path below the folder of its class."""
        return "/".join(self.path.split("/")[2 if self.split else 1 :])


def load_folder(
    root: Path,
    *,
    cache_dir: Path | None = None,
    groups: str | None = None,
    skip_unreadable: bool = False,
) -> DataSet:
    """Read a folder of images. Raises DataError that names the images that are unreadable.

    `groups` is the regular expression that finds an image's group in its name. With
    `skip_unreadable` such images are left out.
    """
    cache = cache_dir or user_cache()
    images = list(_find(root))
    if not images:
        raise DataError(
            f"A folder data set needs one folder of images per class; {root} has no images. "
            f"Readable: {', '.join(sorted(EXTENSIONS))}."
        )
    if not any(file.split in ("", "train") for file in images):
        raise DataError(f"{root} has split folders but no images in a train folder.")
    if groups is not None:
        of_names(groups, [file.name for file in images])  # a mistake is told before all is decoded
    files, unreadable = _examined(root, images, cache)
    if unreadable and not skip_unreadable:
        raise _unreadable(root, unreadable, len(images))
    classes = tuple(sorted({file.label for file in files}))
    labels = np.array([classes.index(file.label) for file in files], np.int64)
    given = {
        name: np.array(
            [i for i, file in enumerate(files) if (file.split or "train") == name], np.intp
        )
        for name in SPLITS
    }
    check_classes(classes, labels[given["train"]], where=root)
    given = {name: part for name, part in given.items() if len(part)}
    numbers = None
    if groups is not None:
        keys = of_names(groups, [file.name for file in files])
        check_apart(given, keys)
        numbers = numbered(keys)
    parts = fill_splits(given, labels, classes, numbers)
    found = _data_set(root, files, labels, parts, numbers, cache=cache)
    left_out = _left_out(root, {file.path for file in files}, unreadable)
    return replace(found, origin=replace(found.origin, left_out=left_out))


def read_image(path: Path, channels: int) -> Image.Image:
    """Decode an image file as a data set's: gray for 1 channel, else RGB.

    Raises UnreadableImage that names the file.
    """
    _, image = _reopen(path)
    return image.convert("L" if channels == 1 else "RGB")


def _data_set(
    root: Path,
    files: list[_File],
    labels: Labels,
    parts: Mapping[str, npt.NDArray[np.intp]],
    groups: Groups | None,
    *,
    cache: Path,
) -> DataSet:
    lines = "\n".join(f"{file.path}\t{file.label}\t{file.sha256}" for file in files)
    content: list[bytes | npt.NDArray[Any]] = [lines.encode(), labels, *parts.values()]
    fingerprint = content_hash(content if groups is None else [*content, groups])
    gray = all(file.gray for file in files)
    splits = {
        name: Split(
            labels[part],
            _images_of(root, [files[i] for i in part], cache / f"{fingerprint}-{name}", gray=gray),
            None if groups is None else groups[part],
            [files[i].path for i in part],
        )
        for name, part in parts.items()
    }
    return DataSet(
        name=root.resolve().name,
        fingerprint=fingerprint,
        classes=tuple(sorted({file.label for file in files})),
        in_channels=1 if gray else 3,
        native_resolution=max(max(file.width, file.height) for file in files),
        forbids=frozenset(),
        splits=splits,
        origin=Origin(
            Counter((file.width, file.height) for file in files),
            Counter(file.mode for file in files),
        ),
    )


def user_cache() -> Path:
    """Return the folder of files that can be made or fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nas"


def _find(root: Path) -> Iterator[_File]:
    """Yield the images below `root` in the order of their names, not yet opened."""
    folders = _folders(root)
    by_split = {folder: _split_of(folder.name) for folder in folders}
    split_layout = any(_holds_classes(f) for f in folders if by_split[f] == "train")
    for folder in folders:
        if not split_layout:
            yield from _of_class(root, folder, "")
        elif by_split[folder]:
            for class_folder in _folders(folder):
                yield from _of_class(root, class_folder, by_split[folder])


def _holds_classes(folder: Path) -> bool:
    """Tell a folder of class folders from a class that happens to be called "train"."""
    return bool(_folders(folder)) and not any(
        path.suffix.lower() in EXTENSIONS for path in folder.iterdir()
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _split_of(name: str) -> str:
    return next((split for split, names in FOLDERS.items() if name.lower() in names), "")


def _of_class(root: Path, folder: Path, split: str) -> Iterator[_File]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file():
            yield _File(path.relative_to(root).as_posix(), folder.name, split)


def _left_out(root: Path, used: set[str], unreadable: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the files below `root` that are not used, by the reason; hidden ones are not told."""
    left_out: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        name, ending = below.as_posix(), path.suffix.lower()
        if name in used or any(part.startswith(".") for part in below.parts) or path.is_dir():
            continue
        reason = "not below a class" if ending in EXTENSIONS else ending or "no extension"
        left_out.setdefault("unreadable" if name in unreadable else reason, []).append(name)
    return left_out


def _unreadable(root: Path, why: Mapping[str, str], count: int) -> DataError:
    """Return the error for images that can't be decoded, the first few of them named."""
    shown = [f"{root / path} is not: {reason}." for path, reason in list(why.items())[:3]]
    if len(why) > 1:
        shown.insert(0, f"{len(why)} of {count} are not.")
    return DataError(f"Every image needs to be readable; {' '.join(shown)}")


def _examined(root: Path, files: list[_File], cache: Path) -> tuple[list[_File], dict[str, str]]:
    """Return the readable files with their content, and by path why others are unreadable.

    The content is the manifest's where size and time are the same.
    """
    manifest = cache / f"{content_hash([str(root.resolve()).encode()])}.json"
    stored = _read_manifest(manifest)
    entries: dict[str, list[Any]] = {}
    unreadable: dict[str, str] = {}
    for file in files:
        status = (root / file.path).stat()
        key = [status.st_size, status.st_mtime_ns]
        entry = stored.get(file.path, [])
        try:
            known = entry[:2] == key and len(entry) == _ENTRY
            entries[file.path] = entry if known else [*key, *_examine(root / file.path)]
        except DataError as error:
            unreadable[file.path] = str(error)
    if entries != stored and not unreadable:
        _write(manifest, lambda file: file.write(json.dumps(entries).encode()), anew=True)
    readable = [file for file in files if file.path in entries]
    read = [_File(f.path, f.label, f.split, *entries[f.path][2:]) for f in readable]
    return read, unreadable


def _read_manifest(path: Path) -> dict[str, list[Any]]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):  # missing or damaged: then everything is examined anew
        return {}
    return stored if isinstance(stored, dict) else {}


def _examine(path: Path) -> tuple[str, bool, int, int, str]:
    """Decode one image wholly; return its hash, whether it is gray, width, height and mode."""
    content, image, mode = _open(path)
    return _hash(content), image.mode == "L", *image.size, mode


def _open(path: Path) -> tuple[bytes, Image.Image, str]:
    """Return a file's content, its image and the image's mode; raises DataError that says why."""
    try:
        content = path.read_bytes()
        return content, *_decode(content)
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        unknown = isinstance(error, UnidentifiedImageError)
        raise DataError("no image that Pillow knows" if unknown else str(error)) from error


def _reopen(path: Path) -> tuple[bytes, Image.Image]:
    """Return a file's content and its image; raises UnreadableImage that names the file."""
    try:
        content, image, _ = _open(path)
    except DataError as error:
        raise UnreadableImage(
            f"Every image needs to be readable; {path} is not: {error}."
        ) from error
    return content, image


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _decode(content: bytes) -> tuple[Image.Image, str]:
    """Decode an image to 8 bits, gray ("L") or RGB, turned as its EXIF data says.

    Returns it with the mode that it had.
    """
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)), image.mode
        if image.mode in ("I", "F"):
            raise ValueError(f"32-bit pixels (mode {image.mode!r}); 8 and 16 bits are read")
        return image.convert("L" if image.mode in _GRAY else "RGB"), image.mode


def _images_of(
    root: Path, files: list[_File], stem: Path, *, gray: bool
) -> Callable[[int], Images]:
    @lru_cache(None)
    def images(resolution: int) -> Images:
        path = stem.with_name(f"{stem.name}-{resolution}.npy")
        if not path.exists():
            _write(path, lambda file: _build(root, files, file, resolution=resolution, gray=gray))
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    return images


def _build(
    root: Path, files: list[_File], output: BinaryIO, *, resolution: int, gray: bool
) -> None:
    """Decode and resize the images one by one into a .npy file: (N, R, R, C) uint8."""
    shape = (len(files), resolution, resolution, 1 if gray else 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(output, header)
    for file in files:
        content, image = _reopen(root / file.path)
        if _hash(content) != file.sha256:
            raise UnreadableImage(f"{root / file.path} has changed since the data set was loaded.")
        output.write(resize(image.convert("L" if gray else "RGB"), resolution).tobytes())


def _write(path: Path, write: Callable[[BinaryIO], object], *, anew: bool = False) -> None:
    """Make a file at once or not at all, one process at a time; the lock dies with its process.

    Raises DataError when the cache can't be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if anew or not path.exists():  # no other process was quicker
                with temporary.open("wb") as file:
                    write(file)
                os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"The folder for resized images needs to be writable; {path.parent} is not: {error}"
        ) from error
