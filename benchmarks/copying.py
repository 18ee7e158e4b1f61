"""How long `nas store copy` takes: synthetic studies from SQLite to PostgreSQL and back.

    python -m benchmarks.copying --trials 10000 --epochs 10 --server postgresql://postgres@127.0.0.1/DB

The rows are made by a bulk loader that belongs to this benchmark; the server's database is empty
before and holds the study afterwards. Prints one JSON object.
"""

import argparse
import json
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json

from nas.store import copying, plain
from nas.store.history import TABLES
from nas.store.schema import METADATA
from nas.store.store import Store

PARAMETERS = 20
START = datetime(2026, 1, 1)


def load(url: str, trials: int, epochs: int) -> None:
    """Fill a store with one study of complete trials."""
    store = Store.open(url)
    study = store.create_study("synthetic", {"recipe_hash": "r"}, recipes={"r": {"epochs": epochs}})
    tables = TABLES | dict(METADATA.tables)
    try:
        for begin in range(0, trials, 2_000):
            numbers = range(begin, min(trials, begin + 2_000))
            with store.write() as connection:
                for name, rows in _rows(numbers, study.id, epochs).items():
                    plain.insert(connection, tables[name], rows)
    finally:
        store.close()


def _rows(numbers: range, study: int, epochs: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}

    def add(table: str, **row: Any) -> None:
        found.setdefault(table, []).append(row)

    choices = distribution_to_json(CategoricalDistribution(("3", "3.5", "3.5.7")))
    for number in numbers:
        key, name = number + 1, f"{number:064x}"
        ended = START + timedelta(seconds=number)
        add(
            "nas_architectures", id=name, json=json.dumps({"rows": [name] * 10}),
            notation="ir_r1_k3.5_s2_e6_c40\n" * 10, macs=2_000_000, params=30_000,
            activations=400_000, peak_activation_bytes=160_000, created=START,
        )  # fmt: skip
        add(
            "nas_evaluations", id=key, architecture_id=name, recipe_hash="r", fidelity=epochs,
            state="complete", study_id=study, number=number, worker="w", attempt=1, deaths=0,
            expires_at=None, metrics='{"accuracy": 0.5}', reason=None, seconds=1.5, checkpoint=None,
            created=START, finished=ended,
        )  # fmt: skip
        add(
            "trials", trial_id=key, number=number, study_id=study, state="COMPLETE",
            datetime_start=START, datetime_complete=ended,
        )  # fmt: skip
        add(
            "nas_trials", trial_id=key, study_id=study, number=number, evaluation_id=key,
            reused_from=None, promoted_from=None,
        )  # fmt: skip
        add("trial_values", trial_id=key, objective=0, value=0.5, value_type="FINITE")
        add("trial_user_attributes", trial_id=key, key="evaluation", value_json=str(key))
        add("trial_user_attributes", trial_id=key, key="notation", value_json=json.dumps("k3" * 99))
        for index in range(PARAMETERS):
            add(
                "trial_params", trial_id=key, param_name=f"stage{index}.kernels",
                param_value=float(number % 3), distribution_json=choices,
            )  # fmt: skip
        for epoch in range(1, epochs + 1):
            add(
                "nas_curve_points", evaluation_id=key, epoch=epoch, metrics='{"accuracy": 0.5}',
                train_loss=1 / epoch, seconds=0.1, learning_rate=0.01, created=ended,
            )  # fmt: skip
            add(
                "trial_intermediate_values", trial_id=key, step=epoch, intermediate_value=0.5,
                intermediate_value_type="FINITE",
            )  # fmt: skip
    return found


def main() -> None:
    """Make a store, copy it to the server and back, print the seconds."""
    parser = argparse.ArgumentParser(description="Time nas store copy.")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--server", required=True, help="URL of an empty PostgreSQL database")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        first, last = (f"sqlite:///{Path(folder, name)}" for name in ("first.db", "last.db"))
        load(first, options.trials, options.epochs)
        seconds, cpu = {}, {}
        for name, source, target in (
            ("sqlite to postgresql", first, options.server),
            ("postgresql to sqlite", options.server, last),
        ):
            begun, used = time.perf_counter(), time.process_time()
            done = copying.copy(source, target)
            seconds[name] = round(time.perf_counter() - begun, 1)
            cpu[name] = round(time.process_time() - used, 1)
            print(f"{name}: {seconds[name]} s", file=sys.stderr)
        rows = sum(done.rows.values())
    print(
        json.dumps(
            {
                "trials": options.trials, "curve_points": options.trials * options.epochs,
                "rows": rows, "seconds": seconds, "cpu_seconds_of_the_copy": cpu,
                "load": os.getloadavg()[0],
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
