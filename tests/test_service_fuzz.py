"""The service under requests that nobody would write: no 5xx, nothing that its document lacks."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from service_kit import SEARCH, Server, serving_data

from nas.service.api import submission
from nas.service.api.access import Rate
from nas.service.api.app import api

CHECKS = """
[checks.positive_data_acceptance]  # rules over several options are not in the schema
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 413, 422, 429]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve an empty store, at any rate."""
    with serving_data(tmp_path, rate=Rate(10_000, 10_000)) as served:
        yield served


def operations(server: Server) -> list[str]:
    """Return the operations of the service's document."""
    paths = api(server.service).openapi()["paths"]
    return [f"{method} {path}" for path, methods in paths.items() for method in methods]


def test_the_document_holds_under_schemathesis(server: Server, tmp_path: Path) -> None:
    """All its checks, the stateful ones too: no 5xx, and no answer that is not documented."""
    (tmp_path / "schemathesis.toml").write_text(CHECKS)
    with server.client("read", "submit", "admin") as client:
        token = client.headers["Authorization"]
    words = ["--checks", "all", "--max-examples", "3", "--seed", "1", "--header"]
    ended = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run",
         f"{server.base}/openapi.json", *words, f"Authorization: {token}"],
        capture_output=True, text=True, timeout=560, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert f"Tested: {len(operations(server))}\n" in ended.stdout


NASTY: list[Any] = [
    None, True, -1, 0, 2**63, 10**29, 1e308, -0.0, "", "0", "\0", "\ud800", "../..", "/etc/passwd",
    "a" * 5000, "é" * 300, "mixconv\n", "{{7*7}}", "'; DROP TABLE nas_tokens; --", "__class__",
    [], [[]], [None], {}, {"": {}}, {"a": {"b": [1, {"c": None}]}}, "s3://bucket", "file:///etc",
    "tones.npz", "upload:", "training.epochs=0", {"training": {"epochs": 0}}, "1e9M", "NaN", "~",
]  # fmt: skip
BODIES, UPLOADS = 300, 16


def mutations(count: int) -> Iterator[dict[str, Any]]:
    """Yield searches with a few values, or names, that nobody would give."""
    random = Random(0)
    names = [*submission.schema()["properties"], *submission.servers(), "", "é", "~0/~1", "x" * 999]
    for _ in range(count):
        changes = {random.choice(names): random.choice(NASTY) for _ in range(random.randint(1, 3))}
        yield SEARCH | changes


def test_hundreds_of_malformed_searches_are_refused(server: Server) -> None:
    """Each is a problem of 4xx with a pointer, or a search that is valid; nothing else happens."""
    statuses: Counter[int] = Counter()
    with server.client("read", "submit", queued=10**6) as client:
        for body in mutations(BODIES):
            answer = client.post("/searches", content=json.dumps(body).encode(),
                                 headers={"Content-Type": "application/json"})  # fmt: skip
            statuses[answer.status_code] += 1
            assert answer.status_code in (201, 422), (body, answer.text)
            if answer.status_code == 422:
                assert all(each["pointer"] is not None for each in answer.json()["errors"])
    assert statuses[422] > BODIES / 2
    assert not list(server.service.folder.parent.glob("**/passwd"))


def damaged(good: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that are no data: cut, changed, of another kind."""
    random = Random(0)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/../../../x.png", b"x")
        archive.writestr("a/b.png", bytes(2**24))
    kinds = ["x.npz", "x.zip", "x.tar", "x.tar.gz", "x.csv", "x.parquet"]
    yield from ((name, bomb.getvalue()) for name in kinds[:3])
    yield from ((name, b"") for name in kinds)
    for number in range(count - 9):
        content = bytearray(good[: random.randrange(1, len(good))] if number % 2 else good)
        for _ in range(200):
            content[random.randrange(len(content))] = random.randrange(256)
        yield kinds[number % len(kinds)], bytes(content)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_malformed_uploads_give_memory_and_disk_back(server: Server) -> None:
    """Each is refused with 4xx; afterwards nothing of them lies on the disk."""
    good = (server.service.roots[0] / "tones.npz").read_bytes()
    binary = {"Content-Type": "application/octet-stream"}
    before = resident()
    with server.client("submit") as client:
        for name, content in damaged(good, UPLOADS):
            answer = client.post("/uploads", params={"name": name}, content=content, headers=binary)
            assert answer.status_code == 422, (name, answer.text)
            assert str(server.service.folder) not in answer.text
    assert list((server.service.folder / "uploads").iterdir()) == []
    assert resident() - before < 100 * 2**20
