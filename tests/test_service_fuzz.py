"""The service under requests that nobody would write: no 5xx, nothing that its document lacks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from search_kit import write_inputs
from service_kit import Server, serving
from store_kit import ready

from nas.service.api.access import Rate
from nas.service.api.app import api

CHECKS = """
[checks.positive_data_acceptance]  # rules over several options are not in the schema
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 413, 422, 429]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve an empty store, at any rate."""
    (tmp_path / "data").mkdir()
    write_inputs(tmp_path / "data")
    with (
        ready("sqlite", tmp_path) as url,
        serving(url, tmp_path, (tmp_path / "data",), rate=Rate(10_000, 10_000)) as served,
    ):
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
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert f"Tested: {len(operations(server))}\n" in ended.stdout
