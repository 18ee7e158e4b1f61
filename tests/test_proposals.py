"""Each sampler's proposals by seed, held over changes of the program.

`python tests/test_proposals.py` writes them anew, for a change that means to change them.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna import Study
from optuna.trial import create_trial
from search_kit import SPACE

from nas import data
from nas.config import Config
from nas.cost import Limits
from nas.objective import Objective
from nas.search_space import SearchSpace, load
from nas.store.queries import Known, Tried
from nas.store.records import Proposal
from nas.study.proposer import Idea, Proposer
from nas.training.recipe import Recipe, default_recipe

GOLDEN = Path(__file__).parent / "proposals.json"
SAMPLERS = ("evolution", "grid", "local_search", "nas", "nsga2", "random", "tpe")
LIMIT = 3_000_000  # macs
PATIENCE = 3


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
        self.proposer = Proposer(
            study,
            self.study,
            lambda: data.load("digits"),
            self.elsewhere,
            lambda first: self.tried[first:],
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
            Known(each.to_json(), subject.price(each), {metric: int(each.id, 16) / 16**16})
            for each in networks
        ]

    def run(self) -> Iterator[str]:
        """Yield the id of each proposal, as a worker that works alone asks for them."""
        repeats = 0
        for number in range(self.budget()):
            rng = random.Random(f"{self.config.seed}:{number}:{repeats}")
            idea = self.proposer.propose(rng)
            if repeats >= PATIENCE:
                unseen = self.proposer.unseen(idea.values, rng)
                if unseen is None:
                    return
                idea = Idea(unseen, {})
            proposal = self.proposer.proposal(idea, lambda _: 1)
            is_known = proposal.architecture_id in self.proposer.known()
            repeats = repeats + 1 if is_known else 0
            self.tell(number, proposal, is_known=is_known)
            yield proposal.architecture_id

    def tell(self, number: int, proposal: Proposal, *, is_known: bool) -> None:
        """Add a trial that has ended."""
        fraction = int(proposal.architecture_id, 16) / 16**16
        metric = fraction + 0.1 * math.log(proposal.cost.params)
        score = self.config.objective.score(metric, proposal.cost.macs)
        self.tried.append(Tried(number, proposal.architecture_id, is_known))
        self.study.add_trial(
            create_trial(
                params=dict(proposal.params),
                distributions=dict(proposal.distributions),
                value=score,
                user_attrs={"architecture_id": proposal.architecture_id},
            )
        )


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
