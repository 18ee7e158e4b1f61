"""The command line on a server: the same options, the same output, nothing of this machine."""

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from search_kit import command, nas_here, result, write_inputs
from service_kit import Server, run_taken, submit, take

from nas.commands import studies
from nas.service.remote import VERBS
from nas.store import tokens
from nas.study.progress import Progress

SMALL = ("--target-flops", "50k", "--trials", "2", "--epochs", "1", "--finalists", "0")


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    """Make a client with a token that may submit."""
    with server.client("read", "submit") as made:
        yield made


@pytest.fixture(scope="module")
def there(
    server: Server, client: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Return the words that lead to the server, with its token in a file."""
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(client.headers["Authorization"].removeprefix("Bearer ") + "\n")
    return ["--server", server.base, "--token-file", str(file)]


@pytest.fixture(scope="module")
def searched(
    server: Server, there: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], "subprocess.CompletedProcess[str]"]:
    """Search from the command line, with a space and data of this machine; return its words."""
    folder = tmp_path_factory.mktemp("here")
    space, data = write_inputs(folder)
    words = [*there, "search", "--space", space, "--data", data, "--study", "mine", *SMALL]
    with subprocess.Popen(
        command(*words, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as begun:
        try:
            run_taken(server, taken(server), folder)
            out, err = begun.communicate(timeout=120)
        finally:
            begun.kill()
    return words, subprocess.CompletedProcess(words, begun.returncode, out, err)


def taken(server: Server) -> Any:
    """Take the search once it has come."""
    end = time.monotonic() + 120
    while True:
        try:
            return take(server)
        except AssertionError:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_search_is_submitted_watched_and_told(
    searched: tuple[list[str], "subprocess.CompletedProcess[str]"], server: Server
) -> None:
    """The result is that of the study there, progress is told meanwhile; the same again is it."""
    words, ended = searched
    told = result(ended)
    assert f"search {told['study']} (mine) is succeeded" in ended.stderr
    assert "trials of 2: 2 complete" in ended.stderr
    assert told["trials"]["complete"] == 2
    here = nas_here("top", "--n", "1", "--study", told["study"], "--store", server.service.url,
                    "--json")  # fmt: skip
    assert result(here)[0]["number"] == told["best"]["trial"]
    again = nas_here(*words, "--json")
    assert result(again) == told
    lines = nas_here(*words).stdout
    assert f"test, looked at {told['best']['test_looks']}x" in lines
    assert lines.endswith(f"code: {told['best']['code']}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["top", "-n", "1"], ["top", "--pareto", "--cost", "params"],
        ["show", "--trial", "1"], ["show"], ["rescore", "--target-flops", "1M"], ["logs"],
        ["logs", "1"],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "json"])
def test_the_output_is_that_of_this_machine(
    searched: Any, server: Server, there: list[str], words: list[str], form: list[str]
) -> None:
    """A verb on the server prints what it prints beside the store, for people and machines."""
    study = result(searched[1])["study"]
    here = nas_here(*words, "--study", study, "--store", server.service.url, *form)
    assert here.returncode == 0, here.stderr
    then = nas_here(*there, *words, "--study", "mine", *form)
    assert (then.returncode, steady(then.stdout)) == (0, steady(here.stdout)), then.stderr


def steady(text: str) -> list[str]:
    """Return lines without those that say how long ago something was."""
    return [line for line in text.splitlines() if "ago" not in line and '"idle"' not in line]


def test_progress_is_read_back(searched: Any, server: Server) -> None:
    """What a server writes of a study's progress is the same progress on another machine."""
    study = result(searched[1])["study"]
    (read,) = studies.status(study, store=server.service.url)
    assert Progress.from_json(read.to_json()).to_json() == read.to_json()


def test_files_are_downloaded(
    searched: Any, server: Server, there: list[str], tmp_path: Path
) -> None:
    """report and export write here what the server makes, with the verdict on it."""
    report, best = tmp_path / "mine.html", tmp_path / "best"
    assert nas_here(*there, "report", "mine", "--out", str(report)).returncode == 0
    assert report.read_text().startswith("<!doctype html>")
    told = result(nas_here(*there, "export", "mine", "--out", str(best), "--json"))
    assert told["code"].endswith("best/model.py")
    assert told["formats"]["python"]["verified"] < 1e-5
    assert {file.name for file in best.iterdir()} == {"model.py", "model.safetensors"}


def test_searches_are_listed_paused_and_deleted(
    server: Server, client: httpx.Client, there: list[str]
) -> None:
    """On a server by a token, and beside the store by whoever can open it."""
    found = submit(client, study="waits")
    for place in (there, []):
        store = [] if place else ["--store", server.service.url]

        def run(*words: str, place: list[str] = place, store: list[str] = store) -> Any:
            return result(nas_here(*place, "searches", *words, *store, "--json"))

        assert found in [each["id"] for each in run("list", "--state", "queued")]
        assert run("pause", found)["state"] == "paused"
        assert run("resume", found)["state"] == "queued"
    assert result(nas_here(*there, "searches", "cancel", "waits", "--json"))["state"] == "cancelled"
    ended = nas_here(*there, "resume", "--study", "waits")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is cancelled" in ended.stderr
    assert nas_here(*there, "searches", "delete", found).returncode == 0
    assert nas_here(*there, "searches", "pause", found).returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search", *SMALL, "--out", "x"], "--out is set where the server is started"),
        (["search", *SMALL, "--workers", "0"], "--workers is set where"),
        (["search", "--target-flops", "much"], "--target-flops is"),
        (["search", *SMALL, "--space", "no.json"], "no.json"),
        (["top", "--store", "sqlite:///x.db"], "--store is about this machine"),
        (["top", "--pareto", "--out", "x.svg"], "On a server nas top takes: --study, --n"),
        (["top", "--pareto", "-n", "3"], "--pareto shows the whole front"),
        (["logs", "--follow"], "--follow is about this machine"),
        (["status", "--every", "3"], "give --watch too"),
        (["serve"], "No command of a server named 'serve'"),
        (["token", "list"], "No command of a server named 'token list'"),
        (["show", "--study", "nobody's"], "No search"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_is_of_this_machine_is_refused(there: list[str], words: list[str], told: str) -> None:
    """One message that names the option, exit code 2, nothing on standard output."""
    ended = nas_here(*there, *words)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_token_comes_from_a_file_or_the_environment(
    server: Server, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one the message says where it may stand; a wrong one opens nothing."""
    words = ["--server", server.base, "space", "list"]
    monkeypatch.delenv("NAS_TOKEN", raising=False)
    assert "NAS_TOKEN" in nas_here(*words).stderr
    monkeypatch.setenv("NAS_TOKEN", client.headers["Authorization"].removeprefix("Bearer "))
    assert nas_here(*words).stdout == nas_here("space", "list").stdout
    monkeypatch.setenv("NAS_TOKEN", "nas_0123456789abcdef_wrong")
    assert "valid token" in nas_here(*words).stderr


def test_a_reader_submits_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scopes of the token hold on the command line too."""
    with server.store.write() as connection:
        _, text = tokens.create(connection, "reader", ["read"])
    monkeypatch.setenv("NAS_TOKEN", text)
    ended = nas_here("--server", server.base, "search", *SMALL)
    assert (ended.returncode, "scope" in ended.stderr) == (2, True)


def test_every_verb_of_a_server_is_a_command() -> None:
    """The words of each are those of a command, with the options of that command."""
    for words in VERBS:
        assert nas_here(*words.split(), "--help").returncode == 0, words
