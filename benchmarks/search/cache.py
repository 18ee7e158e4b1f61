"""Runs that were made are kept: a line of JSON each, so that an interrupted comparison goes on.

A line is valid for the table's content, the sampler's code, the objective, the seed and the number
of workers that it names. A run of 200 evaluations is one of 100 too: no sampler knows the budget.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.search import contenders
from benchmarks.search import run as runs
from benchmarks.search.goal import Goal
from benchmarks.search.run import Run


@dataclass(frozen=True)
class Cache:
    """The runs of one sampler on one table in a folder."""

    folder: Path
    goal: Goal
    sampler: str
    workers: int = 1
    source: str = ""  # what names the table that a lesson is of

    @property
    def path(self) -> Path:
        """Return the file of this sampler and table."""
        table = self.goal.table
        return self.folder / f"{table.name}-{table.hash}-{self.sampler}.jsonl"

    def key(self) -> dict[str, str | int]:
        """Return what all these runs share."""
        taught = {"source": self.source} if self.source else {}
        return {
            **taught,
            "table": self.goal.table.hash,
            "sampler": self.sampler,
            "version": contenders.version(self.sampler),
            "rules": runs.VERSION,
            "objective": self.goal.key,
            "workers": self.workers,
        }

    def read(self, evaluations: int) -> dict[int, Run]:
        """Return the runs of at least so many evaluations by their seed; a cut line is none."""
        found: dict[int, Run] = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        key = self.key()
        for line in lines:
            try:
                kept = json.loads(line)
            except ValueError:
                continue
            if kept["key"] == key and kept["evaluations"] >= evaluations:
                found[kept["seed"]] = Run(**kept["run"])
        return found

    def write(self, seed: int, evaluations: int, run: Run) -> None:
        """Add a run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"key": self.key(), "seed": seed, "evaluations": evaluations, "run": asdict(run)}
        with self.path.open("a") as file:
            file.write(f"\n{json.dumps(kept)}\n")  # ends what an interrupted write left
