"""Inheritance: a trial starts from the weights of its nearest trained relative in the study.

The relatives are the study's best trials, whose weights are kept. Nearest is the one with the
fewest parameters of another value, of equals the best. Its weights are kept by their digest, which
the trial's recipe has: so a trial repeats itself after a kill, and its evaluation is another than
the same network's from random weights.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas.config import Config
from nas.errors import DiskFull
from nas.search_space import Assignment
from nas.store import queries
from nas.store.queries import TrialInfo
from nas.store.trials import Trials
from nas.study.evaluator import WEIGHTS_KEPT
from nas.training.recipe import Recipe

log = logging.getLogger("nas")


def distance(one: Assignment, other: Assignment) -> int:
    """Count the parameters that differ, or that only one of two assignments has."""
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


class Inheritance:
    """The relatives of one study's trials, as one worker sees them."""

    def __init__(self, config: Config, trials: Trials) -> None:
        self.config, self.trials = config, trials
        self._digests: dict[int, str] = {}  # of weights that are kept, by evaluation
        self._values: dict[int, Mapping[str, Any]] = {}  # of trials, by their numbers
        self._own: dict[str, str] = {}  # hashes of recipes without what they inherit

    def own_hash(self, recipe_hash: str) -> str:
        """Return the hash of a recipe as it is without the weights that its trial inherited."""
        if recipe_hash not in self._own:
            stored = Recipe.from_json(self.trials.read(queries.recipe, recipe_hash))
            self._own[recipe_hash] = replace(stored, start=self.config.recipe.start).hash
        return self._own[recipe_hash]

    def of(self, architecture_id: str, values: Assignment, recipe: Recipe) -> tuple[Recipe, int]:
        """Return a new trial's recipe, and the number of the trial that it inherits from, or -1.

        A network that was trained as it is, in this study or another, needs no relative.
        """
        if self.trials.read(queries.trained, architecture_id, recipe.hash):
            return recipe, -1
        for relative in self._nearest_first(values):
            if digest := self._kept(relative):
                return replace(recipe, start=digest), relative.number
        return recipe, -1

    def _nearest_first(self, values: Assignment) -> Sequence[TrialInfo]:
        best = self.trials.read(queries.best, self.trials.info.id, WEIGHTS_KEPT)
        for trial in best:
            if trial.number not in self._values:
                self._values[trial.number] = self.trials.shown(trial.number).params
        return sorted(best, key=lambda trial: distance(values, self._values[trial.number]))

    def _kept(self, relative: TrialInfo) -> str:
        """Keep a relative's weights by their digest, and return it; empty where they are gone."""
        from nas.study.winner import kept_weights
        from nas.training.sources import Source, keep

        if relative.evaluation_id not in self._digests:
            evaluation = self.trials.read(queries.evaluation, relative.evaluation_id)
            if (weights := kept_weights(evaluation)) is None:
                return ""
            name = f"{self.trials.info.name}:{relative.number}"
            source = Source(name, evaluation.architecture, weights)
            try:
                keep(self.config.checkpoint_root, source)
            except DiskFull as error:
                log.warning("nothing is inherited: %s", error)
                return ""
            self._digests[relative.evaluation_id] = source.digest
        return self._digests[relative.evaluation_id]
