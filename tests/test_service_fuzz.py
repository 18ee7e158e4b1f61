"""The service under requests that nobody would write: no 5xx, nothing that its document lacks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_kit import Server, serving_data

from benchmarks import service_fuzz
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


BODIES, UPLOADS = 1000, 24  # an upload is checked in a process of its own, for a second


def test_a_thousand_malformed_bodies_are_refused(server: Server) -> None:
    """Each is a problem of 4xx with a pointer, or a search that is valid; nothing else happens."""
    with server.client("read", "submit", queued=10**6) as client:
        statuses = service_fuzz.send_bodies(client, service_fuzz.bodies(BODIES))
    assert statuses[422] > BODIES / 2
    assert statuses[400] > BODIES / 20
    assert not list(server.service.folder.parent.glob("**/passwd"))


def test_malformed_uploads_give_memory_and_disk_back(server: Server) -> None:
    """Each is refused with 4xx; afterwards nothing of them lies on the disk."""
    good = (server.service.roots[0] / "tones.npz").read_bytes()
    before = service_fuzz.resident()
    with server.client("submit") as client:
        service_fuzz.send_uploads(client, service_fuzz.uploads(good, UPLOADS))
    assert list((server.service.folder / "uploads").iterdir()) == []
    assert service_fuzz.resident() - before < service_fuzz.GROWTH
