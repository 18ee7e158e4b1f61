"""The proposer: opening, limits, novelty, recall, exhaustion; each sampler's proposals by seed.

`python tests/test_proposer.py` writes the golden proposals anew, for a change that means to change
them.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.trial import create_trial
from search_kit import SPACE

from nas import data, network
from nas.config import Config
from nas.cost import Limits
from nas.errors import UserError
from nas.objective import Objective
from nas.search_space import SearchSpace, load
from nas.store.queries import Known, Tried
from nas.store.records import Proposal
from nas.study.proposer import PATIENCE, NothingNew, Proposer
from nas.training.recipe import Recipe
from nas.training.recipes import default_recipe

GOLDEN = Path(__file__).parent / "proposals.json"
SAMPLERS = ("evolution", "grid", "local_search", "nas", "nsga2", "random", "tpe")
LIMIT = 3_000_000  # macs


def tiny() -> SearchSpace:
    """Return the space of the test searches: 24 assignments."""
    scope: dict[str, SearchSpace] = {}
    exec(SPACE, scope)  # noqa: S102
    return scope["SPACE"]


def studies() -> dict[str, Config]:
    """Return studies by name: without limits and with them, after one number and a front."""
    recipe = default_recipe(data.load("digits"))
    mixconv = load("mixconv").at_resolution(16)
    small = config(recipe, tiny(), Objective(50_000), Limits(macs=60_000))
    free = config(recipe, mixconv, Objective(1_000_000), Limits())
    front = config(recipe, mixconv, Objective(1_000_000, "pareto"), Limits(macs=LIMIT))
    found = {f"{sampler} tiny limits": replace(small, sampler=sampler) for sampler in SAMPLERS}
    found |= {f"{sampler} mixconv": replace(free, sampler=sampler) for sampler in SAMPLERS}
    found |= {f"{sampler} front": replace(front, sampler=sampler) for sampler in SAMPLERS}
    found["evolution prefilter"] = replace(small, sampler="evolution", prefilter="params")
    found["nas prefilter"] = replace(free, prefilter="macs")
    found["nas features"] = replace(small, features=("params",))
    found["nas warm"] = replace(small, warm_start=True)
    found["random warm"] = replace(small, sampler="random", warm_start=True)
    return found


def config(recipe: Recipe, space: SearchSpace, objective: Objective, limits: Limits) -> Config:
    """Return a study of the digits."""
    return Config(
        space=space,
        data="digits",
        classes=10,
        in_channels=1,
        recipe=recipe,
        objective=objective,
        limits=limits,
        sampler="nas",
        pruner="none",
        seed=7,
        folder="studies/golden",
    )


class Simulation:
    """A study in memory whose evaluations take no training: the score is a hash of the network."""

    def __init__(self, study: Config) -> None:
        self.config = study
        self.study: Study = optuna.create_study(direction="maximize")
        self.tried: list[Tried] = []
        self.trials = self.budget()
        self.proposer = Proposer(
            study,
            self.study,
            images=lambda: data.load("digits"),
            elsewhere=lambda _: self.elsewhere(),
            recipes=dict,
            tried=lambda first: self.tried[first:],
            fidelity=lambda _: study.recipe.epochs,
        )

    def budget(self) -> int:
        """Return how many trials are compared: fewer where a proposal takes long."""
        if self.config.space.name == "tiny":
            return 24 if self.config.sampler == "nas" else 60
        return 12 if self.config.sampler == "nas" else 24

    def elsewhere(self) -> list[Known]:
        """Return networks that another study trained: some of the space, one of another."""
        rng, subject = random.Random(1), self.config.subject
        networks = [subject.decode(subject.space.draw(rng)) for _ in range(12)]
        networks.append(load("mixnet_s").decode({}))
        metric = self.config.recipe.metric
        return [
            Known(
                architecture_json=each.to_json(),
                cost=network.cost(each),
                recipe_hash=self.config.recipe.hash,
                metrics={metric: int(each.id, 16) / 16**16},
            )
            for each in networks
        ]

    def run(self) -> Iterator[str]:
        """Yield the id of each proposal, as a worker that works alone asks for them."""
        repeats = 0
        for number in range(self.trials):
            try:
                proposal = self.proposer.propose(number, repeats)
            except NothingNew:
                return
            is_known = (proposal.architecture_id, proposal.recipe_hash) in self.proposer.known()
            repeats = repeats + 1 if is_known else 0
            self.tell(number, proposal, is_known=is_known)
            yield proposal.architecture_id

    def tell(self, number: int, proposal: Proposal, *, is_known: bool) -> None:
        """Add a trial that has ended."""
        fraction = int(proposal.architecture_id, 16) / 16**16
        metric = fraction + 0.1 * math.log(proposal.cost.params)
        score = self.config.objective.score(metric, proposal.cost.macs)
        pair = (proposal.architecture_id, proposal.recipe_hash)
        self.tried.append(Tried(number, *pair, is_known))
        self.study.add_trial(
            create_trial(
                params=dict(proposal.params),
                distributions=dict(proposal.distributions),
                value=score,
                user_attrs={"architecture_id": proposal.architecture_id, **proposal.prediction},
            )
        )


def small(**changes: Any) -> Config:
    """Return a study of the tiny space, without limits unless they are among the changes."""
    recipe = default_recipe(data.load("digits"))
    return replace(config(recipe, tiny(), Objective(50_000), Limits()), **changes)


def ids(simulation: Simulation) -> list[str]:
    """Run a study to its end and return the ids of its proposals."""
    return list(simulation.run())


@pytest.mark.parametrize("sampler", ["random", "tpe", "nas"])
def test_every_proposal_keeps_the_limits(sampler: str) -> None:
    """Openings, samplers' ideas and the walk to new architectures are cut down to the limits."""
    simulation = Simulation(small(sampler=sampler, limits=Limits(macs=60_000)))
    ids(simulation)
    costs = [simulation.config.subject.cost(trial.params) for trial in simulation.study.trials]
    assert max(cost.macs for cost in costs) <= 60_000


def test_limits_out_of_reach_are_refused() -> None:
    """Where no architecture keeps the limits, the proposer says so."""
    with pytest.raises(UserError, match="No architecture of tiny in reach keeps the limits"):
        Simulation(small(sampler="random", limits=Limits(macs=1))).proposer.propose(0)


def test_a_sampler_that_learns_opens_near_the_target() -> None:
    """The first proposals are nearest the target of several draws; a plain sampler's are not."""
    gaps = {}
    for sampler in ("tpe", "random"):
        simulation = Simulation(small(sampler=sampler))
        proposals = [simulation.proposer.propose(number) for number in range(30)]
        macs = [proposal.cost.macs for proposal in proposals]
        gaps[sampler] = sum(abs(math.log(each / 50_000)) for each in macs)
    assert gaps["tpe"] < gaps["random"] / 3


@pytest.mark.parametrize("sampler", ["random", "evolution"])
def test_a_study_ends_when_all_were_tried(sampler: str) -> None:
    """After `PATIENCE` repeats a proposal is new, until no architecture is left: NothingNew."""
    simulation = Simulation(small(sampler=sampler))
    simulation.trials = 500
    found = ids(simulation)
    assert len(set(found)) == tiny().size() == 24
    assert len(found) < 4 * 25
    with pytest.raises(NothingNew):
        simulation.proposer.propose(len(found), PATIENCE)


def test_known_architectures_are_counted_as_trials_come() -> None:
    """`known` reads new trials only; a reused architecture does not count as begun."""
    simulation = Simulation(small(sampler="random"))
    first, second, third = ("a", "r"), ("b", "r"), ("a", "s")  # architecture and recipe
    simulation.tried += [
        Tried(0, *first, False), Tried(1, *second, True), Tried(2, *first, True)
    ]  # fmt: skip
    assert simulation.proposer.known() == {first: 2, second: 1}
    simulation.tried.append(Tried(3, *third, False))
    assert simulation.proposer.known() == {first: 2, second: 1, third: 1}
    assert simulation.proposer.begun() == 2


def test_a_warm_start_recalls_the_best_of_other_studies() -> None:
    """Evaluations of this space come first, the best score first, each once, within the limits."""
    study = small(sampler="random", warm_start=True, limits=Limits(macs=60_000))
    simulation = Simulation(study)
    inside = {
        known.architecture.id: study.score(known.metrics, known)
        for known in simulation.elsewhere()[:-1]
        if known.cost.macs <= 60_000
    }
    best_first = sorted(inside, key=lambda each: -inside[each])
    assert ids(simulation)[: len(best_first)] == best_first


def test_a_study_that_began_recalls_nothing() -> None:
    """A resumed study with an evaluation of its own asks its sampler."""
    cold, warm = (Simulation(small(sampler="random", warm_start=warm)) for warm in (False, True))
    for simulation in (cold, warm):
        simulation.tried.append(Tried(0, "a", "r", False))
    assert cold.proposer.propose(1) == warm.proposer.propose(1)


def test_a_prefilter_ranks_the_first_proposals() -> None:
    """They are the proxy's best draws in falling order, the same for every worker and sampler."""
    first, second = (
        Simulation(small(sampler=sampler, prefilter="params", limits=Limits(params=3_000)))
        for sampler in ("random", "tpe")
    )
    opening = ids(first)[:4]
    assert ids(second)[:4] == opening
    promises = [trial.user_attrs["proxy_params"] for trial in first.study.trials[:4]]
    assert promises == sorted(promises, reverse=True)
    assert len(set(opening)) == 4
    assert max(promises) <= 3_000


def proposals(study: Config) -> str:
    """Return the beginnings of the proposals' ids."""
    return " ".join(each[:8] for each in Simulation(study).run())


@pytest.mark.parametrize("name", studies())
def test_proposals_are_the_same_by_seed(name: str) -> None:
    """A study's proposals follow from its seed and its trials, whichever the program's version."""
    assert proposals(studies()[name]) == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    written = {name: proposals(study) for name, study in studies().items()}
    GOLDEN.write_text(json.dumps(written, indent=1) + "\n")
