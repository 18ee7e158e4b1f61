"""How long the pre-flight of a space takes, beside an older commit's in the same run.

    git worktree add build/older COMMIT
    python -m benchmarks.preflight build/older

Both take turns, each in a process of its own, and must say the same of every space. Seconds are of
a processor, the median of the turns. Writes benchmarks/results/preflight.json.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from nas.files import write_json

HERE = Path(__file__).parent
TURNS = 3
SPACES = {"mixconv": 28, "mnasnet": 32, "efficientnet": 64, "se_condconv": 32}  # images' size
CODE = f"""
import json, time
from nas import search_space
from nas.search_space.preflight import Subject, survey
for name, size in {SPACES}.items():
    subject = Subject(search_space.load(name).for_images(size)[0].fitting(), 3, 10)
    clock = time.process_time()
    found = survey(subject)
    print(json.dumps([name, time.process_time() - clock, found.to_json()]))
"""


def surveyed(folder: Path) -> dict[str, tuple[float, object]]:
    """Return the seconds and the findings of each space by the code of a folder."""
    ended = subprocess.run(
        [sys.executable, "-c", CODE], cwd=folder, check=True, capture_output=True, text=True
    )  # fmt: skip
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    return {name: (seconds, found) for name, seconds, found in rows}


def main() -> None:
    """Measure, compare, print and write."""
    older, here = Path(sys.argv[1]), HERE.parent
    turns = [(surveyed(older), surveyed(here)) for _ in range(TURNS)]
    seconds: dict[str, dict[str, float]] = {}
    for name in SPACES:
        if any(before[name][1] != after[name][1] for before, after in turns):
            raise SystemExit(f"The pre-flights of {name} do not say the same.")
        before, after = (statistics.median(turn[i][name][0] for turn in turns) for i in (0, 1))
        ratio = round(after / before, 2)
        seconds[name] = {"before": round(before, 2), "after": round(after, 2), "ratio": ratio}
    write_json(HERE / "results" / "preflight.json", {"turns": TURNS, "seconds": seconds})
    print(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()
