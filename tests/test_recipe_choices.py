"""A space's recipe section: values of the recipe that a search finds, and no part of a network."""

import json
import random
import signal
from collections import Counter
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import table_kit
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import nas_here, result
from space_strategies import search_spaces
from test_search import until

from nas.architecture import Architecture, Value
from nas.config import Config, Finals
from nas.errors import SpaceError, UserError
from nas.objective import Objective
from nas.search_space import Choice, SearchSpace, block, choice, stage
from nas.store import queries
from nas.store.queries import TrialInfo
from nas.store.records import CurvePoint
from nas.store.store import Store
from nas.study.evaluator import Result, TrialControl
from nas.study.finalists import final_config, ranking
from nas.study.worker import WorkOrder, assemble
from nas.training import recipe_choices, recipe_file
from nas.training.recipe import Recipe

SCHEMA = json.loads(resources.files("nas.search_space").joinpath("schema.json").read_text())
POOL: dict[str, tuple[Value, ...]] = {
    "augmentation.randaugment": (0, 1, 2, 4),
    "augmentation.randaugment_magnitude": (3, 5.5, 9),
    "augmentation.trivialaugment": (False, True),
    "optimiser.learning_rate": (1e-3, 3e-3, 0.01),
    "optimiser.name": ("adamw", "sgd"),
    "regularisation.dropout": (0.0, 0.2, 0.5),
}
DROPOUT, RANDAUGMENT = "regularisation.dropout", "augmentation.randaugment"
RECIPE = {DROPOUT: choice(0.0, 0.3), RANDAUGMENT: choice(0, 1, 2)}
SPACE = SearchSpace(
    name="chosen",
    resolution=8,
    stem=stage(block("conv"), width=8),
    stages=[stage(block("mbconv", expansion=choice(2, 3)), width=choice(8, 16), stride=2)],
    recipe=RECIPE,
)
FILE = """
from nas.search_space import SearchSpace, block, choice, stage

SPACE = SearchSpace(
    name="chosen",
    resolution=8,
    stem=stage(block("conv"), width=8),
    stages=[stage(block("mbconv", expansion=choice(2, 3)), width=choice(8, 16), stride=2)],
    recipe={RECIPE},
)
"""
CHOICES = '{"regularisation.dropout": choice(0.0, 0.3), "augmentation.randaugment": choice(0, 1)}'
SAMPLERS = ("evolution", "gp", "grid", "local_search", "nas", "nsga2", "random", "tpe")


@st.composite
def recipe_sections(draw: Any) -> dict[str, Choice]:
    """Draw some choices of recipe values."""
    keys = draw(st.lists(st.sampled_from(sorted(POOL)), min_size=1, max_size=3, unique=True))
    options = st.integers(1, 3)
    return {key: choice(*POOL[key][: draw(options)]) for key in keys}


@given(search_spaces(), recipe_sections())
@settings(max_examples=30, deadline=None)
def test_the_section_survives_json(drawn: SearchSpace, recipe: dict[str, Choice]) -> None:
    """A space with a recipe section is the same after JSON, which follows the published schema."""
    space = replace(drawn, recipe=recipe)
    written = json.loads(json.dumps(space.to_json()))
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    assert SearchSpace.from_json(written) == space
    assert "recipe" not in drawn.to_json()


@given(search_spaces(), recipe_sections(), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_recipe_values_are_no_part_of_the_network(
    drawn: SearchSpace, recipe: dict[str, Choice], seed: int
) -> None:
    """Whatever the recipe's values, an assignment decodes to the network of its other values."""
    space = replace(drawn, recipe=recipe)
    values = space.sample(random.Random(seed))
    found = space.recipe_values(values)
    bare = {name: value for name, value in values.items() if not name.startswith("recipe.")}
    assert {name: value for name, value in values.items() if name not in bare} == {
        f"recipe.{key}": value for key, value in found.items()
    }
    assert space.decode(values) == drawn.decode(bare)
    encoded = space.encode(space.decode(values), found)
    assert (space.decode(encoded), space.recipe_values(encoded)) == (space.decode(values), found)
    times = 1
    for each in recipe.values():
        times *= len(each.options)
    assert space.size() == times * drawn.size()


def test_a_neighbour_differs_in_network_or_recipe() -> None:
    """Of the neighbours some have another network, the others another recipe, none both."""
    values = SPACE.draw(random.Random(0))
    own = SPACE.decode(values).id, SPACE.recipe_values(values)
    changed = Counter(
        (SPACE.decode(each).id != own[0], SPACE.recipe_values(each) != own[1])
        for each in SPACE.neighbours(values)
    )
    assert changed == {(True, False): 2, (False, True): 3}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({DROPOUT: 0.3}, "a choice of values, not 0.3"),
        ({DROPOUT: choice(0.0, 0.3, name="rate")}, "no name and no labels"),
        ({DROPOUT: choice(0.0, 0.3, labels=("a", "b"))}, "no name and no labels"),
        ({DROPOUT: choice(0.3, 0.3)}, "is there twice"),
        ({DROPOUT: choice()}, "at least one option"),
        ({DROPOUT: choice(None, 0.1)}, "text, numbers or true/false, not None"),
        ({"": choice(1, 2)}, "recipe.: a recipe's key is"),
        ([DROPOUT], "recipe is a mapping of a recipe's keys"),
    ],
)
def test_a_section_of_another_form_is_refused(section: Any, message: str) -> None:
    """A space can't be made of it, and the message says where and why."""
    with pytest.raises(SpaceError, match=message):
        replace(SPACE, recipe=section)


def test_a_value_is_one_of_its_choices() -> None:
    """An assignment without a recipe's value, or with another one, has none."""
    with pytest.raises(SpaceError, match=r"recipe\.regularisation\.dropout has no value"):
        SPACE.recipe_values({})
    with pytest.raises(SpaceError, match=r"is one of 0\.0, 0\.3, not 0\.1"):
        SPACE.recipe_values({f"recipe.{DROPOUT}": 0.1, f"recipe.{RANDAUGMENT}": 1})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('{"training.epochs": choice(2, 3)}', "no choice: all trials share training.epochs,"),
        ('{"training.metric": choice("auroc", "accuracy")}', "no choice: all trials share"),
        ('{"regularisation.drop": choice(0, 0.1)}', "Did you mean 'dropout'?"),
        ('{"dropout": choice(0, 0.1)}', "No table of a recipe named 'dropout'."),
        ('{"regularisation.dropout": choice(0, 2)}', "dropout = 2: A recipe's dropout is 0 to"),
        ('{"augmentation.randaugment": choice(1, 1.5)}', "is a whole number, not 1.5"),
        ('{"optimiser.name": choice("sgd", "x")}', "No optimiser named 'x'."),
        ('{"augmentation.hue": choice(0, 0.1)}', "hue needs 3 channels"),
        ('{"augmentation.flip": choice(False, True)}', "'digits' forbids"),
        ('{"regularisation.dropout": 0.1}', "a choice of values, not 0.1"),
    ],
)
def test_a_search_refuses_values_that_no_recipe_can_have(
    tmp_path: Path, section: str, message: str
) -> None:
    """The search ends with one message and status 2 before anything is written."""
    run = search(tmp_path, section)
    assert run.returncode == 2
    assert message in " ".join(run.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["chosen.py"]


def test_a_value_is_set_or_chosen(tmp_path: Path) -> None:
    """--set for a value that the space chooses is refused."""
    run = search(tmp_path, CHOICES, "--set", "regularisation.dropout=0.1")
    assert run.returncode == 2
    assert "the space chooses regularisation.dropout itself" in " ".join(run.stderr.split())


def search(folder: Path, section: str, *words: str) -> Any:
    """Run a small search of the digits in a space with a recipe section."""
    (folder / "chosen.py").write_text(FILE.replace("{RECIPE}", section))
    options = {
        "space": folder / "chosen.py", "data": "digits", "target-flops": "25k", "trials": 6,
        "epochs": 1, "workers": 0, "study": "found", "pruner": "none", "sampler": "random",
        "store": f"sqlite:///{folder}/nas.db", "out": folder / "studies",
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return nas_here("search", *given, *words, "--json")


class Formula:
    """An evaluator whose metric is best at a dropout of 0.3 and two operations of RandAugment."""

    def get_ready(self) -> None:
        """Load nothing."""

    def evaluate(self, architecture: Architecture, fidelity: int, control: TrialControl) -> Result:
        """Report a metric that depends on the architecture, the recipe and the epoch."""
        for epoch in range(1, fidelity + 1):
            metrics = {"accuracy": accuracy(architecture.id, control.recipe, epoch)}
            control.report(CurvePoint(epoch=epoch, metrics=metrics), False)
        return Result(metrics=metrics, seconds=0.0)


def accuracy(architecture_id: str, recipe: Recipe, epoch: int) -> float:
    """Return the metric of an architecture under a recipe, after an epoch."""
    worth = int(architecture_id, 16) / 16**16
    found = recipe.dropout + 0.2 * float(recipe.augmentation.get("randaugment", 0))
    return round((0.3 * worth + found) * (1 - 0.5**epoch), 6)


def run(folder: Path, trials: int | None, **changes: Any) -> tuple[Config, list[TrialInfo]]:
    """Run a study of `SPACE` with the formula in this process; return it and its trials."""
    url = f"sqlite:///{folder}/nas.db"
    options: dict[str, Any] = {"pruner": "none", "objective": Objective(30_000), "in_channels": 1}
    config = table_kit.study(url, folder, **{"space": SPACE, **options, **changes})
    with closing(Store.open(url)) as store:
        order = WorkOrder(url, table_kit.STUDY, worker="one", trials=trials)
        assemble(order, store, evaluator=Formula()).run()
        with store.read() as connection:
            study_id = queries.study(connection, table_kit.STUDY).id
            return config, queries.trials(connection, study_id)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_tries_recipes_as_it_tries_networks(tmp_path: Path, sampler: str) -> None:
    """All 24 pairs of network and recipe are evaluated, each once and under its own recipe."""
    config, trials = run(tmp_path, None, sampler=sampler)
    own = [trial for trial in trials if trial.reused_from is None]
    assert len(own) == SPACE.size() == 24
    assert len({(trial.architecture_id, trial.recipe_hash) for trial in own}) == 24
    assert len({trial.architecture_id for trial in own}) == 4
    for trial in own:
        recipe = recipe_file.changed(config.recipe, trial.recipe)
        assert recipe.hash == trial.recipe_hash
        assert trial.metrics["accuracy"] == accuracy(trial.architecture_id, recipe, 9)


def test_the_best_trials_are_of_different_networks(tmp_path: Path) -> None:
    """Of each network the best shows its best recipe."""
    run(tmp_path, None)
    with queries.connect(f"sqlite:///{tmp_path}/nas.db") as connection:
        study_id = queries.study(connection, table_kit.STUDY).id
        best = queries.best(connection, study_id, 10)
    assert len({trial.architecture_id for trial in best}) == len(best) == 4
    assert all(trial.recipe == {DROPOUT: 0.3, RANDAUGMENT: 2} for trial in best)


def test_a_promoted_trial_goes_on_under_its_recipe(tmp_path: Path) -> None:
    """On a ladder a network with another recipe is another one; its values rise with it."""
    _, trials = run(tmp_path, 12, pruner="successive_halving")
    rungs = {trial.fidelity for trial in trials}
    assert rungs == {1, 3, 9}
    first = {(t.architecture_id, t.recipe_hash): t.recipe for t in trials if t.fidelity == 1}
    assert len(first) == 12
    for trial in trials:
        assert first[trial.architecture_id, trial.recipe_hash] == trial.recipe


def test_a_warm_start_recalls_recipes_too(tmp_path: Path) -> None:
    """A study begins with the evaluations of another whose recipe is one that it may choose."""
    config, trials = run(tmp_path, 6)
    url = f"sqlite:///{tmp_path}/nas.db"
    with closing(Store.open(url)) as store:
        warm = replace(config, warm_start=True)
        store.create_study("warm", warm.to_json())
        order = WorkOrder(url, "warm", worker="two", trials=1)
        assemble(order, store, evaluator=Formula()).run()
        with store.read() as connection:
            again = queries.trials(connection, queries.study(connection, "warm").id)
    *recalled, begun = again
    assert {t.evaluation_id for t in recalled} == {t.evaluation_id for t in trials}
    assert begun.reused_from is None


def test_a_recipe_is_recognised_by_its_values() -> None:
    """The values that make a recipe of another one are found again, any where they do nothing."""
    base = Recipe("digits", "0" * 16, 4)
    options = {DROPOUT: (0.0, 0.3), RANDAUGMENT: (0, 2), f"{RANDAUGMENT}_magnitude": (3, 5)}
    with_it = {DROPOUT: 0.3, RANDAUGMENT: 2, f"{RANDAUGMENT}_magnitude": 5}
    assert recipe_choices.chosen(options, base, recipe_file.changed(base, with_it)) == with_it
    without = {DROPOUT: 0.3, RANDAUGMENT: 0, f"{RANDAUGMENT}_magnitude": 5}
    found = recipe_choices.chosen(options, base, recipe_file.changed(base, without))
    assert found == without | {f"{RANDAUGMENT}_magnitude": 3}
    assert recipe_choices.chosen(options, base, replace(base, dropout=0.1)) is None
    assert recipe_choices.chosen(options, base, replace(base, epochs=5)) is None
    with pytest.raises(UserError, match="No key"):
        recipe_file.changed(base, {"optimiser.rate": 0.1})


def test_a_killed_trial_goes_on_under_its_recipe(tmp_path: Path) -> None:
    """Another worker takes the trial over, with its values, from its last epoch."""
    url = f"sqlite:///{tmp_path}/nas.db"
    table_kit.study(url, tmp_path, space=SPACE, pruner="none", in_channels=1)
    first = table_kit.start_worker(url, "first", trials=2, lease=0.5)

    def begun() -> TrialInfo | None:
        with queries.connect(url) as connection:
            trials = queries.trials(connection, queries.study(connection, table_kit.STUDY).id)
            run = [t for t in trials if queries.curve(connection, t.evaluation_id)]
        return run[0] if run else None

    until(begun)
    first.kill()
    first.join(60)
    assert first.exitcode == -signal.SIGKILL
    before = begun()
    second = table_kit.start_worker(url, "second", trials=2, lease=30.0)
    second.join(60)
    assert second.exitcode == 0
    after = begun()
    assert before is not None
    assert after is not None
    assert after.state == "complete"
    assert after.recipe == before.recipe
    assert set(after.recipe) == {DROPOUT, RANDAUGMENT}
    assert (after.recipe_hash, after.attempt) == (before.recipe_hash, before.attempt + 1)


def test_finalists_of_one_network_differ_in_their_recipes(tmp_path: Path) -> None:
    """Where recipes alone are searched, the finalists are the network's best recipes."""
    one = replace(SPACE, stages=[stage(block("mbconv"), width=8, stride=2)])
    config, _ = run(tmp_path, None, space=one)
    url = f"sqlite:///{tmp_path}/nas.db"
    with closing(Store.open(url)) as store:
        last = final_config(store, table_kit.STUDY, config, Finals(2, 2, config.recipe))
        assert last is not None
        name = Path(last.folder).name
        store.create_study(name, last.to_json(), recipes={last.recipe.hash: last.recipe.to_json()})
        assemble(WorkOrder(url, name, worker="two", trials=4), store, evaluator=Formula()).run()
        with store.read() as connection:
            standings = ranking(connection, table_kit.STUDY).standings
    assert [standing.trial.recipe for standing in standings] == [
        {DROPOUT: 0.3, RANDAUGMENT: 2}, {DROPOUT: 0.3, RANDAUGMENT: 1},
    ]  # fmt: skip
    assert [len(standing.trainings) for standing in standings] == [2, 2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the result of a small search of the digits with finalists."""
    folder = tmp_path_factory.mktemp("found")
    return folder, result(search(folder, CHOICES, "--finalists", "2", "--final-seeds", "2"))


def test_a_search_tells_the_recipe_that_it_found(found: tuple[Path, dict[str, Any]]) -> None:
    """Result, file, emitted code and `nas show` have the winner's values."""
    folder, told = found
    recipe = told["best"]["recipe"]
    assert set(recipe) == {DROPOUT, RANDAUGMENT}
    assert told["best"]["recipe"] == told["finalists"][0]["recipe"]
    written = json.loads((folder / "studies/found/result.json").read_text())
    assert written["best"]["recipe"] == recipe
    code = (folder / "studies/found/best/model.py").read_text()
    assert f"{DROPOUT} {recipe[DROPOUT]}\n" in code
    store = ("--store", f"sqlite:///{folder}/nas.db")
    number = str(told["best"]["trial"])
    assert (
        result(nas_here("show", "--trial", number, "--study", "found", *store, "--json"))["recipe"]
        == recipe
    )
    whole = result(nas_here("recipe", "show", f"found:{number}", *store, "--json"))
    assert whole["values"]["regularisation"]["dropout"] == recipe[DROPOUT]
    assert whole["values"]["augmentation"]["randaugment"] == recipe[RANDAUGMENT]
    shown = nas_here("show", "--trial", number, "--study", "found", *store).stdout.replace(
        "\n", " "
    )
    assert f"{DROPOUT}={recipe[DROPOUT]}" in shown


def test_a_finalist_is_trained_in_full_under_the_values_found(
    found: tuple[Path, dict[str, Any]],
) -> None:
    """Its recipe is the long one with the trial's values, with each seed."""
    folder, told = found
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        finals = queries.study(connection, "found-finalists")
        trials = queries.trials(connection, finals.id)
        recipes = [Recipe.from_json(queries.recipe(connection, t.recipe_hash)) for t in trials]
    assert len(trials) == 2 * len(told["finalists"]) == 4
    whole = Recipe.from_json(finals.config["recipe"])
    assert sorted(recipe.seed for recipe in recipes) == [0, 0, 1, 1]
    for trial, recipe in zip(trials, recipes, strict=True):
        assert recipe == recipe_file.changed(replace(whole, seed=recipe.seed), trial.recipe)
        assert recipe.dropout == trial.recipe[DROPOUT]


def test_the_verbs_of_spaces_show_the_section(tmp_path: Path) -> None:
    """`space show`, `sample` and `validate` have the recipe's choices; their JSON too."""
    path = str(tmp_path / "chosen.py")
    Path(path).write_text(FILE.replace("{RECIPE}", CHOICES))
    assert f"recipe.{DROPOUT} = 0.0 | 0.3" in nas_here("space", "show", path).stdout
    assert DROPOUT in nas_here("space", "sample", path).stdout
    assert DROPOUT in nas_here("space", "validate", path).stdout
    written = result(nas_here("space", "validate", path, "--json"))
    assert written["recipe"][RANDAUGMENT] == {"choice": [0, 1]}
    sample = json.loads(nas_here("space", "sample", path, "--json").stdout)
    drawn = sample[0] if isinstance(sample, list) else sample
    assert set(drawn["recipe"]) == {DROPOUT, RANDAUGMENT}
    assert Architecture.from_json(drawn).resolution == 8


def test_another_section_is_another_study(tmp_path: Path) -> None:
    """A study's name keeps the choices that it began with."""
    assert search(tmp_path, CHOICES, "--finalists", "0", "--trials", "1").returncode == 0
    other = CHOICES.replace("choice(0, 1)", "choice(0, 2)")
    run = search(tmp_path, other, "--finalists", "0", "--trials", "1")
    assert run.returncode == 2
    assert "recipe.augmentation.randaugment has choices 0, 1, now 0, 2" in " ".join(
        run.stderr.split()
    )
