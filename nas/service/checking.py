"""The check of data that was sent, in a process of its own: nas.data's reader, bounded memory.

    python -m nas.service.checking PATH FOLDER

Prints the data's facts as JSON; a mistake is a line on standard error and exit code 2. Archives are
unpacked below FOLDER.
"""

import json
import os
import resource
import sys
from pathlib import Path

from nas.errors import NasError
from nas.files.limits import VARIABLE

MEMORY = 6 * 2**30  # bytes of address space
UNPACKED = 10 * 2**30  # bytes of an archive


def main(path: str, folder: str) -> None:
    """Read the data and print what they are."""
    os.environ["XDG_CACHE_HOME"] = folder
    os.environ.setdefault(VARIABLE, f"total_bytes={UNPACKED},array_bytes={MEMORY}")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from nas.data import inspection, load

    try:
        found = load(path, cache_dir=Path(folder))
    except NasError as error:
        print(f"nas: {error}", file=sys.stderr)
        sys.exit(2)
    facts = {
        "task": found.task, "classes": list(found.classes), "in_channels": found.in_channels,
        "resolution": found.native_resolution, "counts": inspection.counts(found),
    }  # fmt: skip
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
