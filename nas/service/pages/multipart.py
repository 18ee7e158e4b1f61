"""A form with a file as a browser sends it (multipart/form-data, RFC 7578), read as it comes.

The fields stand before the file, the file is the last; nothing but what is before it is kept in
memory.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request

from nas.service.api.exchange import malformed
from nas.service.api.problems import Problem

KIND = "multipart/form-data"
LONGEST_HEAD = 2**14  # bytes before the file's content
_BOUNDARY = re.compile(r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?')
_NAMES = re.compile(r'(?<=[; ])(name|filename)="([^"]*)"')
_QUOTED = {"%22": '"', "%0D": "\r", "%0A": "\n"}  # as browsers write these in a name


@dataclass
class FileForm:
    """A form that is being read: its fields, the name of its file, and then the file's content."""

    parts: AsyncIterator[bytes]
    delimiter: bytes
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    _read: bytes = b"\r\n"  # so that the first delimiter is like the others

    @classmethod
    async def of(cls, request: Request) -> "FileForm":
        """Read a form up to its file's content; raises Problem for what is no form with a file."""
        kind, _, more = request.headers.get("Content-Type", "").partition(";")
        found = _BOUNDARY.search(more)
        if kind.strip().lower() != KIND or found is None:
            raise Problem(415, f"The form is {KIND}.")
        form = cls(request.stream(), f"\r\n--{found[1]}".encode())
        while not form.name:
            await form._next_part()
        return form

    async def _next_part(self) -> None:
        """Read a field, or the head of the file."""
        await self._until(self.delimiter + b"\r\n", is_first=True)
        names = dict(_NAMES.findall((await self._until(b"\r\n\r\n")).decode(errors="replace")))
        if "filename" not in names:
            value = await self._until(self.delimiter, is_left=True)
            self.fields[names.get("name", "")] = value.decode(errors="replace")
            return
        for written, character in _QUOTED.items():
            names["filename"] = names["filename"].replace(written, character)
        self.name = names["filename"] or "no file"

    async def _until(self, mark: bytes, *, is_first: bool = False, is_left: bool = False) -> bytes:
        """Return what stands before a mark, and take both off; the mark may be left there."""
        while (at := self._read.find(mark)) < 0:
            if len(self._read) > LONGEST_HEAD:
                raise malformed("The form has no file within its first part.")
            await self._more()
        if is_first and at:
            raise malformed("The body is no form.")
        before, self._read = self._read[:at], self._read[at if is_left else at + len(mark) :]
        return before

    async def _more(self) -> None:
        part = await anext(self.parts, b"")
        if not part:
            raise malformed("The form has not come to its end.")
        self._read += part

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the file's content; raises Problem where the form does not end after it."""
        kept = len(self.delimiter) - 1
        while (at := self._read.find(self.delimiter)) < 0:
            if len(self._read) > kept:
                part, self._read = self._read[:-kept], self._read[-kept:]
                yield part
            await self._more()
        yield self._read[:at]
        while len(self._read) < at + len(self.delimiter) + 2:
            await self._more()
        if self._read[at + len(self.delimiter) :][:2] != b"--":
            raise malformed("The file is the last part of the form.")
