"""A model card: Markdown with the header that Hugging Face's hub reads; facts in, text out."""

import html
import inspect
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from nas import blocks, network
from nas.architecture import Architecture
from nas.blocks.notation import notation
from nas.training.metrics import OF_TRAINING

WIDTH = 100
TAGS = ("image-classification", "neural-architecture-search", "convnet", "safetensors")
OWN_DATA = "DATA"  # in a command, for data that has no name of its own
OF_CLASSES = ("recall", "precision", "specificity", "auroc")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a model card says of a network.

    `interval` is the 95 % interval of the metric's mean over seeds on validation; `test_spread` is
    the standard deviation of test metrics over seeds. `recipe` is the recipe in words.
    `tested` is the report of the weights' own answers on the test split, as plain data, where it
    was kept. `formats` has a file, a remark and the milliseconds of one image on the `processor`
    for each exported format; `commands` is how it is made again. `levels` are those that become 0
    and 255 where the images have more than 8 bits.
    """

    name: str
    architecture: Architecture
    data: str
    fingerprint: str
    class_names: Sequence[str]
    several_labels: bool
    metric: str
    validation: Mapping[str, float]
    test: Mapping[str, float]
    test_spread: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    seeds: Sequence[int] = ()
    test_looks: int = 0
    tested: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    latency_ms: float | None = None
    formats: Mapping[str, tuple[str, str, float | None]] = field(default_factory=dict)
    processor: str = ""
    warnings: Sequence[str] = ()
    commands: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    levels: tuple[float, float] | None = None


def card(facts: CardFacts) -> str:
    """Return the model card: no name in it is Markdown, HTML or YAML of its own."""
    sections = {
        "Use": _use(facts),
        "Metrics": _metrics(facts),
        "Metrics of each class": _classes(facts),
        "Cost": _cost(facts),
        "Files": _files(facts),
        "Architecture": [*code("\n".join(_parts(facts.architecture)))],
        "Data": _data(facts),
        "Training": _training(facts),
        "Limits": _limits(facts),
        "Made again": _again(facts),
        "Papers of the ideas used": _papers(facts.architecture),
    }
    lines = [*_header(facts), "", f"# {text(facts.name)}", "", *_summary(facts)]
    for title, section in sections.items():
        if written := list(section):
            lines += ["", f"## {title}", "", *written]
    return "\n".join(lines) + "\n"


def plain(value: object) -> str:
    """Return text on one line, without characters that are not to be seen."""
    seen = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(seen.split())


def text(value: object) -> str:
    """Return text that Markdown and HTML show as it is."""
    return _SPECIAL.sub(r"\\\1", html.escape(plain(value), quote=False))


def code(content: str, language: str = "") -> Iterator[str]:
    """Yield a block of code, whose fence is longer than any run of backticks in it."""
    longest = max(map(len, re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence + language, content, fence)


def papers(architecture: Architecture) -> dict[str, str]:
    """Return the papers of the modules that a network is built of: arXiv number and idea.

    The file of a module names its idea and its paper in the first clause of its docstring.
    """
    found: dict[str, str] = {}
    with torch.device("meta"):
        modules = list(network.build(architecture).modules())
    for name in dict.fromkeys(type(module).__module__ for module in modules):
        if not name.startswith(f"{blocks.__name__}."):
            continue
        clause = plain(inspect.getdoc(sys.modules[name]) or "").partition(";")[0]
        if paper := _PAPER.search(clause):
            found.setdefault(paper[1], clause[: paper.start()].rstrip(" ,("))
    return found


def _header(facts: CardFacts) -> Iterator[str]:
    """Yield the metadata; every value is JSON, which is YAML."""
    results = [
        {"type": name, "value": value, "name": name} for name, value in sorted(facts.test.items())
    ]
    task = {"type": "image-classification", "name": "Image classification"}
    data = plain(facts.data)
    kind = re.sub(r"[^A-Za-z0-9._-]", "-", data) or "data"
    header: dict[str, Any] = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": list(TAGS),
        "metrics": [facts.metric],
    }
    if results:
        dataset = {"name": data, "type": kind, "split": "test"}
        result = {"task": task, "dataset": dataset, "metrics": results}
        header["model-index"] = [{"name": plain(facts.name), "results": [result]}]
    yield "---"
    for key, value in header.items():
        yield f"{key}: {json.dumps(value, ensure_ascii=False)}"
    yield "---"


def _summary(facts: CardFacts) -> Iterator[str]:
    network_ = facts.architecture
    size = f"{network_.resolution} x {network_.resolution}"
    yield (
        f"A ConvNet for {network_.classes} {'labels' if facts.several_labels else 'classes'} and "
        f"images of {size}, found by neural architecture search on {text(facts.data)}. Its "
        f"architecture is {network_.id}."
    )


def _use(facts: CardFacts) -> Iterator[str]:
    pixels = "uint8" if facts.levels is None else "levels as in the files"
    yield "`model.py` needs torch alone, and Pillow to read image files."
    yield ""
    yield from code("python model.py image.png", "sh")
    yield ""
    yield from code(
        "from model import CLASS_NAMES, answers, load, preprocess, probabilities_of\n\n"
        "network = load()\n"
        f"logits = network(preprocess(images))  # {pixels}, (N, "
        f"{facts.architecture.in_channels}, H, W)\n"
        "probabilities = probabilities_of(logits)\n"
        "predicted = answers(probabilities)",
        "python",
    )


def _metrics(facts: CardFacts) -> Iterator[str]:
    """Yield a table: validation, test, the spread over seeds, the interval over images."""
    estimates = facts.tested.get("metrics", {})
    known = dict.fromkeys([facts.metric, *facts.validation, *facts.test])
    names = [name for name in known if name not in OF_TRAINING]
    yield f"Means over {len(facts.seeds) or 1} training(s), one for each seed."
    yield ""
    more = (" test, these weights |", " ---: |") if estimates else ("", "")
    yield f"| metric | validation | test |{more[0]}"
    yield f"| --- | ---: | ---: |{more[1]}"
    for name in names:
        spread = facts.test_spread.get(name)
        test = _number(facts.test.get(name))
        about = f" ± {spread:.4f}" if spread is not None and test else ""
        own = f" {_estimate(estimates.get(name))} |" if estimates else ""
        yield f"| {text(name)} | {_number(facts.validation.get(name))} | {test}{about} |{own}"
    yield ""
    if estimates:
        yield (
            "In parentheses stands the 95 % interval over the images of the test split, for the"
            " weights that are published."
        )
    if facts.interval is not None:
        low, high = facts.interval
        yield (
            f"{text(facts.metric)} on validation is from {low:.4f} to {high:.4f} (95 % interval of "
            "the mean over seeds); ± is the standard deviation over seeds."
        )
    yield f"The test split was looked at {facts.test_looks} time(s)."


def _classes(facts: CardFacts) -> Iterator[str]:
    """Yield a table of the classes on the test split, with intervals over its images."""
    classes = facts.tested.get("classes", [])
    if not classes:
        return
    yield f"| class | images | {' | '.join(OF_CLASSES)} |"
    yield f"| --- | ---: |{' ---: |' * len(OF_CLASSES)}"
    for each in classes:
        cells = (_estimate(each["metrics"].get(name)) for name in OF_CLASSES)
        yield f"| {text(each['name'])} | {each['images']} | {' | '.join(cells)} |"


def _estimate(of: Mapping[str, float] | None) -> str:
    return "" if of is None else f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _cost(facts: CardFacts) -> Iterator[str]:
    cost = network.cost(facts.architecture)
    yield from ("| for one image | |", "| --- | ---: |")
    yield f"| macs (multiply-accumulates) | {cost.macs:,} |"
    yield f"| parameters | {cost.params:,} |"
    yield f"| activations | {cost.activations:,} |"
    yield f"| peak activation memory, float32 | {cost.peak_activation_bytes:,} bytes |"
    if facts.latency_ms is not None:
        yield f"| latency, as predicted for the machine of the search | {facts.latency_ms:.3g} ms |"


def _files(facts: CardFacts) -> Iterator[str]:
    yield from ("| format | file | latency | |", "| --- | --- | ---: | --- |")
    for name, (file, remark, latency) in facts.formats.items():
        took = "" if latency is None else f"{latency:.3g} ms"
        yield f"| {text(name)} | {text(file)} | {took} | {text(remark)} |"
    if facts.processor:
        yield ""
        yield (
            "Latency is the median time of one image by the format's runtime, with its own threads,"
            f" on {text(facts.processor)}."
        )


def _parts(architecture: Architecture) -> Iterator[str]:
    words = zip(architecture.parts(), notation(architecture), strict=True)
    lines = {name: line for (name, _), line in words}
    width = max(map(len, lines))
    for name, line in lines.items():
        yield textwrap.fill(
            f"{name:{width}}  {line}", WIDTH, subsequent_indent=" " * (width + 2),
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _data(facts: CardFacts) -> Iterator[str]:
    yield f"The data set is {text(facts.data)}, with the fingerprint {text(facts.fingerprint)}."
    kind = "labels" if facts.several_labels else "classes"
    yield f"Its {kind}: {', '.join(map(text, facts.class_names))}."


def _training(facts: CardFacts) -> Iterator[str]:
    if facts.recipe:
        yield f"The recipe is {text(facts.recipe)}; all its values are in recipe.toml."
    if facts.seeds:
        yield f"Seeds: {', '.join(map(str, facts.seeds))}; the weights are of the first, the best."
    if facts.versions:
        written = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
        yield f"Written by {text(written)}{f' on {facts.date}' if facts.date else ''}."


def _limits(facts: CardFacts) -> Iterator[str]:
    size = facts.architecture.resolution
    yield f"- Images are resized to {size} x {size}; other sizes lose what that loses."
    yield "- The metrics hold for images like those of the data set, which alone was measured."
    rate = facts.validation.get("majority_rate")
    if rate is not None:
        yield f"- Always answering the most frequent class is right for {rate:.1%} of the images."
    yield from (f"- {text(warning)}" for warning in facts.warnings)


def _papers(architecture: Architecture) -> list[str]:
    return [
        f"- {text(idea)}: [arXiv:{number}](https://arxiv.org/abs/{number})"
        for number, idea in papers(architecture).items()
    ]


def _again(facts: CardFacts) -> Iterator[str]:
    if facts.commands:
        yield from code("\n".join(facts.commands), "sh")
        if any(OWN_DATA in command.split() for command in facts.commands):
            yield ""
            yield (
                f"{OWN_DATA} is where the data set lies, with the options that it was searched"
                " with. Its images are the same where its fingerprint is."
            )


def reproduction(data: str | None) -> list[str]:
    """Return the commands that train the network again from the files beside the card.

    `data` is the name of a data set that `nas` knows; others lie where only their owner knows.
    """
    source = OWN_DATA if data is None else shlex.quote(plain(data))
    return [
        f"nas train architecture.json --data {source} --recipe recipe.toml --out again",
        f"nas evaluate again --data {source}",
    ]
