"""Numbers for a monitor: a real server, real scrapes, and the documented alerts."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from search_kit import ROOT, command, read_until
from store_kit import CONFIG, opened, point, proposal, ready, ready_file, trials

pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
from prometheus_client.parser import text_string_to_metric_families

from nas.errors import StoreError, UserError
from nas.service import metrics as monitoring

DOCUMENT = ROOT / "docs/guides/watching.md"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Make a store of each kind with a complete, a failed and a running trial."""
    with ready(request.param, tmp_path) as made:
        fill(made)
        yield made


def fill(url: str) -> None:
    """Train one network, let one fail, begin one."""
    with opened(url) as store:
        mine = trials(store)
        store.create_study("s", {**CONFIG, "trials": 5})
        lease = mine.start(proposal("a")).lease
        assert lease is not None
        for epoch in (1, 2, 3):
            mine.report(lease, point(epoch))
        mine.finish(lease, "complete", metrics={"accuracy": 0.75}, seconds=6.0)
        lease = mine.start(proposal("b")).lease
        assert lease is not None
        mine.finish(lease, "failed", reason="Diverged: the loss is NaN\nand more")
        mine.start(proposal("c"))


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Return the numbers that a scrape gives, by name and labels' values."""
    with urllib.request.urlopen(address, timeout=60) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def serve() -> Iterator[Any]:
    """Return what starts a server, ended with the test."""
    servers = []

    def start(url: str) -> str:
        servers.append(monitoring.serve(url, port=0))
        return servers[-1].address

    yield start
    for server in servers:
        server.close()


def test_a_scrape_has_the_numbers_of_a_study(url: str, serve: Any) -> None:
    """States, failures, workers, epochs, budget and best are what the store holds."""
    found = scrape(serve(url))
    assert found["nas_store_up",] == 1
    states = {key[1]: value for key, value in found.items() if key[0] == "nas_trials"}
    assert states == {
        "complete": 1, "failed": 1, "running": 1, "pruned": 0, "reused": 0, "promoted": 0
    }  # fmt: skip
    assert found["nas_failures", "Diverged: the loss is NaN", "s"] == 1
    assert found["nas_workers", "s"] == 1
    assert (found["nas_epochs", "s"], found["nas_budget_trials", "s"]) == (3, 5)
    assert found["nas_best_score", "s"] == 0.75
    assert (found["nas_epoch_seconds", "s"], found["nas_done", "s"]) == (2.0, 0)


def test_last_progress_is_a_time_in_seconds(url: str, serve: Any) -> None:
    """An alert compares it with time(): it is Unix time, a moment ago."""
    found = scrape(serve(url))
    assert abs(time.time() - found["nas_last_progress_timestamp_seconds", "s"]) < 60


def test_a_store_that_goes_away_is_a_number_too(tmp_path: Path, serve: Any) -> None:
    """While the store does not answer there is nas_store_up 0 and nothing stale."""
    url = ready_file(tmp_path)
    fill(url)
    address = serve(url)
    file = tmp_path / "nas.db"
    file.rename(tmp_path / "away")
    assert scrape(address) == {("nas_store_up",): 0.0}
    (tmp_path / "away").rename(file)
    assert scrape(address)["nas_epochs", "s"] == 3


def test_a_foreign_name_reads_no_numbers(tmp_path: Path, serve: Any) -> None:
    """A page whose host's name was made to mean this machine gets none."""
    request = urllib.request.Request(serve(ready_file(tmp_path)), headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request, timeout=60)
    assert b"--allow-host NAME" in refused.value.read()
    refused.value.close()


def test_reasons_are_bounded() -> None:
    """However many reasons there are, few labels are made, and no failure is lost."""
    found = monitoring.bounded({f"reason {n} {'x' * 200}": 1000 - n for n in range(100)})
    assert len(found) == monitoring.MAX_REASONS + 1
    assert sum(found.values()) == sum(1000 - n for n in range(100))
    assert max(map(len, found)) <= monitoring.REASON_LENGTH


def test_studies_are_bounded(tmp_path: Path, serve: Any) -> None:
    """Of many studies the newest are told."""
    url = ready_file(tmp_path)
    with opened(url) as store:
        for number in range(monitoring.MAX_STUDIES + 2):
            trials(store, study=f"s{number:02d}")
    told = {key[1] for key in scrape(serve(url)) if key[0] == "nas_workers"}
    assert told == {f"s{number:02d}" for number in range(2, monitoring.MAX_STUDIES + 2)}


def test_the_command_serves_until_ctrl_c(url: str) -> None:
    """nas metrics serve answers a scrape over HTTP, and a real SIGINT ends it with exit code 0."""
    process = subprocess.Popen(
        command("metrics", "serve", "--port", "0", "--store", url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = read_until(process.stdout.fileno(), "\n")
    address = re.search(r"http://\S+/metrics", said)
    assert address, said
    assert scrape(address[0])["nas_epochs", "s"] == 3
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_mistakes_are_told_before_anything_is_served(tmp_path: Path, serve: Any) -> None:
    """No store, no such port, a port that is taken: one message each."""
    with pytest.raises(StoreError, match="no such file"):
        monitoring.serve(f"sqlite:///{tmp_path}/none.db", port=0)
    with pytest.raises(UserError, match="--port is a number"):
        monitoring.serve(port=70000)
    url = ready_file(tmp_path)
    taken = int(serve(url).rpartition(":")[2].partition("/")[0])
    with pytest.raises(UserError, match="is taken"):
        monitoring.serve(url, port=taken)


def documented(number: int) -> Any:
    """Return the content of the document's YAML block of this number."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return yaml.safe_load(blocks[number])


def test_the_documented_configuration_scrapes_the_default_port() -> None:
    """The configuration for Prometheus is YAML with our port and the file of rules."""
    config = documented(0)
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:9108"]
    assert config["rule_files"] == ["nas-alerts.yml"]


def test_the_documented_alerts_are_about_numbers_that_exist() -> None:
    """Each alert has an expression over exported gauges, a duration and a sentence."""
    (group,) = documented(1)["groups"]
    assert len(group["rules"]) == 3
    for rule in group["rules"]:
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["annotations"]["summary"]
        names = set(re.findall(r"nas_\w+", rule["expr"]))
        assert names
        assert names <= {"nas_store_up", *monitoring.GAUGES}
