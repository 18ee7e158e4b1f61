"""Zero-cost proxies: what holds for each, what they compute, the pre-filter, and their report."""

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from search_kit import SPACE, arguments, nas, nas_here, result
from torch import nn
from typer.testing import CliRunner

from nas import network, proxies
from nas.architecture import Architecture
from nas.cli import app
from nas.cost import Limits
from nas.data import DataSet, load
from nas.data.dataset import Split
from nas.errors import UserError
from nas.objective import Objective
from nas.proxies import grad_norm, jacob_cov, naswot, synflow
from nas.proxies._candidate import Batch, Batches, Candidate, measure
from nas.proxies._comparison import ProxyValues, compare
from nas.proxies._features import Features
from nas.samplers._space import SpaceOracle
from nas.search_space import SearchSpace, spaces
from nas.search_space import load as load_space
from nas.search_space.preflight import Subject

every_proxy = pytest.mark.parametrize("name", proxies.names())


def tiny() -> SearchSpace:
    """Return the space of a few tiny networks."""
    scope: dict[str, Any] = {}
    exec(SPACE, scope)  # noqa: S102
    space: SearchSpace = scope["SPACE"]
    return space


@cache
def small_network(space: str) -> Architecture:
    """Return the cheapest of a few samples of a space, for small gray images."""
    rng, found = random.Random(0), load_space(space)
    drawn = [found.decode(found.sample(rng), in_channels=1, classes=10) for _ in range(5)]
    return min((one.at(resolution=16) for one in drawn), key=lambda one: network.cost(one).macs)


@cache
def batch() -> Batch:
    """Return eight images of digits."""
    whole = Batches(lambda: load("digits")).at(16)
    return Batch(whole.images[:8], whole.labels[:8])


def candidate(module: nn.Module, images: torch.Tensor) -> Candidate:
    """Return a candidate whose module is given, and whose labels are all 0."""
    labels = torch.zeros(len(images), dtype=torch.long)
    made = Candidate(small_network("mixconv"), Batch(images, labels))
    made.__dict__["module"] = module
    return made


def states() -> tuple[Any, ...]:
    """Return where the global generators of random numbers are."""
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()


@pytest.mark.parametrize("space", sorted(spaces()))
@every_proxy
def test_a_proxy_is_finite_repeats_itself_and_leaves_chance_alone(name: str, space: str) -> None:
    """On every shipped space: a finite number, the same again, no generator moved."""
    one, images, before = small_network(space), batch(), states()
    value = measure(name, one, images, repeats=1)
    after = states()
    assert math.isfinite(value)
    assert value == measure(name, one, images, repeats=1)
    assert after == before


@every_proxy
def test_a_proxy_needs_no_certain_number_of_threads(name: str) -> None:
    """What one worker measures with two threads another one measures with one."""
    before = torch.get_num_threads()
    values = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        values.append(measure(name, small_network("mixconv"), batch()))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert values[0] == values[1]


def test_initialisations_are_averaged() -> None:
    """Two repeats give the mean of two others' values; another seed gives another value."""
    one = small_network("mixconv")
    single = measure("grad_norm", one, batch(), repeats=1)
    both = measure("grad_norm", one, batch(), repeats=2)
    assert single != both != measure("grad_norm", one, batch(), seed=1, repeats=2)


def test_names_are_known_without_torch() -> None:
    """The command line lists proxies and refuses unknown ones without importing torch."""
    code = "import sys, nas.proxies as p; print(p.read('naswot,macs'), 'torch' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.strip() == "('naswot', 'macs') False", ended.stderr
    with pytest.raises(UserError, match=r"No proxy named 'naswat'. Did you mean 'naswot'"):
        proxies.read("naswat")


def test_the_baselines_are_the_cost() -> None:
    """`macs` and `params` are what `nas cost` counts."""
    one = small_network("mixconv")
    cost = network.cost(one)
    assert measure("macs", one, batch()) == cost.macs
    assert measure("params", one, batch()) == cost.params


def test_synflow_is_the_flow_through_absolute_weights() -> None:
    """Through two layers without bias flows the same, each adds it: log(2 x 1'|V||W|1)."""
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 3, False), nn.BatchNorm1d(3), nn.ReLU6(), nn.Linear(3, 2, False)
    )
    first, second = (w.detach().double().abs() for w in (module[1].weight, module[4].weight))
    expected = math.log(2 * float((second @ first).sum()))
    assert synflow.measure(candidate(module, torch.zeros(2, 1, 2, 2))) == pytest.approx(expected)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_synflow_of_what_no_double_holds_is_the_end_of_its_range(size: float) -> None:
    """A flow that vanishes or overflows has the least or the greatest logarithm."""
    module = nn.Sequential(nn.Flatten(), *(nn.Linear(4, 4, False) for _ in range(3))).double()
    for weight in module.parameters():
        nn.init.constant_(weight, size)
    value = synflow.measure(candidate(module, torch.zeros(2, 1, 2, 2)))
    assert value == (synflow.NOT_FINITE if size > 1 else math.log(synflow.LEAST))


def test_naswot_is_the_log_determinant_of_shared_bits() -> None:
    """On a network of ReLUs it is the paper's: log |number of units at which codes agree|."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
    images = torch.randn(6, 1, 2, 2)
    hidden = module[1](images.flatten(1))
    codes = torch.cat([hidden > 0, module[3](hidden.relu()) > 0], 1)
    kernel = (codes[:, None] == codes[None]).sum(2).double()
    expected = float(torch.linalg.slogdet(kernel).logabsdet)
    assert naswot.measure(candidate(module, images)) == pytest.approx(expected)


def test_images_that_nothing_tells_apart_have_a_value() -> None:
    """Of equal images NASWOT is log N_A N of one eigenvalue, not minus infinity; unitless is 0."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.SiLU())
    value = naswot.measure(candidate(module, torch.ones(4, 1, 2, 2)))
    assert value == pytest.approx(math.log(8 * 4))
    assert naswot.measure(candidate(nn.Flatten(), torch.ones(4, 1, 2, 2))) == 0


def test_a_constant_network_has_the_worst_jacobian() -> None:
    """Where logits hang on no pixel all images count as alike."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(flat[1].weight)
    images = torch.randn(4, 1, 2, 2)
    worst = jacob_cov.measure(candidate(flat, images))
    better = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    assert math.isfinite(worst)
    assert jacob_cov.NOT_FINITE < worst < jacob_cov.measure(candidate(better, images))


def test_what_is_not_finite_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that overflows, and a network too large for the memory, count as said."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.constant_(module[1].weight, math.inf)
    assert not math.isfinite(grad_norm.measure(candidate(module, torch.randn(2, 1, 2, 2))))
    for outcome in (math.nan, math.inf, MemoryError()):

        def ends(_: Candidate, outcome: Any = outcome) -> float:
            if isinstance(outcome, Exception):
                raise outcome
            return float(outcome)

        monkeypatch.setattr(grad_norm, "measure", ends)
        assert measure("grad_norm", small_network("mixconv"), batch()) == grad_norm.NOT_FINITE


def test_batches_are_of_train_images_only() -> None:
    """The same images each time; validation and test are never read."""

    def closed(_: int) -> Any:
        raise AssertionError("read")

    digits = load("digits")
    hidden = {name: Split(digits.splits[name].labels, closed) for name in ("validation", "test")}
    data = replace(digits, splits={**digits.splits, **hidden})
    first, again = (Batches(lambda: data, 3).at(8) for _ in range(2))
    assert first.images.shape == (64, 1, 8, 8)
    assert torch.equal(first.images, again.images)
    assert abs(float(first.images.mean())) < 0.2
    assert not torch.equal(first.labels, Batches(lambda: data, 4).at(8).labels)


def test_an_oracle_describes_networks_by_their_proxies() -> None:
    """`describe` gives the features in their order, measured once; () without any."""
    subject, values = Subject(tiny(), 1, 10), tiny().draw(random.Random(0))
    asked: list[int] = []

    def data() -> DataSet:
        asked.append(1)
        return load("digits")

    features = Features(("macs", "naswot"), data)
    oracle = SpaceOracle(subject, Limits(), Objective(50_000), features)
    first, second = oracle.describe(values), oracle.describe(dict(values))
    assert first is second
    assert (first[0], len(first), len(asked)) == (subject.cost(values).macs, 2, 1)
    assert SpaceOracle(subject, Limits(), Objective(50_000)).describe(values) == ()


numbers = st.lists(st.integers(0, 6), min_size=12, max_size=24)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_correlations_are_scipys(data: st.DataObject) -> None:
    """Spearman's and Kendall's tau-b are those of scipy, ties included, inside their intervals."""
    metric = data.draw(numbers)
    own = data.draw(st.lists(st.integers(0, 6), min_size=len(metric), max_size=len(metric)))
    found = {one.name: one for one in compare(table(own, own, own), metric)}["naswot"]
    if len(set(metric)) == 1 or len(set(own)) == 1:
        assert found.spearman is found.kendall is None
        return
    assert found.spearman is not None
    assert found.kendall is not None
    assert found.spearman.value == pytest.approx(spearmanr(own, metric)[0])
    assert found.kendall.value == pytest.approx(kendalltau(own, metric)[0])
    assert -1 - 1e-9 <= found.spearman.low <= found.spearman.high <= 1 + 1e-9


def table(naswot: Any, macs: Any, params: Any) -> dict[str, ProxyValues]:
    """Return what was measured, in a second each."""
    named = {"naswot": naswot, "macs": macs, "params": params}
    return {name: ProxyValues(list(map(float, values)), 1.0) for name, values in named.items()}


RISING = list(range(30))
NOISE = random.Random(0).sample(RISING, 30)


@pytest.mark.parametrize(
    ("own", "macs", "verdict"),
    [
        (RISING, NOISE, "helps"),
        (RISING, [1] * 30, "helps"),
        (RISING, RISING, "no better than macs"),
        (RISING[::-1], RISING, "misleads"),
        (NOISE, RISING, "no relation shown"),
        ([1] * 30, RISING, "nothing to rank"),
    ],
)
def test_verdicts_say_what_the_intervals_allow(own: Any, macs: Any, verdict: str) -> None:
    """A proxy helps where it is surely better than both baselines, and misleads where it falls."""
    found = {one.name: one for one in compare(table(own, macs, [2] * 30), RISING)}
    assert found["naswot"].verdict == verdict
    assert found["macs"].verdict.startswith("baseline: ")


def test_few_trials_allow_no_verdict() -> None:
    """With nine networks it says so, however well they are ranked; with one nothing breaks."""
    for count in (1, 9):
        some = RISING[:count]
        verdicts = [one.verdict for one in compare(table(some, some, some), some)]
        assert verdicts == [f"too few trials: {count} of at least 10"] * 3


def run(*words: str) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(app, list(words))


def attributes(folder: Path) -> list[dict[str, Any]]:
    """Return the user attributes of the tiny study's trials."""
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/nas.db")
    return [trial.user_attrs for trial in study.trials]


def test_a_search_opens_with_what_the_proxy_ranks_best(tmp_path: Path) -> None:
    """Trial by trial, after resuming and with any sampler; then `nas proxies` compares."""
    words = arguments(tmp_path, trials=2, epochs=1, prefilter="naswot", sampler="random", workers=0)
    result(nas_here("search", *words, "--json"))
    store = ["--store", f"sqlite:///{tmp_path}/nas.db"]
    assert (
        run("resume", "--study", "tiny", "--trials", "4", "--workers", "0", *store).exit_code == 0
    )
    promises = [each["proxy_naswot"] for each in attributes(tmp_path)]
    assert promises == sorted(promises, reverse=True)
    picture = tmp_path / "pictures" / "proxies.svg"
    said = run("proxies", "--proxies", "naswot", "--out", str(picture), *store, "--json")
    report = json.loads(said.stdout.splitlines()[-1])
    by_name = {one["name"]: one for one in report["comparisons"]}
    assert set(by_name) == {"naswot", "macs", "params"}
    assert sorted(by_name["naswot"]["values"]) == sorted(promises)
    assert by_name["naswot"]["verdict"] == "too few trials: 4 of at least 10"
    assert "NASWOT" in picture.read_text().upper()
    said = run("proxies", "--study", "tiny", "--proxies", "macs", *store)
    assert "too few trials" in said.stdout
    refused = run("search", *arguments(tmp_path, trials=2, epochs=1, prefilter="synflow"))
    assert (refused.exit_code, "another" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prefilter", "naswat"], "No proxy named 'naswat'. Did you mean 'naswot'?"),
        (["--sampler", "nas", "--features", "naswot,flow"], "No proxy named 'flow'."),
        (["--sampler", "tpe", "--features", "naswot"], "--features are for --sampler nas"),
    ],
)
def test_what_has_no_effect_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    """A wrong proxy, or features that no sampler looks at: one line, exit code 2, no study."""
    ended = run("search", *arguments(tmp_path), *words)
    assert (ended.exit_code, said in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "nas.db").exists()


def test_the_report_needs_a_study_and_proxies_that_exist(tmp_path: Path) -> None:
    """Exit code 2 and the rule; nothing is measured."""
    none = ["--store", f"sqlite:///{tmp_path}/none.db"]
    for words in (["--out", "p.pdf"], none):
        assert run("proxies", *words).exit_code == 2
    ended = nas("proxies", "--proxies", "flow", cwd=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
