"""nas publish: a repository in a folder, and on a hub; the model card, whatever names are in it."""

import base64
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown import markdown
from search_kit import nas_here, result
from test_train_verb import NETWORK

from nas import data
from nas.architecture import Architecture
from nas.commands.export import Found
from nas.export.python import parse
from nas.latency._session import processor
from nas.report.card import code, papers, text
from nas.search_space import load
from nas.training.metrics.predictions import Predictions
from nas.training.recipes import compose
from nas.training.reports import report

STUDY = '"""'
CLASSES = ("<img src=x onerror=alert(1)>", "`tick` | --- [a](b)", "plain\n# title")
FILES = [
    "README.md",
    "architecture.json",
    "config.json",
    "model.py",
    "model.safetensors",
    "recipe.toml",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train a small network, twice, on images whose classes have hostile names."""
    folder = tmp_path_factory.mktemp("publish")
    (folder / "small.py").write_text(NETWORK)
    labels = np.arange(60) % 3
    noise = np.random.default_rng(0).integers(0, 100, (60, 8, 8))
    images = (noise + 60 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "hostile.npz", images=images, labels=labels, classes=np.array(CLASSES))
    store = f"sqlite:///{folder}/nas.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = ["train", "small.py", "--data", "hostile.npz", "--study", STUDY, "--epochs", "1"]
        line += ["--seeds", "2", "--workers", "0", "--store", store, "--out", "out", "--json"]
        result(nas_here(*line))
    return store


@pytest.fixture(scope="module")
def folder(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish the study to a folder."""
    target = tmp_path_factory.mktemp("repository") / "out"
    told = result(nas_here("publish", STUDY, "--to", str(target), "--store", store, "--json"))
    assert told["files"] == FILES
    return target


def header_of(card: str) -> Any:
    """Return the metadata as the hub reads it."""
    match = re.match(r"\A---\n(.*?)\n---\n", card, re.DOTALL)
    assert match
    return yaml.safe_load(match[1])


def test_a_repository_has_all_that_a_model_needs(store: str, folder: Path) -> None:
    """Code that checks itself, weights, the architecture, the recipe, and a config for programs."""
    run = [sys.executable, "model.py"]
    ended = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    architecture = Architecture.from_json(json.loads((folder / "architecture.json").read_text()))
    assert parse(folder / "model.py").id == architecture.id
    config = json.loads((folder / "config.json").read_text())
    assert (config["image_size"], config["num_labels"]) == (architecture.resolution, 3)
    assert list(config["id2label"].values()) == list(CLASSES)
    assert len(config["image_mean"]) == architecture.in_channels


def test_a_study_is_exported_as_a_package(store: str, tmp_path: Path) -> None:
    """With --package a study's winner comes with a package, whatever names are in it."""
    words = ["export", STUDY, "--package", "--out", str(tmp_path / "out"), "--store", store]
    told = result(nas_here(*words, "--json"))
    assert told["formats"]["python"]["stated"] == {"package": "convnet"}
    assert (tmp_path / "out" / "package" / "convnet" / "train.py").is_file()


def test_the_recipe_trains_the_same_again(store: str, folder: Path) -> None:
    """recipe.toml has every value; for the same data it is the same recipe."""
    stored = result(nas_here("recipe", "show", STUDY, "--store", store, "--json"))
    assert tomllib.loads((folder / "recipe.toml").read_text()) == stored["values"]
    images = data.load(str(Path(store.removeprefix("sqlite:///")).with_name("hostile.npz")))
    assert compose(images, str(folder / "recipe.toml")).hash == stored["hash"]


def test_the_card_says_the_numbers(folder: Path) -> None:
    """Metadata, metrics with an interval over seeds, cost, data, seeds, commands, papers."""
    card = (folder / "README.md").read_text()
    header = header_of(card)
    assert header["pipeline_tag"] == "image-classification"
    (found,) = header["model-index"]
    metrics = {one["type"]: one["value"] for one in found["results"][0]["metrics"]}
    assert 0 <= metrics["accuracy"] <= 1
    for words in (
        "95 % interval of the mean over seeds", "| parameters |", "fingerprint", "Seeds: ",
        "nas train architecture.json --data DATA --recipe recipe.toml", "DATA is where the data",
        "[arXiv:1907.09595](https://arxiv.org/abs/1907.09595)", "run by torch",
    ):  # fmt: skip
        assert words in card
    assert re.search(r"\| python \| model.py \| [\d.]+ ms \| equal to the trained network", card)
    assert "on " + text(processor()) in card


def test_the_card_has_the_look_at_the_test_split(store: str, tmp_path: Path) -> None:
    """Where the study kept it, metrics have intervals over images, and each class its own."""
    found = Found.of(STUDY, None, None, store)
    labels = np.arange(30) % 3
    given = Predictions(np.eye(3)[labels] * (np.arange(30) > 5)[:, None], labels, CLASSES)
    kept = {"evaluation": found.evaluation.id, "report": report(given).to_json(), "mistakes": []}
    path = Path(str(found.info.folder), "best", "test.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept))
    target = tmp_path / "out"
    result(nas_here("publish", STUDY, "--to", str(target), "--store", store, "--json"))
    path.unlink()
    card = (target / "README.md").read_text()
    assert "| metric | validation | test | test, these weights |" in card
    assert re.search(r"\| accuracy \| .* \| 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\) \|\n", card)
    assert "| class | images | recall | precision | specificity | auroc |" in card
    page = markdown(card.partition("\n---\n")[2], extensions=["tables", "fenced_code"])
    assert "<img" not in page
    assert page.count("<td>&lt;img src=x onerror=alert(1)&gt;</td>") == 1


def test_hostile_names_stay_names(folder: Path) -> None:
    """No class or study is HTML, Markdown, YAML or Python of its own."""
    card = (folder / "README.md").read_text()
    body = card.partition("\n---\n")[2]
    page = markdown(body, extensions=["tables", "fenced_code"])
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("<h1") == 1
    assert '<a href="b"' not in page
    assert header_of(card)["model-index"][0]["name"] == STUDY


@pytest.mark.parametrize("name", ["a`b", "```", "~~~\n", "</code>", "a\u2028b", "|", "\\", "- - -"])
def test_any_name_is_text(name: str) -> None:
    """Text on one line that is shown as it is, and a fence that no content ends."""
    page = markdown(f"x {text(name)} y", extensions=["tables", "fenced_code"])
    assert page.count("<") == 2
    fence, *_, end = list(code(f"{name}\n{name}"))
    assert fence == end
    assert fence not in name


def test_papers_are_those_of_the_modules_that_are_built() -> None:
    """Squeeze-and-excitation is named where there is one, MixConv where kernels are mixed."""
    mixed = papers(load("mixnet_s").decode({}))
    assert mixed["1907.09595"] == "MixConv: Mixed Depthwise Convolutional Kernels"
    assert mixed["1709.01507"] == "Squeeze-and-Excitation Networks"
    plain = papers(load("mobilenetv2_100").decode({}))
    assert "1801.04381" in plain
    assert not {"1907.09595", "1709.01507"} & plain.keys()


class Hub(BaseHTTPRequestHandler):
    """A stand-in of the hub's HTTP API: a repository is made, files are committed to it."""

    files: dict[str, bytes]
    asked: list[str]
    refused = False

    def do_GET(self) -> None:
        """Say that the repository is there."""
        self.answer({"id": "user/repo", "sha": "0" * 40, "siblings": [], "private": False})

    def do_POST(self) -> None:
        """Do what the client asks, and remember it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.asked.append(f"{path} {self.headers['Authorization']}")
        if path == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/user/repo"})
        elif path == "/api/validate-yaml":
            header_of(json.loads(body)["content"])
            self.answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            names = [one["path"] for one in json.loads(body)["files"]]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": name, **regular} for name in names]})
        elif self.refused:
            self.answer({"error": "No write access"}, 403)
        elif path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            url = f"http://{self.headers['Host']}/user/repo/commit/{'1' * 40}"
            self.answer({"commitUrl": url, "commitOid": "1" * 40, "success": True})
        else:
            self.answer({"error": path}, 404)

    def answer(self, value: Any, status: int = 0) -> None:
        """Answer with JSON."""
        content = json.dumps(value).encode()
        self.send_response(status or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Serve the stand-in where the client looks for the hub."""
    from huggingface_hub import constants

    kind = type("ThisHub", (Hub,), {"files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield kind
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def test_a_repository_is_uploaded(store: str, folder: Path, hub: type[Hub]) -> None:
    """The hub gets the files that a folder gets, in one commit, with the user's token."""
    told = result(nas_here("publish", STUDY, "--to", "hf://user/repo", "--store", store, "--json"))
    assert told["url"].endswith("/user/repo")
    assert sorted(set(hub.files) - {".gitattributes"}) == told["files"] == FILES
    assert hub.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert all("Bearer hf_secret" in each for each in hub.asked if "/commit/" in each)


def test_a_hub_that_refuses_is_told(store: str, hub: type[Hub]) -> None:
    """One message with the address and the reason, without the token."""
    hub.refused = True
    ended = nas_here("publish", STUDY, "--to", "hf://user/repo", "--store", store)
    assert ended.returncode == 1
    assert "hf://user/repo was not published: " in ended.stderr
    assert "secret" not in ended.stderr
    assert hub.files == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "hf://repo"], "hf://user/repository"),
        (["--to", "hf:user/repo"], "hf://user/repository"),
        (["--to", "hf://user/../repo"], "hf://user/repository"),
        (["--to", "new", "--format", "onnxx"], "No export format named 'onnxx'"),
        (["--to", "new", "--private"], "--private is for a repository on the hub"),
        (["--to", "new", "--trial", "99"], "99"),
    ],
)
def test_a_mistake_is_refused(store: str, words: list[str], told: str, tmp_path: Path) -> None:
    """Exit code 2, one message, no folder."""
    words = [str(tmp_path / "new") if word == "new" else word for word in words]
    ended = nas_here("publish", STUDY, *words, "--store", store)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "new").exists()
