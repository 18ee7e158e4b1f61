"""Other packages' samplers behind lines of JSON; runs in their environment, without `nas`.

A line on standard input is a question, a line on standard output its answer:

    {"begin": "syne_tune_cqr", "run": 0, "seed": 0, "choices": {"a": [1, 2]}}  -> {}
    {"propose": 7, "run": 0}                                                   -> {"a": 1}
    {"tell": 7, "run": 0, "choices": {"a": 2}, "value": 0.9}                   -> {}

Values are maximised. What is told may have other choices than what was proposed: a pool's nearest
row. `{"error": "..."}` is the answer where the sampler failed. All samplers are as their packages
make them; the classes here only pass on.
"""

import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

Choices = dict[str, Any]


class Peer(Protocol):
    """A sampler of another package."""

    def propose(self, number: int, /) -> Choices:
        """Return the choices of a trial."""
        ...

    def tell(self, number: int, choices: Choices, value: float) -> None:
        """Take the value of a trial in, to be maximised."""
        ...


class SyneTune:
    """One of syne-tune's schedulers for a single objective, by its name in `baselines`."""

    def __init__(self, name: str, seed: int, choices: Mapping[str, list[Any]]) -> None:
        from syne_tune.config_space import choice
        from syne_tune.optimizer import baselines

        space = {key: choice(values) for key, values in choices.items()}
        options = {"metric": "value", "do_minimize": False, "random_seed": seed}
        self.scheduler = getattr(baselines, name)(space, **options)

    def propose(self, _number: int) -> Choices:
        """Return the choices of a trial."""
        return dict(self.scheduler.suggest().config)

    def tell(self, number: int, choices: Choices, value: float) -> None:
        """Take the value of a trial in."""
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        trial = Trial(number, choices, creation_time=datetime.now())
        self.scheduler.on_trial_result(trial, {"value": value})
        self.scheduler.on_trial_complete(trial, {"value": value})


class SyneTuneCQR(SyneTune):
    """Conformal quantile regression, arXiv:2305.03623; syne-tune has it for one fidelity too."""

    def __init__(self, _: str, seed: int, choices: Mapping[str, list[Any]]) -> None:
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.single_objective_scheduler import (
            SingleObjectiveScheduler,
        )

        self.scheduler = SingleObjectiveScheduler(
            {key: choice(values) for key, values in choices.items()},
            metric="value",
            do_minimize=False,
            searcher="cqr",
            random_seed=seed,
            searcher_kwargs={"random_seed": seed},
        )


class NniTpe:
    """NNI's default tuner: TPE that never repeats itself."""

    def __init__(self, _: str, seed: int, choices: Mapping[str, list[Any]]) -> None:
        from nni.algorithms.hpo.tpe_tuner import TpeTuner

        self.tuner = TpeTuner(optimize_mode="maximize", seed=seed)
        self.tuner.update_search_space(_nni_space(choices))
        self.proposed: dict[int, Choices] = {}

    def propose(self, number: int) -> Choices:
        """Return the choices of a trial."""
        self.proposed[number] = dict(self.tuner.generate_parameters(number))
        return self.proposed[number]

    def tell(self, number: int, choices: Choices, value: float) -> None:
        """Take the value of a trial in; choices that were not proposed come as imported data."""
        if self.proposed.pop(number) == choices:
            self.tuner.receive_trial_result(number, choices, value)
        else:
            self.tuner.trial_end(number, False)
            self.tuner.import_data([{"parameter": choices, "value": value}])


class NniEvolution:
    """NNI's evolution, with the population of 32 that it begins with."""

    def __init__(self, _: str, seed: int, choices: Mapping[str, list[Any]]) -> None:
        from nni.algorithms.hpo.evolution_tuner import EvolutionTuner

        self.values = dict(choices)
        self.tuner = EvolutionTuner(optimize_mode="maximize")
        self.tuner.update_search_space(_nni_space(choices))
        self.tuner.random_state = np.random.RandomState(seed)  # it takes no seed of its own
        self.tuner.population = []
        while len(self.tuner.population) < self.tuner.population_size:
            self.tuner._random_generate_individual()

    def propose(self, number: int) -> Choices:
        """Return the choices of a trial."""
        return dict(self.tuner.generate_parameters(number))

    def tell(self, number: int, choices: Choices, value: float) -> None:
        """Take the value of a trial in."""
        self.tuner.running_trials[number].config = {
            name: {"_index": self.values[name].index(each), "_value": each}
            for name, each in choices.items()
        }
        self.tuner.receive_trial_result(number, choices, value)


def _nni_space(choices: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {name: {"_type": "choice", "_value": values} for name, values in choices.items()}


PEERS: dict[str, Callable[[str, int, Mapping[str, list[Any]]], Peer]] = {
    "syne_tune_cqr": SyneTuneCQR,
    "syne_tune_bore": lambda _, *rest: SyneTune("BORE", *rest),
    "syne_tune_kde": lambda _, *rest: SyneTune("TPE", *rest),
    "syne_tune_rea": lambda _, *rest: SyneTune("REA", *rest),
    "nni_tpe": NniTpe,
    "nni_evolution": NniEvolution,
}


def answer(question: Mapping[str, Any], runs: dict[int, Peer]) -> Choices:
    """Return the answer to a question."""
    run = question["run"]
    if "begin" in question:
        random.seed(question["seed"])  # some draw from the global generators
        np.random.seed(question["seed"])
        runs.clear()
        runs[run] = PEERS[question["begin"]](
            question["begin"], question["seed"], question["choices"]
        )
        return {}
    if "propose" in question:
        return runs[run].propose(question["propose"])
    runs[run].tell(question["tell"], question["choices"], question["value"])
    return {}


def main() -> None:
    """Answer until standard input ends; what the packages print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    runs: dict[int, Peer] = {}
    for line in sys.stdin:
        try:
            found = answer(json.loads(line), runs)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(found, default=lambda number: number.item()) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
