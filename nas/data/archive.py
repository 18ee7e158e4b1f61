"""An archive of a folder of images: only its images are unpacked, below one folder.

Each is written under a name that was checked, as a plain file: no link, no device, no owner and no
mode of the archive gets onto the disk.
"""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from filelock import FileLock

from nas.data import decoders, formats, tarred, zipped
from nas.data.dataset import content_hash
from nas.data.layout import is_image
from nas.data.tarred import TarMember
from nas.errors import DataError
from nas.files import held
from nas.files.limits import limits
from nas.files.reading import check_regular, reading
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
            paths = {path: each for each in members if (path := _path(each, name))}
            images = {path: each for path, each in paths.items() if _is_image(path, each, name)}
            folder.mkdir()
            for path in paths.keys() - images.keys():  # a class without images is to be missed
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            size = sum(each.size for each in images.values())
            limits().check("total_bytes", size, name, DataError)
            check_space(size, folder, name)
            for path, member in images.items():
                _write(member, Path(folder, path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def unpacked(archive: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of an archive's images below a cache; it is unpacked once."""
    return once(
        [archive], stem(archive.name), cache, say, lambda to: unpack(archive, to, archive.name)
    )


def once(
    files: Sequence[Path],
    name: str,
    cache: Path,
    say: Callable[[str], None],
    write: Callable[[Path], object],
) -> Path:
    """Return the folder `name` below a cache that `write` makes of files, as they are now."""
    states = [(check_regular(file, DataError), file.stat().st_mtime_ns) for file in files]
    pairs = zip(files, states, strict=True)
    key = "\n".join(f"{file.resolve()} {size} {time}" for file, (size, time) in pairs)
    folder = cache / "unpacked" / content_hash([os.fsencode(key)])[:16]
    target, what = folder / name, f"{files[0]}{' and others' if len(files) > 1 else ''}"
    with reading(f"{what} can't be unpacked into {folder}", DataError):
        folder.mkdir(parents=True, exist_ok=True)
        waits = f"another process unpacks {what} now: waiting for it"
        with held(FileLock(folder / "lock"), lambda: say(waits)):
            if not target.exists():
                say(f"unpacking {what}")
                temporary = folder / "unpacking"
                shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
                write(temporary)
                os.replace(temporary, target)
    return target


def holds_images(name: str) -> bool:
    """Tell an archive of a folder of images by its name; a format may have archives of its own."""
    return name.lower().endswith(TYPES) and formats.of(Path(name)) is None


def stem(name: str) -> str:
    """Return an archive's name without its ending, which the folder of its images has."""
    ending = next(each for each in TYPES if name.lower().endswith(each))
    return name[: -len(ending)] or "images"


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


def _path(member: _Member, archive: str) -> PurePosixPath | None:
    """Return the path of a file below the folder; None for a hidden one."""
    given = PureWindowsPath(member.name)  # Windows has the stricter rules
    if given.anchor or ".." in given.parts:
        raise DataError(f"An archive holds paths below one folder; {archive} has {member.name!r}.")
    path = PurePosixPath(given.as_posix())
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return None if hidden else path


def _is_image(path: PurePosixPath, member: _Member, archive: str) -> bool:
    """Tell an image from another file; raises DataError for a link and a large one."""
    if not is_image(path.name) and path.name != decoders.DESCRIPTION:
        return False
    if member.is_link:
        raise DataError(
            f"An archive holds its images themselves; in {archive} {path} is a link or a device."
        )
    limits().check("image_bytes", member.size, f"{path} of {archive}", DataError)
    return True


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
