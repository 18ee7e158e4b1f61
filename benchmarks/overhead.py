"""What the framework costs per trial beside plain Optuna, in one run on one database.

    python -m benchmarks.overhead [--trials 100] [--stored 2000] [--store URL]

No training: propose, decode, cost, start (claimed, stored, visible in Optuna's dashboard), finish.
20 categorical choices, 2,000 trials stored in each study before the clock starts. Plain Optuna is
`study.ask()`, 20 times `suggest_categorical`, `study.tell()` on RDBStorage with its defaults.
Writes benchmarks/results/overhead.json; ends with status 1 where the budget is not kept.
"""

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas import network, samplers
from nas.blocks.notation import notation
from nas.search_space import SearchSpace, block, choice, stage
from nas.store import queries
from nas.store.records import CurvePoint, Proposal
from nas.store.store import Store
from nas.store.trials import Trials

RESULT = Path(__file__).parent / "results" / "overhead.json"
BUDGET = 1 / 5  # of plain Optuna's time, for the storage part of ours; a tenth is wished
STORAGE = ("adopt", "start", "finish")  # adopt: look for a dead worker's trial, count the trials
SAMPLER = ("history", "propose")  # history: read the trials that are new since the last proposal
Times = dict[str, list[float]]  # milliseconds by step


def space() -> SearchSpace:
    """Return a space of five stages with four choices each."""
    stages = [
        stage(
            block(
                "mbconv",
                kernels=choice("3", "5", "3.5", "3.5.7"),
                expansion=choice(3, 4, 6),
                se_ratio=choice(0.0, 0.25, 0.5),
            ),
            width=choice(width, width + 8, width + 16),
            stride=2 if index < 3 else 1,
        )
        for index, width in enumerate((16, 24, 40, 64, 96))
    ]
    head = stage(block("conv", kernels="1"), width=128)
    stem = stage(block("conv"), width=16)
    return SearchSpace(name="overhead", resolution=32, stem=stem, stages=stages, head=head)


SPACE = space()
DISTRIBUTIONS = {each.name: CategoricalDistribution(each.choices) for each in SPACE.parameters()}


class Ours:
    """A study of ours with one sampler."""

    def __init__(self, store: Store, sampler: str, worker: str = "w") -> None:
        name = f"ours-{sampler}"
        store.create_study(name, {"space": SPACE.to_json()}, recipes={sampler: {}})
        self.store = store
        self.recipe = sampler  # one recipe per study, so that nothing is reused across them
        self.sampler = samplers.get(sampler, seed=0)
        self.trials = Trials(
            store, name, score=lambda metrics, *_: metrics["x"] or 0, worker=worker
        )
        self.study = self.trials.optuna_study()

    def one(self, times: Times) -> None:
        """Run a trial from proposal to end, adding the milliseconds of each step."""
        clock = Clock(times)
        self.trials.adopt()
        with self.store.read() as connection:
            queries.total(connection, self.trials.info.id)
        clock.lap("adopt")
        if self.recipe != "random":  # which looks at no trial
            self.study.get_trials(deepcopy=False)
        clock.lap("history")
        values = samplers.propose(SPACE, self.study, self.sampler)
        clock.lap("propose")
        architecture = SPACE.decode(values, in_channels=1, classes=10)
        clock.lap("decode")
        cost = network.cost(architecture)
        clock.lap("cost")
        proposal = Proposal(
            architecture_id=architecture.id,
            architecture=architecture,
            notation="\n".join(notation(architecture)),
            cost=cost,
            recipe_hash=self.recipe,
            fidelity=1,
            params=values,
            distributions=DISTRIBUTIONS,
        )
        started = self.trials.start(proposal, budget=1_000_000)
        if started.lease is None:
            clock.lap("reuse")
            return
        clock.lap("start")
        self.trials.report(started.lease, CurvePoint(epoch=1, metrics={"x": random.random()}))
        clock.lap("report")
        metrics = {"x": random.random(), "balanced_accuracy": 0.5, "loss": 0.5}
        self.trials.finish(started.lease, "complete", metrics=metrics, seconds=1.0)
        clock.lap("finish")


class Plain:
    """A study of plain Optuna with one sampler, on a connection pool of its own."""

    def __init__(self, url: str, sampler: str, filled_by: Store, stored: int) -> None:
        made = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        self.study = optuna.create_study(
            storage=url, study_name=f"plain-{sampler}", sampler=made[sampler](seed=0)
        )
        for _ in range(stored):  # the same rows as Optuna writes, sooner
            with filled_by.write() as connection:
                filled_by.batched.insert_trial(connection, self.study._study_id, _finished())

    def one(self, times: Times) -> None:
        """Run a trial from ask to tell, adding its milliseconds."""
        clock = Clock(times)
        trial = self.study.ask()
        for name, distribution in DISTRIBUTIONS.items():
            trial.suggest_categorical(name, distribution.choices)
        clock.lap("ask")
        trial.report(random.random(), 1)
        clock.lap("report")
        self.study.tell(trial, random.random())
        clock.lap("tell")


class Clock:
    """Adds the milliseconds since the last lap to a step."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.last = time.perf_counter()

    def lap(self, step: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.times.setdefault(step, []).append((now - self.last) * 1e3)
        self.last = now


def _finished() -> FrozenTrial:
    params = {name: random.choice(each.choices) for name, each in DISTRIBUTIONS.items()}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.COMPLETE,
        value=random.random(),
        datetime_start=datetime.now(),
        datetime_complete=datetime.now(),
        params=params,
        distributions=dict(DISTRIBUTIONS),
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def measure(store: Store, url: str, sampler: str, trials: int, stored: int) -> dict[str, Any]:
    """Run trials of both kinds in turn and return the medians of their steps."""
    ours, plain = Ours(store, sampler), Plain(url, sampler, store, stored)
    fill, ours.sampler = ours.sampler, samplers.get("random", seed=1)
    for _ in range(stored):
        ours.one({})
    ours.sampler = fill
    times: tuple[Times, Times] = ({}, {})
    for _ in range(trials):
        ours.one(times[0])
        plain.one(times[1])
    mine, theirs = _medians(times[0]), _medians(times[1])
    storage, total = sum(mine[step] for step in STORAGE), theirs["ask"] + theirs["tell"]
    return {
        "ours_ms": mine,
        "plain_ms": theirs,
        "ours_storage_ms": round(storage, 3),
        "ours_all_but_report_ms": round(sum(mine.values()) - mine["report"], 3),
        "plain_all_but_report_ms": round(total, 3),
    }


def _medians(times: Times) -> dict[str, float]:
    return {step: round(statistics.median(each), 3) for step, each in times.items()}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_average_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "optuna": optuna.__version__,
        "sqlite": sqlite3.sqlite_version,
    }


def main() -> None:
    """Measure, print, write the result and hold it to the budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--stored", type=int, default=2000)
    parser.add_argument("--store", help="an empty database; a temporary SQLite file by default")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{folder}/nas.db"
        store = Store.open(url)
        by_sampler = {
            sampler: measure(store, url, sampler, options.trials, options.stored)
            for sampler in ("random", "tpe")
        }
        store.close()
    plain = by_sampler["random"]["plain_all_but_report_ms"]  # its sampler takes next to nothing
    storage = by_sampler["random"]["ours_storage_ms"]
    share = storage / plain
    result = {
        "choices": len(DISTRIBUTIONS),
        "stored_trials": options.stored,
        "measured_trials": options.trials,
        "database": url.split(":")[0],
        **by_sampler,
        "storage_share_of_plain": round(share, 4),
        "machine": machine(),
    }
    if options.store is None:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
        RESULT.with_suffix(".md").write_text(as_markdown(result))
    print(as_markdown(result))
    if share > BUDGET:
        raise SystemExit(f"Storage costs {share:.0%} of plain Optuna: over the budget.")


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the result as a page to read."""
    lines = [
        "# Framework overhead of a trial",
        "",
        f"`python -m benchmarks.overhead`: {result['choices']} categorical choices, "
        f"{result['stored_trials']:,} trials stored, {result['database']}, "
        f"{result['measured_trials']} trials of each kind in turn, no training; medians in ms.",
        "",
        "| sampler | history | propose | decode | cost | adopt | start | finish | storage "
        "| one report | plain ask + tell | plain report |",
        "| --- " * 12 + "|",
    ]
    for name in ("random", "tpe"):
        row = result[name]
        mine = [row["ours_ms"][step] for step in (*SAMPLER, "decode", "cost", *STORAGE)]
        cells = [*mine, row["ours_storage_ms"], row["ours_ms"]["report"]]
        cells += [row["plain_all_but_report_ms"], row["plain_ms"]["report"]]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    share = result["storage_share_of_plain"]
    lines += [
        "",
        f"Storage (adopt + start + finish) costs {share:.1%} of plain Optuna's ask + tell with the "
        f"random sampler: 1/{1 / share:.1f}. The budget is 1/5, the wish 1/10. History and propose "
        "are the sampler's own time: the random one reads no history, TPE reads what is new.",
        "",
        "Machine: " + ", ".join(f"{key} {value}" for key, value in result["machine"].items()) + ".",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
