"""Trainings that start from trained weights: frozen, layer by layer, in a search, inherited."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from search_kit import ROOT, arguments, command, nas_here, result
from training_kit import few_digits

import nas
from benchmarks import inheritance
from nas import network
from nas.config import Config
from nas.errors import Interrupted, NasError, UserError
from nas.store import queries
from nas.study.inheritance import distance
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.methods import Aids
from nas.training.optimisers import optimiser_of
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe
from nas.training.sources import Source
from nas.training.trainer import Control
from nas.training.transfer import freeze
from tests.test_sources import write
from tests.test_training import TINY

DIGITS = few_digits()


@pytest.fixture(scope="module")
def parent() -> Source:
    """Return a network that has learnt the digits a little."""
    recipe = default_recipe(DIGITS, epochs=2)
    return Source("parent", TINY, trainer.train(TINY, DIGITS, recipe).state)


def started(parent: Source, **changes: Any) -> Recipe:
    """Return a recipe that starts from the parent's weights."""
    return replace(default_recipe(DIGITS, epochs=2), start=parent.digest, **changes)


def run(recipe: Recipe, parent: Source, control: Control = trainer.ALONE) -> trainer.TrainResult:
    """Train from the parent's weights."""
    return trainer.train(TINY, DIGITS, recipe, control=control, aids=Aids(start=parent))


def test_a_training_starts_from_the_weights_of_its_recipe(parent: Source) -> None:
    """Without a learning rate the weights, and the accuracy, stay the parent's."""
    recipe = started(parent, learning_rate=0.0, frozen_epochs=2, ema_decay=0.0)
    state = run(recipe, parent).state
    same = {name: torch.equal(tensor, parent.state[name]) for name, tensor in state.items()}
    assert all(same.values()), [name for name, is_same in same.items() if not is_same]


def test_a_better_start_is_a_better_end(parent: Source) -> None:
    """Two epochs after two others classify more digits than two from random weights."""
    scratch = trainer.train(TINY, DIGITS, default_recipe(DIGITS, epochs=2))
    assert run(started(parent), parent).metrics["accuracy"] > scratch.metrics["accuracy"]


def test_weights_that_are_not_given_are_refused(parent: Source) -> None:
    """A recipe that names weights does not begin without them."""
    with pytest.raises(UserError, match=f"the weights {parent.digest}; given: none"):
        trainer.train(TINY, DIGITS, started(parent))


def test_frozen_blocks_stay_and_then_learn(parent: Source) -> None:
    """In frozen epochs only the classifier moves, with all statistics; later all of them do."""
    seen: list[dict[str, torch.Tensor]] = []
    module, recipe = parent.build(), started(parent)
    training = trainer.begin(module, recipe)
    for frozen in (True, False):
        training.module.train()
        freeze(training.module, frozen=frozen)
        x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        training.optimiser.zero_grad()
        training.module(x).square().sum().backward()
        training.optimiser.step()
        seen.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
    moved = [
        {
            name.split(".")[0]
            for name, tensor in now.items()
            if not torch.equal(tensor, before[name])
        }
        for before, now in ((parent.state, seen[0]), (seen[0], seen[1]))
    ]
    assert moved == [{"head"}, {"stem", "stage1", "head"}]


def test_learning_rates_fall_from_block_to_block() -> None:
    """The classifier has the whole rate, each block before it a part; every weight is in one."""
    module = network.build(TINY)
    recipe = default_recipe(DIGITS, epochs=2)
    groups = optimiser_of(module, replace(recipe, layer_decay=0.5)).param_groups
    shares = {id(each): group["share"] for group in groups for each in group["params"]}
    named = {name: shares[id(each)] for name, each in module.named_parameters()}
    assert {".".join(name.split(".")[:2]): share for name, share in named.items()} == {
        "stem.0": 0.125, "stage1.0": 0.25, "stage1.1": 0.5, "head.0": 1.0,
    }  # fmt: skip
    assert all(shares[id(each)] == 0.25 for each in module.get_submodule("stage1.0").parameters())
    assert len(shares) == len(list(module.parameters()))
    assert {group["weight_decay"] for group in groups} == {0.0, recipe.weight_decay}
    assert "share" not in optimiser_of(module, recipe).param_groups[0]


def test_resumes_to_the_last_bit(parent: Source, tmp_path: Path) -> None:
    """A frozen training with layer-wise rates goes on after a stop as if there had been none."""
    recipe = started(parent, layer_decay=0.7, frozen_epochs=1)
    whole = run(recipe, parent)
    checkpoints, count = Checkpoints(str(tmp_path)), 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count > 7

    with pytest.raises(Interrupted):
        run(recipe, parent, Control(checkpoints, should_stop=stop))
    again = run(recipe, parent, Control(checkpoints))
    assert again.metrics == whole.metrics
    assert all(torch.equal(again.state[name], tensor) for name, tensor in whole.state.items())


def test_the_recipe_says_what_it_starts_from() -> None:
    """The new fields are neutral, hashed otherwise, and told in words."""
    recipe = default_recipe(DIGITS, epochs=2)
    other = replace(recipe, start="ab" * 16, layer_decay=0.5, frozen_epochs=1)
    assert len({recipe.hash, other.hash, replace(recipe, start="ab" * 16).hash}) == 3
    assert Recipe.from_json(other.to_json()) == other
    assert "begun with the weights abab" in other.describe()
    assert "start" not in recipe.to_json()
    assert other.sources == ("ab" * 16,)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a trained network and a search that starts from it."""
    folder = tmp_path_factory.mktemp("starting")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        given = {"trials": 1, "epochs": 1, "workers": 0, "study": "first"}
        result(nas_here("search", *arguments(folder, **given), "--json"))
        more = {
            **given,
            "study": "second",
            "start-from": "first:0",
            "finalists": 1,
            "final-seeds": 1,
            "trials": 2,
        }
        result(nas_here("search", *arguments(folder, **more), "--json"))
        yield folder


def config_of(folder: Path, study: str) -> Config:
    """Return a study's configuration."""
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        return Config.from_json(queries.study(connection, study).config)


def recipes_of(folder: Path, study: str) -> list[Recipe]:
    """Return the recipes of a study's trials."""
    with queries.connect(f"sqlite:///{folder}/nas.db") as connection:
        trials = queries.trials(connection, queries.study(connection, study).id)
        return [Recipe.from_json(queries.recipe(connection, t.recipe_hash)) for t in trials]


def test_trials_and_finalists_of_a_search_start_from_given_weights(studies: Path) -> None:
    """Their recipes have the digest, and each study has the weights below its checkpoints."""
    digests = {each.start for each in recipes_of(studies, "second")}
    digests |= {each.start for each in recipes_of(studies, "second-finalists")}
    assert len(digests) == 1
    assert len(digests.pop()) == 32
    for study in ("second", "second-finalists"):
        root = Path(config_of(studies, study).checkpoint_root)
        assert len(list(root.glob("source-*"))) == 1
    assert {each.start for each in recipes_of(studies, "first")} == {""}


def test_weights_that_are_gone_can_be_trained_again(studies: Path) -> None:
    """nas export of a trial whose weights were deleted trains it from the kept source."""
    for file in (studies / "studies" / "second").rglob("weights.safetensors"):
        file.unlink()
    out = str(studies / "again")
    url = f"sqlite:///{studies}/nas.db"
    done = nas_here("export", "--study", "second", "--trial", "0", "--out", out, "--store", url)
    assert done.returncode == 0, done.stderr


def test_nas_train_starts_from_a_folder(
    parent: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which share of the parameters it took; a teacher is no weights to start from."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "given", parent)
    teacher = Source("teacher", TINY, network.build(TINY).state_dict())
    write(tmp_path / "teacher", teacher)
    lines: list[str] = []
    trained = nas.train(
        str(tmp_path / "given" / "architecture.json"), data="digits", epochs=1, workers=0,
        start_from=str(tmp_path / "given"), out=str(tmp_path / "out"), say=lines.append,
        store=f"sqlite:///{tmp_path}/nas.db", study="later", teacher=str(tmp_path / "teacher"),
        set=["training.epoch_updates=3", "method.name=distillation"],
    )  # fmt: skip
    assert trained.failure is None
    (said,) = [line for line in lines if line.startswith("weights: ")]
    assert "are 100% of its" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--start-from", "nothing:3"], "names no weights; they are STUDY:TRIAL"),
        (["--set", "training.frozen_epochs=1"], "freezes given weights: it is for --start-from"),
        (["--start-from", "first:0", "--folds", "3"], "trained on images of .* that would be"),
        (["--inherit", "--folds", "3"], "--inherit is for scores on the validation split"),
    ],
)
def test_what_can_not_be_is_refused(words: list[str], told: str, studies: Path) -> None:
    """One line with the rule, exit code 2, no study."""
    given = {"trials": 1, "workers": 0, "study": "refused"}
    line = [*arguments(studies, **given), *words]
    done = nas_here("search", *line)
    assert done.returncode == 2
    assert re.search(told, " ".join(done.stderr.split())), done.stderr
    assert not (studies / "studies" / "refused").exists()


def test_the_distance_of_relatives() -> None:
    """It is the number of parameters that differ; one that only one of the two has counts."""
    assert distance({"a": 1, "b": "3"}, {"a": 1, "b": "5", "c": 0}) == 2
    assert distance({"a": 1}, {"a": 1}) == 0


def inherit(folder: Path, *more: str, **options: object) -> list[str]:
    """Return the words of a search that inherits."""
    given = {"trials": 6, "epochs": 1, "workers": 0, "study": "heirs", "sampler": "random"}
    return ["search", *arguments(folder, **(given | options)), "--inherit", *more]


def attributes(folder: Path, study: str) -> list[dict[str, Any]]:
    """Return the attributes of a study's trials as Optuna has them."""
    import optuna

    found = optuna.load_study(study_name=study, storage=f"sqlite:///{folder}/nas.db")
    return [trial.user_attrs for trial in found.get_trials()]


def test_trials_inherit_from_their_nearest_relative(tmp_path: Path) -> None:
    """The first has none, each later one the digest of a trial before it; the store is whole."""
    result(nas_here(*inherit(tmp_path), "--json"))
    found, recipes = attributes(tmp_path, "heirs"), recipes_of(tmp_path, "heirs")
    own = [index for index, each in enumerate(found) if "reused_from" not in each]
    relatives = {index: found[index].get("inherited_from") for index in own}
    assert relatives.pop(own[0]) is None
    assert all(relative < index for index, relative in relatives.items())
    assert [bool(recipes[index].start) for index in own] == [False] + [True] * (len(own) - 1)
    url = f"sqlite:///{tmp_path}/nas.db"
    assert nas_here("store", "check", "--store", url).returncode == 0
    assert result(nas_here(*inherit(tmp_path), "--json"))["trials"]["complete"] >= 6


def test_a_network_is_trained_once_though_relatives_change(tmp_path: Path) -> None:
    """A network that is proposed again has the recipe of its first trial, and is reused."""
    result(nas_here(*inherit(tmp_path, trials=24, sampler="evolution"), "--json"))
    found = attributes(tmp_path, "heirs")
    trained = [each["architecture_id"] for each in found if "reused_from" not in each]
    assert len(trained) == len(set(trained))


def test_a_killed_search_goes_on_with_what_it_inherited(tmp_path: Path) -> None:
    """After kill -9 the running trial is taken up with its digest: recipes are as they were."""
    line = inherit(tmp_path, epochs=3, trials=5, workers=1)
    process = subprocess.Popen(command(*line), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, before = f"sqlite:///{tmp_path}/nas.db", []
    end = time.monotonic() + 300
    while len(before) < 3 and time.monotonic() < end:
        time.sleep(0.2)
        try:
            before = recipes_of(tmp_path, "heirs")
        except NasError:
            continue
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert len(before) >= 3
    result(nas_here(*inherit(tmp_path, epochs=3, trials=5), "--json"))
    after = recipes_of(tmp_path, "heirs")
    assert after[: len(before)] == before
    assert nas_here("store", "check", "--store", url).returncode == 0


def test_the_guide_has_the_table_of_the_results() -> None:
    """It follows from the committed rows, to the last digit."""
    kept = json.loads((ROOT / "benchmarks/results/inheritance.json").read_text())
    assert inheritance.table(kept["rows"]) in (ROOT / "docs/guides/transfer.md").read_text()


def test_the_table_of_the_benchmark_pairs_seeds() -> None:
    """Differences from the usual search are of the same seed; an arm without rows is left out."""
    numbers = {"seconds": 9.0, "trials": 4, "score": 0.5, "validation": 0.5, "data": "digits"}
    rows = [
        {**numbers, "part": 1.0, "arm": arm, "seed": seed, "test": test}
        for arm, seed, test in (
            ("random weights", 0, 0.5), ("random weights", 1, 0.75),
            ("inherited", 0, 0.625), ("inherited", 1, 0.875), ("inherited", 2, 0.75),
        )
    ]  # fmt: skip
    shorter = [{**row, "part": 0.25, "test": 0.0} for row in rows]  # another setting
    inherited = inheritance.table([*rows, *shorter]).splitlines()[3]
    cells = [cell.strip() for cell in inherited.strip("|").split("|")]
    assert cells[:4] == ["digits, 9 s", "inherited", "3", "4 ± 0"]
    assert cells[-1] == "0.125 ± 0"
