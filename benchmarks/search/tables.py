"""Write published tables in the form that the comparison reads.

    python -m benchmarks.search.tables nasbench201|accel_nasbench --out FILE.csv \
        [--data FOLDER] [--images cifar10|cifar100|imagenet]

nasbench201: all 15,625 cells, six edges as choices; accuracies are those after 12 epochs, macs are
those for CIFAR-10. accel_nasbench: 5,138 MnasNet networks on ImageNet (a shortened training), 28
choices; there is one number a network, so `test_score` is `search_score` and the search sees no
selection noise. Its doubles stay as they come: the comparison averages them.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.errors import UserError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
COLUMNS = ("search_score", "test_score", "macs")
Row = dict[str, str]


def nasbench201(row: Row, images: str = "cifar10") -> dict[str, object]:
    """Return a cell as six choices; the edge `0_1` leads from node 0 to node 1."""
    nodes = row["arch_str"].replace("+", "").strip("|").split("||")
    edges: dict[str, object] = {}
    for target, node in enumerate(nodes, 1):
        for edge in node.split("|"):
            operation, _, source = edge.partition("~")
            edges[f"choice_{source}_{target}"] = operation
    search, test = row[f"{images}_val_12ep"], row[f"{images}_test_12ep"]
    return edges | dict(zip(COLUMNS, (search, test, float(row["flops_M"]) * 1e6), strict=True))


def accel_nasbench(row: Row, _images: str = "imagenet") -> dict[str, object]:
    """Return a network as 28 choices: expansion, kernel, layers and SE of seven blocks."""
    choices: dict[str, object] = {
        f"choice_{name}": value for name, value in row.items() if name.startswith("block")
    }
    score = row["val_top1"]
    return choices | dict(zip(COLUMNS, (score, score, float(row["macs_M"]) * 1e6), strict=True))


TABLES: dict[str, tuple[str, Callable[[Row, str], dict[str, object]]]] = {
    "nasbench201": ("nasbench201_compact/nasbench201_accuracy.csv", nasbench201),
    "accel_nasbench": ("accel_nasbench/accel_nasbench.csv", accel_nasbench),
}


def convert(name: str, out: Path, *, data: Path = DATA, images: str = "cifar10") -> int:
    """Write a table; return its number of rows. Raises UserError where its source is absent."""
    path, read = data / TABLES[name][0], TABLES[name][1]
    if not path.is_file():
        raise UserError(f"No {name} at {path}; --data names the folder that holds {path.parent}.")
    with path.open(newline="") as file:
        rows = [read(row, images) for row in csv.DictReader(file)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and convert; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.tables")
    parser.add_argument("name", choices=sorted(TABLES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the sources")
    parser.add_argument("--images", choices=("cifar10", "cifar100", "imagenet"), default="cifar10")
    options = parser.parse_args(arguments)
    try:
        rows = convert(options.name, options.out, data=options.data, images=options.images)
    except UserError as error:
        print(f"python -m benchmarks.search.tables: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {rows:,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
