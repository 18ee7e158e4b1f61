"""Whether the disk for checkpoints is full, as far as this machine can tell."""

import shutil

from nas.quantities import from_here, short

LITTLE = 2**23  # bytes: the next checkpoint may find no space


def little_space(folder: str) -> str | None:
    """Say how little is left for a folder; None if it is enough, or for one that is not here."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # another machine's, or a URL
        return None
    return None if free >= LITTLE else f"{short(free)}B are left for {from_here(folder)}"
