"""What is asked of a source of data: which of its files are read, and how."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nas.data.layout import Patterns
from nas.data.pixels import PixelReading
from nas.errors import DataError

log = logging.getLogger("nas")


@dataclass(frozen=True)
class DataRequest:
    """How a data set is to be read; `nas.data.load` says what each means."""

    cache_dir: Path | None = None
    groups: str | None = None
    patterns: Patterns = field(default_factory=Patterns)
    skip_unreadable: bool = False
    reading: PixelReading | None = None
    say: Callable[[str], None] = log.info

    def refuse(self, what: str, *, groups: bool = True, patterns: bool = True) -> None:
        """Refuse groups or patterns, which `what` does not have."""
        if patterns and self.patterns != Patterns():
            raise DataError(f"--include and --exclude choose files of a folder; {what} is none.")
        if groups and self.groups is not None:
            raise DataError(
                "--groups is for a folder, whose files' names have them, an .npz file with such "
                f"arrays, or a table with such a column; {what} has none."
            )
