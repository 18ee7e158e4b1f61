"""The samplers that walk: regularised evolution and local search, told by their trials alone."""

import random
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from nas import samplers
from nas.samplers._history import TrialsBefore
from nas.samplers.evolution import EvolutionSampler, child
from nas.samplers.local_search import LocalSearchSampler, standing
from nas.samplers.nsga2 import ProposingNSGAIISampler
from nas.search_space import SearchSpace, block, choice, stage

SIX = {name: CategoricalDistribution((0, 1, 2, 3)) for name in "abcdef"}
NEW = create_trial(state=TrialState.RUNNING)  # of the number -1, as proposals have
BOTH = pytest.mark.parametrize("name", ["evolution", "local_search"])


def study_of(*tried: tuple[Mapping[str, Any], float | None], **options: Any) -> optuna.Study:
    """Return a study with these trials, in this order; one without a value runs."""
    study = optuna.create_study(direction="maximize", **options)
    for params, value in tried:
        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        distributions = {name: SIX[name] for name in params}
        study.add_trial(
            create_trial(state=state, value=value, params=params, distributions=distributions)
        )
    return study


def assignment(*values: int) -> dict[str, int]:
    """Return values of as many parameters, named a, b, ..."""
    return dict(zip("abcdef", values, strict=False))


def propose(sampler: BaseSampler, study: optuna.Study) -> dict[str, Any]:
    """Ask for one proposal without storing a trial."""
    return sampler.sample_relative(study, NEW, sampler.infer_relative_search_space(study, NEW))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the parameters in which two assignments differ."""
    return [name for name in one if one[name] != other[name]]


def drawn(count: int, seed: int = 0) -> list[dict[str, int]]:
    """Return different random assignments of six parameters."""
    rng = random.Random(seed)
    found = {tuple(rng.randrange(4) for _ in SIX): None for _ in range(2 * count)}
    return [assignment(*values) for values in list(found)[:count]]


def test_a_child_differs_from_its_parent_in_one_parameter() -> None:
    """Each parameter is as likely to change, to each of its other values."""
    parent = assignment(0, 1, 2, 3, 0, 1)
    history = TrialsBefore(study_of((parent, 1.0)), NEW)
    children = [child(history, parent, random.Random(seed)) for seed in range(600)]
    changed = [differences(parent, each) for each in children]
    assert all(len(names) == 1 for names in changed)
    assert all(70 < sum(names == [name] for names in changed) < 130 for name in SIX)
    assert {each["a"] for each in children} == {0, 1, 2, 3}


def test_evolution_mutates_a_trial_of_its_population() -> None:
    """Once the population is full, every proposal is one mutation away from one of its trials."""
    trials = drawn(20)
    study = study_of(*((params, float(value)) for value, params in enumerate(trials)))
    for seed in range(30):
        proposal = propose(EvolutionSampler(seed), study)
        assert min(len(differences(proposal, params)) for params in trials) == 1


def test_evolution_draws_at_random_until_the_population_is_full() -> None:
    """With 19 trials that have ended the next is random; one that runs has no value yet."""
    study = study_of(*((params, 1.0) for params in drawn(19)), (assignment(*[3] * 6), None))
    proposals = [propose(EvolutionSampler(seed), study) for seed in range(30)]
    near = [min(len(differences(p, q)) for q in drawn(19)) for p in proposals]
    assert max(near) > 1


def test_the_oldest_of_the_population_dies() -> None:
    """The best trial of all is no parent once as many ended after it as the population has."""
    best, rest = (
        assignment(0, 0, 0, 0, 0, 0),
        [assignment(3, 3, 3, 3, i // 4, i % 4) for i in range(8)],
    )
    tried = [(best, 9.0), *((params, 1.0) for params in rest)]

    def parents_are_best(count: int) -> bool:
        sampler = EvolutionSampler(0, population_size=4, sample_size=16)
        return len(differences(propose(sampler, study_of(*tried[:count])), best)) == 1

    assert [parents_are_best(count) for count in (4, 5, 8)] == [True, False, False]


def test_a_tournament_prefers_the_better() -> None:
    """Of a sample that surely holds the best, it is the parent; minimising, the lowest is best."""
    low, high = assignment(0, 0, 0, 0, 0, 0), assignment(3, 3, 3, 3, 3, 3)
    sampler = EvolutionSampler(0, population_size=2, sample_size=30)
    study = study_of((low, 0.1), (high, 0.9))
    assert len(differences(propose(sampler, study), high)) == 1
    mirrored = optuna.create_study(direction="minimize")
    mirrored.add_trials(study.trials)
    assert len(differences(propose(sampler, mirrored), low)) == 1


def test_local_search_tries_the_neighbours_of_the_best() -> None:
    """In an order that depends on the seed, each of the 18 once."""
    best = assignment(1, 1, 1, 1, 1, 1)
    tried: list[tuple[Mapping[str, Any], float]] = [(best, 1.0)]
    for _ in range(18):
        proposal = propose(LocalSearchSampler(5), study_of(*tried))
        assert len(differences(proposal, best)) == 1
        assert proposal not in [params for params, _ in tried]
        tried.append((proposal, 0.0))
    assert differences(propose(LocalSearchSampler(5), study_of(*tried)), best) != []


def test_local_search_moves_at_the_first_improvement() -> None:
    """The next proposal is a neighbour of the better trial, not of the one before."""
    start, better = assignment(1, 1, 1, 1, 1, 1), assignment(1, 1, 2, 1, 1, 1)
    study = study_of((start, 1.0), (better, 1.5))
    for seed in range(20):
        assert len(differences(propose(LocalSearchSampler(seed), study), better)) == 1


def test_local_search_begins_anew_when_all_neighbours_were_tried() -> None:
    """The trial after the last neighbour is where the next walk starts, though it is worse."""
    best = assignment(1, 1)
    around = [assignment(*v) for v in ((0, 1), (2, 1), (3, 1), (1, 0), (1, 2), (1, 3))]
    tried = [(best, 1.0), *((params, 0.5) for params in around)]
    history = TrialsBefore(study_of(*tried), NEW)
    assert standing(history, history.fitness(random.Random(0))) is None
    proposal = propose(LocalSearchSampler(0), study_of(*tried))
    assert proposal not in [params for params, _ in tried]
    history = TrialsBefore(study_of(*tried, (proposal, 0.1)), NEW)
    assert standing(history, history.fitness(random.Random(0))) == proposal


def test_a_neighbour_that_is_being_trained_is_not_proposed() -> None:
    """Running trials count as tried: of two neighbours that are left, the other one is taken."""
    best = assignment(1)
    study = study_of((best, 1.0), (assignment(0), 0.5), (assignment(2), None))
    for seed in range(10):
        assert propose(LocalSearchSampler(seed), study) == assignment(3)


@BOTH
def test_no_duplicate_until_all_were_tried(name: str) -> None:
    """64 trials of a space of 64 are all of it."""

    def objective(trial: optuna.Trial) -> float:
        return float(sum(trial.suggest_categorical(each, (0, 1, 2, 3)) for each in "abc"))

    study = optuna.create_study(sampler=samplers.get(name, 0), direction="maximize")
    study.optimize(objective, n_trials=60)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 60


def nested(trial: optuna.Trial) -> float:
    """Return the value of a space in which one choice opens others."""
    kind = trial.suggest_categorical("kind", ("conv", "pool"))
    if kind == "pool":
        return 0.1 * trial.suggest_categorical("size", (2, 3))
    width = trial.suggest_categorical("width", (8, 16, 24))
    return width * (2 if trial.suggest_categorical("skip", (True, False)) else 1)


@BOTH
def test_conditional_choices_are_proposed_where_they_are_active(name: str) -> None:
    """A space of 2 + 6 assignments is found whole, its best soon; no trial has an idle choice."""
    study = optuna.create_study(sampler=samplers.get(name, 1), direction="maximize")
    study.optimize(nested, n_trials=40)
    found = [trial.params for trial in study.trials]
    assert {frozenset(params) for params in found} == {
        frozenset(("kind", "size")),
        frozenset(("kind", "width", "skip")),
    }
    assert study.best_value == 48


@BOTH
def test_a_proposal_follows_from_the_trials_and_the_seed(name: str) -> None:
    """A sampler made anew, on a copy of the study, proposes the same; another seed does not."""
    trials = [(params, float(sum(params.values()))) for params in drawn(25)]
    proposals = [propose(samplers.get(name, seed), study_of(*trials)) for seed in (4, 4, 5, 6, 7)]
    assert proposals[0] == proposals[1]
    assert any(each != proposals[0] for each in proposals[2:])


@pytest.mark.parametrize("name", ["evolution", "local_search", "gp", "nsga2"])
def test_a_trial_that_is_not_stored_gets_a_proposal(name: str) -> None:
    """`samplers.propose` works for spaces of ours, with nothing written to the study."""
    space = SearchSpace(
        name="tiny",
        resolution=8,
        stem=stage(block("conv"), width=8),
        stages=[
            stage(block("mbconv", kernels=choice("3", "5"), expansion=choice(1, 3, 6)), width=8)
        ],
        head=stage(block("conv", kernels="1"), width=choice(16, 24)),
    )
    rng, study = random.Random(0), optuna.create_study(direction="maximize")
    choices = {p.name: CategoricalDistribution(p.choices) for p in space.parameters()}
    for value in range(25):
        params = space.draw(rng)
        used = {name: choices[name] for name in params}
        study.add_trial(create_trial(value=value, params=params, distributions=used))
    proposal = samplers.propose(space, study, samplers.get(name, 0))
    assert set(proposal) == set(choices)
    assert len(study.trials) == 25


def powers(trial: optuna.Trial) -> float:
    """Return a value that several assignments share."""
    return float(sum(trial.suggest_categorical(each, (0, 1, 2, 3)) ** 1.1 for each in "abcd"))


def test_our_gp_proposes_what_optunas_own_proposes() -> None:
    """Trial by trial, one worker: the same parameters."""
    found = []
    for sampler in (
        samplers.get("gp", 3),
        optuna.samplers.GPSampler(seed=3, warn_independent_sampling=False),
    ):
        study = optuna.create_study(sampler=sampler, direction="maximize")
        study.optimize(powers, n_trials=14)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_our_nsga2_has_the_parents_of_optunas_own(directions: list[str]) -> None:
    """What Optuna's own wrote to the study is what ours finds without it, in each generation."""
    own = optuna.samplers.NSGAIISampler(seed=3, population_size=20)
    study = optuna.create_study(sampler=own, directions=directions)
    several = len(directions) > 1
    study.optimize(lambda t: (powers(t), t.params["a"]) if several else powers(t), n_trials=85)
    written = study._storage.get_study_system_attrs(study._study_id)
    ours = samplers.get("nsga2", 0)
    assert isinstance(ours, ProposingNSGAIISampler)
    for generation in (1, 2, 3, 4):
        parents = {t._trial_id for t in ours.get_parent_population(study, generation)}
        assert parents == set(written[f"NSGAIISampler:parent:{generation}"])
