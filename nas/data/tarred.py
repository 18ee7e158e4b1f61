"""Tar files, header by header: sizes and names are bounded, and an end that is missing is told.

Python's tarfile, as of 3.11, reads names of any length into memory, never ends where a size is
negative, and takes an archive that was cut between two members, or is damaged there, for whole.
"""

import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import check_regular, reading

_BLOCK = tarfile.BLOCKSIZE
_GZIP = b"\x1f\x8b"
_RECORDS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_RECORDS)


@dataclass(frozen=True)
class TarMember:
    """A member of a tar file: a folder, a plain file of these bytes, or neither."""

    name: str
    size: int
    start: int
    is_folder: bool
    is_file: bool

    def read(self, file: IO[bytes]) -> IO[bytes]:
        """Return the content; an image's, which is bounded."""
        file.seek(self.start)
        return io.BytesIO(file.read(self.size))


@contextmanager
def opened(path: Path, what: str) -> Iterator[IO[bytes]]:
    """Open a tar file, with gzip or without; raises DataError for whatever is wrong with it."""
    check_regular(path, DataError)
    with reading(what, DataError), path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file


def members(file: IO[bytes], what: str) -> Iterator[TarMember]:
    """Yield the members; raises DataError for one over the limits, and where the end is missing."""
    most, at, count = limits(), 0, 0
    given: dict[str, str] = {}
    while (info := _header(file, at, what)) is not None:
        count, start = count + 1, at + _BLOCK
        size = int(given.get("size", info.size))
        has_content = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
        if size < 0:
            raise DataError(f"{what}: the member {info.name!r} has a size of {size:,} bytes.")
        at = start + (-(-size // _BLOCK) * _BLOCK if has_content or info.type in _NAMES else 0)
        most.check("members", count, what, DataError)
        most.check("total_bytes", at, what, DataError)
        if info.type in _NAMES:
            most.check("header_bytes", size, what, DataError)
            given |= _given(info.type, file.read(size))
            continue
        is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(
            key.startswith("GNU.sparse") for key in given
        )
        name = given.get("path", info.name)
        yield TarMember(name, size, start, info.isdir(), info.isreg() and not is_sparse)
        given = {}
    while rest := file.read(2**20):  # to the end, where gzip has a sum of all
        at += len(rest)
        most.check("total_bytes", at, what, DataError)


def _header(file: IO[bytes], at: int, what: str) -> tarfile.TarInfo | None:
    """Return the header at a byte; None at the end of a whole archive."""
    file.seek(at)
    block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise DataError(f"{what}: cut or damaged at byte {at:,} ({error}).") from error


def _given(kind: bytes, content: bytes) -> dict[str, str]:
    """Return what a header says about the next member: its path, its size, that it is sparse."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(content.partition(b"\0")[0])}
    found, at = {}, 0
    while kind in _RECORDS and at < len(content):  # "length key=value\n"
        space = content.index(b" ", at, at + 20)
        end = at + int(content[at:space])
        if end <= space:
            raise ValueError("a record of no length")
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        found[_text(key)] = _text(value)
        at = end
    return found


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
