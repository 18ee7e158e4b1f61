"""What our sampler may know of a table before anything is trained: all but the scores."""

import random
from collections.abc import Sequence

import numpy as np

from benchmarks.search.goal import Goal
from nas.samplers._oracle import Assignment, TableOracle, altered


class WholeTable(TableOracle):
    """Knows a table that has all assignments: it is searched as a space, not as a list."""

    def change(self, values: Assignment, rng: random.Random) -> Assignment:
        """Change one choice."""
        name = rng.choice([name for name, each in self.distributions.items() if not each.single()])
        return {**values, name: altered(self.distributions[name], values[name], rng)}


def oracle(goal: Goal) -> TableOracle:
    """Return what is known of a goal's table: choices, costs, and the cost's part in the score."""
    table = goal.table
    rows: Sequence[Assignment] = [table.assignment(row) for row in range(len(table))]
    target = goal.target_macs or float(np.median(table.macs))
    macs = np.log(table.macs / target)
    made = (TableOracle if table.is_pool else WholeTable)(
        rows,
        factors=goal.factor.tolist(),
        costs=macs.tolist(),
        front=goal.kind == "pareto",
    )
    made.distributions = dict(table.distributions)  # the same order of choices as in the study
    if not table.is_pool:
        made.pool = None
    return made
