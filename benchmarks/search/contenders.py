"""The samplers of a comparison: ours by their file's name, others' as they come."""

import ast
import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler

from benchmarks.search import oracle, peers
from benchmarks.search.goal import Goal
from nas import samplers
from nas.errors import UserError, unknown
from nas.samplers._lesson import Lesson

OURS = "nas"
TAUGHT, MISLED = "nas+lesson", "nas+permuted"  # ours after a search on another table
LEARNERS = TAUGHT, MISLED
PEERS: dict[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "optuna_tpe": lambda seed: TPESampler(seed=seed),
}


def names() -> list[str]:
    """Return the names of all contenders."""
    return sorted({*samplers.names(), *PEERS, *peers.NAMES, *LEARNERS})


def check(name: str) -> None:
    """Refuse an unknown contender; load a known one, whose file may be edited while others run."""
    if name not in names():
        raise UserError(unknown("sampler", name, names()))
    if name in peers.NAMES:
        peers.python()
    elif name not in PEERS:
        samplers.get(_own(name), seed=0)
    version(name)


def _own(name: str) -> str:
    """Return the sampler of ours that a contender is."""
    return OURS if name in LEARNERS else name


def check_pareto(chosen: Iterable[str]) -> None:
    """Refuse contenders that know one objective only."""
    for name in chosen:
        if name in peers.NAMES:
            raise UserError(f"The sampler {name!r} works on one objective: not on pareto.")


def make(name: str, seed: int, goal: Goal, lesson: Lesson | None = None) -> BaseSampler:
    """Make a contender for a table; ours is told what is known of it, which no score is part of.

    A lesson is what another table's search has found.
    """
    if name in PEERS:
        return PEERS[name](seed)
    if name in peers.NAMES:
        return peers.PeerSampler(name, seed, goal.table.distributions)
    if _own(name) == OURS:
        return oracle.sampler(goal, seed, lesson)
    return samplers.get(name, seed)


@cache
def version(name: str) -> str:
    """Return what changes when a contender's code does: Optuna's version and its files' hash."""
    digest = hashlib.sha256(optuna.__version__.encode())
    if name in peers.NAMES:
        for path in (peers.WORKER, peers.WANTED):
            digest.update(path.read_bytes())
    elif name not in PEERS:
        files = _files(f"nas.samplers.{_own(name)}", set())
        if _own(name) == OURS:
            files.add(Path(__file__).with_name("oracle.py"))
        for path in sorted(files):
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
