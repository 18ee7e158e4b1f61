"""The scalarised objective: worked examples, and what it refuses."""

import json
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.objective import Objective, objective

FACTS = Path(__file__).parents[2] / "shared/reference/facts.json"


@pytest.mark.parametrize(
    ("kind", "case"),
    [("soft", "soft T=80 acc=.5"), ("hard", "hard T=80 acc=.5 (alpha 0, beta -1)")],
)
def test_scores_are_those_of_the_worked_examples(kind: str, case: str) -> None:
    """Accuracy 0.5 at a target of 80: the reference's scores for 40 to 160, to its four digits."""
    if not FACTS.exists():
        pytest.skip("needs ../shared/reference, which is not here")
    expected = json.loads(FACTS.read_text())["reward"][case]
    scored = objective(80, kind)
    assert {macs: round(scored.score(0.5, int(macs)), 4) for macs in expected} == expected


def test_on_the_target_the_score_is_the_metric() -> None:
    """A network that costs exactly the target scores what it measures, soft or hard."""
    assert [objective(2e6, kind).score(0.9, 2_000_000) for kind in ("soft", "hard")] == [0.9, 0.9]


def test_soft_rewards_cheap_networks_and_hard_does_not() -> None:
    """Half the cost raises a soft score by 5 % and leaves a hard one alone."""
    assert objective(100, "soft").score(0.5, 50) == pytest.approx(0.5 * 2**0.07)
    assert objective(100, "hard").score(0.5, 50) == 0.5


def test_pareto_scores_as_soft_does() -> None:
    """A study that is after the front prunes and ranks by the soft score, of the same weight."""
    soft, pareto = objective(100, "soft"), objective(100, "pareto")
    assert [pareto.score(0.5, m) for m in (50, 200)] == [soft.score(0.5, m) for m in (50, 200)]
    assert Objective(**pareto.to_json()) == pareto != soft


def test_a_weight_of_zero_leaves_the_metric_alone() -> None:
    """With w = 0 cost does not enter the score."""
    assert objective(100, "soft", 0).score(0.5, 10**9) == 0.5


def test_the_formula_is_printed_with_its_numbers() -> None:
    """The printed formula holds target and weight, and says where a hard one is flat."""
    soft = objective(2e6, "soft").describe()
    assert soft == "accuracy x (FLOPs / T)^w, T = 2,000,000, w = -0.07"
    assert objective(5, "hard").describe("auroc") == (
        "auroc x (FLOPs / T)^w, T = 5, w = -1, 0 at or under T"
    )
    assert objective(5, "pareto").describe("auroc") == (
        "auroc x (FLOPs / T)^w, T = 5, w = -0.07; after the front of auroc and FLOPs"
    )


@pytest.mark.parametrize("target", [0, 0.5, -3, float("nan"), float("inf"), True])
def test_a_target_that_is_no_positive_number_is_refused(target: float) -> None:
    """The message names the rule and the value."""
    with pytest.raises(UserError, match="at least 1, such as 2M, not"):
        objective(target)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """A misspelt kind names those there are."""
    with pytest.raises(UserError, match=r"Did you mean 'soft'.*hard, pareto, soft"):
        objective(5, "sofd")


@pytest.mark.parametrize("weight", [0.1, -11.0, float("nan")])
def test_a_weight_that_rewards_cost_is_refused(weight: float) -> None:
    """A weight above 0, absurdly far below it, or no number at all names the range."""
    with pytest.raises(UserError, match="between -10 and 0"):
        objective(5, "soft", weight)
