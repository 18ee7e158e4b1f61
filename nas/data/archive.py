"""An archive of a folder of images: only its images are unpacked, below one folder.

Each is written under a name that was checked, as a plain file: no link, no device, no owner and no
mode of the archive gets onto the disk.
"""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from nas.data import tarred, zipped
from nas.data.layout import EXTENSIONS
from nas.data.tarred import TarMember
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import reading
from nas.quantities import short

TYPES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_link: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Write the images of an archive, called `name`, into a folder that is not there yet.

    Raises DataError for a link, a name that leads out of the folder, and more than the disk holds.
    """
    what = f"The archive {name} can't be read"
    try:
        with reading(what, DataError), _members(archive, name, what) as members:
            images = {path: each for each in members if (path := _image(each, name))}
            folder.mkdir()
            size = sum(each.size for each in images.values())
            limits().check("total_bytes", size, name, DataError)
            check_space(size, folder, name)
            for path, member in images.items():
                _write(member, Path(folder, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _members(archive: Path, name: str, what: str) -> Iterator[list[_Member]]:
    if name.lower().endswith(".zip"):
        with zipped.opened(archive, what) as file:
            yield [_zipped(file, info) for info in file.infolist() if not info.is_dir()]
    else:
        with tarred.opened(archive, what) as content:
            found = tarred.members(content, what)
            yield [_tarred(content, each) for each in found if not each.is_folder]


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    def read() -> IO[bytes]:
        zipped.check_member(info, f"{info.filename!r} of the archive")
        return archive.open(info)

    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return _Member(info.filename, info.file_size, is_link, read)


def _tarred(archive: IO[bytes], member: TarMember) -> _Member:
    return _Member(member.name, member.size, not member.is_file, lambda: member.read(archive))


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
    limits().check("image_bytes", member.size, f"{path} of {archive}", DataError)
    return path


def check_space(size: int, folder: Path, what: str) -> None:
    """Refuse what has more bytes than the disk of a folder has left."""
    free = _free(folder)
    if size > free:
        raise DataError(f"{what} holds {short(size)}B; {folder} has {short(free)}B left.")


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _write(member: _Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("xb") as target:
        shutil.copyfileobj(source, target)
        if target.tell() != member.size:
            raise DataError(f"{member.name!r} has {target.tell():,} of {member.size:,} bytes.")
    os.utime(path, (0, 0))  # always alike: folder.py knows a file by its size and time
