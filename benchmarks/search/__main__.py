"""How few evaluations samplers need to find a table's best rows.

    python -m benchmarks.search --table FILE.csv --samplers nas,tpe,gp,nsga2,random,evolution \
        --budgets 25,50,100,200 --seeds 50 --objective scalarised --target-macs 300M --json OUT.json

Of regret and hypervolume it prints the mean over seeds and its 95 % interval, of the evaluations to
a target the median and the 90th percentile. Runs are kept in --cache, so that the same command goes
on where it was interrupted; a file at --json keeps what it has of other samplers in the same
comparison. Ends with status 2 and one message where an option or the table is wrong.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.search import contenders, summary, table
from benchmarks.search.cache import Cache
from benchmarks.search.goal import KINDS, Goal
from benchmarks.search.oracle import lesson
from benchmarks.search.run import Run, run
from nas import quantities
from nas.errors import UserError
from nas.samplers._lesson import Lesson
from nas.samplers._transfer import shared

LESSON = 40  # evaluations of the search that is learnt from
CACHE = Path("studies", ".cache", "search")


@dataclass(frozen=True)
class Entry:
    """A sampler in the comparison: slow ones may have fewer seeds and budgets."""

    sampler: str
    seeds: int
    budgets: list[int]
    first: int = 0  # seed

    @property
    def last(self) -> int:
        """Return the number of evaluations of a run."""
        return max(self.budgets)

    @property
    def range(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.seeds)


@dataclass(frozen=True)
class Comparison:
    """What is compared: the options, checked."""

    goal: Goal
    entries: list[Entry]
    budgets: list[int]
    workers: int
    processes: int
    cache: Path
    source: table.Table | None = None  # of the searches that lessons are of

    @property
    def before(self) -> "Comparison":
        """The comparison that the lessons' searches are runs of: for the metric alone."""
        assert self.source is not None
        return replace(self, goal=Goal(self.source), workers=1, source=None)


def whole_numbers(text: str, option: str) -> list[int]:
    """Read numbers such as 25,50,100; raises UserError unless all are at least 1."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise UserError(f"{option} takes whole numbers of at least 1 such as 25,50, not {text!r}.")
    return numbers


def read_entry(text: str, seeds: int, budgets: list[int]) -> Entry:
    """Read a sampler such as `tpe`, or `gp:15:100`: 15 seeds and the budgets up to 100."""
    name, *fewer = text.strip().split(":")
    contenders.check(name)
    numbers = [whole_numbers(each, "--samplers name:seeds:evaluations")[0] for each in fewer]
    if len(numbers) > 2:
        raise UserError(f"--samplers takes name, or name:seeds:evaluations, not {text!r}.")
    most = numbers[1] if len(numbers) > 1 else max(budgets)
    kept = [budget for budget in budgets if budget <= most]
    if not kept:
        raise UserError(f"--samplers {text}: no budget is at most {most}; there are {budgets}.")
    return Entry(name, min(seeds, *numbers[:1]) if numbers else seeds, kept)


def read_options(options: argparse.Namespace) -> Comparison:
    """Check the options and read the table."""
    quantities.check_positive(
        seeds=options.seeds, workers=options.workers, processes=options.processes
    )
    budgets = whole_numbers(options.budgets, "--budgets")
    texts = dict.fromkeys(options.samplers.split(","))
    entries = [read_entry(text, options.seeds, budgets) for text in texts]
    target = options.target_macs and quantities.count(options.target_macs, "--target-macs")
    if options.objective != "scalarised":
        target = None
    goal = Goal(table.read(options.table), options.objective, target)
    source = table.read(options.learn_from) if options.learn_from else None
    check_lessons(entries, goal.table, source)
    if goal.kind == "pareto":
        contenders.check_pareto(entry.sampler for entry in entries)
    if options.out:
        make_folder(Path(options.out))
    return Comparison(
        goal=goal,
        entries=entries,
        budgets=budgets,
        workers=options.workers,
        processes=options.processes,
        cache=Path(options.cache),
        source=source,
    )


def check_lessons(entries: list[Entry], target: table.Table, source: table.Table | None) -> None:
    """Refuse lessons without a table, or of one that has no choice in common."""
    for name in (e.sampler for e in entries if e.sampler in contenders.LEARNERS):
        if source is None:
            raise UserError(f"The sampler {name!r} learns from a table: give --learn-from.")
        if not shared(target.choices, source.choices):
            raise UserError(f"--learn-from {source.name}: no choice is one of {target.name} too.")


def make_folder(out: Path) -> None:
    """Make the folder of a result; raises UserError where none can be, before hours are spent."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--json {out} can't be written: {error}.") from None
    if out.is_dir():
        raise UserError(f"--json names a file, not a folder: {out}.")


def runs_of(comparison: Comparison, entry: Entry) -> list[Run]:
    """Return a sampler's runs in the order of their seeds; those that are missing are made."""
    goal, source = comparison.goal, ""
    if entry.sampler in contenders.LEARNERS:
        source = f"{comparison.before.goal.table.hash}:{LESSON}"
    cache = Cache(comparison.cache, goal, entry.sampler, comparison.workers, source)
    found = cache.read(entry.last)
    missing = [seed for seed in entry.range if seed not in found]
    for seed, one in _made(comparison, entry, missing):
        cache.write(seed, entry.last, one)
        found[seed] = one
        print(f"{entry.sampler}: seed {seed}, {one.seconds:.1f} s", file=sys.stderr)
    return [found[seed] for seed in entry.range]


def lesson_of(comparison: Comparison, sampler: str, seed: int) -> Lesson | None:
    """Return what a run of our sampler learns from: another table's search with the next seed.

    Where it is to mislead, the scores of that table were permuted before that search.
    """
    if sampler not in contenders.LEARNERS:
        return None
    before, last = comparison.before, LESSON
    if sampler == contenders.MISLED:
        order = np.random.default_rng(seed).permutation(len(before.goal.table))
        mixed = replace(before.goal.table, search=before.goal.table.search[order])
        before = replace(before, goal=Goal(mixed))
    else:
        last = max(LESSON, *comparison.budgets)  # a run of the comparison on that table serves
    taught = Entry(contenders.OURS, 1, [last], first=seed + 1)
    return lesson(before.goal, runs_of(before, taught)[0].rows[:LESSON])


def _made(comparison: Comparison, entry: Entry, seeds: Sequence[int]) -> Iterator[tuple[int, Run]]:
    search = partial(
        run, comparison.goal, entry.sampler, evaluations=entry.last, workers=comparison.workers
    )
    learn = {seed: lesson_of(comparison, entry.sampler, seed) for seed in seeds}
    if comparison.processes == 1 or len(seeds) < 2:
        for seed in seeds:
            yield seed, search(seed, lesson=learn[seed])
        return
    pool_of = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))
    quiet = optuna.logging.set_verbosity
    with pool_of(comparison.processes, initializer=quiet, initargs=(optuna.logging.ERROR,)) as pool:
        waiting = {pool.submit(search, seed, lesson=learn[seed]): seed for seed in seeds}
        for ended in as_completed(waiting):
            yield waiting[ended], ended.result()


def compare(comparison: Comparison) -> dict[str, Any]:
    """Run what is missing and return the result as plain data."""
    by_sampler = {
        entry.sampler: summary.of_sampler(
            entry.sampler, comparison.goal, runs_of(comparison, entry), entry.budgets
        )
        for entry in comparison.entries
    }
    return {
        **summary.of_table(comparison.goal),
        **summary.of_source(comparison.source, LESSON),
        "budgets": comparison.budgets,
        "workers": comparison.workers,
        "samplers": by_sampler,
        "machine": summary.machine(),
    }


def joined(out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with the samplers that a file of the same comparison has besides."""
    if not out.is_file():
        return result
    with suppress(ValueError, AttributeError):
        before = json.loads(out.read_text())
        same = {key: value for key, value in result.items() if key not in ("samplers", "machine")}
        if same.items() <= before.items():
            return result | {"samplers": before["samplers"] | result["samplers"]}
    return result


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--table", required=True, help="CSV file; see benchmarks/search/table.py")
    made.add_argument(
        "--samplers",
        default="tpe,random,evolution,local_search",
        help="names, a slow one as name:seeds:evaluations such as gp:15:100",
    )
    made.add_argument(
        "--learn-from",
        help="CSV file of the table whose search nas+lesson, and nas+permuted with its scores "
        "permuted, learn from",
    )
    made.add_argument("--budgets", default="25,50,100,200", help="evaluations")
    made.add_argument("--seeds", type=int, default=50, help="number of runs, seeds 0, 1, ...")
    made.add_argument("--objective", choices=KINDS, default="accuracy")
    made.add_argument("--target-macs", help="T of the scalarised objective, such as 300M")
    made.add_argument("--workers", type=int, default=1, help="evaluations at a time")
    made.add_argument("--processes", type=int, default=1, help="runs at a time")
    made.add_argument("--cache", default=str(CACHE), help="folder of the runs that were made")
    made.add_argument("--json", dest="out", help="file for the result")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write; return the exit status."""
    options = parser().parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        result = compare(read_options(options))
    except UserError as error:
        print(f"python -m benchmarks.search: {error}", file=sys.stderr)
        return 2
    if options.out:
        result = joined(Path(options.out), result)
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(summary.as_text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
