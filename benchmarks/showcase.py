"""What showing a trial in the dashboard costs it, beside its own training.

    python -m benchmarks.showcase [--trials 6] [--epochs 20] [--large 1000 4000] [--out FILE.json]

Trains networks of `mixconv` on the digits, each in this process by a worker with the default
recipe, on one thread, and times every call of the showcase: while the trial trains, before it is
told (its note, code and diagram), and the study's note and figure after it. Then it shows a trial
and the study in a store with thousands of trials that carry notes, where neither may take longer
for a trial, and says how long Optuna's dashboard takes to answer for such a study.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
import torch

from nas.observers import Observers, showcase
from nas.service import dashboard
from nas.service.server import bound
from nas.store.store import Store
from nas.study import preparation
from nas.study.options import read
from nas.study.worker import WorkOrder, assemble


@dataclass
class Account:
    """What one trial's training and its showcase took, in seconds; what it carries at its end."""

    trained: float = 0.0
    processor: float = 0.0
    shown_processor: float = 0.0
    shown: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    carries: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the account with the share of the training that the showcase took."""
        own = self.shown["epoch"] + self.shown["ending"]
        return {
            "training_seconds": round(self.trained, 3),
            "shown_seconds": round(own, 4),
            "study_seconds": round(self.shown["ended"], 4),
            "processor_seconds": round(self.processor, 3),
            "shown_processor_seconds": round(self.shown_processor, 4),
            "share": round((own + self.shown["ended"]) / max(self.trained, 1e-9), 5),
            "carries": sorted(self.carries),
        }


class Timed(Observers):
    """Observers whose calls are timed, trial by trial."""

    def __init__(self, case: showcase.Showcase) -> None:
        super().__init__([case])
        self.case = case
        self.accounts: list[Account] = []

    def tell(self, event: str, *what: Any) -> None:
        """Time one call."""
        if event == "started":
            self.accounts.append(Account(processor=-time.thread_time()))
        one = self.accounts[-1] if self.accounts else Account()
        if event == "epoch":
            one.trained += what[1].seconds
        showing = self.case._showing
        begun, processor = time.perf_counter(), time.thread_time()
        if event == "ending":
            one.processor += processor - one.shown_processor
        super().tell(event, *what)
        one.shown[event] += time.perf_counter() - begun
        one.shown_processor += time.thread_time() - processor
        if event == "ending" and showing is not None:
            one.carries = ["note", *showing.artifacts]


def trained(
    trials: int, epochs: int | None, folder: Path
) -> tuple[list[Account], Store, preparation.Prepared]:
    """Search the digits with the default recipe; return each trial's account."""
    options: Any = {
        "store": f"sqlite:///{folder}/nas.db", "out": str(folder / "studies"), "trials": trials,
        "workers": 0, "pruner": "none", "epochs": epochs,
    }  # fmt: skip
    prepared = preparation.prepare(read({"target_flops": "2M", **options}))
    store = preparation.open_study(prepared)
    order = WorkOrder(store=prepared.store, study=prepared.name, worker="benchmark", trials=trials)
    timed = Timed(showcase.Showcase(prepared.config, store, prepared.name))
    assemble(order, store, observers=timed).run()
    return timed.accounts, store, prepared


def enlarged(store: Store, trials: int) -> None:
    """Add trials to the study as copies of its first, with its attributes, and its note.

    It is without code from the trial on whose note would be.
    """
    copied = ("trial_params", "trial_user_attributes", "trial_intermediate_values", "trial_values")
    with store.write() as connection:
        first = connection.execute(sa.text("SELECT min(trial_id) FROM trials")).scalar_one()
        last = connection.execute(sa.text("SELECT max(trial_id) FROM trials")).scalar_one()
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many)"
        plain = json.dumps(json.loads(_note(connection, first)).partition("```")[0])
        bound = {"many": trials, "first": first, "last": last}
        bound |= {"coded": showcase.CODED, "plain": plain}
        for statement in (
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start,"
            f" datetime_complete) {numbers} SELECT :last + i, :last + i - 1, study_id, state,"
            " datetime_start, datetime_complete FROM n JOIN trials ON trial_id = :first",
            "INSERT INTO nas_trials (trial_id, study_id, number, evaluation_id)"
            f" {numbers} SELECT :last + i, study_id, :last + i - 1, evaluation_id"
            " FROM n JOIN nas_trials ON trial_id = :first",
            "INSERT INTO study_system_attributes (study_id, key, value_json)"
            f" {numbers} SELECT study_id, replace(key, ':' || :first || ':', ':' || (:last + i) ||"
            " ':'), CASE WHEN :last + i - 1 < :coded OR key NOT LIKE '%:note_str:%'"
            " THEN value_json ELSE :plain END FROM n JOIN study_system_attributes"
            " ON key LIKE 'dashboard:' || :first || ':%'",
        ):
            connection.execute(sa.text(statement), bound)
        for table in copied:
            columns = [c["name"] for c in sa.inspect(connection).get_columns(table)]
            kept = ", ".join(name for name in columns if name != "trial_id" and "_id" not in name)
            connection.execute(
                sa.text(
                    f"INSERT INTO {table} (trial_id, {kept}) {numbers} SELECT :last + i, {kept}"
                    f" FROM n JOIN {table} ON trial_id = :first"
                ),
                bound,
            )


def _note(connection: sa.Connection, trial: int) -> str:
    """Return a trial's note as it is stored."""
    note = sa.text("SELECT value_json FROM study_system_attributes WHERE key = :key")
    key = f"dashboard:{trial}:note_str:0"
    return str(connection.execute(note, {"key": key}).scalar_one())


def answers(url: str, study_id: int) -> dict[str, float]:
    """Return the seconds and the megabytes of the dashboard's answers about a study."""
    server = bound(dashboard.application(url), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/api/studies"
    found: dict[str, float] = {}
    paths = {"studies": "", "study_first": f"/{study_id}", "study_again": f"/{study_id}"}
    for name, path in paths.items():
        begun, processor = time.perf_counter(), time.process_time()
        with urllib.request.urlopen(address + path) as answer:
            found[f"{name}_megabytes"] = round(len(answer.read()) / 1e6, 2)
        found[f"{name}_seconds"] = round(time.perf_counter() - begun, 2)
        found[f"{name}_processor_seconds"] = round(time.process_time() - processor, 2)
    server.shutdown()
    server.server_close()
    return found


def in_large(store: Store, prepared: preparation.Prepared, size: int) -> dict[str, Any]:
    """Show the study with this many trials more."""
    enlarged(store, size)
    begun = time.perf_counter()
    showcase.show_study(store, prepared.config, prepared.name)
    shown = time.perf_counter() - begun
    with store.read() as connection:
        study = connection.execute(sa.text("SELECT min(study_id) FROM studies")).scalar_one()
        trials = connection.execute(sa.text("SELECT count(*) FROM trials")).scalar_one()
    found = answers(prepared.store, study)
    return {"trials": trials, "show_study_seconds": round(shown, 3), **found}


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, help="the recipe's own")
    parser.add_argument("--large", type=int, nargs="*", default=[1000, 4000])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        accounts, store, prepared = trained(given.trials, given.epochs, Path(folder))
        result = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
            "recipe": prepared.config.recipe.describe(),
            "trials": [one.to_json() for one in accounts],
            "median_share": statistics.median(one.to_json()["share"] for one in accounts),
            "load": os.getloadavg()[0],
            "largest_share": max(one.to_json()["share"] for one in accounts),
        }
        print(json.dumps(result, indent=1), flush=True)
        result["large"] = []
        for size in given.large:
            found = in_large(store, prepared, size)
            print(json.dumps(found), flush=True)
            result["large"].append(found)
        store.close()
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
