"""Other packages' samplers in the comparison; what needs their environment skips without it."""

import itertools
from pathlib import Path

import pytest

from benchmarks.search import contenders, peers, table
from benchmarks.search.__main__ import main
from benchmarks.search.goal import Goal
from benchmarks.search.run import run
from nas.errors import UserError


def write(path: Path, every: int = 1) -> table.Table:
    """Write a table of three choices of three types, whole or with each n-th row; return it."""
    rows = [
        f"{a},{b},{c},{ord(a) + b + c},{ord(a) + b + c},{10**6 * b}"
        for a, b, c in itertools.product("xyz", (1, 2, 3, 5), (0, 0.25))
    ][::every]
    head = "choice_a,choice_b,choice_c,search_score,test_score,macs"
    path.write_text("\n".join([head, *rows]) + "\n")
    return table.read(path)


@pytest.fixture
def environment() -> None:
    """Skip, saying so, where the peers' environment was not made."""
    try:
        peers.python()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["syne_tune_rea", "syne_tune_kde", "nni_tpe", "nni_evolution"])
@pytest.mark.usefixtures("environment")
def test_a_peer_searches_a_whole_table_and_a_pool(tmp_path: Path, name: str) -> None:
    """Rows are evaluated once each; the same seed gives the same rows, another seed others."""
    whole, pool = write(tmp_path / "whole.csv"), write(tmp_path / "pool.csv", every=2)
    found = run(Goal(whole), name, 0, 12).rows
    assert len(set(found)) == 12
    assert run(Goal(whole), name, 0, 12).rows == found
    assert run(Goal(whole), name, 1, 12).rows != found
    assert sorted(run(Goal(pool), name, 0, 50, workers=2).rows) == list(range(12))


@pytest.mark.usefixtures("environment")
def test_cqr_learns_from_what_it_is_told(tmp_path: Path) -> None:
    """After its five random draws the model proposes; more evaluations begin with fewer."""
    goal = Goal(write(tmp_path / "whole.csv"))
    found = run(goal, "syne_tune_cqr", 0, 7).rows
    assert len(set(found)) == 7
    assert run(goal, "syne_tune_cqr", 0, 6).rows == found[:6]


@pytest.mark.usefixtures("environment")
def test_a_peer_that_fails_is_told(tmp_path: Path) -> None:
    """What went wrong in the other process is one message."""
    sampler = contenders.make("nni_tpe", 0, Goal(write(tmp_path / "t.csv")))
    assert isinstance(sampler, peers.PeerSampler)
    with pytest.raises(UserError, match=r"A peer failed at .*KeyError: 7"):
        sampler._ask(tell=7, choices={}, value=0.0)


def test_without_the_environment_the_command_that_makes_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 before anything is run, with the folder that was looked in."""
    monkeypatch.setenv("NAS_PEERS", str(tmp_path / "none"))
    write(tmp_path / "t.csv")
    words = f"--table {tmp_path}/t.csv --samplers random,syne_tune_cqr:2:5 --budgets 5"
    assert main([*words.split(), "--cache", str(tmp_path / "c")]) == 2
    said = capsys.readouterr().err
    assert f"no environment of theirs at {tmp_path}/none" in said
    assert f"Make it with: {peers.INSTALL}" in said
    assert not (tmp_path / "c").exists()


def test_peers_know_one_objective() -> None:
    """On the front they are refused as our own single-objective sampler is."""
    with pytest.raises(UserError, match="'nni_tpe' works on one objective: not on pareto"):
        contenders.check_pareto(["random", "nni_tpe"])


def test_an_environment_that_can_not_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and the folder that is in the way."""
    (tmp_path / "file").write_text("")
    assert peers.main(["install", "--folder", str(tmp_path / "file" / "peers")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_the_worker_knows_the_names_that_the_comparison_offers() -> None:
    """Both sides of the pipe list the same peers."""
    text = peers.WORKER.read_text()
    assert all(f'    "{name}": ' in text for name in peers.NAMES)
    assert set(peers.NAMES) <= set(contenders.names())
