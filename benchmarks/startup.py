"""How long commands that train nothing take to answer, beside importing torch in the same run.

    python -m benchmarks.startup

The commands and the import take turns, each in a process of its own; the store that is checked is
that of tests/golden_store.sql, brought up to date. Writes benchmarks/results/startup.json; ends
with status 1 where a command takes a second or longer than the import.
"""

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from nas.files import write_json

HERE = Path(__file__).parent
RESULT = HERE / "results" / "startup.json"
STORE = HERE.parent / "tests" / "golden_store.sql"
TURNS = 7
MOST = 1.0  # seconds
IMPORT = "import torch"
NAS = "-m nas.cli"


def main() -> None:
    """Measure, print, write the result and hold it to the second."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/nas.db"
        with closing(sqlite3.connect(f"{folder}/nas.db")) as connection:
            connection.executescript(STORE.read_text().replace("@FOLDER@", folder))
        _seconds(*NAS.split(), "store", "upgrade", "--store", store)
        commands = {
            IMPORT: ["-c", IMPORT],
            "nas cost mixnet_s": [*NAS.split(), "cost", "mixnet_s"],
            "nas space list": [*NAS.split(), "space", "list"],
            "nas store check": [*NAS.split(), "store", "check", "--store", store],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(TURNS):
            for name, words in commands.items():
                times[name].append(_seconds(*words))
    medians = {name: round(statistics.median(own), 3) for name, own in times.items()}
    write_json(RESULT, {"turns": TURNS, "median_seconds": medians})
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s, {median / medians[IMPORT]:.2f} of importing torch")
    of_nas = max(median for name, median in medians.items() if name != IMPORT)
    if of_nas >= min(MOST, medians[IMPORT]):
        raise SystemExit(f"A command takes {of_nas:.2f} s.")


def _seconds(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, timeout=120)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
