"""Data behind a URL: fetched once for each version by whoever comes first; mistakes are told."""

import base64
import csv
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from filelock import FileLock
from PIL import Image
from search_kit import arguments, nas_here, result, write_inputs

from nas import data, files
from nas.cluster.package import pack
from nas.data import archive, remote
from nas.errors import DataError, UserError
from nas.study.options import read
from nas.study.preparation import prepare
from tests.test_data_formats import write_table

FAR = {"target_flops": "50k", "out": "/shared/studies"}  # of a search that a cluster elsewhere runs


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; the path says what is odd about the answer."""

    server: "Server"

    def do_GET(self) -> None:
        """Answer, and note which file was asked for."""
        self.server.fetched.append(self.path)
        if "/slow/" in self.path:
            time.sleep(0.5)
        if self.server.breaks:
            self.server.breaks -= 1
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"PK")
            self.close_connection = True
            return
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        """Answer what is asked before a file is fetched."""
        self._answer(super().do_HEAD)

    def _answer(self, usual: "partial[None]") -> None:
        expected = "Basic " + base64.b64encode(b"me:pw").decode()
        if self.server.status:
            self.send_error(self.server.status)
        elif "/private/" in self.path and self.headers["Authorization"] != expected:
            self.send_error(401)
        else:
            usual()

    def send_header(self, keyword: str, value: str) -> None:
        """Leave out the time of what lies in a folder "timeless"."""
        if keyword != "Last-Modified" or "/timeless/" not in self.path:
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        """Be silent."""


class Server(ThreadingHTTPServer):
    """A web server on a free port of this machine."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched = folder, list[str]()
        self.status, self.breaks = 0, 0  # what it answers; how often it breaks off
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))

    def url(self, path: str) -> str:
        """Return the URL of a file in the folder."""
        return f"http://127.0.0.1:{self.server_port}/{path}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a user's cache of one's own, and little patience."""
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nas" / "remote"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a folder with images, also under the names that make the server odd."""
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for http; the extra ray brings it")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    for name in ("slow", "private", "timeless"):
        (folder / name).mkdir(parents=True)
        write_inputs(folder / name)
    write_inputs(folder)
    with Server(folder) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join(60)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """Have an object store in memory with images; return their URL."""
    fs = fsspec.filesystem("memory")
    write_inputs(tmp_path)
    fs.put_file(str(tmp_path / "tones.npz"), "/bucket/tones.npz")
    yield "memory://bucket/tones.npz"
    fs.rm("/bucket", recursive=True)


def change(path: Path, images: int) -> None:
    """Write other images to a file, a minute later as its time has it."""
    write_inputs(path.parent, images)
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))


def test_images_are_the_same_by_url_and_by_path(bucket: str, tmp_path: Path) -> None:
    """A data set has the name and the fingerprint of the file, wherever that lies."""
    by_url, by_path = data.load(bucket), data.load(tmp_path / "tones.npz")
    assert (by_url.name, by_url.fingerprint) == (by_path.name, by_path.fingerprint)


def test_a_study_keeps_the_url(bucket: str, tmp_path: Path) -> None:
    """The configuration has the URL as it is, and the recipe that a path gives, too."""
    options = {"out": str(tmp_path / "studies"), "epochs": 1}
    by_url, by_path = (
        prepare(read({"data": place, "target_flops": "2M", **options})).config
        for place in (bucket, str(tmp_path / "tones.npz"))
    )
    assert by_url.data == bucket
    assert by_url.recipe.hash == by_path.recipe.hash


def test_what_has_not_changed_is_fetched_once(server: Server) -> None:
    """The second time the server is only asked whether the file has changed."""
    url, said = server.url("tones.npz"), list[str]()
    assert data.load(url, say=said.append) is not data.load(url, say=said.append)
    assert server.fetched == ["/tones.npz"]
    assert said == [f"fetching {url}"]


@pytest.mark.parametrize("where", ["http", "memory"])
def test_what_has_changed_is_fetched_again(
    where: str, server: Server, bucket: str, tmp_path: Path
) -> None:
    """Another version has another fingerprint; the copy of the old one stays as it was."""
    url = server.url("tones.npz") if where == "http" else bucket
    before, old = data.load(url), remote.fetch(url, tmp_path / "c")
    change(server.folder / "tones.npz", images=64)
    fsspec.filesystem("memory").put_file(str(server.folder / "tones.npz"), "/bucket/tones.npz")
    after, new = data.load(url), remote.fetch(url, tmp_path / "c")
    assert [len(one.splits["train"]) for one in (before, after)] == [96, 64]
    assert old != new
    assert data.load(old).fingerprint == before.fingerprint


def test_a_server_that_names_no_version_is_asked_each_time(server: Server, tmp_path: Path) -> None:
    """Then the content is the version: the same content is the same copy."""
    url = server.url("timeless/tones.npz")
    first, second = remote.fetch(url, tmp_path), remote.fetch(url, tmp_path)
    change(server.folder / "timeless" / "tones.npz", images=64)
    assert first == second != remote.fetch(url, tmp_path)
    assert len(server.fetched) == 3


def test_two_processes_fetch_once(server: Server, tmp_path: Path) -> None:
    """Of two workers of a machine one fetches, the other waits and has the same file."""
    url = server.url("slow/tones.npz")
    code = "import sys, nas.data; print(nas.data.load(sys.argv[1]).fingerprint)"
    command = [sys.executable, "-c", code, url]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0].strip() for run in runs]
    assert outputs == [data.load(server.folder / "slow" / "tones.npz").fingerprint] * 2
    assert server.fetched == ["/slow/tones.npz"]


def test_a_server_that_is_away_is_forgiven(
    server: Server, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A worker that starts meanwhile goes on with the last copy, with a warning."""
    url = server.url("tones.npz")
    server.status = 503
    with pytest.raises(DataError, match="the server answers 503"):
        remote.fetch(url, tmp_path)
    server.status = 0
    kept = remote.fetch(url, tmp_path)
    server.status = 503
    assert remote.fetch(url, tmp_path) == kept
    assert "its last copy is used" in caplog.text
    server.status = 404
    with pytest.raises(DataError, match="the server answers 404"):
        remote.fetch(url, tmp_path)


def test_a_moment_without_the_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    """A download that breaks off begins again, and what it had is not kept."""
    server.breaks = 1
    kept = remote.fetch(server.url("tones.npz"), tmp_path)
    assert kept.read_bytes() == (server.folder / "tones.npz").read_bytes()
    server.breaks = 2
    change(server.folder / "tones.npz", images=64)
    with pytest.raises(DataError, match="can't be fetched into"):
        remote.fetch(server.url("tones.npz"), tmp_path)
    assert list(tmp_path.glob("remote/*/*/*")) == [kept]
    assert list(tmp_path.glob("remote/*/tmp")) == []


def test_a_password_comes_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server's password is read from a .netrc file."""
    url = server.url("private/tones.npz")
    with pytest.raises(DataError, match="the server answers 401"):
        data.load(url)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pw\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert len(data.load(url).splits["train"]) == 96


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:" + "pw@bucket/x.npz",
        "https://me:" + "p/w@host/x.npz",
        "https://me:" + "p#w@host/x.npz",
        "https://pw@host/x.npz",
        "simplecache::s3://me:" + "pw@bucket/x.npz",
        "zip://x.npz::s3://me:" + "pw@bucket/x.zip",
        "https://host/x.npz?X-Amz-Signature=pw",
        "https://host/x.npz?a=b&access_token=pw",
        "https://host/x.npz?sv=1&sig=pw",
    ],
)
@pytest.mark.parametrize("load", [data.load, lambda url: pack(FAR | {"data": url}, here=False)])
def test_secrets_are_refused_and_not_repeated(load: "partial[object]", url: str) -> None:
    """A URL is stored and shown: one with a password in it gets no further."""
    with pytest.raises(UserError, match="its URL has no user, no password") as caught:
        load(url)
    assert not any(word in str(caught.value) for word in ("pw", "p/w", "p#w"))


@pytest.mark.parametrize(
    ("url", "told"),
    {
        "another type": ("https://host/x.txt", r"one file: .*an \.npz.*got https://host/x\.txt"),
        "a folder": (
            "s3://bucket/images/",
            r"an archive of a folder of images \(.*\); got s3://bucket/images/",
        ),
        "a path": ("file:///data/x.npz", "is given by its path"),
        "a chain": ("simplecache::s3://bucket/x.npz", "is a chain"),
        "another chain": ("zip://x.npz::s3://bucket/x.npz", "is a chain"),
        "no such scheme": ("htps://host/x.npz", "Did you mean 'https'"),
        "no such host": ("http://nowhere.invalid/x.npz", "can't be fetched: "),
        "no such object": ("memory://nowhere/x.npz", "there is no such file"),
        "no address": ("http://[host/x.npz", "can't be fetched: "),
        "a package": ("s3://bucket/x.npz", "the package s3fs is not installed .* pip install s3fs"),
    }.values(),
)
def test_mistakes_are_told(
    url: str, told: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be fetched is one message that names the URL, the rule and what there is."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=told):
        data.load(url)


def test_what_is_no_data_is_told_with_its_url(server: Server) -> None:
    """A page that says "please log in" under the name of a file is no data set."""
    (server.folder / "x.npz").write_text("<html>")
    url = server.url("x.npz")
    with pytest.raises(DataError, match=rf"{url}, as it was fetched: .* can't be read"):
        data.load(url)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_brings_its_images(ending: str, server: Server, tmp_path: Path) -> None:
    """A table behind a URL is the data set of its copy: its images come from its folder, once."""
    table = write_table(tmp_path / "set")
    rows = table.read_text().replace("images/00", "images/a b #1")
    (tmp_path / "set/images/00.png").rename(tmp_path / "set/images/a b #1.png")
    table.write_text(rows)
    if ending == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        cells = pa.Table.from_pylist(list(csv.DictReader(rows.splitlines())))
        parquet.write_table(cells, table.with_suffix(".parquet"))
    shutil.copytree(tmp_path / "set", server.folder / "set")
    url = server.url(f"set/table.{ending}?download=1")
    by_url = data.load(url, groups="patient")
    by_path = data.load(table.with_suffix(f".{ending}"), groups="patient")
    assert (by_url.name, by_url.fingerprint) == (by_path.name, by_path.fingerprint)
    assert len(server.fetched) == 25
    assert data.load(url, groups="patient").fingerprint == by_url.fingerprint
    assert len(server.fetched) == 25


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("file,label\n../x.png,a", r"in its folder or below; .* names '\.\./x\.png'.*an archive"),
        ("file,label\n/etc/passwd,a", "in its folder or below"),
        ("file,label\nhttp://other/x.png,a", "in its folder or below"),
        ("file,label\nC:\\x.png,a", "in its folder or below"),
        ("file,label\nimages/77.png,a", r"they can't be: .*images/77\.png"),
        ("file,grade\na,b", "as it was fetched: A table needs a column of images"),
        ("", r"names a large image: .*\.png: .*image_bytes="),
    ],
)  # fmt: skip
def test_a_table_whose_images_cannot_be_fetched(
    rows: str, told: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path out of its folder, a missing image, one over the limits: told with the table's URL."""
    write_table(server.folder / "set", rows)
    monkeypatch.setenv("NAS_LIMITS", "image_bytes=10" if not rows else "")
    url = server.url("set/table.csv")
    with pytest.raises(DataError, match=told) as caught:
        data.load(url)
    assert url in str(caught.value)


def test_a_file_that_changes_meanwhile_is_not_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy is kept under a version that it may not have."""
    versions = iter(["a", "b"])
    monkeypatch.setattr(remote._Remote, "version", lambda _: next(versions))
    with pytest.raises(DataError, match="changed while it was fetched"):
        remote.fetch(server.url("tones.npz"), tmp_path)
    assert list((tmp_path / "remote").rglob("*.npz")) == []


def test_a_cache_that_cannot_be_written(bucket: str, tmp_path: Path) -> None:
    """The error names the cache."""
    (tmp_path / "c").write_text("")
    with pytest.raises(DataError, match=rf"can't be fetched into {tmp_path}/c/remote"):
        remote.fetch(bucket, tmp_path / "c")


def test_long_downloads_are_shown(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then a line says how much is here, of how much."""
    monkeypatch.setattr(remote, "QUIET", 0)
    said = list[str]()
    remote.fetch(bucket, tmp_path, said.append)
    size = f"{(tmp_path / 'tones.npz').stat().st_size / 1000:.3g}kB"
    assert said[0] == f"fetching {bucket}"
    assert said[-1] == f"tones.npz: {size} of {size}"


def test_a_search_on_a_url(server: Server, tmp_path: Path) -> None:
    """A search fetches its data, one by path shares its trainings, other images are refused."""
    url, said = server.url("tones.npz"), {"trials": 1, "epochs": 1, "workers": 0}
    first = result(nas_here("search", *arguments(tmp_path, data=url, **said), "--json"))
    again = arguments(tmp_path, study="again", **said)
    second = result(nas_here("search", *again, "--json"))
    assert first["best"]["value"] == second["best"]["value"]
    missing = nas_here("search", *arguments(tmp_path, data=server.url("none.npz"), **said))
    assert missing.returncode == 2
    assert missing.stderr.endswith("the server answers 404 File not found.\n")
    assert server.fetched.count("/tones.npz") == 1
    change(server.folder / "tones.npz", images=64)
    where = ("--store", f"sqlite:///{tmp_path}/nas.db", "--workers", "0")
    changed = nas_here("resume", "--study", "tiny", "--trials", "2", *where)
    assert changed.returncode == 2
    assert "Train on the same data" in changed.stderr


def test_a_url_travels_to_a_cluster() -> None:
    """A job's data is the URL as it is, and no word is lost about a file that has to be there."""
    packed = pack(FAR | {"data": "s3://bucket/x.npz"}, here=False)
    assert "s3://bucket/x.npz" in packed.words
    assert packed.warnings == []
    with pytest.raises(DataError, match="that of one file"):
        pack(FAR | {"data": "s3://bucket/x.txt"}, here=False)


def png(level: int) -> bytes:
    """Return an image of one gray."""
    file = io.BytesIO()
    Image.new("L", (6, 6), level).save(file, "png")
    return file.getvalue()


IMAGES = {f"{name}/{i}.png": png(10 * i + n) for n, name in enumerate("ab") for i in range(6)}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Write an archive as it is found on the web, with what has no use."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**files, "README": b"", "__MACOSX/a/._0.png": b"x"}.items():
            file.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """Write such an archive with gzip, whose names begin with "./"."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in {**files, "README": b""}.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("above", ["", "pets/", "pets/train/"])
@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz"])
def test_an_archive_is_the_folder_that_was_packed(
    name: str, above: str, server: Server, tmp_path: Path
) -> None:
    """Images of an archive have the name and fingerprint of the folder, with or without it above.

    Another machine that unpacks it finds the first one's notes of the files true.
    """
    files = {f"{above}{path}": content for path, content in IMAGES.items()}
    for path, content in files.items():
        (tmp_path / "pets" / path.removeprefix("pets/")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / path.removeprefix("pets/")).write_bytes(content)
    (write_zip if name.endswith("zip") else write_tar)(server.folder / name, files)
    by_url, by_path = data.load(server.url(name)), data.load(tmp_path / "pets")
    assert (by_url.name, by_url.fingerprint) == (by_path.name, by_path.fingerprint)
    assert {p.suffix for p in (tmp_path / "cache").rglob("*.*")} <= {".png", ".json", ".lock"}
    folder = remote.fetch(server.url(name), tmp_path / "cache" / "nas")
    assert {path.stat().st_mtime for path in folder.rglob("*.png")} == {0}
    assert server.fetched == [f"/{name}"]


@pytest.mark.parametrize("wrong", ["../x.png", "/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png"])
@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(
    name: str, wrong: str, server: Server, tmp_path: Path
) -> None:
    """A path out of the folder is named, and nothing of the archive is kept."""
    if name.endswith("zip"):
        write_zip(server.folder / name, {**IMAGES, wrong: png(0)})
    else:
        with tarfile.open(server.folder / name, "w:gz") as file:
            file.addfile(tarfile.TarInfo(wrong))
    with pytest.raises(DataError, match="holds paths below one folder"):
        remote.fetch(server.url(name), tmp_path / "c")
    assert list((tmp_path / "c").rglob("*.png")) == []
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, "zip"])
def test_links_and_devices_are_refused(kind: "bytes | str", tmp_path: Path) -> None:
    """An image is a file of the archive, never one of this machine that a link leads to."""
    packed = tmp_path / ("x.zip" if kind == "zip" else "x.tar")
    if kind == "zip":
        link = zipfile.ZipInfo("a/0.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr(link, "/etc/passwd")
    else:
        info = tarfile.TarInfo("a/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(packed, "w") as tarred:
            tarred.addfile(info)
    with pytest.raises(DataError, match=r"a/0\.png is a link or a device"):
        archive.unpack(packed, tmp_path / "out", packed.name)
    assert not (tmp_path / "out").exists()


def test_an_archive_larger_than_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file can hold a huge one: its size is looked at first."""
    monkeypatch.setattr(archive, "_free", lambda _: 10)
    with pytest.raises(DataError, match=r"x\.zip holds 1MB; .* has 10B left"):
        archive.unpack(
            write_zip(tmp_path / "x.zip", {"a/0.png": bytes(10**6)}), tmp_path / "out", "x.zip"
        )
    assert not (tmp_path / "out").exists()


def test_an_archive_without_classes_is_told(server: Server) -> None:
    """An image alone is no data set; the message has the URL."""
    write_zip(server.folder / "x.zip", {"0.png": png(0)})
    with pytest.raises(DataError, match=r"x\.zip, as it was fetched: .* images that lie loose"):
        data.load(server.url("x.zip"))


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz", "pets.tar"])
def test_what_is_no_archive_is_told(name: str, server: Server) -> None:
    """The message has the URL and the reason."""
    (server.folder / name).write_text("<html>")
    with pytest.raises(DataError, match=rf"{name}, as it was fetched: .*: (cut|.* not)"):
        data.load(server.url(name))


def test_a_length_that_the_server_states_is_compared_first(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A file over the limit, or larger than the disk, is refused before it is fetched."""
    monkeypatch.setattr(archive, "_free", lambda _: 10)
    with pytest.raises(DataError, match=r"tones\.npz holds .*B; .* has 10B left"):
        data.load(server.url("tones.npz"))
    monkeypatch.setenv("NAS_LIMITS", "total_bytes=100")
    with pytest.raises(DataError, match=r"tones\.npz: .* over the limit of 100"):
        data.load(server.url("tones.npz"))
    assert server.fetched == []
    assert list(cache.rglob("*.npz")) == []


def test_a_length_that_is_not_stated_is_bounded(
    bucket: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A download ends at the limit, and one that ends early is told."""
    monkeypatch.setattr(remote._Remote, "size", lambda _: None)
    monkeypatch.setenv("NAS_LIMITS", "total_bytes=100")
    with pytest.raises(DataError, match="over the limit of 100"):
        data.load(bucket)
    monkeypatch.delenv("NAS_LIMITS")
    monkeypatch.setattr(remote._Remote, "size", lambda _: 10**6)
    with pytest.raises(DataError, match=r"has 1,000,000 bytes, of which .* came"):
        data.load(bucket)
    assert [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"] == []


def test_who_waits_for_another_says_so(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process fetches the file, that is what a line says."""
    monkeypatch.setattr(files, "SOON", 0.01)
    url, lines, told = server.url("tones.npz"), list[str](), threading.Event()
    data.load(url)
    lock = FileLock(next(cache.iterdir()) / "lock")

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    with lock:
        thread = threading.Thread(target=remote.fetch, args=(url, cache.parent, say))
        thread.start()
        assert told.wait(60)
    thread.join(60)
    assert lines == [f"another process fetches {url} now: waiting for it"]
