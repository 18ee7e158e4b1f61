"""TensorBoard: a folder of event files for each trial, in `tensorboard` in the study's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from nas.observers.trackers import LEFT, TrackedTrial, Values

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def begin(trial: TrackedTrial, folder: Path) -> "EventFiles":
    """Begin a trial's run; the file is made when there is something to write."""
    return EventFiles(trial, folder / "tensorboard" / trial.name)


class EventFiles:
    """The event files of a trial."""

    def __init__(self, trial: TrackedTrial, folder: Path) -> None:
        self.trial, self.folder = trial, folder
        self._writer: SummaryWriter | None = None

    def epoch(self, epoch: int, values: Values) -> None:
        """Write the values after an epoch; those of an earlier attempt are dropped."""
        writer = self._opened(purge_step=epoch)
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    def end(self, state: str, values: Values, reason: str | None) -> None:
        """Write the parameters beside the final values, and the state as a text.

        Nothing is written of a trial that was let go: another worker may have ended it meanwhile.
        """
        if state == LEFT:
            if self._writer is not None:
                self._writer.close()
            return
        writer = self._opened()
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self.trial.parameters.items()
        }
        measured = {f"final/{name}": v for name, v in {**values, **self.trial.cost}.items()}
        writer.add_hparams({**plain, **self.trial.facts}, measured, run_name=".")
        writer.add_text("state", state if reason is None else f"{state}: {reason}")
        writer.close()

    def _opened(self, purge_step: int | None = None) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=purge_step)
        return self._writer
