"""Multi-fidelity: rungs and brackets as rules, promotions to the last bit, searches on a ladder."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import arguments, write_inputs
from store_kit import file_url, opened, point, proposal, trials
from test_search import rows, store_of
from test_training import TINY, curve
from training_kit import few_digits
from typer.testing import CliRunner

from nas import data
from nas.cli import app
from nas.commands import search as searching
from nas.commands import studies as commands
from nas.data import DataSet, Split
from nas.data.dataset import share_of
from nas.errors import StoreError, UserError
from nas.pruners.ladder import FIDELITIES, MAX_RUNGS, Rung, RungTrial, Schedule, ladder
from nas.store import queries
from nas.store.store import Store
from nas.store.trials import Trials
from nas.training import trainer
from nas.training.checkpoint import Checkpoints
from nas.training.images import gather
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe
from nas.training.trainer import Control

EPOCHS = st.integers(1, 300)
REDUCTIONS = st.integers(2, 5)


def cost(steps: tuple[Rung, ...]) -> list[float]:
    """Return what training up to each rung costs, in epochs on everything."""
    ends = [0, *(rung.epochs for rung in steps)]
    spent, costs = 0.0, []
    for (begin, end), rung in zip(pairwise(ends), steps, strict=True):
        spent += (end - begin) * rung.data * rung.resolution**2
        costs.append(spent)
    return costs


@given(EPOCHS, st.sampled_from(FIDELITIES), REDUCTIONS)
def test_a_ladder_ends_at_the_whole_training(epochs: int, kind: str, reduction: int) -> None:
    """Rungs rise in epochs, in what they see and in cost; the last one is the whole training."""
    steps = ladder(epochs, kind, reduction)
    assert steps[-1] == Rung(epochs)
    assert 1 <= len(steps) <= MAX_RUNGS
    for low, high in pairwise(steps):
        assert 1 <= low.epochs < high.epochs
        assert low.data <= high.data
        assert low.resolution <= high.resolution
    if epochs >= 10 * reduction ** (MAX_RUNGS - 1):  # where rounding says little
        for low, high in pairwise(cost(steps)):
            assert 0.5 / reduction < low / high < 2.2 / reduction


@given(EPOCHS, REDUCTIONS)
def test_a_round_of_hyperband_fills_every_bracket(epochs: int, reduction: int) -> None:
    """After a round each rung has begun its share, however many workers begin at once."""
    rungs = tuple(rung.epochs for rung in ladder(epochs, "epochs", reduction))
    schedule = Schedule(rungs, reduction, brackets=True)
    seen: list[RungTrial] = []
    for number in range(sum(schedule.shares)):
        base = schedule.base(seen)
        one = RungTrial(architecture_id=str(number), fidelity=base, ended=False, score=None,
                   number=number, evaluation_id=number)  # fmt: skip
        seen.append(one)
    begun = [sum(one.fidelity == rung for one in seen) for rung in rungs]
    assert begun == schedule.shares


class Simulated:
    """A study of networks with given scores on a schedule, with several trainings at once."""

    def __init__(self, schedule: Schedule, scores: list[float | None]) -> None:
        self.schedule, self.scores = schedule, scores
        self.seen: list[RungTrial] = []
        self.begun = 0

    def ask(self) -> bool:
        """Begin what the schedule says, as a worker does; tell whether there was anything."""
        chosen = self.schedule.promotion(self.seen)
        if chosen is None and self.begun < len(self.scores):
            self.begin(str(self.begun), self.schedule.base(self.seen))
            self.begun += 1
            return True
        closing = chosen is None
        chosen = chosen or self.schedule.promotion(self.seen, closing=True)
        if chosen is None:
            return False
        self.check(*chosen, closing=closing)
        self.begin(chosen[0].architecture_id, chosen[1])
        return True

    def begin(self, name: str, fidelity: int) -> None:
        """Add a running evaluation."""
        number = len(self.seen)
        one = RungTrial(architecture_id=name, fidelity=fidelity, ended=False, score=None,
                   number=number, evaluation_id=number)  # fmt: skip
        self.seen.append(one)

    def end(self, which: int) -> None:
        """End one of the running evaluations; a network without a score fails above its base."""
        running = [place for place, one in enumerate(self.seen) if not one.ended]
        place = running[which % len(running)]
        one = self.seen[place]
        score = self.scores[int(one.architecture_id)]
        if score is None and self.base(one) == one.fidelity:
            score = 0.5
        self.seen[place] = replace(one, ended=True, score=score)

    def check(self, one: RungTrial, following: int, *, closing: bool) -> None:
        """Hold that a promotion is to the next rung, new, and of one of the best."""
        rungs = self.schedule.rungs
        assert rungs.index(following) == rungs.index(one.fidelity) + 1
        mine = [
            other.fidelity for other in self.seen if other.architecture_id == one.architecture_id
        ]
        assert max(mine) == one.fidelity
        if closing:
            return
        above = [
            other for other in self.seen
            if other.fidelity == one.fidelity and other.ended and self.base(other) == min(mine)
            and (other.score or -1, -other.number) > (one.score or -1, -one.number)
        ]  # fmt: skip
        pool = [
            other for other in self.seen
            if other.fidelity == one.fidelity and other.ended and self.base(other) == min(mine)
        ]  # fmt: skip
        sound = [other for other in above if not self.failed(other)]
        assert len(sound) < len(pool) // self.schedule.reduction

    def base(self, one: RungTrial) -> int:
        """Return where a network began."""
        return min(o.fidelity for o in self.seen if o.architecture_id == one.architecture_id)

    def failed(self, one: RungTrial) -> bool:
        """Tell whether a network failed at any rung."""
        mine = [o for o in self.seen if o.architecture_id == one.architecture_id]
        return any(o.ended and o.score is None for o in mine)


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.integers(1, 60),
    reduction=st.integers(2, 4),
    brackets=st.booleans(),
    scores=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40),
    workers=st.integers(1, 5),
    order=st.lists(st.integers(0, 100), min_size=1, max_size=50),
)
def test_the_best_climb_and_somebody_reaches_the_top(
    epochs: int,
    reduction: int,
    brackets: bool,
    scores: list[float | None],
    workers: int,
    order: list[int],
) -> None:
    """Whatever fails, in whatever order trainings end: one of each rung's best is promoted, rung by
    rung and once, and there is a whole training in the end if any network can be trained.
    """
    rungs = tuple(rung.epochs for rung in ladder(epochs, "epochs", reduction))
    study = Simulated(Schedule(rungs, reduction, brackets), scores)
    turn = 0
    while True:
        running = sum(not one.ended for one in study.seen)
        if running < workers and study.ask():
            continue
        if not running:
            break
        study.end(order[turn % len(order)])
        turn += 1
        assert turn <= len(scores) * len(rungs)
    keys = [(one.architecture_id, one.fidelity) for one in study.seen]
    assert len(set(keys)) == len(keys)
    if any(score is not None for score in scores) or len(rungs) == 1:
        top = [one for one in study.seen if one.fidelity == epochs and one.score is not None]
        assert top


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.data())
def test_shares_of_the_data_are_nested_and_stratified(
    labels: list[int], draw: st.DataObject
) -> None:
    """A share has of each class its part, one image at least, and all of a smaller share."""
    of = np.array(labels)
    small, large = sorted(draw.draw(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1))))
    chosen = {share: share_of(of, share, 3) for share in (small, large, 1.0)}
    assert set(chosen[small]) <= set(chosen[large])
    assert chosen[1.0].tolist() == list(range(len(of)))
    for label, count in zip(*np.unique(of, return_counts=True), strict=True):
        mine = int((of[chosen[large]] == label).sum())
        assert mine == max(1, round(large * count))


@pytest.fixture
def digits() -> DataSet:
    """The digits, fewer of them for training."""
    return few_digits()


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def on_ladder(digits: DataSet, kind: str, epochs: int = 4) -> tuple[Recipe, tuple[Rung, ...]]:
    """Return a recipe with the ladder that a search gives it, and the rungs."""
    steps = ladder(epochs, kind, 2)
    less = tuple(rung for rung in steps if not rung.is_whole)
    return replace(default_recipe(digits, epochs=epochs), ladder=less), steps


def test_a_ladder_of_epochs_is_the_plain_recipe(digits: DataSet) -> None:
    """Its hash is that of the plain training; those of data and resolution are others; old recipes,
    which have no ladder in their JSON, still read.
    """
    plain = default_recipe(digits, epochs=4)
    assert on_ladder(digits, "epochs")[0].hash == plain.hash
    others = [on_ladder(digits, kind)[0] for kind in ("data", "resolution")]
    assert len({plain.hash, *(recipe.hash for recipe in others)}) == 3
    assert "ladder" not in plain.to_json()
    for recipe in (plain, *others):
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    "rungs", [(Rung(4),), (Rung(2), Rung(1)), (Rung(1, data=0.0),), (Rung(1, resolution=1.5),)]
)
def test_a_ladder_that_leads_nowhere_is_refused(digits: DataSet, rungs: tuple[Rung, ...]) -> None:
    """Rungs rise below the whole training, and see a part of the data between none and all."""
    with pytest.raises(UserError, match="rung"):
        replace(default_recipe(digits, epochs=4), ladder=rungs)


class Reached(Exception):
    """A rung was reached."""


def climb(digits: DataSet, recipe: Recipe, rungs: tuple[Rung, ...], folder: Path) -> object:
    """Train from rung to rung, each time from the checkpoint alone; return the last result."""
    for rung in rungs[:-1]:

        def stop(done: trainer.EpochResult, at: int = rung.epochs) -> None:
            if done.epoch == at:
                raise Reached

        with pytest.raises(Reached):
            trainer.train(
                TINY, digits, recipe, control=Control(Checkpoints(str(folder)), on_epoch=stop)
            )
    results: list[trainer.EpochResult] = []
    last = trainer.train(
        TINY, digits, recipe, control=Control(Checkpoints(str(folder)), on_epoch=results.append)
    )
    return curve(results), last.state


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("kind", FIDELITIES)
def test_a_promotion_goes_on_to_the_last_bit(digits: DataSet, kind: str, tmp_path: Path) -> None:
    """A network promoted rung by rung has the curve and the weights of one that never stopped."""
    recipe, rungs = on_ladder(digits, kind)
    assert len(rungs) >= 3
    whole: list[trainer.EpochResult] = []
    expected = trainer.train(TINY, digits, recipe, control=Control(on_epoch=whole.append)).state
    found, state = climb(digits, recipe, rungs, tmp_path)  # type: ignore[misc]
    assert found == curve(whole)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("_one_thread")
def test_lower_rungs_see_less(digits: DataSet) -> None:
    """A resolution's ladder asks for smaller images, a data ladder for fewer; the last epochs see
    all.
    """
    asked: list[int] = []
    train_split = digits.splits["train"]

    def images(resolution: int) -> data.dataset.Images:
        asked.append(resolution)
        return train_split.images(resolution)

    spied = dict(digits.splits) | {"train": Split(train_split.labels, images)}
    recipe, rungs = on_ladder(digits, "resolution")
    large = TINY.at(resolution=16)
    trainer.train(large, replace(digits, splits=spied), recipe)
    assert sorted(set(asked)) == sorted({rung.pixels(16) for rung in rungs}) == [8, 12, 16]
    recipe, rungs = on_ladder(digits, "data")
    material = [gather(digits, recipe, rung, 8)[0] for rung in rungs]
    assert [len(one.members) for one in material] == [
        len(share_of(train_split.labels, rung.data, 0)) for rung in rungs
    ]
    assert len(material[0].members) < len(material[1].members) < len(train_split)
    assert len(material[-1].members) == len(train_split)


def test_a_checkpoint_is_taken_over_from_another_folder(tmp_path: Path) -> None:
    """What another study trained is copied where there is nothing; what is there stays."""
    there, here = Checkpoints(str(tmp_path / "there")), Checkpoints(str(tmp_path / "here"))
    assert not here.take_over(there)
    there.save({"x": torch.ones(1)}, {"of": "there"}, 1)
    assert here.take_over(there)
    there.save({"x": torch.ones(1)}, {"of": "there, later"}, 2)
    assert not here.take_over(there)
    loaded = here.load()
    assert loaded is not None
    assert loaded[1] == {"of": "there"}


def on_rungs(store: Store, study: str = "s", worker: str = "w1") -> Trials:
    """Return the trials of a study whose whole trainings have 9 epochs."""
    made = trials(store, study=study, worker=worker)
    made.full = 9
    return made


def evaluate(mine: Trials, name: str, fidelity: int, accuracy: float, **more: int) -> None:
    """Train a network up to a rung in one go."""
    lease = mine.start(replace(proposal(name, fidelity=fidelity), **more)).lease
    assert lease is not None
    mine.report(lease, point(fidelity, accuracy))
    mine.finish(lease, "complete", metrics={"accuracy": accuracy})


def test_a_rung_is_never_a_winner(tmp_path: Path) -> None:
    """A lower rung's value, however good, is no result: Optuna has it as pruned, top leaves it out.

    That holds for what is reused and for what is told after a crash, too.
    """
    with opened(file_url(tmp_path)) as store:
        mine, other = on_rungs(store), on_rungs(store, "other")
        evaluate(mine, "a", 1, 0.9)
        evaluate(mine, "b", 1, 0.8)
        assert other.start(proposal("a", fidelity=1)).outcome == "pruned"
        with pytest.raises(ValueError, match="Record does not exist"):
            _ = mine.optuna_study().best_trial
        evaluate(mine, "b", 9, 0.5, promoted_from=1)
        started = mine.start(proposal("c", fidelity=1))
        assert started.lease is not None
        mine.report(started.lease, point(1, 0.99))
        mine._tell = lambda *_: None  # type: ignore[method-assign]  # it dies before it tells
        mine.finish(started.lease, "complete", metrics={"accuracy": 0.99})
        on_rungs(store, worker="w2").repair()
        study = on_rungs(store).optuna_study()
        with store.read() as connection:
            best = queries.best(connection, mine.info.id, 5)
            counts = queries.counts(connection, mine.info.id)
            reached = queries.fidelities(connection, mine.info.id)
            assert queries.spent(connection, mine.info.id) == 3
    assert [trial.state.name for trial in study.trials] == [
        "PRUNED",
        "PRUNED",
        "COMPLETE",
        "PRUNED",
    ]
    assert [trial.value for trial in study.trials] == [0.9, 0.8, 0.5, 0.99]
    assert study.best_trial.user_attrs["promoted_from"] == 1
    assert [(one.number, one.fidelity) for one in best] == [(2, 9)]
    assert counts == queries.Counts(complete=1, pruned=2, promoted=1)
    assert reached == {1: 3, 9: 1}


def test_what_another_study_pruned_can_be_promoted(tmp_path: Path) -> None:
    """A pruner of another study does not end what this study's ladder sends to the top."""
    with opened(file_url(tmp_path)) as store:
        mine, other = on_rungs(store), on_rungs(store, "other")
        lease = other.start(proposal("a", fidelity=9)).lease
        assert lease is not None
        other.report(lease, point(1, 0.3))
        other.finish(lease, "pruned")
        evaluate(mine, "a", 1, 0.3)
        assert mine.start(proposal("a", fidelity=9)).outcome == "pruned"
        evaluate(mine, "a", 9, 0.7, promoted_from=0)
        assert mine.optuna_study().best_value == 0.7


def test_one_network_is_trained_by_one_worker(tmp_path: Path) -> None:
    """While it runs at one rung nobody of the study begins it at another."""
    with opened(file_url(tmp_path)) as store:
        mine, second = on_rungs(store), on_rungs(store, worker="w2")
        assert mine.start(proposal("a", fidelity=3)).outcome == "run"
        assert second.start(proposal("a", fidelity=1)).outcome == "elsewhere"
        assert second.start(proposal("a", fidelity=9)).outcome == "elsewhere"


def stored(folder: Path) -> list[tuple[object, ...]]:
    """Return each evaluation: network, fidelity, state, epochs of its curve, first and last."""
    return rows(
        folder,
        "SELECT e.architecture_id, e.fidelity, e.state, count(*), min(p.epoch), max(p.epoch)"
        " FROM nas_evaluations e JOIN nas_curve_points p ON p.evaluation_id = e.id"
        " GROUP BY e.id ORDER BY e.id",
    )


def assert_whole(folder: Path) -> None:
    """Hold that every evaluation is complete, with each epoch up to its fidelity once."""
    found = stored(folder)
    for _, fidelity, state, count, first, last in found:
        assert (state, count, first, last) == ("complete", fidelity, 1, fidelity)
    assert rows(folder, "SELECT count(*) FROM nas_evaluations") == [(len(found),)]
    assert rows(folder, "SELECT count(*) FROM trials WHERE state = 'RUNNING'") == [(0,)]


def search(folder: Path, **options: Any) -> searching.Study:
    """Search the tiny space in this process."""
    space, images = write_inputs(folder)
    chosen = {
        "study": "tiny", "store": store_of(folder), "out": str(folder / "studies"), "workers": 0,
        "epochs": 4, "reduction": 2, "sampler": "random", "finalists": 0,
    }  # fmt: skip
    return searching.search(space, images, "50k", **(chosen | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, searching.Study]:
    """Return the folder and the result of a finished search with Hyperband."""
    folder = tmp_path_factory.mktemp("climbed")
    return folder, search(folder, pruner="hyperband", trials=7)


def test_hyperband_ends_with_a_whole_training(climbed: tuple[Path, searching.Study]) -> None:
    """Its budget are networks; each is stored at each rung with its curve; the winner is whole."""
    folder, found = climbed
    assert_whole(folder)
    assert found.counts.complete + found.counts.pruned == 7
    assert found.counts.promoted >= 1
    assert {row[1] for row in stored(folder)} == {1, 2, 4}
    study = optuna.load_study(study_name="tiny", storage=store_of(folder))
    assert study.best_value == found.best.trial.score
    assert max(study.best_trial.intermediate_values) == 4
    top = commands.top("tiny", store=store_of(folder), n=20)
    assert {trial.fidelity for trial in top} == {4}
    assert len(top) == found.counts.complete


def test_a_promotion_begins_with_the_earlier_epochs(
    climbed: tuple[Path, searching.Study],
) -> None:
    """It is a trial of its own with the same choices, and the epochs before were not trained again:
    they come from the checkpoint, with the seconds that they took then.
    """
    folder, _ = climbed
    study = optuna.load_study(study_name="tiny", storage=store_of(folder))
    promoted = [trial for trial in study.trials if "promoted_from" in trial.user_attrs]
    assert promoted
    with queries.connect(store_of(folder)) as connection:
        for trial in promoted:
            before = study.trials[trial.user_attrs["promoted_from"]]
            assert before.state.name == "PRUNED"
            assert before.params == trial.params
            assert before.intermediate_values.items() <= trial.intermediate_values.items()
            low, high = (
                queries.curve(connection, one.user_attrs["evaluation"]) for one in (before, trial)
            )
            assert high[: len(low)] == low


def test_status_says_how_many_reached_each_rung(climbed: tuple[Path, searching.Study]) -> None:
    """One line of nas status, and an object of its JSON, have the networks of each rung."""
    folder, _ = climbed
    words = ["status", "--study", "tiny", "--store", store_of(folder)]
    (status,) = commands.status("tiny", store=store_of(folder))
    assert list(status.fidelities) == [1, 2, 4]
    line = ", ".join(f"{count} up to epoch {rung}" for rung, count in status.fidelities.items())
    assert f"rungs: {line}" in CliRunner().invoke(app, words).stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told["fidelities"]["4"] == status.fidelities[4]


def test_a_plain_study_shares_what_a_ladder_trained(
    climbed: tuple[Path, searching.Study],
) -> None:
    """Whole trainings are reused without a ladder; what stopped at a rung goes on from there."""
    folder, _ = climbed
    plain = search(folder, pruner="none", trials=5, study="plain", reduction=None)
    assert plain.counts.reused >= 1
    repeated = rows(
        folder,
        "SELECT count(*) FROM nas_evaluations e JOIN nas_evaluations f ON e.fidelity = 1"
        " AND f.fidelity = 4 AND e.architecture_id = f.architecture_id"
        " JOIN nas_studies s ON s.id = f.study_id AND s.name = 'plain'"
        " JOIN nas_curve_points p ON p.evaluation_id = e.id AND p.epoch = 1"
        " JOIN nas_curve_points q ON q.evaluation_id = f.id AND q.epoch = 1"
        " WHERE p.seconds <> q.seconds",
    )
    assert repeated == [(0,)]
    assert plain.counts.complete == 5


@pytest.mark.parametrize("kind", ["data", "resolution"])
def test_ladders_of_data_and_resolution(kind: str, tmp_path: Path) -> None:
    """A search on either ends whole, under a recipe of its own that resume reads back."""
    found = search(tmp_path, pruner="successive_halving", fidelity=kind, trials=3)
    assert_whole(tmp_path)
    assert found.counts.complete >= 1
    again = searching.resume("tiny", store=store_of(tmp_path), trials=4, workers=0)
    assert again.counts.complete + again.counts.pruned == 4
    assert_whole(tmp_path)
    config = queries.find_study(store_of(tmp_path), "tiny").config
    assert (config["fidelity"], config["reduction"]) == (kind, 2)
    assert [rung["epochs"] for rung in config["recipe"]["ladder"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pruner": "median", "fidelity": "data"}, ["--fidelity", "'median'", "hyperband"]),
        ({"pruner": "none", "reduction": 3}, ["--reduction", "'none'", "successive_halving"]),
        ({"pruner": "hyperband", "fidelity": "width"}, ["'width'", "epochs", "resolution"]),
        ({"pruner": "hyperband", "reduction": 1}, ["--reduction", "2 to 10", "1"]),
    ],
)
def test_options_without_a_ladder_are_refused(
    options: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    """What has no effect or no meaning is told in one line, and nothing is written."""
    run = CliRunner().invoke(app, ["search", *arguments(tmp_path, **options)])
    assert run.exit_code == 2
    assert all(word in run.stderr for word in words), run.stderr
    assert not (tmp_path / "nas.db").exists()


def test_a_study_does_not_change_its_ladder(tmp_path: Path) -> None:
    """Another reduction factor is another study; one stored before there were ladders goes on."""
    options = {"pruner": "hyperband", "trials": 1, "epochs": 1}
    search(tmp_path, **options)
    with pytest.raises(StoreError, match="another reduction: it was 2, now 3"):
        search(tmp_path, **options, reduction=3)
    with sqlite3.connect(tmp_path / "nas.db") as connection:
        (text,) = connection.execute("SELECT config FROM nas_studies").fetchone()
        kept = {k: v for k, v in json.loads(text).items() if k not in ("reduction", "fidelity")}
        connection.execute("UPDATE nas_studies SET config = ?", (json.dumps(kept),))
    connection.close()
    assert search(tmp_path, **options).counts.complete == 1


@pytest.mark.parametrize("brackets", [False, True])
def test_networks_that_begin_on_a_middle_rung_are_promoted(brackets: bool) -> None:
    """What another study trained to a rung stands there with those that climbed: one pool.

    With brackets the rung that a network begins on is its bracket, whose pool is its own.
    """
    climbed = [
        RungTrial(number=3 * i + n, architecture_id=f"a{i}", fidelity=rung, ended=True,
                  score=0.4 + 0.01 * i, evaluation_id=3 * i + n)
        for i in range(3) for n, rung in enumerate((1, 3))
    ]  # fmt: skip
    began = [
        RungTrial(number=20 + i, architecture_id=f"b{i}", fidelity=3, ended=True,
                  score=0.9 - i / 10, evaluation_id=20 + i)
        for i in range(2)
    ]  # fmt: skip
    chosen = Schedule((1, 3, 9), 3, brackets).promotion([*climbed, *began])
    assert chosen is not None
    assert (chosen[0].architecture_id, chosen[1]) == ("a2" if brackets else "b0", 9)
