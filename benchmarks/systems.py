"""The five published systems, scaled down: their images, networks, commands, times and tables.

    python -m benchmarks.systems data FILE.npz --train N --validation N --test N --out FILE.npz
    python -m benchmarks.systems narrow MEMBER --width 0.25 --resolution 32 --out FILE.json
    python -m benchmarks.systems road --macs 5M --resolution 48 --out FOLDER
    python -m benchmarks.systems time NETWORK... --resolution 56 --classes 100 --out FILE.json
    python -m benchmarks.systems run FOLDER --data FOLDER
    python -m benchmarks.systems table FOLDER --metrics accuracy,auroc

`run` executes the commands of the block below `## Commands` in FOLDER/README.md, one after another
in one process and in build/NAME of the repository, with DATA replaced by the folder of the data; a
training whose result lies in FOLDER/results is not repeated, so the test split is looked at once;
nor is a `nas evaluate`, whose JSON is kept there and whose picture beside the README. Networks that
later commands start from lie in build/ alone.
`table` prints these results as a table with Student's 95 % intervals over the seeds, the difference
of each row from the first with Welch's, and draws FOLDER/results.png, or another picture there.
What `nas evaluate` found of the rows is a table of each class's precision, recall, F1 and F2.
Without rows the table is of the times.
"""

import argparse
import io
import json
import math
import os
import shlex
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from benchmarks.recipe_tuning import unpacked
from nas import cli, network, search_space
from nas.architecture import Architecture, Value
from nas.commands.networks import architecture_of
from nas.data.dataset import Images, share_of
from nas.files import write_json
from nas.quantities import count, short
from nas.report.chart import Chart, Series, axis, names
from nas.report.chart_files import save_together
from nas.report.figures import LINE, standing, standing_legend
from nas.report.intervals import interval, welch
from nas.search_space import Compound, SearchSpace
from nas.training.images import channels_last

ROOT = Path(__file__).parent.parent
MEASURED = "milliseconds_an_image"
OF_CLASS = ("precision", "recall", "f1", "f2")
SPLITS = {"train": "train", "validation": "val", "test": "test"}
# From ResNet-50 to ConvNeXt-T, figure 2 of arXiv:2201.03545: what each step sets of the space. Its
# greater width is no step here, where all networks are as wide as their macs allow.
ROAD: Mapping[str, Mapping[str, Value]] = {
    "resnet50": {},
    "stage_ratio": {"stage_ratio": "3.3.9.3"},
    "patchify": {"stem.block": "patchify"},
    "depthwise": {"block": "depthwise", "kernels": "3"},
    "inverted": {"block": "inverted"},
    "depthwise_first": {"block": "convnext"},
    "kernels": {"kernels": "7"},
    "gelu": {"activation": "gelu"},
    "fewer_activations": {"activations": "one"},
    "fewer_norms": {"norms": "one"},
    "layer_norm": {"norm": "layer"},
    "downsampling": {"downsample": "separate"},
    "convnext": {"layer_scale": True},
}
KAPPA = "kappa"  # of two classes it follows from accuracy and balanced accuracy
Result = Mapping[str, Any]


def make_data(
    source: Path,
    counts: Mapping[str, int],
    out: Path,
    *,
    rest: bool = False,
    first: float = 0.0,
    test: bool = True,
    unlabelled: Path | None = None,
    seed: int = 0,
) -> None:
    """Write a part of a set as an .npz file, each class in proportion.

    `counts` are the images of each split; 0 takes all. Validation images are taken out of train
    where the set has none. With `rest`, class 0 stays and all others are class 1, "rest". `first`
    is the share of class 0 to reach by leaving out images of the others; 0 leaves out none. A set
    without `test` images is for choices that must not see them. Train images that are not
    drawn go to the folder `unlabelled` as PNG files.
    """
    with np.load(source, allow_pickle=False) as file:
        labels = {
            split: file[f"{short_name}_labels"].reshape(-1).astype(np.int64)
            for split, short_name in SPLITS.items()
            if f"{short_name}_labels" in file
        }
    if rest:
        labels = {split: np.minimum(own, 1) for split, own in labels.items()}
    places = {split: (SPLITS[split], np.arange(len(own))) for split, own in labels.items()}
    if "validation" not in labels:
        whole = labels["train"]
        held = share_of(whole, counts["validation"] / len(whole), seed + 1)
        places["validation"] = "train", held
        places["train"] = "train", np.setdiff1d(np.arange(len(whole)), held)
        labels |= {split: whole[places[split][1]] for split in ("train", "validation")}
    drawn = {}
    for split, own in labels.items():
        if split == "test" and not test:
            continue
        of, at = places[split]
        if first:
            at = at[few := _with_share_of_first(own, first, seed)]
            own = own[few]
        kept = share_of(own, min(1.0, (counts[split] or len(own)) / len(own)), seed)
        drawn[f"{SPLITS[split]}_images"] = _images(source, of, at[kept])
        drawn[f"{SPLITS[split]}_labels"] = own[kept]
        if split == "train" and unlabelled is not None:
            _write_pngs(_images(source, of, np.delete(at, kept)), unlabelled)
        print(f"{split}: {np.bincount(own[kept]).tolist()} images of the classes")
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **drawn)  # type: ignore[arg-type]


def _with_share_of_first(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.intp]:
    """Return all places of class 0, and as many of the others as give it its share, in order."""
    (zeros,), (others,) = np.nonzero(labels == 0), np.nonzero(labels)
    kept = len(zeros) * (1 / share - 1) / max(1, len(others))
    if kept > 1:
        raise SystemExit(f"class 0 has a larger share than {share:g} already")
    return np.sort(np.concatenate([zeros, others[share_of(labels[others], kept, seed)]]))


def _write_pngs(images: Images, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{number}.png")


def _images(source: Path, split: str, which: NDArray[np.intp]) -> Images:
    """Return images of a split, of an array or of packed JPEGs."""
    with np.load(source, allow_pickle=False) as file:
        if f"{split}_images" in file:
            return np.asarray(file[f"{split}_images"][which])
    return unpacked(source, split, which.tolist())


def make_narrow(member: str, width: float, out: Path, *, resolution: int) -> None:
    """Write a family member with its widths times `width`, to multiples of 8, as JSON."""
    space = search_space.load(member)
    scaling = Compound(beta=width, phi=1)
    space = replace(space, resolution=resolution, scaling=scaling)
    made = space.decode({}, in_channels=3, classes=10)  # the data's, once it is trained
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, made.to_json())
    cost = network.cost(made)
    print(f"{out}: {short(cost.macs)} macs, {short(cost.params)} parameters")


def make_road(macs: float, out: Path, *, resolution: int) -> None:
    """Write the networks of `ROAD`, each as wide as `macs` allow, to multiples of 8, as JSON."""
    space = search_space.load("convnext_resnet")
    values = space.encode(search_space.load("resnet50").decode({}))
    for number, (name, changed) in enumerate(ROAD.items()):
        values = space.complete({**values, **changed})
        widest = _widest(replace(space, resolution=resolution), values, macs)
        write_json(out / f"{number}_{name}.json", widest.to_json())
        cost = network.cost(widest)
        print(f"{name}: {short(cost.macs)} macs, {short(cost.params)} parameters")


def _widest(space: SearchSpace, values: Mapping[str, Value], macs: float) -> Architecture:
    """Return the widest network of these values, in steps of 1 %, that keeps to the macs."""
    given = {name: value for name, value in values.items() if name not in ("width", "resolution")}
    for percent in range(100, 0, -1):
        scaled = replace(space, scaling=Compound(beta=percent / 100, phi=1))
        made = scaled.decode(given, in_channels=3, classes=10)  # the data's, once it is trained
        if network.cost(made).macs <= macs:
            return made
    raise SystemExit(f"No network of these values keeps to {short(macs)} macs.")


def time_steps(
    given: Sequence[str],
    out: Path,
    *,
    batch: int,
    turns: int,
    inference: bool = False,
    **images: int | None,
) -> None:
    """Measure training steps or inferences, network after network, in processor milliseconds.

    A step is forward, backward and AdamW. `nas latency measure` ends by the clock; here each
    network has as many turns on a core that others use too.
    """
    torch.set_num_threads(1)
    make = _inference if inference else _step
    steps = {name: make(_at(name, **images), batch) for name in given}
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in given}
    for _ in range(turns):
        for name, step in steps.items():
            begun = time.process_time()
            step()
            times[name].append(1000 * (time.process_time() - begun) / batch)
            print(f"{name}: {times[name][-1]:.1f} ms an image", flush=True)
    rows = {
        name: {**network.cost(_at(name, **images))._asdict(), MEASURED: own}
        for name, own in times.items()
    }
    timed = "inference" if inference else "training step"
    write_json(out, {"timed": timed, "batch": batch, **images, "networks": rows})


def _at(name: str, **images: int | None) -> Architecture:
    return architecture_of(name).at(**images)


def _built(made: Architecture, batch: int) -> tuple[nn.Module, Tensor]:
    module = network.build(made).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, made.in_channels, made.resolution, made.resolution)
    return module, channels_last(images)


def _inference(made: Architecture, batch: int) -> Callable[[], None]:
    module, images = _built(made, batch)
    module.eval()

    def infer() -> None:
        with torch.inference_mode():
            module(images)

    return infer


def _step(made: Architecture, batch: int) -> Callable[[], None]:
    module, images = _built(made, batch)
    optimiser = torch.optim.AdamW(module.train().parameters(), lr=1e-4)
    labels = torch.arange(batch) % made.classes

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def commands(readme: str) -> Iterator[list[str]]:
    """Yield the words of each command of the block below `## Commands`."""
    _, _, below = readme.partition("## Commands")
    _, _, block = below.partition("```text\n")
    lines = block.partition("```")[0].replace("\\\n", " ").splitlines()
    yield from (shlex.split(line) for line in lines if line.strip())


def run(folder: Path, data: Path) -> None:
    """Execute a study's commands; the results of its trainings and times are kept in results/."""
    results, here = (folder / "results").resolve(), ROOT / "build" / folder.resolve().name
    listed, data = list(commands((folder / "README.md").read_text())), data.resolve()
    here.mkdir(parents=True, exist_ok=True)
    results.mkdir(exist_ok=True)
    os.chdir(here)
    for words in listed:
        words = [word.replace("DATA", str(data)) for word in words]
        out = Path(words[words.index("--out") + 1])
        name = out.stem if out.suffix in (".json", ".png") else str(out)
        if out.is_file() or (results / f"{name}.json").exists():
            continue
        print("$", shlex.join(words), flush=True)
        begun = time.process_time()
        if words[0] == "python":
            main(words[3:])
        elif words[1] == "evaluate":
            with redirect_stdout(printed := io.StringIO()):
                _nas(*words[1:], "--json")
            shutil.copy(out, results.parent)
            (results / f"{name}.json").write_text(printed.getvalue())
        else:
            _nas(*words[1:])
        print(f"{time.process_time() - begun:.0f} s of the processor", flush=True)
        if (result := out / "result.json").is_file():  # none of a training that diverged
            shutil.copy(result, results / f"{out}.json")
        elif "time" in words:
            shutil.copy(out, results / out)


def _nas(*words: str) -> None:
    """Run a command of nas; end where it does not succeed."""
    if code := cli.app(list(words), standalone_mode=False):
        raise SystemExit(code)


def table(
    folder: Path, metrics: Sequence[str], order: Sequence[str], picture: str = "results.png"
) -> str:
    """Return the results as Markdown tables, rows in this order, and draw them."""
    results = {
        name: json.loads((folder / "results" / f"{name}.json").read_text()) for name in order
    }
    first: Result = next(iter(results.values()), {})
    tested = [metric for metric in metrics if metric in first.get("test", {})]
    head = ["network", "macs", "parameters"]
    for metric in metrics:
        words = metric.replace("_", " ")
        head += [f"{words}, validation", "difference from the first"]
        head += [f"{words}, test"] if metric in tested else []
    rows = []
    for name, result in results.items():
        cells = [name, short(result["macs"]), short(result["params"])]
        for metric in metrics:
            values = by_seed(result, metric)
            difference = "" if result is first else _difference(values, by_seed(first, metric))
            cells += [_mean(values), difference]
            cells += [_of_test(result, metric)] if metric in tested else []
        rows.append(cells)
    tables = [_markdown(head, rows)] if rows else []
    charts = [
        _chart(f"{metric.replace('_', ' ')} on validation",
               {name: by_seed(result, metric) for name, result in results.items()})
        for metric in (metrics if results else ())
    ]  # fmt: skip
    paths = {name: folder / "results" / f"test_{name}.json" for name in order}
    evaluated = {
        name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()
    }
    if evaluated:
        tables.append(_evaluated(evaluated))
    times = folder / "results" / "times.json"
    if times.exists() and not order:
        timed = json.loads(times.read_text())["networks"]
        ratios = _ratios(timed)
        tables.append(_markdown(TIMED, _time_rows(timed, ratios)))
        charts.append(_chart("times the first's processor time", ratios, "a turn"))
    save_together(charts, folder.resolve().name, folder / picture)
    return "\n\n".join(tables)


def _evaluated(results: Mapping[str, Result]) -> str:
    """Return a table of the scores of each class, and the confusion matrix row by row."""
    classes = next(iter(results.values()))["classes"]
    head = ["network", "accuracy", *(f"class {name}: {', '.join(OF_CLASS)}" for name in classes)]
    rows = [
        [name, f"{result['metrics']['accuracy']:.3f}",
         *(", ".join(f"{of['metrics'][each]:.2f}" for each in OF_CLASS)
           for of in result["per_class"].values()),
         "; ".join(" ".join(map(str, row)) for row in result["confusion_matrix"])]
        for name, result in results.items()
    ]  # fmt: skip
    return _markdown([*head, "confusion matrix, a row a label"], rows)


TIMED = ["network", "macs", "parameters", "processor ms an image, median", "times the first"]


def _ratios(timed: Mapping[str, Result]) -> dict[str, list[float]]:
    """Return the times of each turn over those of the first network in it."""
    first = next(iter(timed.values()))[MEASURED]
    return {
        name: [own / its for own, its in zip(each[MEASURED], first, strict=True)]
        for name, each in timed.items()
    }


def _time_rows(
    timed: Mapping[str, Result], ratios: Mapping[str, Sequence[float]]
) -> list[list[str]]:
    return [
        [name, short(each["macs"]), short(each["params"]),
         f"{statistics.median(each[MEASURED]):.1f}", _mean(ratios[name], 2)]
        for name, each in timed.items()
    ]  # fmt: skip


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def by_seed(result: Result, metric: str) -> list[float]:
    """Return the validation metric of each training; kappa, where it was not kept, of its parts."""
    each = [training["metrics"] for training in result["trainings"]]
    return [_kappa(own) if metric not in own and metric == KAPPA else own[metric] for own in each]


def _kappa(metrics: Mapping[str, float]) -> float:
    """Return Cohen's kappa of two classes that are not equally frequent.

    Accuracy and balanced accuracy are two equations for the recalls of the two classes, and these
    give the confusion matrix.
    """
    most, accuracy = metrics["majority_rate"], metrics["accuracy"]
    recall = (accuracy - 2 * (1 - most) * metrics["balanced_accuracy"]) / (2 * most - 1)
    answered = 1 - most - accuracy + 2 * most * recall  # the share with the more frequent class
    by_chance = most * answered + (1 - most) * (1 - answered)
    return (accuracy - by_chance) / (1 - by_chance)


def _mean(values: Sequence[float], digits: int = 3) -> str:
    ends = interval(values)
    text = "" if ends is None else " ({:.{d}f} to {:.{d}f})".format(*ends, d=digits)
    return f"{statistics.fmean(values):.{digits}f}{text}"


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    ends = welch(ours, theirs)
    text = "" if ends is None else " ({:+.3f} to {:+.3f})".format(*ends)
    return f"{statistics.fmean(ours) - statistics.fmean(theirs):+.3f}{text}"


def _of_test(result: Result, metric: str) -> str:
    """Write the mean on test, ± its standard deviation over the seeds."""
    spread = result["test_spread"].get(metric, math.nan)
    return f"{result['test'][metric]:.3f} ± {spread:.3f}"


def _chart(title: str, shown: Mapping[str, Sequence[float]], one: str = "a seed") -> Chart:
    rows: list[Series] = []
    values: list[float] = []
    for row, (name, own) in enumerate(shown.items()):
        ends = interval(own)
        values += [*own, *(ends or ())]
        rows += standing(row, name, own, ends, "ink" if row else "best")
    return Chart(
        title=title[0].upper() + title[1:],
        summary=f"{len(shown)} networks: each value, their means and 95 % intervals",
        x=axis(title.partition(" on ")[0], values), y=names("", list(shown), down=True),
        series=[*rows, *standing_legend(one)], height=90 + LINE * max(3, len(shown)),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Do one of the six."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.systems")
    verbs = parser.add_subparsers(dest="verb", required=True)
    data = verbs.add_parser("data")
    data.add_argument("source", type=Path)
    for split in SPLITS:
        data.add_argument(f"--{split}", type=int, default=0, help="images; 0 takes all")
    data.add_argument("--rest", action="store_true", help="class 0 against the rest")
    data.add_argument("--no-test", action="store_true", help="leave the test split out")
    data.add_argument("--unlabelled", type=Path, help="a folder for the other train images")
    data.add_argument("--first", type=float, default=0.0, help="share of class 0 to reach")
    narrow = verbs.add_parser("narrow")
    narrow.add_argument("member")
    narrow.add_argument("--width", type=float, required=True)
    narrow.add_argument("--resolution", type=int, required=True)
    road = verbs.add_parser("road")
    road.add_argument("--macs", required=True)
    road.add_argument("--resolution", type=int, required=True)
    timed = verbs.add_parser("time")
    timed.add_argument("networks", nargs="+")
    timed.add_argument("--inference", action="store_true", help="no training step")
    for name, default in (("resolution", None), ("classes", None), ("batch", 16), ("turns", 5)):
        timed.add_argument(f"--{name}", type=int, default=default)
    for verb in (data, narrow, road, timed):
        verb.add_argument("--out", type=Path, required=True)
    tabulated, executed = verbs.add_parser("table"), verbs.add_parser("run")
    for verb in (tabulated, executed):
        verb.add_argument("folder", type=Path)
    executed.add_argument("--data", type=Path, required=True)
    tabulated.add_argument("--metrics", default="accuracy")
    tabulated.add_argument("--picture", default="results.png")
    tabulated.add_argument("--rows", default="", help="results; they are compared with the first")
    act(parser.parse_args(arguments))


def act(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if given.verb == "data":
        if not 0 <= given.first < 1:
            raise SystemExit(f"--first is a share from 0 to under 1, not {given.first:g}")
        counts = {split: getattr(given, split) for split in SPLITS}
        chosen = {"rest": given.rest, "first": given.first, "test": not given.no_test}
        make_data(given.source, counts, given.out, unlabelled=given.unlabelled, **chosen)
    elif given.verb == "narrow":
        make_narrow(given.member, given.width, given.out, resolution=given.resolution)
    elif given.verb == "road":
        make_road(count(given.macs, "--macs"), given.out, resolution=given.resolution)
    elif given.verb == "time":
        images = {"resolution": given.resolution, "classes": given.classes}
        time_steps(
            given.networks,
            given.out,
            batch=given.batch,
            turns=given.turns,
            inference=given.inference,
            **images,
        )
    elif given.verb == "run":
        run(given.folder, given.data)
    else:
        rows = list(filter(None, given.rows.split(",")))
        print(table(given.folder, given.metrics.split(","), rows, given.picture))


if __name__ == "__main__":
    main()
