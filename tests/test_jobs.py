"""Searches submitted to a real Ray head: once, followed, stopped, resumed on a new head, no secret.

The password is that of a PostgreSQL server of the test's own, which asks for it.
"""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import postgres_kit
import pytest
import sqlalchemy as sa
from jobs_kit import ADDRESS, Home, Said, wait_for
from ray_kit import cluster
from search_kit import SPACE, arguments, read_until, write_inputs
from typer.testing import CliRunner

from nas.cli import app
from nas.cli.jobs import read_search
from nas.cluster.head import Head, check_address, find_token
from nas.cluster.package import RUN, SCRIPT, STORE_FILE, name_of, pack, sent_store
from nas.cluster.submission import _own_store
from nas.errors import ClusterError, NoHead, StoreError, UserError
from nas.store import queries

PASSWORD = "hunter2-not-in-any-log"
TOKEN = "token-not-in-any-log-" + "0" * 16
QUICK = {"executor": "in-process"}  # in the job's own process; without it trials run on Ray


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A folder beside a head that wants a token."""
    with cluster(token=TOKEN) as made:
        sitting = Home(made, TOKEN)
        try:
            sitting.start_head()
            yield sitting
        finally:
            sitting.close()


@pytest.fixture(scope="module")
def database(home: Home) -> Iterator[str]:
    """The URL, with a password, of a PostgreSQL server in that network which wants the password."""
    if postgres_kit.INITDB is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    (home.folder / "pg").mkdir()
    home.folder.chmod(0o755)
    server = postgres_kit.Server(home.folder / "pg", 5432, home.cluster.within, PASSWORD)
    server.make()
    yield f"postgresql://nas:{PASSWORD}@127.0.0.1:5432/postgres"
    server.control("stop", "-m", "immediate")


def search(folder: Path, **options: object) -> list[str]:
    """Return the words of a tiny search after --."""
    words = arguments(folder, **{"trials": 1, "epochs": 1} | options)
    return ["--", "search", *without("--workers", words)]


def without(option: str, words: list[str]) -> list[str]:
    """Return words without an option and its value."""
    at = words.index(option)
    return words[:at] + words[at + 2 :]


def submit(home: Home, *words: str) -> Said:
    """Submit to the head."""
    return home.nas("submit", "--address", ADDRESS, *words)


def shown_by_ray(home: Home, job: str) -> str:
    """Return all that a head shows of its jobs to whoever has the token."""
    paths = [
        "/api/jobs/", f"/api/jobs/{job}", f"/api/jobs/{job}/logs", "/api/v0/actors?detail=1",
        "/api/v0/tasks?detail=1", "/api/v0/runtime_envs?detail=1", "/api/v0/workers?detail=1",
        "/api/v0/jobs?detail=1", "/nodes?view=summary", "/logical/actors",
    ]  # fmt: skip
    return "\n".join(home.get(path) for path in paths)


def written(folder: Path) -> list[str]:
    """Return the text of all that was written below a folder, but for the database's own files."""
    found = [path for path in folder.rglob("*") if path.is_file() and "pg" not in path.parts]
    return [path.read_text(errors="replace") for path in found if path.name != "store.url"]


def test_a_search_runs_once_and_its_password_is_nowhere(home: Home, database: str) -> None:
    """A second submission says how the first ended; no output, log, row or answer has a secret.

    The store's URL lies where Ray unpacks the job, in one file that only its user may read.
    """
    words = search(home.folder, store=database, study="secret")
    first = submit(home, "--follow", *words)
    assert first.code == 0, first.err + first.out
    job = first.out.split()[1]
    assert "trials: 1 complete" in first.out
    assert f"job {job} succeeded" in first.err
    again = submit(home, *words)
    assert again.code == 0
    assert f"job {job} has ended well" in again.out
    known = [one["submission_id"] for one in json.loads(home.get("/api/jobs/"))]
    assert [one for one in known if one] == [job]
    rows = home.listed(database)
    assert [(row["id"], row["now"]) for row in rows] == [(job, "succeeded")]
    assert "--store" not in rows[0]["words"]
    printed = home.nas("jobs", "logs", job, "--store", database)
    assert "trials: 1 complete" in printed.out
    seen = shown_by_ray(home, job)
    assert job in seen
    said = [first.out, first.err, again.out, again.err, printed.out, seen, str(rows)]
    logs = written(home.folder / "ray") + written(home.folder / "studies")
    assert len(logs) > 10
    assert not [text for text in [*said, *logs] if PASSWORD in text or TOKEN in text]
    holding = [path for path in home.folder.rglob("store.url") if PASSWORD in path.read_text()]
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}


def test_a_job_outlives_its_head_and_is_stopped(home: Home) -> None:
    """Without its head a job is unreachable, under a new one lost; submitted again it goes on.

    While it runs it is not submitted twice; stopped, it leaves no trial to a worker that is gone.
    The second head has a store of its own, so none is sent to it.
    """
    store = f"sqlite:///{home.folder}/nas.db"
    words = ["--name", "long", *search(home.folder, trials=400, epochs=2, **QUICK)]
    assert "job long submitted" in submit(home, *words).out
    wait_for(lambda: trained(store, "complete") >= 1)
    assert "job long is running" in submit(home, *words).out
    assert home.cluster.head
    home.cluster.head.kill()
    assert home.listed(store)[0]["now"] == "unreachable"
    gone = home.nas("jobs", "logs", "long", "--store", store)
    assert (gone.code, gone.out) == (2, "")
    assert "is gone, and the job's log with it" in gone.err
    before = trained(store, "complete")
    gone_with_it = holders(store, "complete", "running")
    home.cluster.environment["NAS_STORE"] = store
    home.start_head()
    assert home.listed(store)[0]["now"] == "lost"
    other = submit(home, "--name", "long", *search(home.folder, trials=7, **QUICK))
    assert other.code == 2
    assert "Job 'long' is another search" in other.err
    on_cluster = ["--store-on-cluster", "--store", store, *without("--store", words)]
    assert "job long.2 submitted" in submit(home, *on_cluster).out
    assert "NAS_STORE" not in json.loads(home.get("/api/jobs/long.2"))["entrypoint"]
    wait_for(lambda: trained(store, "complete") > before)
    assert home.nas("jobs", "stop", "long", "--store", store).out == "job long.2 is stopped\n"
    assert "nas: stopped;" in home.nas("jobs", "logs", "long", "--store", store).out
    assert [row["state"] for row in home.listed(store)] == ["lost", "stopped"]
    assert holders(store, "running") <= gone_with_it  # who died let nothing go: leases end


def trained(store: str, state: str) -> int:
    """Count a store's evaluations in a state."""
    return sum(row.state == state for row in _evaluations(store))


def holders(store: str, *states: str) -> set[str]:
    """Return the drivers (HOST:PID) whose workers have evaluations in these states."""
    rows = _evaluations(store)
    return {r.worker.rpartition(":")[0] for r in rows if r.state in states and r.worker}


def _evaluations(store: str) -> list[Any]:
    """Return states and workers; locks nothing."""
    try:
        with queries.connect(store) as connection:
            statement = sa.text("SELECT state, worker FROM nas_evaluations")
            return list(connection.execute(statement).all())
    except StoreError:  # the job has not made it yet
        return []


def test_a_head_that_refuses_a_token_is_told(home: Home) -> None:
    """A wrong token, and none where nobody can be asked, end with what to set."""
    words = ["submit", "--address", ADDRESS, *search(home.folder, **QUICK)]
    for token, reason in {"wrong": "refuses the token", "": "wants a token"}.items():
        ended = home.cluster.run(
            sys.executable, "-m", "nas.cli", *words,
            RAY_AUTH_TOKEN=token, RAY_AUTH_TOKEN_PATH="", HOME=str(home.folder),
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (2, "")
        assert reason in ended.stderr
        assert "RAY_AUTH_TOKEN_PATH" in ended.stderr


def test_a_token_is_asked_for_and_not_shown(home: Home) -> None:
    """At a terminal the token is asked for; what is typed is not echoed, and it is used."""
    environment = home.cluster.environ(RAY_AUTH_TOKEN_PATH="", HOME=str(home.folder))
    missing = ["--store", f"sqlite:///{home.folder}/none.db", "--target-flops", "1k"]
    words = home.cluster.within(
        sys.executable, "-m", "nas.cli", "submit", "--address", ADDRESS, "--", "search", *missing,
        "--data", "nowhere.npz",
    )  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(words[0], words, environment)
    shown = read_until(terminal, "Token of the cluster at")
    os.write(terminal, f"{TOKEN}\n".encode())
    shown += read_until(terminal, "No such file or folder: nowhere.npz")  # past the head's door
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    os.close(terminal)
    assert TOKEN not in shown


def run(*words: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it said of a mistake."""
    ended = CliRunner().invoke(app, list(words))
    assert ended.stdout == ""
    return ended.exit_code, ended.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    {
        "a typo": (["search", "--target-flop", "3M"], "--target-flop"),
        "not a number": (["search", "--target-flops", "3M", "--trials", "x"], "--trials"),
        "not a search": (["serch"], "What is submitted is a search"),
    }.values(),
)
def test_wrong_words_are_refused_before_a_head_is_asked(words: list[str], told: str) -> None:
    """What `nas search` would not take ends with exit code 2 here, not on the cluster."""
    code, said = run("submit", "--address", "http://127.0.0.1:9", "--", *words)
    assert code == 2
    assert told in said


def test_no_head_is_told() -> None:
    """Where nothing answers, and where it is no address, the message says what to give."""
    words = ["--", "search", "--target-flops", "3M"]
    assert run("submit", "--address", "http://127.0.0.1:9", *words) == (
        2,
        "nas: No Ray head answers at http://127.0.0.1:9: Connection refused. Is it up, and is this "
        "the address of its dashboard, http://HEAD:8265?\n",
    )
    for wrong in ("head:8265", "ray://head:10001", "http://me@head:8265"):
        code, said = run("submit", "--address", wrong, *words)
        assert code == 2
        assert "--address" in said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a space and images."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORE", raising=False)
    return tmp_path


def given(**options: object) -> dict[str, object]:
    """Return the options of a search, some overridden."""
    chosen = {"space": "tiny.py", "data": "tones.npz", "target_flops": "50k", **options}
    return {name: value for name, value in chosen.items() if value is not None}


def test_what_travels(folder: Path) -> None:
    """A space of one's own travels as JSON, paths become absolute, the store is not among them."""
    packed = pack(given(store="sqlite:///nas.db"), here=True)
    (file,) = packed.files
    assert json.loads(packed.files[file])["name"] == "tiny"
    assert packed.words == [
        "search", "--data", f"{folder}/tones.npz", "--out", f"{folder}/studies",
        "--space", file, "--target-flops", "50k",
    ]  # fmt: skip
    far = pack(given(data="/shared/t.npz", out="/shared/s"), here=False)
    assert far.warnings == ["--data /shared/t.npz has to be there on every machine of the cluster"]


@pytest.mark.parametrize(
    ("options", "told"),
    {
        "data of this machine": ({"out": "/s"}, "--data 'tones.npz' is a path on this machine"),
        "no folder": ({"data": "digits"}, "give --out"),
        "a folder of this machine": ({"data": "digits", "out": "s"}, "--out 's' is a folder of"),
        "workers of this machine": ({"workers": 2, "executor": "ray"}, "--max-concurrent"),
        "checkpoints": ({"data": "digits", "out": "/s", "checkpoints": "c"}, "--checkpoints 'c'"),
        "a secret in a URL": ({"data": "s3://me:pw@b/x.npz"}, "its URL has no user"),
        "no target": ({"target_flops": None}, "needs a FLOPs target"),
        "no such sampler": ({"sampler": "tpee"}, "Did you mean 'tpe'"),
        "no such space": ({"space": "mixcon"}, "Did you mean 'mixconv', "),
    }.values(),
)
def test_what_a_far_cluster_can_not_see_is_refused(
    folder: Path, options: dict[str, object], told: str
) -> None:
    """Paths of this machine, and values that nas search refuses, do not travel."""
    with pytest.raises(UserError, match=told.replace("'", ".")) as caught:
        pack(given(**options), here=False)
    assert "pw@" not in str(caught.value)


def test_stores_that_only_this_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or a server of this machine, is no store for a cluster elsewhere; here it is one."""
    monkeypatch.delenv("NAS_STORE", raising=False)
    for url in ("sqlite:///nas.db", "postgresql://me:pw@localhost/nas", None):
        with pytest.raises(StoreError, match="of this machine") as caught:
            sent_store(url, None, on_cluster=False, here=False)
        assert "pw" not in str(caught.value)
    for pair in (("sqlite:///nas.db", "sqlite:///other.db"), (None, "sqlite:///nas.db")):
        sent = sent_store(*pair, on_cluster=False, here=True)
        assert sent == f"sqlite:///{Path.cwd()}/nas.db"  # one store unless two are given
    assert sent_store(None, "sqlite:///nas.db", on_cluster=True, here=False) is None
    with pytest.raises(StoreError, match="where the job is recorded"):
        _own_store(None, None)
    with pytest.raises(StoreError, match="--store-on-cluster"):
        sent_store("postgresql://me@db/nas", None, on_cluster=True, here=False)


# The processes above a job's shell on a head: the raylet, and its worker the supervisor.
RAYLET = """
import subprocess, sys
code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1], shell=True))"
sys.exit(subprocess.call([sys.executable, "-c", code, sys.argv[1]]))
"""


@pytest.mark.parametrize("command", ["{} -u setup.py", '"{}" -u setup.py', None])
def test_a_job_runs_in_the_python_of_rays_workers(command: str | None, folder: Path) -> None:
    """The job's script finds it on the raylet's command line; without one it is that of the PATH.

    A Python without nas ends the job with one message that names it.
    """
    packed = pack(given(seed=3), here=True)
    spaced = command is not None and '"' in command
    python = folder / ("a python" if spaced else "python")
    python.write_text('#!/bin/sh\necho "$@" "$NAS_STORE" > ran\n')
    python.chmod(0o755)
    (folder / SCRIPT).write_text(RUN)
    (folder / STORE_FILE).write_text("sqlite:///s.db")
    told = [] if command is None else [f"--python_worker_command={command.format(python)}"]
    words = [sys.executable, "-c", RAYLET, packed.command, *told]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(words, cwd=folder, env=environment, timeout=60, check=True)
    assert (folder / "ran").read_text().split() == [
        "-m", "nas.cli", *packed.words, "sqlite:///s.db"
    ]  # fmt: skip
    python.write_text("#!/bin/sh\necho no module nas >&2; exit 1\n")
    ended = subprocess.run(
        words, cwd=folder, env=environment, timeout=60, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    shown = python if told else "python"
    assert ended.stderr.startswith(f"nas: {shown}, the Python of this cluster's Ray, can't run nas")
    assert "no module nas; install nas[ray] there" in ended.stderr


def test_a_token_follows_no_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither our question nor Ray's client asks the host that an answer points to."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            honest = self.path == "/api/version" and len(asked) > 1
            self.send_response(200 if honest else 307)
            self.send_header("Location", f"http://localhost:{server.server_port}/elsewhere")
            self.end_headers()
            self.wfile.write(b'{"ray_version": "2.60.0", "version": "4"}' if honest else b"")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(NoHead, match="sends requests elsewhere"):
            Head.connect(address)
        head = Head.connect(address)
        for ask in (head.stop, head.logs, head.look):
            with pytest.raises(ClusterError, match="did not"):
                ask("job")
        server.shutdown()
    assert "/api/jobs/job/stop" in asked
    assert "/elsewhere" not in asked


def test_a_name_is_the_content_of_a_search(folder: Path) -> None:
    """The order of options and the password do not count; an option, a space, a store does."""

    def name(url: str, *words: str) -> str:
        options = read_search(["search", "--space", "tiny.py", "--data", "digits", *words])
        return name_of(None, pack(options, here=True), url)

    url = "postgresql+psycopg://me:pw@db/nas"
    first = name(url, "--target-flops", "50k", "--seed", "1")
    assert first == name(url.replace("pw", "new"), "--seed=1", "--target-flops=50k")
    assert first.startswith("nas-tiny-")
    others = {name(url, "--target-flops", "50k"), name(url + "2", "--target-flops=50k", "--seed=1")}
    (folder / "tiny.py").write_text(SPACE.replace("choice(2, 3, 4)", "choice(2, 3)"))
    others |= {name(url, "--target-flops", "50k", "--seed", "1")}
    assert len({first, *others}) == 4
    with pytest.raises(ClusterError, match="--name is made of letters"):
        name_of("a.b", pack(given(), here=True), None)


def test_where_a_token_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray finds it: the variable, the file that is named, the file at home; or none."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("at home\n")
    assert find_token() == "at home"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH"):
        find_token()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert find_token() == "given"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert find_token() is None
    assert check_address("http://head:8265/") == "http://head:8265"
    for wrong in ("http://[::1", "http://head:826x5", "head:8265"):
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", wrong)
        with pytest.raises(
            ClusterError, match=f"such as http://head:8265, not {re.escape(repr(wrong))}"
        ):
            check_address(None)
