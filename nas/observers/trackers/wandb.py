"""Weights & Biases: a project for each study, offline in the study's folder.

WANDB_MODE=online sends the runs as they are trained; `wandb sync` sends those of an offline search.
A trial that is taken up again has several folders with one run's id: they are one run once sent.
"""

import os
import re
from pathlib import Path
from typing import Any

from nas.observers.trackers import TrackedTrial, Values

LONGEST = 128  # characters of a project's name
FLUSH = 1.0  # seconds after which what a killed worker has logged is in its file


def begin(trial: TrackedTrial, folder: Path) -> "WandbRun":
    """Begin a trial's run, or go on with it."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # an offline run tells nobody
    import wandb

    return WandbRun(
        wandb.init(
            project=re.sub(r"[#?%:]", "-", trial.study)[:LONGEST],
            name=trial.name,
            id=trial.key,
            resume="allow",
            reinit="create_new",
            mode=None if os.environ.get("WANDB_MODE") else "offline",
            dir=folder,
            config={**trial.parameters, **trial.facts, **trial.cost},
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                x_transaction_log_flush_interval=FLUSH,
            ),
        )
    )


class WandbRun:
    """A trial's run in Weights & Biases."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def epoch(self, epoch: int, values: Values) -> None:
        """Log the values after an epoch."""
        self.run.log({**values, "epoch": epoch})

    def end(self, state: str, values: Values, reason: str | None) -> None:
        """Write the final values and the state into the run's summary."""
        final = {f"final_{name}": value for name, value in values.items()}
        self.run.summary.update({**final, "state": state, "reason": reason})
        self.run.finish(exit_code=int(state == "failed"))
