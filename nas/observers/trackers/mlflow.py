"""MLflow: an experiment for each study, at MLFLOW_TRACKING_URI, else in `mlflow.db` beside it."""

import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nas.observers.trackers import LEFT, TrackedTrial, Values

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

KEY = "nas.key"  # the tag by which a trial's run is found again
STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", LEFT: "KILLED"}


def begin(trial: TrackedTrial, folder: Path) -> "MlflowRun":
    """Find a trial's run, or make it."""
    from filelock import FileLock

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a search tells nobody else
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a trial does not wait long
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    url = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent / 'mlflow.db'}"
    lock = FileLock(folder.parent / "mlflow.lock")
    with lock:  # one worker makes the tables and the experiment
        client = MlflowClient(tracking_uri=url)
        found = client.get_experiment_by_name(trial.study)
        experiment = client.create_experiment(trial.study) if found is None else found.experiment_id
        runs = client.search_runs([experiment], f"tags.`{KEY}` = '{trial.key}'", max_results=1)
        if runs:
            run = runs[0].info.run_id
            client.update_run(run, status="RUNNING")
        else:
            tags = {KEY: trial.key, **trial.facts}
            run = client.create_run(experiment, tags=tags, run_name=trial.name).info.run_id
            parameters = [Param(name, str(value)) for name, value in trial.parameters.items()]
            client.log_batch(run, _metrics(trial.cost, 0), parameters)
    return MlflowRun(client, run, lock)


class MlflowRun:
    """A trial's run in MLflow."""

    def __init__(self, client: "MlflowClient", run: str, lock: "BaseFileLock") -> None:
        self.client, self.run, self.lock = client, run, lock

    def epoch(self, epoch: int, values: Values) -> None:
        """Log the values after an epoch; MLflow shows the last of those of one epoch."""
        with self.lock:
            self.client.log_batch(self.run, _metrics(values, epoch))

    def end(self, state: str, values: Values, reason: str | None) -> None:
        """Log the final values and the state."""
        final = {f"final_{name}": value for name, value in values.items()}
        tags = {"state": state, "reason": reason or ""}
        with self.lock:
            status = self.client.get_run(self.run).info.status
            if state == LEFT and status != "RUNNING":  # another worker has ended it meanwhile
                return
            self.client.log_batch(self.run, _metrics(final, 0))
            for name, value in tags.items():
                self.client.set_tag(self.run, name, value)
            self.client.set_terminated(self.run, STATUS[state])


def _metrics(values: Values, epoch: int) -> "list[Metric]":
    """Make MLflow's metrics; a class's name may hold characters that MLflow refuses in a name."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())  # milliseconds since 1970
    return [
        Metric(re.sub(r"[^\w. :-]", "_", name), value, now, epoch) for name, value in values.items()
    ]
