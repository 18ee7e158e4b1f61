"""Train every architecture of a small space, or a sample of a large one, and keep them as a table.

    python -m benchmarks.search.real --space FILE --data DATA --epochs N --out FOLDER [--seeds 4] \
        [--sample N] [--train-images N] [--no-augmentation] [--set KEY=VALUE]...

A sample is drawn within the space's limits. Each architecture is trained with seeds 0, 1, ...;
`search_score` is the validation accuracy of seed 0 in percent, `test_score` the mean test accuracy
of the other seeds, with one seed `search_score` again. FOLDER/trainings.csv has a row for each
training, with the validation accuracy after each of its epochs; it is written after each training,
and the same command goes on from it. FOLDER/table.csv has a row for each architecture of which all
trainings are done; they come in a drawn order, so that an unfinished table is a fair sample. With
--train-images the others of the train split are scored together with the validation images. One
thread is used.
"""

import argparse
import csv
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas import network, quantities, search_space
from nas.architecture import Architecture, Value
from nas.data import DataSet, load
from nas.data.dataset import content_hash, in_memory, share_of
from nas.errors import UserError
from nas.search_space import SearchSpace
from nas.training.recipe import Recipe
from nas.training.recipes import compose

TRAININGS, TABLE, SOURCE = "trainings.csv", "table.csv", "source.json"
LARGEST = 5000  # architectures that anybody would train
DRAWS = 100  # of an assignment for each architecture of a sample, at most
DIGITS = 4  # of an accuracy in percent: 0.0001 is a hundredth of an image in 10,000
Done = dict[tuple[str, int], dict[str, str]]  # (architecture id, seed) -> row of trainings.csv


@dataclass(frozen=True)
class Plan:
    """What is trained: a space on data under a recipe, whose seed is 0 to `seeds` - 1."""

    space: SearchSpace
    data: DataSet
    recipe: Recipe
    seeds: int
    out: Path
    sample: int | None = None

    @property
    def source(self) -> dict[str, Any]:
        """Return what the table stands for, as plain data."""
        return {
            "space": self.space.to_json(),
            "recipe": self.recipe.to_json(),
            "seeds": self.seeds,
        }

    def architectures(self) -> list[tuple[dict[str, Value], Architecture]]:
        """Return every assignment of the space with its architecture, in a drawn order.

        Of a sample they are the assignments of different architectures.
        """
        channels, classes = self.data.in_channels, len(self.data.classes)
        decode = partial(self.space.decode, in_channels=channels, classes=classes)
        rng = random.Random(0)
        if self.sample is None:
            found = [(values, decode(values)) for values in assignments(self.space)]
            rng.shuffle(found)
            return found
        drawn: dict[str, tuple[dict[str, Value], Architecture]] = {}
        for _ in range(DRAWS * self.sample):
            values = self.space.sample(rng)
            architecture = decode(values)
            drawn.setdefault(architecture.id, (values, architecture))
            if len(drawn) == self.sample:
                return list(drawn.values())
        raise UserError(
            f"--sample {self.sample}: {self.space.name} has only {len(drawn)} networks."
        )


def assignments(space: SearchSpace) -> list[dict[str, Value]]:
    """Return every assignment of active parameters."""
    if space.size() > LARGEST:
        raise UserError(f"{space.name} has {space.size():,} assignments, over {LARGEST:,}.")
    found: list[dict[str, Value]] = [{}]
    for parameter in space.parameters():  # parents first
        found = [
            each
            for values in found
            for each in (
                [{**values, parameter.name: value} for value in parameter.choices]
                if parameter.is_active(values)
                else [values]
            )
        ]
    return found


def make(plan: Plan) -> int:
    """Train what is missing, write the table; return its number of rows."""
    _claim(plan)
    done = _read(plan.out / TRAININGS)
    architectures = plan.architectures()
    wanted = {arch.id: arch for _, arch in architectures}
    missing = [(arch, s) for arch in wanted.values() for s in range(plan.seeds)]
    missing = [(arch, s) for arch, s in missing if (arch.id, s) not in done]
    clock = time.perf_counter()
    for count, (arch, seed) in enumerate(missing, 1):
        done[arch.id, seed] = _training(plan, arch, seed)
        _write(plan.out / TRAININGS, list(done.values()))
        if seed == plan.seeds - 1:
            _write(plan.out / TABLE, list(_rows(plan, architectures, done)))
            left = (time.perf_counter() - clock) / count * (len(missing) - count)
            said = f"{len(done):,} of {len(wanted) * plan.seeds:,} trainings"
            print(f"{said}, {quantities.duration(left)} left", file=sys.stderr, flush=True)
    rows = list(_rows(plan, architectures, done))
    _write(plan.out / TABLE, rows)
    return len(rows)


def _claim(plan: Plan) -> None:
    """Refuse a folder that holds another space's or recipe's trainings."""
    path = plan.out / SOURCE
    source = json.loads(json.dumps(plan.source))
    if path.exists() and json.loads(path.read_text()) != source:
        raise UserError(
            f"{plan.out} holds trainings of another space, recipe or number of seeds: name another"
            " --out."
        )
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(source, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"--out {plan.out} can't be written: {error}.") from None


def _training(plan: Plan, architecture: Architecture, seed: int) -> dict[str, str]:
    """Train once; the test split is read for all seeds but the one that a search sees."""
    from nas.training.images import normalisation
    from nas.training.metrics import epoch_metrics
    from nas.training.trainer import Control, predict, train

    curve: list[float] = []
    result = train(
        architecture,
        plan.data,
        replace(plan.recipe, seed=seed),
        control=Control(on_epoch=lambda epoch: curve.append(epoch.metrics[plan.recipe.metric])),
    )
    test = ""
    if seed:
        size = architecture.resolution
        module = network.build(architecture)
        module.load_state_dict(result.state)
        statistics = normalisation(plan.data, size)
        found = epoch_metrics(predict(module, plan.data.splits["test"], size, *statistics))
        test = _percent(found[plan.recipe.metric])
    row = {"id": architecture.id, "seed": str(seed), "seconds": f"{result.seconds:.2f}"}
    row |= {"test_score": test}
    return row | {f"epoch_{number}": _percent(score) for number, score in enumerate(curve, 1)}


def _percent(score: float) -> str:
    return f"{100 * score:.{DIGITS}f}"


def _rows(
    plan: Plan,
    architectures: Sequence[tuple[Mapping[str, Value], Architecture]],
    done: Done,
) -> Iterator[dict[str, object]]:
    """Yield the table's rows; a choice that does not exist in an architecture is `-`."""
    names = [parameter.name for parameter in plan.space.parameters()]
    for values, arch in architectures:
        found = [done.get((arch.id, seed)) for seed in range(plan.seeds)]
        trained = [row for row in found if row is not None]
        if len(trained) < plan.seeds:
            continue
        cost = network.cost(arch)
        search = trained[0][f"epoch_{plan.recipe.epochs}"]
        tests = [float(row["test_score"]) for row in trained[1:]] or [float(search)]
        choices: dict[str, object] = {f"choice_{name}": values.get(name, "-") for name in names}
        yield choices | {
            "search_score": search,
            "test_score": f"{np.mean(tests):.{DIGITS}f}",
            "macs": cost.macs,
            "params": cost.params,
            "id": arch.id,
        }


def _read(path: Path) -> Done:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {(row["id"], int(row["seed"])): row for row in csv.DictReader(file)}


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a file at once or not at all."""
    if not rows:
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def read_options(arguments: Sequence[str] | None) -> Plan:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.real")
    parser.add_argument("--space", required=True, help="a shipped space's name, or a file")
    parser.add_argument("--data", required=True, help="digits, a .npz file or a folder")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=4, help="0 is searched with, the rest score")
    parser.add_argument("--sample", type=int, help="how many networks are drawn; without it: all")
    parser.add_argument("--train-images", type=int, help="the train split's others are scored")
    parser.add_argument("--no-augmentation", action="store_true", help="train on plain images")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="words")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    options = parser.parse_args(arguments)
    quantities.check_positive(epochs=options.epochs, seeds=options.seeds)
    for name in ("sample", "train_images"):
        if getattr(options, name) is not None:
            quantities.check_positive(**{name: getattr(options, name)})
    data = load(options.data)
    if options.train_images is not None:
        data = scored_on_others(data, options.train_images)
    recipe = compose(data, given={"epochs": options.epochs}, words=options.words)
    if options.no_augmentation:
        recipe = replace(recipe, augmentation={})
    space = search_space.load(options.space)
    return Plan(space, data, recipe, options.seeds, options.out, options.sample)


def scored_on_others(data: DataSet, count: int) -> DataSet:
    """Return data with so many train images; the others are scored with the validation images."""
    train, validation = data.splits["train"], data.splits["validation"]
    if count >= len(train):
        raise UserError(f"--train-images is below {len(train)}, all there are, not {count}.")
    used = share_of(train.labels, count / len(train), seed=0)
    others = np.setdiff1d(np.arange(len(train)), used)
    images = [split.images(data.native_resolution) for split in (train, validation)]
    scored = np.concatenate([images[0][others], images[1]])
    labels = np.concatenate([train.labels[others], validation.labels])
    kept = images[0][used], train.labels[used], scored, labels
    splits = {"train": in_memory(*kept[:2]), "validation": in_memory(*kept[2:])}
    return replace(
        data, fingerprint=content_hash(kept), splits={**splits, "test": data.splits["test"]}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write; return the exit status."""
    import torch

    torch.set_num_threads(1)
    try:
        plan = read_options(arguments)
        rows = make(plan)
    except UserError as error:
        print(f"python -m benchmarks.search.real: {error}", file=sys.stderr)
        return 2
    print(f"{plan.out / TABLE}: {rows:,} architectures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
