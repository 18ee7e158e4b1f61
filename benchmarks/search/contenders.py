"""The samplers of a comparison: ours by their file's name, Optuna's own as they come."""

import ast
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from benchmarks.search.goal import Goal
from nas import samplers
from nas.errors import UserError, unknown


@runtime_checkable
class Informed(Protocol):
    """A sampler that uses what is known before anything is trained."""

    def know(
        self,
        *,
        distributions: Mapping[str, CategoricalDistribution],
        macs: Callable[[Mapping[str, Any]], float],
        factor: Callable[[float], float] | None,
        pool: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        """Take note of the choices, what an assignment costs, and how cost enters the value.

        `macs` raises KeyError for an assignment that the table lacks; the value told is the score
        times `factor(macs)`, or the score itself where there is none; `pool` lists the rows of a
        table that has only part of its space.
        """


PEERS: dict[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "optuna_tpe": lambda seed: TPESampler(seed=seed),
}


def names() -> list[str]:
    """Return the names of all contenders."""
    return sorted({*samplers.names(), *PEERS})


def check(name: str) -> None:
    """Refuse an unknown contender."""
    if name not in names():
        raise UserError(unknown("sampler", name, names()))


def make(name: str, seed: int, goal: Goal) -> BaseSampler:
    """Make a contender for a table, and tell it what it can use: no score is among it."""
    made = PEERS[name](seed) if name in PEERS else samplers.get(name, seed)
    if isinstance(made, Informed):
        table = goal.table
        made.know(
            distributions=table.distributions,
            macs=table.macs_of,
            factor=goal.factor_at if goal.kind == "scalarised" else None,
            pool=[table.assignment(row) for row in range(len(table))] if table.is_pool else None,
        )
    return made


def version(name: str) -> str:
    """Return what changes when a contender's code does: Optuna's version and its files' hash."""
    digest = hashlib.sha256(optuna.__version__.encode())
    if name not in PEERS:
        for path in sorted(_files(f"nas.samplers.{name}", set())):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _files(module: str, found: set[Path]) -> set[Path]:
    """Return a sampler's file and those of its helpers, which begin with an underscore."""
    spec = find_spec(module)
    path = Path(spec.origin) if spec and spec.origin else None
    if path is None or path in found:
        return found
    found.add(path)
    for node in ast.walk(ast.parse(path.read_text())):
        imported = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if imported.startswith("nas.samplers."):
            _files(imported, found)
    return found
