"""Every registered sampler passes the test cases that Optuna ships for samplers."""

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase

from nas import samplers
from nas.errors import UserError
from nas.samplers.tpe import ProposingTPESampler


class TestBasic(BasicSamplerTestCase):
    """Optuna's cases for every sampler."""

    @pytest.fixture(params=samplers.names())
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        """Return what makes the sampler under test."""
        return lambda: samplers.get(request.param, seed=0)


class TestRelativeTPE(RelativeSamplerTestCase):
    """Optuna's cases for samplers that look at several parameters at once, from trial 0 on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        """Return what makes the sampler under test."""
        return lambda: ProposingTPESampler(n_startup_trials=0, multivariate=True, seed=0)


def test_the_grid_tries_everything_once_before_anything_twice() -> None:
    """Of two parameters with 3 and 4 choices, 12 trials are all 12 assignments."""
    study = optuna.create_study(sampler=samplers.get("grid", seed=1))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kernels", ["3", "5", "3.5"])
        return float(trial.suggest_categorical("width", [8, 16, 24, 32]))

    study.optimize(objective, n_trials=12)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 12


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    """The message lists what there is."""
    with pytest.raises(UserError, match=r"No sampler named 'cma'.*grid, .*random, tpe"):
        samplers.get("cma", seed=0)
