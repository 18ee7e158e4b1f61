"""A data set behind a URL: a file that is fetched into the user's cache, once for each version.

    <cache>/remote/<hash of the URL>/<version>/scans.npz

The version is what the server says of the file: its content tag, else its size and time. Where it
says neither, the file is fetched each time, and the hash of its content is the version. A version
is never changed or removed: a search that uses it may be running. Of an archive its images are
kept, in a folder of its name.
"""

import errno
import glob
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

from filelock import FileLock
from fsspec.callbacks import Callback
from fsspec.core import url_to_fs
from fsspec.registry import available_protocols, get_filesystem_class

from nas.credentials import check_no_secret
from nas.data import archive
from nas.data.dataset import content_hash
from nas.errors import DataError, unknown
from nas.quantities import short

T = TypeVar("T")

log = logging.getLogger("nas")
TYPES = (".npz", *archive.TYPES)
SCHEMES = ("az", "gs", "http", "https", "s3")  # of those that fsspec knows, what most people use
PAUSES = (1.0, 4.0)  # seconds, before a server that is away is asked again
QUIET = 10.0  # seconds between two lines about a download
SILENCE = 60.0  # seconds without a byte after which a web server is taken to be away
# What servers call a file's content, and its time, in small letters without - and _.
_CONTENT = ("etag", "contentmd5", "digest", "md5hash", "generation", "blobid", "sha")
_TIMES = ("lastmodified", "mtime", "modified", "modify", "updated", "created")


@dataclass(frozen=True)
class _Remote:
    """A file as its file system knows it, and where versions of it are kept here."""

    url: str
    fs: Any
    path: str
    folder: Path

    def version(self) -> str | None:
        """Ask the server for what changes with the file; None where it does not say."""
        self.fs.invalidate_cache(self.path)
        info = self.fs.info(self.path)
        if info.get("type") == "directory":
            raise DataError(f"A data URL needs to be that of one file; {self.url} is a folder.")
        found = {re.sub("[-_]", "", str(key)).lower(): value for key, value in info.items()}
        told = _told(found, _CONTENT) or _told(found, _TIMES)
        return content_hash([repr([*told, found.get("size")]).encode()])[:16] if told else None

    def get(self, file: Path, progress: Callback) -> None:
        """Copy the file to a path here."""
        self.fs.get_file(self.path, str(file), callback=progress)


def check(url: str) -> None:
    """Refuse what is no URL of a data file, or has a secret in it, without opening it."""
    check_no_secret(url, "--data")
    if url.startswith(("file:", "local:")):
        raise DataError(f"A file on a disk is given by its path; {url} is a URL.")
    if "::" in url:
        raise DataError(f"A data URL needs to be that of one file; {url} is a chain.")
    if not _name(url).lower().endswith(TYPES):
        raise DataError(
            f"A data URL needs to be that of one file, {', '.join(TYPES)}: arrays in MedMNIST's "
            f"layout, or an archive of a folder of images; got {url}."
        )


def fetch(url: str, cache: Path, say: Callable[[str], None] = log.info) -> Path:
    """Return the file behind a URL as it is now, or the folder of an archive's images.

    What has not changed comes from the cache. A server that does not answer is forgiven where there
    is a copy, with a warning: a study holds on to its data by their fingerprint. Raises DataError
    with the reason for what can't be fetched.
    """
    check(url)
    folder = cache / "remote" / content_hash([url.encode()])[:16]
    try:
        remote = _Remote(url, *_opened(url), folder)
        version = _patiently(remote.version)
    except DataError:
        raise
    except Exception as error:  # the file systems of fsspec raise nearly anything
        kept = _forgiven(url, folder, error)
    else:
        kept = _kept(remote, version, say)
    return archive.top(kept) if kept.is_dir() else kept


def _forgiven(url: str, folder: Path, error: Exception) -> Path:
    """Return the last copy where the server is away, else say why nothing can be fetched."""
    copies = list(folder.glob(f"*/{glob.escape(_kept_name(url))}"))
    if not copies or not _is_away(error):
        raise DataError(f"{url} can't be fetched: {_why(error)}.") from error
    kept = max(copies, key=lambda path: path.stat().st_mtime)
    log.warning("%s is not there now (%s); its last copy is used: %s", url, _why(error), kept)
    return kept


def _kept(remote: _Remote, version: str | None, say: Callable[[str], None]) -> Path:
    """Return the copy of this version; one process of a machine makes it, the others wait."""
    try:
        remote.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(remote.folder / "lock"):
            if version is not None:
                found = remote.folder / version / _kept_name(remote.url)
                if found.exists():
                    return found
            return _fetched(remote, version, say)
    except DataError:
        raise
    except Exception as error:
        why = _why(error)
        raise DataError(f"{remote.url} can't be fetched into {remote.folder}: {why}.") from error


def _fetched(remote: _Remote, version: str | None, say: Callable[[str], None]) -> Path:
    """Fetch a file and move it to its place, whole; an archive's images instead of itself."""
    name, temporary = _name(remote.url), remote.folder / "tmp"
    say(f"fetching {remote.url}")
    try:
        _patiently(lambda: remote.get(temporary, _Progress(name, say)))
        if version is not None and _patiently(remote.version) != version:
            raise DataError(f"{remote.url} changed while it was fetched: try again.")
        target = remote.folder / (version or _content(temporary)) / _kept_name(remote.url)
        target.parent.mkdir(exist_ok=True)
        if target.exists():  # of a server that names no version
            return target
        is_archive = name.lower().endswith(archive.TYPES)
        os.replace(_unpacked(temporary, name) if is_archive else temporary, target)
        return target
    finally:
        temporary.unlink(missing_ok=True)


def _unpacked(file: Path, name: str) -> Path:
    """Unpack an archive's images into a folder beside it."""
    folder = file.with_name("unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    archive.unpack(file, folder, name)
    return folder


class _Progress(Callback):
    """Say now and then how much of a file is here."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name, self.say, self.told = name, say, time.monotonic()

    def call(self, *_: Any, **__: Any) -> None:
        """Hear that there is more; fsspec calls this after each chunk."""
        if time.monotonic() - self.told >= QUIET:
            self.told = time.monotonic()
            whole = f" of {short(self.size)}B" if self.size else ""
            self.say(f"{self.name}: {short(self.value)}B{whole}")


def _opened(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    if scheme not in available_protocols():  # type: ignore[no-untyped-call]
        raise DataError(f"{unknown('kind of URL', scheme, SCHEMES)} fsspec has more.")
    get_filesystem_class(scheme)  # type: ignore[no-untyped-call]
    options = _web() if scheme in ("http", "https") else {}
    fs, path = url_to_fs(url, **options)  # type: ignore[no-untyped-call]
    return fs, str(path)


def _web() -> dict[str, Any]:
    """Let a long download be long, and the environment have a proxy and, in .netrc, passwords."""
    from aiohttp import ClientTimeout

    patience = ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    return {"client_kwargs": {"timeout": patience, "trust_env": True}}


def _name(url: str) -> str:
    """Return the file's name as one that any disk takes."""
    path = unquote(re.split("[?#]", url.partition("://")[2])[0])
    return re.sub(r"[\x00-\x1f\\]", "_", PurePosixPath(path).name)[-60:]


def _kept_name(url: str) -> str:
    """Return the name of the copy: an archive's folder is called as the archive."""
    name = _name(url)
    found = [name[: -len(each)] for each in archive.TYPES if name.lower().endswith(each)]
    return (found[0] or "images") if found else name


def _told(info: Mapping[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(key, str(info[key])) for key in keys if info.get(key)]


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _patiently(ask: Callable[[], T]) -> T:
    """Ask again where a server is away for a moment."""
    for pause in PAUSES:
        try:
            return ask()
        except Exception as error:
            if not _is_away(error):
                raise
        time.sleep(pause)
    return ask()


def _is_away(error: Exception) -> bool:
    """Tell a server that may be back soon from one that has an answer, and from a full disk."""
    cause = _cause(error)
    if (status := _status(cause)) is not None:
        return status >= 500
    if isinstance(
        cause, DataError | FileNotFoundError | PermissionError | ImportError | ValueError
    ):
        return False
    return getattr(cause, "errno", None) not in (errno.ENOSPC, errno.EDQUOT)


def _cause(error: Exception) -> BaseException:
    """Return what has happened: to fsspec each failure of the web is a missing file."""
    hidden = isinstance(error, ImportError) or str(error).startswith("http")
    return error.__cause__ if hidden and error.__cause__ else error


def _status(cause: BaseException) -> int | None:
    """Return a web server's answer, such as 404."""
    status = getattr(cause, "status", None)
    return status if isinstance(status, int) else None


def _why(error: Exception) -> str:
    cause = _cause(error)
    if isinstance(cause, ModuleNotFoundError):
        return (
            f"the package {cause.name} is not installed here, and every machine that loads the "
            f"data needs it: pip install {cause.name}"
        )
    if (status := _status(cause)) is not None:
        return f"the server answers {status} {getattr(cause, 'message', '')}".rstrip()
    if isinstance(cause, FileNotFoundError):
        return "there is no such file"
    return str(cause).rstrip(".") or type(cause).__name__
