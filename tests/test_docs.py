"""Documents can't lie: their commands and Python run, their links resolve, no option is left out.

All commands run in one temporary folder with tiny real images. Some are changed, so that they take
seconds:

- A search, `nas scale` and `nas.search(...)` get `--trials 1 --epochs 1 --workers 0` appended, and
  `nas resume` gets `--trials 1 --workers 0`, `nas train` `--epochs 1 --workers 0`: torch is
  imported once. With `--executor ray` a search gets `--max-concurrent 1` and a Ray head, if Ray can
  start here.
- `nas latency table` gets `--seconds 1`. "digits" has a quarter of its images for training. A
  pre-flight draws 100 networks instead of 1,000, and `--prefilter` ranks 10 instead of 100. The
  length of a training is not measured beforehand: a second is assumed.
- A command that runs until Ctrl-C (`--watch`, `--follow`, `nas metrics serve`) gets it after its
  first line. Files at s3:// lie in memory.

Not run: `make` (its target must exist), `pip install` (its extra must exist), `. activate`,
`.ci/run` and the dashboard's server (its store must open). `nas serve`, commands with `--server`
and those for a Ray head (`nas submit`, `nas jobs`, `ray`) are only parsed; other tests run them.
"""

import ast
import io
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as file_systems
from PIL import Image
from search_kit import ROOT, command, read_until
from training_kit import few_digits
from typer.testing import CliRunner

import benchmarks.search.__main__
import nas
from nas.cli import app, jobs, verbs
from nas.cli.jobs import read_search
from nas.commands import networks
from nas.latency import remote
from nas.search_space import preflight
from nas.service.remote import VERBS
from nas.store import queries
from nas.study import preparation, proposer
from tests import ray_kit

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
SHELL = ("sh", "bash", "console")
PYTHON, SQL = "python", "sql"
QUICK = {"search": ["--trials", "1", "--epochs", "1", "--workers", "0"]}
QUICK["resume"] = ["--trials", "1", "--workers", "0"]
QUICK["scale"] = QUICK["search"]
QUICK["train"] = ["--epochs", "1", "--workers", "0"]
ON_RAY = ["--trials", "1", "--epochs", "1", "--max-concurrent", "1", "--no-finalists"]
QUICK["latency table"] = ["--seconds", "1"]
AT_THE_END = ExitStack()  # what runs until the last document is read
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, its text, and the file name in the text above it, if any."""

    language: str
    text: str
    save_as: str | None


def fences(path: Path) -> list[Fence]:
    """Return the fenced blocks of a document, in order."""
    text = path.read_text()
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip().rpartition("\n")[2]
        saved = re.search(r"[Ss]ave this as `([\w.]+)`", above)
        found.append(Fence(match[1], match[2], saved[1] if saved else None))
    return found


def having(*languages: str) -> list[Path]:
    """Return the documents that have a block in one of these languages."""
    return [p for p in DOCUMENTS if any(fence.language in languages for fence in fences(p))]


def named(path: Path) -> str:
    """Name a document in a test's id."""
    return str(path.relative_to(ROOT))


def write_images(folder: Path) -> None:
    """Write the images that the documents speak of: an .npz file and a folder, of two classes."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pixels = (random.integers(0, 128, (40, 16, 16)) + 100 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "scans.npz", train_images=pixels, train_labels=labels)
    for index, image in enumerate(pixels):
        path = folder / "my_images" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        path = folder / "more_images" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(255 - image).save(path)
    rows = (f"my_images/{('cat', 'dog')[n % 2]}/{n}.png,{n % 2}\n" for n in range(len(pixels)))
    (folder / "labels.csv").write_text("file,label\n" + "".join(rows))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder with images and the finished study of the README."""
    folder = tmp_path_factory.mktemp("docs")
    write_images(folder)
    MemoryFileSystem().put_file(str(folder / "scans.npz"), "s3://bucket/scans.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(file_systems, "s3", MemoryFileSystem)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        few = few_digits()
        patch.setattr("nas.data._named", lambda _: few)
        patch.setattr(preflight, "SAMPLES", 100)
        patch.setattr(networks, "MEASURING", 0.5)
        patch.setattr(proposer, "RANKED", 10)
        patch.setattr(preparation, "_estimate", lambda *_: 1.0)
        patch.delenv("NAS_STORE", raising=False)
        run_nas("search --space mixconv --data digits --target-flops 2M")
        with AT_THE_END:
            yield folder


def run_nas(line: str) -> str:
    """Run a `nas` command in this process, a long one shortened; return its output."""
    words = shlex.split(line, comments=True)
    given = "--alpha" in words  # coefficients of a family: then there is nothing to train
    quick = QUICK["latency table"] if words[:2] == ["latency", "table"] else QUICK.get(words[0], [])
    if words[0] == "search" and not {"--finalists", "--no-finalists"} & set(words):
        quick = [*quick, "--no-finalists"]
    ended = CliRunner().invoke(app, words + ([] if given else quick))
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == 0, f"nas {line}: {ended.stderr}"
    return ended.stdout


def endless(words: list[str]) -> bool:
    """Tell whether a `nas` command runs until Ctrl-C."""
    goes_on = {"--watch", "--follow"} & set(words) and "--until-done" not in words
    return bool(goes_on) or words[:2] == ["metrics", "serve"]


def run_until_ctrl_c(words: list[str]) -> None:
    """Check that an endless command prints a line, and that Ctrl-C ends it with status 0."""
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        read_until(process.stdout.fileno(), "\n")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 0, words
    finally:
        process.kill()
        process.communicate(timeout=60)


@cache
def ray_head() -> ray_kit.Cluster:
    """Start a Ray head for all documents."""
    cluster = AT_THE_END.enter_context(ray_kit.cluster())
    cluster.start_head()
    return cluster


def run_on_ray(*words: str) -> None:
    """Run a search on the Ray head; do nothing if Ray can't start here."""
    if not ray_kit.why_not():
        ended = ray_head().run(*command(*words, *ON_RAY), RAY_ADDRESS=ray_head().address)
        assert ended.returncode == 0, ended.stderr


def check_make(target: str) -> None:
    """Check that the Makefile has a target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def check_install(what: str) -> None:
    """Check that pip installs this project with an extra that it has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    match = re.fullmatch(r"\.\[(\w+)\]", what)
    assert match, what
    assert match[1] in extras


def check_dashboard(url: str) -> None:
    """Check that the dashboard is installed and that its store opens."""
    assert find_spec("optuna_dashboard")
    with queries.connect(url) as connection:
        assert queries.studies(connection)


def reading(group: typer.Typer, verb: str, options: list[str]) -> dict[str, Any]:
    """Parse the options of a `nas` command without running it; fail if they are wrong."""
    command = typer.main.get_group(group).commands[verb]
    return command.make_context(verb, list(options)).params


def check_ray(verb: str, options: list[str]) -> None:
    """Check that Ray's own command takes these options, if Ray is installed."""
    if find_spec("ray"):
        from ray.scripts.scripts import cli

        cli.commands[verb].make_context(verb, list(options))


def run_python_file(path: str, *files: str) -> None:
    """Run a Python file, an exported one, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, path, *files], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr


def check_host(words: list[str]) -> None:
    """Parse a command that measures on a machine that is not here, and check its address."""
    group = verbs.latency if words[0] == "latency" else app
    verb, *options = words[1:] if group is verbs.latency else words
    read = reading(group, verb, options)
    assert remote.command(read.get("latency_host") or read["host"])


def check_on_server(words: list[str]) -> None:
    """Parse a command for a server, and check that a server has it."""
    words = words[2:] if words[0] == "--token-file" else words
    name = next(each for each in COMMANDS if words[: each.count(" ")] == each.split()[1:])
    assert name.removeprefix("nas ") in VERBS
    COMMANDS[name].make_context(name, words[name.count(" ") :])


def run_line(line: str, patch: pytest.MonkeyPatch) -> None:
    """Run or check one shell line of a document; see the module's docstring."""
    words = shlex.split(line, comments=True)
    match words:
        case ["nas", "submit", *options]:
            read_search(reading(app, "submit", options)["words"])
        case ["nas", "jobs", verb, *options]:
            reading(jobs.app, verb, options)
        case ["ray", verb, *options]:
            check_ray(verb, options)
        case ["nas", "search", *options] if "ray" in options:
            run_on_ray("search", *options)
        case ["nas", *rest] if "raspberrypi" in line:
            check_host(rest)
        case ["nas", "--server", _, *rest]:
            check_on_server(rest)
        case ["nas", *rest] if endless(rest):
            run_until_ctrl_c(rest)
        case ["nas", "serve", *options]:
            reading(app, "serve", options)
        case ["nas", "dashboard", *_]:
            check_dashboard("sqlite:///studies/nas.db")
        case ["nas", *_]:
            run_nas(line.removeprefix("nas "))
        case ["make", target]:
            check_make(target)
        case ["pip", "install", what]:
            check_install(what)
        case ["optuna-dashboard", url]:
            check_dashboard(url)
        case ["python", "-m", "benchmarks.search", *options]:
            assert benchmarks.search.__main__.main(options) == 0
        case ["python", path, *files]:
            run_python_file(path, *files)
        case ["export", setting]:
            patch.setenv(*setting.split("=", 1))
        case [".", ".venv/bin/activate"]:
            assert re.search(r"^VENV \?= \.venv$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case [".ci/run"]:
            assert (ROOT / ".ci/run").is_file()
        case _:
            raise AssertionError(f"no rule for this command: {line}")


def lines_of(fence: Fence) -> list[str]:
    """Return a shell block's commands; in a console, the text after the prompt."""
    text = fence.text.replace("\\\n", " ")
    lines = re.sub(r"\s*&&\s*", "\n", text).splitlines()
    if fence.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def save_files(path: Path) -> None:
    """Save the blocks that the document says to save."""
    for fence in fences(path):
        if fence.save_as:
            Path(fence.save_as).write_text(fence.text)


@pytest.mark.parametrize("path", having(*SHELL), ids=named)
def test_commands_run(path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a document ends well."""
    save_files(path)
    for fence in fences(path):
        if fence.language in SHELL:
            for line in lines_of(fence):
                run_line(line, monkeypatch)


@pytest.mark.parametrize("path", having(PYTHON), ids=named)
def test_python_runs(path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of a document runs, each on its own."""
    search = nas.search

    def quick(**options: object) -> object:
        return search(**{**options, "trials": 1, "epochs": 1, "workers": 0, "finalists": 0})  # type: ignore[arg-type]

    monkeypatch.setattr(nas, "search", quick)
    kept = (world / "scans.npz").read_bytes()
    for fence in fences(path):
        if fence.language == PYTHON:
            if "from ray " in fence.text:
                pytest.importorskip("ray")
            with redirect_stdout(io.StringIO()):
                exec(compile(fence.text, named(path), "exec"), {"__name__": "__main__"})  # noqa: S102
    (world / "scans.npz").write_bytes(kept)


@pytest.mark.parametrize("path", having(SQL), ids=named)
def test_sql_runs(path: Path, world: Path) -> None:
    """Every SQL block of a document gives rows on the store."""
    with sqlite3.connect("file:studies/nas.db?mode=ro", uri=True) as connection:
        for fence in fences(path):
            if fence.language == SQL:
                assert connection.execute(fence.text).fetchall(), fence.text
    connection.close()


def test_the_tree_of_a_study_is_the_one_documented(world: Path) -> None:
    """The documents list the files that a search writes; one worker needs no logs."""
    tree = next(
        f.text
        for f in fences(ROOT / "docs/start/your-images.md")
        if "studies/" in f.text and "├" in f.text
    )
    listed = re.findall(r"[├└]── (\S+?)/?\s", tree)
    study = world / "studies" / "mixconv-digits-2M"
    assert (world / "studies" / "artifacts").is_dir()
    made = {path.name for path in [*study.iterdir(), *(study / "best").iterdir()]} | {"logs"}
    assert made == set(listed) - {"artifacts", "nas.db", study.name}


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_resolve(path: Path) -> None:
    """Every relative link of a document leads to a file, every anchor to a heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{link} in {named(path)}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{link} in {named(path)}"


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a command line with their full names."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from commands(one, f"{name} {word}")


COMMANDS = dict(commands(typer.main.get_command(app), "nas"))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_and_options_are_documented(name: str) -> None:
    """Every command, and every option of it, is in a document."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    assert name in text
    options = [max(p.opts, key=len) for p in COMMANDS[name].params if p.opts[0].startswith("-")]
    assert [o for o in options if not re.search(rf"{re.escape(o)}\b", text)] == []


def test_every_name_in_the_docs_of_the_api_exists() -> None:
    """Every verb of the package is in the documents as `nas.<verb>`."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    assert set(nas.__all__) <= set(re.findall(r"`nas\.(\w+)`", text))


def test_python_blocks_parse() -> None:
    """Every block that is marked as Python parses."""
    for path in DOCUMENTS:
        for fence in fences(path):
            if fence.language == PYTHON:
                ast.parse(fence.text)


def test_every_dependency_has_its_reason() -> None:
    """Each dependency of the project has a line that says why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[>\[<=]", wish)[0] for wish in project["dependencies"]]
    for wishes in project["optional-dependencies"].values():
        names += [re.split(r"[>\[<=]", wish)[0] for wish in wishes]
    text = (ROOT / "docs/dependencies.md").read_text()
    assert [name for name in names if name not in text and name != "nas"] == []
