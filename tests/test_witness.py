"""Noise that is known, and the log loss as a second witness, in what the nas sampler believes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from search_kit import arguments, nas_here, result
from test_nas_sampler import oracle, tiny

from benchmarks.search.oracle import WholeTable
from benchmarks.search.table import read
from nas.samplers import _record
from nas.samplers._witness import FEWEST, OWN, heard
from nas.samplers.nas import NasSampler, _observe, expectations
from nas.store import queries
from nas.training import metrics
from nas.training.metrics.predictions import Predictions
from nas.training.reports import gain_error

TABLE = Path(__file__).parent.parent / "studies" / "mixconv-digits-288" / "table.csv"
IMAGES, TRIALS, SEEDS = 78, 30, 12
Known = Sequence[str]


@dataclass
class Noisy:
    """A table whose networks are scored on few images, the same for all of them.

    `accuracy`: the networks' true ones. An image's difficulty is half common to all networks and
    half a network's own; a network's probabilities are calibrated in its own way.
    """

    seed: int
    table: Any = field(default_factory=lambda: read(TABLE))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.rows = [self.table.assignment(row) for row in range(len(self.table))]
        self.index = {tuple(row.values()): at for at, row in enumerate(self.rows)}
        self.accuracy = self.table.test / 100
        shape = (len(self.rows), IMAGES)
        own, common = rng.normal(size=shape), rng.normal(size=IMAGES)
        margins = norm.ppf(self.accuracy)[:, None] + np.sqrt(0.5) * (own + common)
        slopes = 2 * np.exp(0.15 * rng.normal(size=(len(self.rows), 1)))
        self.scores = (margins > 0).mean(1)
        self.losses = np.log1p(np.exp(-slopes * margins)).mean(1)

    def regret(self, known: Known) -> tuple[float, float]:
        """Search; return how much less accurate than the best the expected best is, and the mean
        of the model's proposals.
        """
        table = WholeTable(self.rows)
        study = optuna.create_study(
            direction="maximize", sampler=NasSampler(self.seed, oracle=table)
        )
        tried = []
        for _ in range(TRIALS):
            trial = study.ask(dict(table.distributions))
            at = self.index[tuple(trial.params[name] for name in self.rows[0])]
            tried.append(at)
            score = float(self.scores[at])
            error = max(np.sqrt(score * (1 - score) / IMAGES), 1 / IMAGES)
            told = {"metric_error": float(error), "loss": float(self.losses[at])}
            trial.set_user_attr("metrics", {name: told[name] for name in known})
            study.tell(trial, score)
        expected = expectations(study, table, random.Random(0))
        best = self.index[max(expected, key=lambda key: expected[key])]
        top = self.accuracy.max()
        return top - self.accuracy[best], top - self.accuracy[tried[6:]].mean()


def test_regret_is_not_worse_where_noise_is_known() -> None:
    """On 78 images, over seeds: known noise does no harm, and the log loss brings networks that are
    better by far.
    """
    tables = [Noisy(seed) for seed in range(SEEDS)]
    nothing, noise, both = (
        np.mean([table.regret(known) for table in tables], axis=0)
        for known in ([], ["metric_error"], ["metric_error", "loss"])
    )
    assert (noise < nothing + 0.002).all()
    assert (both < nothing).all()


def test_names_of_what_is_stored() -> None:
    """The sampler looks for the names under which a training stores its numbers."""
    assert _record.ERROR == metrics.ERROR
    assert _record.LOSS in metrics.FACTS


VALUES = st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.05, 2)), min_size=1, max_size=30)


@given(VALUES)
def test_nothing_changes_where_nothing_is_known(values: list[tuple[float, float]]) -> None:
    """Without errors metrics and variances stay; without losses the metrics do."""
    scores, losses = map(np.array, zip(*values, strict=True))
    none, errors = np.zeros(len(scores)), np.full(len(scores), 0.1)
    told = heard(scores, none, losses)
    assert (told.metrics == scores).all()
    assert (told.variances == 0).all()
    told = heard(scores, errors, np.full(len(scores), np.nan))
    assert (told.metrics == scores).all()
    assert told.variances == pytest.approx(OWN * errors**2)


@given(VALUES, st.floats(1e-4, 1.0))
def test_a_metric_moves_to_the_line_and_not_beyond(
    values: list[tuple[float, float]], error: float
) -> None:
    """The less is noise, the less a metric moves; the variance falls to half at most."""
    scores, losses = map(np.array, zip(*values, strict=True))
    errors = np.full(len(scores), error)
    told, surer = heard(scores, errors, losses), heard(scores, errors / 2, losses)
    moved, less = np.abs(told.metrics - scores), np.abs(surer.metrics - scores)
    assert (less <= moved + 1e-9).all()
    assert (told.variances <= OWN * errors**2 + 1e-12).all()
    assert (told.variances >= OWN * errors**2 / 2 - 1e-12).all()
    if len(scores) < FEWEST:
        assert (told.metrics == scores).all()


def test_the_error_is_that_of_the_score() -> None:
    """The metric's error counts in the score by the cost's factor, for whole trainings alone."""
    known = oracle(weight=-1.0)
    study = optuna.create_study(direction="maximize")
    rng = random.Random(0)
    for number in range(4):
        values = known.draw(rng)
        metrics_ = {"metric_error": 0.02} if number % 2 else {}
        names = {p.name: p for p in tiny().parameters()}
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(values),
                distributions={
                    name: optuna.distributions.CategoricalDistribution(names[name].choices)
                    for name in values
                },
                value=number / 10,
                user_attrs={"metrics": metrics_},
            )
        )
    known.record.read(study, study.trials, known.identify, known.factor)
    seen = sorted(_observe(known, random.Random(0)), key=lambda each: each.score)
    extra = [OWN * (0.02 * each.look.factor) ** 2 * (at % 2) for at, each in enumerate(seen)]
    assert [each.extra for each in seen] == pytest.approx(extra)
    assert all(each.whole for each in seen)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auroc", "log_loss"])
def test_the_error_of_a_metric(name: str) -> None:
    """It is the spread of the metric over many samples of as many images."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    drawn = [
        Predictions(rng.normal(labels[:, None] * [-0.7, 0.7], 1.0), labels) for _ in range(300)
    ]
    row = metrics.metric(name)
    spread = float(np.std([row.gain(row.value(each)) for each in drawn]))
    assert np.mean([gain_error(each, name) for each in drawn[:30]]) == pytest.approx(
        spread, rel=0.2
    )
    sure = Predictions(np.eye(2)[labels] * 50, labels)
    assert gain_error(sure, name) == 0.01


def test_a_search_stores_the_error_of_its_metric(tmp_path: Path) -> None:
    """A trained trial has it beside its metrics, where the sampler finds it."""
    result(nas_here("search", *arguments(tmp_path, trials=1, workers=0), "--json"))
    with queries.connect(f"sqlite:///{tmp_path}/nas.db") as connection:
        info = queries.study(connection, "tiny")
        (trial,) = queries.trials(connection, info.id)
    assert 0 < (trial.metrics["metric_error"] or 0.0) < 0.1
