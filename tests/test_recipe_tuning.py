"""The tuning of the default recipes: how a change is compared and chosen, what the docs say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_kit import ROOT

from benchmarks import recipe_tables, recipe_tuning
from benchmarks.recipe_tuning import BASE, BEFORE, CHANGES, SETS, SHOWN, Part, Row, divided
from nas.training.recipes import compose

NOWHERE = Path("nowhere")  # the digits need no folder
PAGE = (ROOT / "docs" / "guides" / "recipes.md").read_text()
Scores = dict[tuple[str, str], float]


def rows_of(scores: Scores) -> list[Row]:
    """Return a training for each set and recipe, with this accuracy, AUROC and log loss."""
    return [
        {
            "set": part,
            "network": "small",
            "recipe": recipe,
            "seed": 0,
            "curve": [{"loss": 1.5 - score, "accuracy": score, "auroc": score}],
            "distorted": {"loss": 1.5 - score, "accuracy": score, "auroc": score},
        }
        for (part, recipe), score in scores.items()
    ]


def test_every_change_is_another_recipe() -> None:
    """Each change gives a valid recipe, and no two of them the same."""
    data = divided(Part("digits", 200), NOWHERE)
    base = recipe_tuning.fewer_epochs(compose(data, BASE, words=BEFORE))
    assert len({change(base).hash for change in CHANGES.values()}) == len(CHANGES)


def test_as_many_images_in_batches_of_another_size() -> None:
    """A change of the batch keeps the number of images, and scales the rate by the root."""
    base = compose(divided(Part("digits", 200), NOWHERE), BASE, words=BEFORE)
    changed = CHANGES["batches of 32, as many images"](base)
    assert changed.epoch_updates * changed.batch_size == base.epoch_updates * base.batch_size
    assert changed.learning_rate == pytest.approx(base.learning_rate / 2**0.5)


def test_a_training_in_fewer_epochs_is_as_long() -> None:
    """Fewer validations change neither the updates nor the share of the warm-up."""
    base = compose(divided(Part("digits", 200), NOWHERE), BASE, words=BEFORE)
    fewer = recipe_tuning.fewer_epochs(base)
    assert fewer.epochs * fewer.epoch_updates == base.epochs * base.epoch_updates
    assert fewer.warmup_epochs / fewer.epochs == base.warmup_epochs / base.epochs


@given(train=st.integers(50, 900), scored=st.integers(50, 450))  # of 1,437 images
def test_test_images_are_never_used(train: int, scored: int) -> None:
    """A set has as many images as it says, each class in proportion, and no test split."""
    data = divided(Part("digits", train, scored), NOWHERE)
    assert set(data.splits) == {"train", "validation"}
    assert len(data.splits["train"]) == pytest.approx(train, abs=10)
    assert len(data.splits["validation"]) == pytest.approx(scored, abs=10)


@given(
    st.fixed_dictionaries(
        {(part, name): st.floats(0.5, 0.999) for part in SETS for name in [*CHANGES][:4]}
    ),
    st.sampled_from([*SETS]),
    st.floats(0.5, 0.999),
)
def test_a_set_that_is_left_out_does_not_choose(scores: Scores, part: str, other: float) -> None:
    """A change is chosen by the other sets alone, for a gain there that is not negative."""
    change, gain, _ = recipe_tables.left_out(recipe_tables.gains(rows_of(scores)), part)
    scores = {place: other if place[0] == part else score for place, score in scores.items()}
    again = recipe_tables.left_out(recipe_tables.gains(rows_of(scores)), part)
    assert again[:2] == (change, gain)
    assert gain >= 0


def test_gains_are_of_errors() -> None:
    """Half of the error is a gain of log 2, whichever way it is measured."""
    rows = rows_of({("digits 690", BASE): 0.8, ("digits 690", [*CHANGES][1]): 0.9})
    found = recipe_tables.gains(rows)[[*CHANGES][1]]["digits 690"]
    assert found[0]["accuracy"] == pytest.approx(0.69, abs=0.01)
    assert found[0]["loss"] == pytest.approx(0.154, abs=0.001)
    assert found[0].keys() == {*SHOWN, recipe_tables.DISTORTED}


def test_the_docs_show_what_was_measured() -> None:
    """The guide's tables are those of the trainings that are committed."""
    for table in recipe_tables.tables(recipe_tuning.read()):
        assert "\n".join(table) in PAGE
