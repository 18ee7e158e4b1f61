"""Every registered sampler passes the test cases that Optuna ships for samplers."""

from collections.abc import Callable

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


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    """The message lists what there is."""
    with pytest.raises(UserError, match=r"No sampler named 'cma'.*random, tpe"):
        samplers.get("cma", seed=0)
