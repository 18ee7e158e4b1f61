"""An archive of a folder of images: only its images are unpacked, below one folder.

Each is written under a name that was checked, as a plain file: no link, no device, no owner and no
mode of the archive gets onto the disk.
"""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from nas.data.layout import EXTENSIONS
from nas.errors import DataError
from nas.quantities import short

TYPES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_link: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Write the images of an archive, called `name`, into a folder that is not there yet.

    Raises DataError for a link, a name that leads out of the folder, and more than the disk holds.
    """
    try:
        with _members(archive, name) as members:
            images = {path: each for each in members if (path := _image(each, name))}
            folder.mkdir()
            _check_space(sum(each.size for each in images.values()), folder, name)
            for path, member in images.items():
                _write(member, Path(folder, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _members(archive: Path, name: str) -> Iterator[list[_Member]]:
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            yield [_zipped(zipped, info) for info in zipped.infolist() if not info.is_dir()]
    else:
        with tarfile.open(archive) as tarred:
            yield [_tarred(tarred, info) for info in tarred if not info.isdir()]


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return _Member(info.filename, info.file_size, is_link, lambda: archive.open(info))


def _tarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    return _Member(info.name, info.size, not info.isreg(), lambda: archive.extractfile(info))


def _image(member: _Member, archive: str) -> PurePosixPath | None:
    """Return the path of an image below the folder; None for a file that is no image."""
    given = PureWindowsPath(member.name)  # Windows has the stricter rules
    if given.anchor or ".." in given.parts:
        raise DataError(f"An archive holds paths below one folder; {archive} has {member.name!r}.")
    path = PurePosixPath(given.as_posix())
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    if hidden or path.suffix.lower() not in EXTENSIONS:
        return None
    if member.is_link:
        raise DataError(
            f"An archive holds its images themselves; in {archive} {path} is a link or a device."
        )
    return path


def _check_space(size: int, folder: Path, archive: str) -> None:
    free = _free(folder)
    if size > free:
        raise DataError(f"{archive} holds {short(size)}B; {folder} has {short(free)}B left.")


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _write(member: _Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("xb") as target:  # type: ignore[union-attr]
        shutil.copyfileobj(source, target)
    os.utime(path, (0, 0))  # always alike: folder.py knows a file by its size and time
