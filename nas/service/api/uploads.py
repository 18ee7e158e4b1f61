"""Data that a client sends: streamed to disk within a limit, checked by nas's own reader, kept."""

import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from starlette.requests import ClientDisconnect

from nas.errors import DataError, DiskFull
from nas.service import checking
from nas.service.api import child
from nas.service.api.exchange import Route, answer, problems
from nas.service.api.problems import Fault, Problem
from nas.service.api.searches import told
from nas.service.api.service import Reader, Server, Service, Submitter, ending, endings
from nas.store import audit, uploads
from nas.store.tokens import Token
from nas.store.uploads import Upload

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=Route)
KEPT = 30 * 86400.0  # seconds
LONG_AGO = 3600.0  # seconds: a file without a row that is so old is nobody's
NEW = ".new-"
BINARY = "application/octet-stream"
UPLOAD = {
    "type": "object",
    "required": ["id", "name", "digest", "size", "expires"],
    "properties": {"id": {"type": "string", "description": "A search's data: upload:ID."}},
}
UploadId = Annotated[str, PathParameter(max_length=64)]


def _check_name(name: str) -> None:
    """Raise Problem for a file's name that does not say how it is read."""
    if not ending(name) or not name.isprintable():
        text = f"name is a file's that ends in {', '.join(endings())}, not {name!r}."
        raise Problem(422, text, kind="invalid", faults=[Fault(text, parameter="name")])


@router.post(
    "", status_code=201, name="upload",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses={201: told("The upload.", UPLOAD), **problems(400, 411, 413, 415, 507)},
)  # fmt: skip
async def upload(
    request: Request,
    server: Server,
    token: Submitter,
    name: Annotated[str, Query(min_length=1, max_length=200, description="Its file's name.")],
) -> Response:
    """Send data: an .npz file or an archive of images; its id is `data` of a search: upload:ID."""
    _check_name(name)
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != BINARY:
        raise Problem(415, f"Data is sent as {BINARY}.")
    await run_sync(check_room, server, token, length(request))
    return answer(await stored(server, token, name, request.stream()), 201)


async def stored(
    server: Service, token: Token, name: str, content: AsyncIterator[bytes]
) -> dict[str, Any]:
    """Write data to the disk as they come, check them and keep them; return the upload.

    Raises Problem, DataError, QuotaSpent and DiskFull; then nothing of them is left.
    """
    _check_name(name)
    folder = server.folder / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=NEW, suffix=ending(name), delete=False) as file:
        try:
            received = await _received(content, file, token.upload_bytes)
            file.close()
            return await run_sync(_keep, server, token, name, Path(file.name), received)
        finally:
            Path(file.name).unlink(missing_ok=True)


def length(request: Request) -> int:
    """Return how many bytes a request says it has; raises Problem where it does not."""
    text = request.headers.get("Content-Length", "")
    if not text.isdecimal():
        raise Problem(411, "Data is sent with its length: the header Content-Length.")
    return int(text)


def check_room(server: Service, token: Token, size: int) -> None:
    """Raise Problem or QuotaSpent where a token has no room for so many bytes."""
    if size > token.upload_bytes:
        raise Problem(413, f"At most {token.upload_bytes:,} bytes may be sent, not {size:,}.")
    with server.store.read() as connection:
        uploads.check_quota(connection, token, size)


async def _received(content: AsyncIterator[bytes], file: Any, most: int) -> tuple[str, int]:
    """Write what comes to a file; return the digest and the size."""
    digest, size = hashlib.sha256(), 0
    try:
        async for part in content:
            size += len(part)
            if size > most:
                raise Problem(413, f"At most {most:,} bytes may be sent.")
            digest.update(part)
            await run_sync(file.write, part)
    except ClientDisconnect:
        raise Problem(400, "The data has not come to its end.") from None
    except OSError as error:
        raise DiskFull(f"The data can't be kept: {error.strerror}.") from None
    return digest.hexdigest(), size


def _keep(
    server: Service, token: Token, name: str, path: Path, content: tuple[str, int]
) -> dict[str, Any]:
    """Check data as `--data` does, and keep it under its digest."""
    facts = _facts(server, path, name)
    with server.change(token, "upload", content[0]) as connection:
        kept = uploads.add(connection, token, name, content, facts=facts, seconds=KEPT)
        os.replace(path, server.upload_path(kept))
    return kept.to_json()


def _facts(server: Service, path: Path, name: str) -> dict[str, Any]:
    """Return what data are; raises DataError, with the name for the path, where they are none."""
    with TemporaryDirectory(dir=path.parent, prefix=NEW) as folder:
        try:
            facts: dict[str, Any] = child.run(
                checking.__name__, str(path), folder, store=server.url, error=DataError
            )
        except DataError as error:
            raise DataError(str(error).replace(str(path), name).replace(folder, "")) from None
    return facts


def tidy(server: Service) -> None:
    """Forget the uploads and the records whose time is over, remove files that nobody has."""
    with server.store.write() as connection:
        audit.expire(connection, server.audit_seconds)
        uploads.expire(connection)
        kept = uploads.digests(connection)
    long_ago = time.time() - LONG_AGO
    for path in (server.folder / "uploads").glob("*"):
        if path.name.partition(".")[0] not in kept and path.stat().st_mtime < long_ago:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@router.get(
    "",
    name="uploads",
    responses={200: told("The newest first.", {"type": "array", "items": UPLOAD})},
)
def listed(server: Server, token: Reader) -> Response:
    """List the uploads that the token sees."""
    with server.store.read() as connection:
        return answer([each.to_json() for each in uploads.uploads(connection, token.sees)])


@router.get("/{upload_id}", name="one_upload", responses={200: told("The upload.", UPLOAD)})
def one(server: Server, token: Reader, upload_id: UploadId) -> Response:
    """Return what is known of an upload."""
    with server.store.read() as connection:
        return answer(uploads.get(connection, upload_id, token.sees).to_json())


@router.delete(
    "/{upload_id}", status_code=204, name="delete_upload",
    responses={204: {"description": "It is gone."}},
)  # fmt: skip
def delete(server: Server, token: Submitter, upload_id: UploadId) -> Response:
    """Delete an upload; a search that is to read it fails."""
    with server.change(token, "delete upload", upload_id) as connection:
        kept = uploads.get(connection, upload_id, token.sees)
        if uploads.delete(connection, upload_id, token.sees) is not None:
            _remove(server, kept)
    return Response(status_code=204)


def _remove(server: Service, upload: Upload) -> None:
    with suppress(OSError):
        server.upload_path(upload).unlink()
