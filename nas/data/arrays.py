"""The arrays of an .npz file: read when they are asked for, each within the limits."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nas.data import zipped
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import check_regular, reading

_HEADER = 2**14  # bytes of an array's header, at the most
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Arrays(Mapping[str, npt.NDArray[Any]]):
    """The arrays of a file by their names; one that nobody asks for is never unpacked.

    Raises DataError that names the file and the array, before its memory is taken where its header
    says more than there is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, npt.NDArray[Any]] = {}
        self._bytes = 0
        check_regular(path, DataError)
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise DataError(f"{path} is not an .npz archive of arrays but a single array.")
        with self._opened() as archive:
            names = [info.filename for info in archive.infolist()]
            self._members = {name.removesuffix(".npy"): name for name in names}
        if len(self._members) < len(names):
            twice = next(name for name in names if names.count(name) > 1 or name + ".npy" in names)
            raise DataError(f"{path} has more than one array {twice.removesuffix('.npy')!r}.")

    def _opened(self) -> Any:
        return zipped.opened(self.path, f"{self.path} can't be read as an .npz archive of arrays")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._read:
            member = self._members[name]
            with self._opened() as archive:
                self._read[name] = self._array(archive, archive.getinfo(member), name)
        return self._read[name]

    def _array(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str
    ) -> npt.NDArray[Any]:
        what, most = f"array {name!r} of {self.path}", limits()
        zipped.check_member(info, what)
        self._bytes += info.file_size
        most.check("array_bytes", info.file_size, what, DataError)
        most.check("total_bytes", self._bytes, what, DataError)
        with reading(f"{what} can't be read", DataError):
            with archive.open(info) as stream:
                check_header(stream, info.file_size, what)
            with archive.open(info) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                if array.dtype.kind == "U":
                    array.astype("U").tolist()  # refuses numbers that are no characters
                return array


def check_header(stream: IO[bytes], size: int, what: str) -> tuple[int, ...]:
    """Return the shape of a .npy file; refuse one that takes other bytes than the file has."""
    start = io.BytesIO(stream.read(_HEADER))
    version = np.lib.format.read_magic(start)
    reader = _READERS.get(version)
    if reader is None:
        raise DataError(f"{what} has the .npy version {version}; 1.0 and 2.0 are read.")
    shape, _, dtype = reader(start)
    if dtype.hasobject:
        raise DataError(f"{what} holds Python objects, not plain numbers or text.")
    needed = start.tell() + prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed != size:
        raise DataError(
            f"{what} says that it has the shape {shape} of {dtype}, {needed:,} bytes; it has "
            f"{size:,}."
        )
    return tuple(shape)
