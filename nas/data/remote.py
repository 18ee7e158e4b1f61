"""A data set behind a URL: a file that is fetched into the user's cache, once for each version.

    <cache>/remote/<hash of the URL>/<version>/scans.npz

The version is the server's content tag of the file, else its size and time. Where the server states
neither, the file is fetched each time, and the hash of its content is the version. A version is
never changed or removed: a search that uses it may be running. An archive is kept as a folder of
its images, a table of image files with these files beside it.
"""

import errno
import glob
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from filelock import FileLock
from fsspec.callbacks import Callback
from fsspec.core import url_to_fs
from fsspec.registry import available_protocols, get_filesystem_class

from nas.credentials import check_no_secret, is_url
from nas.data import archive, formats
from nas.data.dataset import content_hash
from nas.errors import DataError, unknown
from nas.files import held
from nas.files.limits import limits
from nas.quantities import short

T = TypeVar("T")

log = logging.getLogger("nas")
SCHEMES = ("az", "gs", "http", "https", "s3")  # the usual ones of those that fsspec opens
PAUSES = (1.0, 4.0)  # seconds, before a server that is away is asked again
AT_ONCE = 256  # images of a table that are fetched together
QUIET = 10.0  # seconds between two lines about a download
SILENCE = 60.0  # seconds without a byte after which a web server is taken to be away
# Servers' names for a file's content tag and its time, in small letters without - and _.
_CONTENT = ("etag", "contentmd5", "digest", "md5hash", "generation", "blobid", "sha")
_TIMES = ("lastmodified", "mtime", "modified", "modify", "updated", "created")


@dataclass(frozen=True)
class _Remote:
    """A file in its file system, and the folder of its versions here."""

    url: str
    fs: Any
    path: str
    folder: Path

    def version(self) -> str | None:
        """Return a hash of the server's facts about the content; None where it states none."""
        self.fs.invalidate_cache(self.path)
        info = self.fs.info(self.path)
        if info.get("type") == "directory":
            raise DataError(f"A data URL needs to be that of one file; {self.url} is a folder.")
        facts = {re.sub("[-_]", "", str(key)).lower(): value for key, value in info.items()}
        for keys in (_CONTENT, _TIMES):
            if stated := [(key, str(facts[key])) for key in keys if facts.get(key)]:
                return content_hash([repr([*stated, facts.get("size")]).encode()])[:16]
        return None

    def size(self) -> int | None:
        """Return the bytes that the server states."""
        size = self.fs.info(self.path).get("size")
        return size if isinstance(size, int) else None


def check(url: str) -> None:
    """Refuse a URL that is not that of a data file, or has a secret in it, without opening it."""
    check_no_secret(url, "--data")
    if url.startswith(("file:", "local:")):
        raise DataError(f"A file on a disk is given by its path; {url} is a URL.")
    if "::" in url:
        raise DataError(f"A data URL needs to be that of one file; {url} is a chain.")
    name = _name(url)
    if not name.lower().endswith(archive.TYPES) and formats.of(Path(name)) is None:
        raise DataError(
            f"A data URL needs to be that of one file: {formats.words()}, an archive of a folder "
            f"of images ({', '.join(archive.TYPES)}); got {url}."
        )


def fetch(url: str, cache: Path, say: Callable[[str], None] = log.info) -> Path:
    """Return the file behind a URL as it is now, or the folder of an archive's images.

    An unchanged file comes from the cache. When the server does not answer, the last copy is used
    with a warning: a study knows its data by their fingerprint. Raises DataError with the reason
    where nothing can be fetched.
    """
    check(url)
    folder = cache / "remote" / content_hash([url.encode()])[:16]
    try:
        remote = _Remote(url, *_opened(url), folder)
        version = _patiently(remote.version)
    except DataError:
        raise
    except Exception as error:  # the file systems of fsspec raise nearly anything
        return _last_copy(url, folder, error)
    return _copy_of(remote, version, say)


def _last_copy(url: str, folder: Path, error: Exception) -> Path:
    """Return the last copy where the server is away, else raise DataError with the reason."""
    copies = list(folder.glob(f"*/{glob.escape(_copy_name(url))}"))
    if not copies or not _is_away(error):
        raise DataError(f"{url} can't be fetched: {_why(error)}.") from error
    latest = max(copies, key=lambda path: path.stat().st_mtime)
    log.warning("%s is not there now (%s); its last copy is used: %s", url, _why(error), latest)
    return latest


def _copy_of(remote: _Remote, version: str | None, say: Callable[[str], None]) -> Path:
    """Return the copy of this version; one process of a machine makes it, the others wait."""
    try:
        remote.folder.mkdir(parents=True, exist_ok=True)
        waits = f"another process fetches {remote.url} now: waiting for it"
        with held(FileLock(remote.folder / "lock"), lambda: say(waits)):
            if version is not None:
                copy = remote.folder / version / _copy_name(remote.url)
                if copy.exists():
                    return copy
            return _fetched(remote, version, say)
    except DataError:
        raise
    except Exception as error:
        why = _why(error)
        raise DataError(f"{remote.url} can't be fetched into {remote.folder}: {why}.") from error


def _fetched(remote: _Remote, version: str | None, say: Callable[[str], None]) -> Path:
    """Fetch a file and move it to its place, whole; an archive's images instead of itself."""
    name = _name(remote.url)
    temporary = remote.folder / f"new-{name}"  # its ending says what it is
    say(f"fetching {remote.url}")
    try:
        size = _patiently(remote.size)
        if size is not None:
            limits().check("total_bytes", size, remote.url, DataError)
            archive.check_space(size, remote.folder, remote.url)
        _patiently(
            lambda: remote.fs.get_file(remote.path, str(temporary), callback=_Progress(name, say))
        )
        if size is not None and temporary.stat().st_size != size:
            raise DataError(
                f"{remote.url} has {size:,} bytes, of which {temporary.stat().st_size:,} came."
            )
        if version is not None and _patiently(remote.version) != version:
            raise DataError(f"{remote.url} changed while it was fetched: try again.")
        if version is None:
            with temporary.open("rb") as file:
                version = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        target = remote.folder / version / _copy_name(remote.url)
        target.parent.mkdir(exist_ok=True)
        if target.exists():  # the server states no version, and the file is as before
            return target
        if archive.holds_images(name):
            os.replace(_unpacked(temporary, name, remote.url), target)
        else:
            _fetch_images(remote, _images_of(temporary, remote.url), target.parent, say)
            os.replace(temporary, target)
        return target
    finally:
        temporary.unlink(missing_ok=True)


def _unpacked(file: Path, name: str, url: str) -> Path:
    """Unpack an archive's images into a folder beside it."""
    folder = file.with_name("unpacked")
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        archive.unpack(file, folder, name)
    except DataError as error:
        raise DataError(f"{url}, as it was fetched: {error}") from error
    return folder


def _images_of(file: Path, url: str) -> Sequence[str]:
    """Return the paths of the image files that a table names; they lie below its folder."""
    try:
        found = formats.of(file)
        names = [name.strip() for name in (found.image_files(file) if found else ())]
    except DataError as error:
        raise DataError(f"{url}, as it was fetched: {error}") from error
    for name in names:
        given = PureWindowsPath(name)  # Windows has the stricter rules
        if not name or given.anchor or ".." in given.parts or is_url(name) or "\0" in name:
            raise DataError(
                f"The images of a table behind a URL lie in its folder or below; {url} names "
                f"{name!r}. Give an archive of the images, or their table on this disk."
            )
    return names


def _fetch_images(
    remote: _Remote, names: Sequence[str], folder: Path, say: Callable[[str], None]
) -> None:
    """Fetch the images that a table names from its folder into one here, but those that are here.

    Raises DataError where one can't be fetched, or they are over a limit.
    """
    is_web = remote.path.startswith("http")
    path = re.split("[?#]", remote.path)[0] if is_web else remote.path
    home = path.rpartition("/")[0]
    batch, total = remote.folder / "batch", 0
    for start in range(0, len(names), AT_ONCE):
        some = [name for name in names[start : start + AT_ONCE] if not (folder / name).exists()]
        there = [f"{home}/{quote(name) if is_web else name}" for name in some]
        here = [str(batch / str(number)) for number in range(len(some))]
        shutil.rmtree(batch, ignore_errors=True)  # of a process that was killed
        batch.mkdir()
        try:
            each = _Images()  # type: ignore[no-untyped-call]
            _patiently(lambda: remote.fs.get(there, here, callback=each))  # noqa: B023
        except DataError as error:
            raise DataError(f"{remote.url} names a large image: {error}") from error
        except Exception as error:
            which = f" ({error})" if isinstance(error, FileNotFoundError) else ""
            raise DataError(
                f"The images that {remote.url} names are fetched from its folder on; "
                f"they can't be: {_why(error)}{which}."
            ) from error
        total += sum(Path(path).stat().st_size for path in here)
        limits().check("total_bytes", total, f"the images of {remote.url}", DataError)
        for name, path in zip(some, here, strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, folder / name)
        if start + AT_ONCE < len(names):
            say(f"{_name(remote.url)}: {start + AT_ONCE:,} of {len(names):,} images")
    shutil.rmtree(batch, ignore_errors=True)


class _Images(Callback):
    """Bound the size of each of several images."""

    def branched(self, path_1: str, path_2: str, **_: Any) -> Callback:  # noqa: ARG002
        """Return the callback of one file, from its path to another."""
        return _Image(path_1)


class _Image(Callback):
    def __init__(self, path: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path

    def call(self, *_: Any, **__: Any) -> None:
        """Bound the size of the file; fsspec calls this after each chunk."""
        limits().check("image_bytes", self.value, self.path, DataError)


class _Progress(Callback):
    """Report now and then how much of a file is here."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name, self.say, self.reported = name, say, time.monotonic()

    def call(self, *_: Any, **__: Any) -> None:
        """Report the size and bound it; fsspec calls this after each chunk."""
        limits().check("total_bytes", self.value, self.name, DataError)
        if time.monotonic() - self.reported >= QUIET:
            self.reported = time.monotonic()
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


def _copy_name(url: str) -> str:
    """Return the name of the copy; an archive's folder has the archive's name without suffix."""
    name = _name(url)
    return archive.stem(name) if archive.holds_images(name) else name


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
    """Tell whether the server may be back soon: it has not refused, and no disk here is full."""
    cause = _cause(error)
    if (status := _status(cause)) is not None:
        return status >= 500
    if isinstance(
        cause, DataError | FileNotFoundError | PermissionError | ImportError | ValueError
    ):
        return False
    return getattr(cause, "errno", None) not in (errno.ENOSPC, errno.EDQUOT)


def _cause(error: Exception) -> BaseException:
    """Return the error behind fsspec's: it reports each failure of the web as a missing file."""
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
