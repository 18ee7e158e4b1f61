"""Zip files within the limits: the list of members is bounded before it is read."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import check_regular, reading

METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
_LISTED = 128  # bytes of the list for each member: 46 and a name


@contextmanager
def opened(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; raises DataError that begins with `what` for whatever is wrong with it.

    Errors in the block that uses it become DataError as well.
    """
    check_regular(path, DataError)
    most = limits()
    with reading(what, DataError), path.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined] # the list's size is its 6th
        if end:
            most.check("members", end[5] // _LISTED, what, DataError)
        with zipfile.ZipFile(file) as archive:
            count = len(archive.infolist())
            most.check("members", count, what, DataError)
            if (count - end[4]) % 2**16:  # some writers count so far
                raise DataError(f"{what}: it says that it has {end[4]:,} members, not {count:,}.")
            yield archive


def check_member(info: zipfile.ZipInfo, what: str) -> None:
    """Refuse a member that is encrypted or compressed in another way than by deflate."""
    if info.flag_bits & 1:
        raise DataError(f"{what} is encrypted: only plain members are read.")
    if info.compress_type not in METHODS:
        known = ", ".join(f"{number} ({name})" for number, name in METHODS.items())
        raise DataError(f"{what} is compressed by method {info.compress_type}; readable: {known}.")
