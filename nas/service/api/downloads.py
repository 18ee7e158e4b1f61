"""Files of a search to download: its report, its winner as code, weights and exports.

Each is built once and kept under a name that says what it was made of.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from filelock import FileLock, Timeout

from nas import __version__, export
from nas.commands.report import report_study
from nas.errors import Conflict, NotFound, unknown
from nas.files import writing
from nas.service.api import child
from nas.service.api.exchange import Route, problems, unchanged
from nas.service.api.searches import SearchId
from nas.service.api.service import Reader, Server, Service
from nas.store import queries
from nas.study.options import SUFFIX

router = APIRouter(prefix="/searches/{search_id}", tags=["downloads"], route_class=Route)
KEPT = 10 * 2**30  # bytes of files that were built
_STAMP = (1980, 1, 1, 0, 0, 0)  # of members, so that equal content is an equal archive
Trial = Annotated[
    int | None, Query(ge=0, lt=2**31, description="A trial's number; the winner if left out.")
]


def _file(kind: str) -> dict[int | str, Any]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"description": "The file.", "content": content}, **problems(409)}


@router.get("/report", name="report", responses=_file("text/html"))
def report(request: Request, server: Server, token: Reader, search_id: SearchId) -> Response:
    """Return a page that explains the search and needs no network."""
    study = server.study(token, search_id)
    made_of = {"report": study, "rows": rows_of(server, study)}
    path = built(
        server, made_of, "report.html",
        lambda file: report_study(study, out=str(file), store=server.url),
    )  # fmt: skip
    return _sent(request, path, f"{search_id}.html", "text/html")


def rows_of(server: Service, study: str) -> list[Any]:
    """Return how many rows a study's report is made of: with one more it is another report."""
    with server.store.read() as connection:
        info = queries.study(connection, study)
        rows = [vars(queries.counts(connection, info.id))]
        if queries.exists(connection, study + SUFFIX):
            finals = queries.study(connection, study + SUFFIX)
            rows.append(vars(queries.counts(connection, finals.id)))
        return [*rows, queries.test_look_count(connection, info.id)]


@router.get("/code", name="code", responses=_file("text/x-python"))
def code(
    request: Request, server: Server, token: Reader, search_id: SearchId, trial: Trial = None
) -> Response:
    """Return a network as Python code that needs torch alone."""
    folder = _exported(server, server.study(token, search_id), "python", trial)
    return _sent(request, folder / "model.py", "model.py", "text/x-python")


@router.get("/weights", name="weights", responses=_file("application/octet-stream"))
def weights(
    request: Request, server: Server, token: Reader, search_id: SearchId, trial: Trial = None
) -> Response:
    """Return a trained network's weights as safetensors, for its code."""
    folder = _exported(server, server.study(token, search_id), "python", trial)
    return _sent(request, folder / "model.safetensors", "model.safetensors")


@router.get("/exports/{format_name}", name="export", responses=_file("application/zip"))
def exported(
    request: Request,
    server: Server,
    token: Reader,
    search_id: SearchId,
    format_name: Annotated[str, PathParameter(max_length=40)],
    trial: Trial = None,
) -> Response:
    """Return a network in a format as a .zip of its files, proven equal to what was trained."""
    if format_name not in export.names():
        raise NotFound(unknown("format", format_name, export.names()))
    folder = _exported(server, server.study(token, search_id), format_name, trial)
    archive = built(server, {"zip": folder.parent.name}, "export.zip", lambda p: _zip(folder, p))
    return _sent(request, archive, f"{search_id}-{format_name}.zip", "application/zip")


def _exported(server: Service, study: str, name: str, trial: int | None) -> Path:
    """Return the folder of a network's files in a format."""
    from nas.commands.export import Found

    found = Found.of(study, trial, None, server.url)
    evaluation = found.evaluation
    made_of = {
        "format": name, "architecture": evaluation.architecture_id, "test": found.test,
        "recipe": evaluation.recipe_hash, "fidelity": evaluation.fidelity, "study": study,
    }  # fmt: skip
    given = [] if trial is None else ["--trial", str(trial)]
    words = ("nas.cli", "export", study, "--format", name, *given, "--json", "--out")
    return built(
        server, made_of, "files",
        lambda folder: child.run(*words, str(folder), store=server.url, error=Conflict),
    )  # fmt: skip


def built(server: Service, made_of: Any, name: str, build: Callable[[Path], Any]) -> Path:
    """Return what `build` makes at a path, a file or a folder; it is made once for its content."""
    text = json.dumps([made_of, name, __version__], sort_keys=True, default=str)
    top = server.folder / "downloads"
    folder = top / hashlib.sha256(text.encode()).hexdigest()[:32]
    if (folder / name).exists():
        return folder / name
    with writing(top):
        top.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not (folder / name).exists():
                _make_room(top)
                with TemporaryDirectory(dir=top, prefix=".new-") as temporary:
                    made = Path(temporary, "made")
                    made.mkdir()
                    build(made / name)
                    made.rename(folder)
    return folder / name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of what is built; raises Problem 503 where somebody builds it for long."""
    try:
        with FileLock(f"{folder}.lock", timeout=child.WAITING):
            yield
    except Timeout:
        raise child.busy() from None


def _make_room(top: Path) -> None:
    """Remove the oldest of the files that were built where they take too much space."""
    folders = [path for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")]
    folders.sort(key=lambda path: path.stat().st_mtime)
    sizes = [sum(file.stat().st_size for file in path.rglob("*")) for path in folders]
    while sum(sizes) > KEPT:
        sizes.pop(0)
        shutil.rmtree(folders.pop(0), ignore_errors=True)


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            member = zipfile.ZipInfo(str(file.relative_to(folder)), _STAMP)
            member.external_attr = 0o644 << 16
            archive.writestr(member, file.read_bytes(), zipfile.ZIP_DEFLATED)


def _sent(
    request: Request, path: Path, name: str, kind: str = "application/octet-stream"
) -> Response:
    """Return a file as a download; the folder it was built in is named after its content."""
    tag = f'"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    sent = FileResponse(path, headers=headers, media_type=kind, filename=name)
    return unchanged(request, tag) or sent
