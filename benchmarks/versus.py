"""Two checkouts beside each other: the same benchmarks in turns, and each number's ratio.

Speeds of different days can't be compared. This runs each benchmark in an older checkout and in
this one, one after the other, several rounds, and keeps the fastest of each number's rounds.

    git worktree add OLDER COMMIT    # and an environment in OLDER/.venv, as `make search` makes one
    python -m benchmarks.versus --base OLDER --commands cost overhead "throughput --plain 200"

Writes benchmarks/results/versus.json.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent
RESULTS = Path("benchmarks/results")


def numbers(data: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a result with their names, such as `random.ours_ms.start`."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from numbers(value, f"{name}.{key}" if name else key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from numbers(value, f"{name}.{index}")
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield name, float(data)


def measure(checkout: Path, command: str) -> dict[str, float]:
    """Run one benchmark in a checkout, with its own environment; return the numbers it wrote.

    A benchmark that wrote its result may end with an error: its own verdict is not looked at.
    """
    python = checkout / ".venv/bin/python"
    words = command.split()
    result = checkout / RESULTS / f"{words[0]}.json"
    result.unlink(missing_ok=True)
    subprocess.run([python, "-m", f"benchmarks.{words[0]}", *words[1:]], cwd=checkout)
    return dict(numbers(json.loads(result.read_text())))


def compare(base: Path, command: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return each number before and after, and their ratio: rates by their highest value."""
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    for _ in range(rounds):
        for checkout, rounds_of in ((base, before), (HERE, after)):
            for name, number in measure(checkout, command).items():
                rounds_of.setdefault(name, []).append(number)
    compared = {}
    for name in before.keys() & after.keys():
        best = max if "per_second" in name else min
        old, new = best(before[name]), best(after[name])
        if old > 0 and old != new:
            compared[name] = {"before": old, "after": new, "ratio": round(new / old, 3)}
    return dict(sorted(compared.items()))


def main() -> None:
    """Compare what the command line names and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", type=Path, required=True, help="the older checkout")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--commands", nargs="+", default=["cost", "overhead"])
    options = parser.parse_args()
    ratios = {
        command: compare(options.base, command, options.rounds) for command in options.commands
    }
    (HERE / RESULTS / "versus.json").write_text(json.dumps(ratios, indent=1) + "\n")
    for command, compared in ratios.items():
        for name, pair in compared.items():
            print(f"{command}  {name}: {pair['before']:.4g} -> {pair['after']:.4g}")


if __name__ == "__main__":
    main()
