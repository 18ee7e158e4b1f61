"""Export as Python source: one `model.py` that needs torch alone, and its weights beside it.

The classes are the blocks' own source, taken with what they refer to; the network is written out
with its literal numbers. The text is laid out as `ruff format` would do it.
"""

import ast
import inspect
import os
import runpy
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from nas import blocks, network
from nas.architecture import Architecture
from nas.blocks.notation import notation
from nas.data.pixels import UNIT, WHITE, PixelReading
from nas.errors import NasError, SpaceError, UserError
from nas.export import Exportable, Facts, Written
from nas.export._definitions import Definitions, docstring_text
from nas.export._parsing import parsed
from nas.files.reading import read_text
from nas.training.targets import ClassTargets, Targets, targets_named

EXTRA = None
PACKAGES = ("torch",)
RUNTIME = "torch"
OPTIONS = ("package",)
NEEDS_DATA = False
WIDTH = 100
TOLERANCE = 1e-5  # relative to the largest logit
INDENT = " " * 4
OWN_NAMES = (
    "Network", "preprocess", "normalise", "probabilities_of", "answers", "read_safetensors", "load",
    "check", "read_image", "deep_colours", "classify", "refuse",
)  # fmt: skip

IMPORTS = """\
import json
import sys
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
"""

PREPROCESS = '''
def preprocess(images: Tensor) -> Tensor:
    """Resize and normalise images: (N, {channels}, H, W), {values}, for the network."""
    size = (RESOLUTION, RESOLUTION){steps}
    return normalise(F.interpolate(images.float(), size, mode="bilinear", antialias=True))


def normalise(images: Tensor) -> Tensor:
    """Normalise images of the network's size, of values from 0 to 255, by channel."""
    mean, std = (torch.tensor(each, device=images.device).view(-1, 1, 1) for each in (MEAN, STD))
    return (images / 255 - mean) / std
'''

# The steps before it where the training images had more than 8 bits, or were transparent.
SCALE = """
    low, high = LEVELS
    share = (images[:, :IN_CHANNELS].float() - low) / (high - low)
    images = torch.cat([share.clamp(0, 1) * 255, images[:, IN_CHANNELS:].float()], 1)"""
COMPOSE = """
    if images.shape[1] > IN_CHANNELS:  # the last channel is alpha, from 0 to 255
        alpha = images[:, IN_CHANNELS:].float() / 255
        images = images[:, :IN_CHANNELS] * alpha + BACKGROUND * (1 - alpha)"""

PREDICT = '''
def probabilities_of(logits: Tensor) -> Tensor:
    """Return the probability of each {kind}, (N, {classes}), of the network's outputs."""
    return {probable}


def answers(probabilities: Tensor) -> Tensor:
    """Return {words}, {shape}."""
    return {answer}.long()
'''

TAIL = '''
def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file: the header's length in 8 bytes, the header as JSON, the numbers."""
    content = Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        dtype = {"F32": torch.float32, "I64": torch.int64}[entry["dtype"]]
        numbers = torch.frombuffer(bytearray(content[begin:end]), dtype=dtype)
        tensors[name] = numbers.view(entry["shape"])
    return tensors


def load(path: str | Path = WEIGHTS) -> Network:
    """Return the trained network, ready for inference."""
    network = Network()
    network.load_state_dict(read_safetensors(path))
    return network.eval()


def check(network: Network) -> dict[str, tuple[object, object]]:
    """Count parameters and macs of one image; return what was found and what this file states."""
    params = sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(1, IN_CHANNELS, RESOLUTION, RESOLUTION))
    macs = counter.get_total_flops() // 2  # torch counts a multiply-accumulate as two
    shape = tuple(logits.shape)
    return {"params": (params, PARAMS), "macs": (macs, MACS), "output": (shape, (1, CLASSES))}


def refuse(reason: object) -> SystemExit:
    """Print why there is nothing to do, and return the end with status 2."""
    print(f"{Path(__file__).name}: {reason}", file=sys.stderr)
    return SystemExit(2)


if __name__ == "__main__":
    if paths := sys.argv[1:]:
        {arguments}
    for what, (found, stated) in check(load() if WEIGHTS.exists() else Network().eval()).items():
        if found != stated:
            raise SystemExit(f"{what}: {found}, but this file states {stated}")
        print(f"{what}: {found}, as stated")
'''
TRAINED = "classify(paths)\n        raise SystemExit"
UNTRAINED = 'raise refuse(f"was not trained on images, it has no class for {paths[0]}")'

CLASSIFY = '''
def read_image(path: str) -> Tensor:
    """Read an image file with Pillow, as in training: (1, {channels}, RESOLUTION, RESOLUTION)."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        raw = str(file.tile)  # says how many bits a pixel has in the file
        image = ImageOps.exif_transpose(file)
{deep}
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, ({background}, {background}, {background}, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    image = image.convert("{mode}").resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(1, RESOLUTION, RESOLUTION, IN_CHANNELS).permute(0, 3, 1, 2)


def classify(paths: list[str]) -> None:
    """Print a table, as CSV, of the class of each image file and the probability of every class."""
    if not WEIGHTS.exists():
        raise refuse(f"its weights are missing, {{WEIGHTS}}")
    network, images = load(), []
    for path in paths:
        try:
            images.append(read_image(path))
        except ImportError:
            raise refuse("image files are read with Pillow: pip install pillow") from None
        except Exception as error:  # Pillow raises nearly anything on a damaged file
            raise refuse(f"{{path}} is no image for this network: {{error}}") from None
    table = csv.writer(sys.stdout, lineterminator="\\n")
    table.writerow(["file", "class", *CLASS_NAMES])
    for path, image in zip(paths, images, strict=True):
        with torch.no_grad():
            probabilities = probabilities_of(network(normalise(image)))
        {answer}
        table.writerow([path, answer, *(f"{{share:.6f}}" for share in probabilities[0].tolist())])
'''

# How pixels of more than 8 bits are read: of sets that have some, and of those that have none.
DEEP = """\
    if image.mode.startswith({deep}):
        low, high = LEVELS
        numbers = bytearray(image.convert("F").tobytes())
        levels = torch.frombuffer(numbers, dtype=torch.float32).double()
        if not levels.isfinite().all():
            raise ValueError("pixels that are not finite")
        share = ((levels - low) / (high - low)).clamp(0, 1)
        image = Image.frombytes("L", image.size, bytes((share * 255).round().byte().tolist()))
    elif ";16" in raw or image.mode.startswith("I"):
        raise ValueError("more than 8 bits in a form that nas predict reads, and not this file")"""
# The same for colours, whose levels Pillow does not give.
DEEP_RGB = """\
    if ";16" in raw and image.mode in ("RGB", "RGBA"):
        low, high = LEVELS
        share = ((deep_colours(path) - low) / (high - low)).clamp(0, 1)
        pixels = bytes((share * 255).round().byte().flatten().tolist())
        colours = Image.frombytes("RGB", image.size, pixels)
        if image.mode == "RGBA":
            colours.putalpha(image.getchannel("A"))
        image = colours
    el"""
DEEP_COLOURS = '''
def deep_colours(path: str) -> Tensor:
    """Return the levels of colours of 16 bits: (H, W, 3).

    Pillow reads one byte of two, the upper one, or the lower one if told that they are swapped.
    """
    from PIL import Image, ImageOps

    def swapped(args: object) -> object:
        if isinstance(args, tuple):
            return (swapped(args[0]), *args[1:])
        return f"{str(args)[:-1]}{'L' if str(args).endswith('B') else 'B'}"

    halves = []
    for is_lower in (False, True):
        with Image.open(path) as file:
            if is_lower:
                file.tile = [tile._replace(args=swapped(tile.args)) for tile in file.tile]
            image = ImageOps.exif_transpose(file).convert("RGB")
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        halves.append(pixels.view(image.height, image.width, 3).double())
    return 256 * halves[0] + halves[1]

'''
SHALLOW = """\
    if ";16" in raw or image.mode.startswith(("I", "F")):
        raise ValueError("more than 8 bits; the training images have 8")"""


def write(exportable: Exportable, folder: Path) -> Written:
    """Write model.py and model.safetensors; NasError where the file is not as it states.

    A package that is asked for comes beside them.
    """
    path = _emit(exportable.architecture, exportable.state, folder, exportable.facts)
    _checked(exportable.state, path)
    if not exportable.options.package:
        return Written(path)
    from nas.export import package  # brings the trainer, whose source it takes

    return Written(path, {"package": package.write(exportable, path, folder / package.FOLDER)})


def export(
    architecture: Architecture,
    state: Mapping[str, Tensor] | None,
    out_dir: str | Path,
    facts: Facts,
) -> Path:
    """Write model.py and, where there is a state, model.safetensors; return the path of model.py.

    They are written in a temporary folder, proven there and moved. Raises NasError where the
    emitted file's outputs are not the built network's.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if state is None and (folder / "model.safetensors").exists():
        raise UserError(
            f"{folder} holds weights, which would be another network's; choose another."
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
        code = _emit(architecture, state, Path(temporary), facts)
        prove(architecture, state or network.build(architecture).state_dict(), code)
        for path in Path(temporary).iterdir():
            os.replace(path, folder / path.name)
    return folder / code.name


def _emit(
    architecture: Architecture, state: Mapping[str, Tensor] | None, folder: Path, facts: Facts
) -> Path:
    """Write the files, of which nothing is known yet; return the path of model.py."""
    code = folder / "model.py"
    code.write_text(source(architecture, facts), encoding="utf-8")
    if state is not None:
        weights = {name: _plain_tensor(tensor) for name, tensor in state.items()}
        told = {"training": facts.training} if facts.training else None
        (folder / "model.safetensors").write_bytes(save(weights, told))
    return code


def load(path: str | Path) -> Callable[[Tensor], Tensor]:
    """Return the trained network of an emitted file, from the weights beside it."""
    network: nn.Module = runpy.run_path(str(path), run_name="model")["load"]()
    return network


class Emitted(NamedTuple):
    """The trained network of an emitted file, ready for inference, and what its images are like.

    `mean` and `std` are per channel, of pixel values from 0 to 1; `targets` read its outputs, and
    `reading` is how pixels become 8 bits.
    """

    network: nn.Module
    in_channels: int
    resolution: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    targets: Targets = ClassTargets()
    reading: PixelReading = PixelReading()


def read(path: Path) -> Emitted:
    """Run an emitted file and load its weights.

    Raises UserError for a file of another kind, and for a network that was not trained: it has no
    weights, classes or normalisation.
    """
    try:
        names = runpy.run_path(str(path), run_name="model")
        wanted = ("CLASS_NAMES", "MEAN", "STD")
        if missing := [name for name in wanted if name not in names]:
            raise UserError(f"{path} is of a network without {', '.join(missing)}: not trained.")
        if not names["WEIGHTS"].exists():
            raise UserError(f"{path} has no weights beside it; {names['WEIGHTS']} is missing.")
        facts = [names[name] for name in ("IN_CHANNELS", "RESOLUTION", *wanted)]
        facts.append(targets_named(names.get("ANSWER", "likeliest")))  # older files have none
        facts.append(PixelReading(names.get("LEVELS"), names.get("BACKGROUND")))
        return Emitted(names["load"](), *facts)
    except NasError:
        raise
    except Exception as error:  # the file may be any program
        raise UserError(
            f"{path} is no model.py that nas wrote: {type(error).__name__}: {error}"
        ) from error


def parse(path: str | Path) -> Architecture:
    """Return the architecture of an emitted file, without running it; raises SpaceError."""
    return parsed(read_text(path, SpaceError), str(path))


def prove(architecture: Architecture, state: Mapping[str, Tensor], path: Path) -> None:
    """Run an emitted file and hold it to the built network; raises NasError where they differ."""
    loaded, built = _checked(state, path), network.build(architecture)
    built.load_state_dict(dict(state))
    shape = (2, architecture.in_channels, architecture.resolution, architecture.resolution)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = built.eval()(images), loaded(images)
    difference = (expected - actual).abs().max() / expected.abs().max().clamp(min=1e-12)
    if not difference <= TOLERANCE:
        raise NasError(
            f"The emitted network's outputs differ by {difference:.1e} from the trained network's;"
            f" {TOLERANCE:.0e} is allowed."
        )


def _checked(state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Return an emitted file's network; NasError where it is not as stated, or has other weights.

    It has the weights beside the file, or, where there are none, the state.
    """
    emitted = runpy.run_path(str(path), run_name="model")
    try:
        if emitted["WEIGHTS"].exists():
            loaded: nn.Module = emitted["load"]()
        else:
            loaded = emitted["Network"]().eval()
            loaded.load_state_dict(dict(state))
    except (RuntimeError, KeyError) as error:
        raise NasError(f"The weights do not fit the network: {error}") from error
    for fact, (counted, stated) in emitted["check"](loaded).items():
        if counted != stated:
            raise NasError(f"The emitted network's {fact}: {counted}; stated: {stated}.")
    for name, tensor in loaded.state_dict().items():
        if not torch.allclose(tensor, state[name], rtol=0, atol=0, equal_nan=True):
            raise NasError(f"The emitted network's {name} is not what was trained.")
    return loaded


def source(architecture: Architecture, facts: Facts) -> str:
    """Return the text of model.py."""
    definitions = Definitions(taken=OWN_NAMES)
    body = _network(architecture, definitions)
    tail = _tail(UNTRAINED)
    definitions.add_imports(ast.parse(IMPORTS))
    if facts.mean:
        definitions.add_imports(ast.parse("from torch.nn import functional as F"))
        start = _preprocess(architecture, facts.reading)
        if facts.class_names and architecture.in_channels in (1, 3):
            definitions.add_imports(ast.parse("import csv"))
            tail = _tail(TRAINED, _classify(architecture, facts))
        tail = "\n".join([start, _predict(architecture, facts.targets), tail])
    sections = [*definitions.texts.values(), body, tail.strip("\n")]
    return "\n".join(
        [
            _docstring(architecture, facts),
            definitions.import_lines(),
            "",
            *_constants(architecture, facts),
            "\n\n" + "\n\n\n".join(sections) + "\n",
        ]
    )


def _preprocess(architecture: Architecture, reading: PixelReading) -> str:
    """Return the function that turns images into the network's input, as they were in training."""
    channels, values, steps = f"{architecture.in_channels}", "values from 0 to 255", ""
    if reading.levels is not None:
        values, steps = "levels as in the files", SCALE
    if reading.background is not None:
        channels, steps = (
            f"{channels} or, with alpha, {architecture.in_channels + 1}",
            steps + COMPOSE,
        )
    return PREPROCESS.format(channels=channels, values=values, steps=steps)


def _tail(arguments: str, functions: str = "") -> str:
    """Return the end of the file, with what it does with its arguments and functions for that."""
    main = 'if __name__ == "__main__":'
    before = f"{functions.strip()}\n\n\n{main}" if functions else main
    return TAIL.replace("{arguments}", arguments).replace(main, before)


def _classify(architecture: Architecture, facts: Facts) -> str:
    """Return the functions that classify image files; they agree with `nas.data.pixels`."""
    reading, unit = facts.reading, facts.reading.levels == UNIT
    deep = '"F"' if unit else '("I", "F")'
    one = facts.targets.task == "classes"
    labels = '"|".join(name for name, has in zip(CLASS_NAMES, found, strict=True) if has)'
    several = f"found = answers(probabilities)[0]\n        answer = {labels}"
    has_colours = architecture.in_channels == 3 and reading.levels is not None and not unit
    more = DEEP.format(deep=deep)
    if has_colours:
        more = DEEP_RGB + more.lstrip()
    return (DEEP_COLOURS if has_colours else "") + CLASSIFY.format(
        channels=architecture.in_channels,
        deep=SHALLOW if reading.levels is None else more,
        background=WHITE if reading.background is None else "BACKGROUND",
        mode="L" if architecture.in_channels == 1 else "RGB",
        answer="answer = CLASS_NAMES[int(answers(probabilities))]" if one else several,
    )


def _predict(architecture: Architecture, targets: Targets) -> str:
    """Return the functions from outputs to answers; the rule's text is that of the metrics."""
    text = textwrap.dedent(inspect.getsource(targets.answer.compute))
    (rule,) = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Return))
    assert rule is not None
    one = targets.task == "classes"
    return PREDICT.format(
        kind="class" if one else "label",
        classes=architecture.classes,
        probable=targets.probable,
        words=targets.answer.words,
        shape="its index, (N,)" if one else f"0 or 1, (N, {architecture.classes})",
        answer=ast.unparse(rule),
    )


def _network(architecture: Architecture, definitions: Definitions) -> str:
    """Return the class Network: a part per stage, a literal constructor call per layer."""
    steps = network.walk(architecture)
    parts, forward = [], []
    channels, size = architecture.in_channels, architecture.resolution
    names = [name for name, _ in architecture.parts()]
    for name, rows in architecture.parts():
        calls = []
        for _, (row, channels, size) in zip(rows, steps):  # noqa: B905 - the part ends first
            module = blocks.get(row.block).module
            arguments = blocks.module_arguments(row, channels)
            for used in (module, *_own_classes(arguments.values())):
                definitions.add(sys.modules[used.__module__], used.__name__)
            calls.append(_call(module, arguments, INDENT * 3))
            channels, size = row.out_channels, blocks.out_size(row, size)
        lines = "".join(f"\n{INDENT * 3}{call}," for call in calls)
        end = f"\n{INDENT * 2})" if calls else ")"
        parts.append(f"self.{name} = nn.Sequential({lines}{end}")
        if name != names[-1]:
            forward.append(f"x = self.{name}(x)  # (N, {channels}, {size}, {size})")
    forward.append(f"return self.{names[-1]}(x)  # (N, {architecture.classes})")
    shape = f"{architecture.in_channels}, {architecture.resolution}, {architecture.resolution}"
    body = [
        "class Network(nn.Module):",
        f'{INDENT}"""Images of (N, {shape}) in, logits of (N, {architecture.classes}) out."""',
        "",
        f"{INDENT}def __init__(self) -> None:",
        *(INDENT * 2 + line for line in ("super().__init__()", *parts)),
        "",
        f"{INDENT}def forward(self, x: Tensor) -> Tensor:",
        *(INDENT * 2 + line for line in forward),
    ]
    return "\n".join(body)


def _call(kind: type, arguments: Mapping[str, Any], indent: str, before: str = "") -> str:
    """Write a constructor call as a person would; `before` stands before it, a comma after it."""
    written = _written(kind, arguments)
    flat = ", ".join(keyword + _literal(value) for value, keyword in written)
    if len(f"{indent}{before}{kind.__name__}({flat}),") <= WIDTH:
        return f"{kind.__name__}({flat})"
    inner = indent + INDENT
    if len(inner + flat) <= WIDTH:
        return f"{kind.__name__}(\n{inner}{flat}\n{indent})"
    lines = (f"{inner}{keyword}{_fitted(value, inner, keyword)},\n" for value, keyword in written)
    return f"{kind.__name__}(\n{''.join(lines)}{indent})"


def _written(kind: type, arguments: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Return each argument to write with its "keyword=": no defaults, keywords for what has one."""
    defaults = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
    return [
        (arguments[name], "" if default is inspect.Parameter.empty else f"{name}=")
        for name, default in defaults.items()
        if arguments[name] != default
    ]


def _fitted(value: Any, indent: str, before: str) -> str:
    """Write a value on a line of its own, broken up where it is too long."""
    flat = _literal(value)
    if len(f"{indent}{before}{flat},") <= WIDTH:
        return flat
    if _is_own(type(value)):
        return _call(type(value), value._asdict(), indent, before)
    if not isinstance(value, tuple):
        return flat
    return "(" + "".join(f"\n{indent}{INDENT}{_literal(item)}," for item in value) + f"\n{indent})"


def _literal(value: Any) -> str:
    """Write a value as a literal."""
    if isinstance(value, str):
        return _string(value)
    if _is_own(type(value)):
        written = _written(type(value), value._asdict())
        fields = ", ".join(keyword + _literal(field) for field, keyword in written)
        return f"{type(value).__name__}({fields})"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_literal, value)) + (",)" if len(value) == 1 else ")")
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, type) and value in vars(nn).values():
        return f"nn.{value.__name__}"
    if _is_own(value):
        return str(value.__name__)
    raise NasError(f"{value!r} can't be written as a literal.")


def _own_classes(values: Iterable[Any]) -> Iterator[type]:
    """Yield the classes of blocks among values, and those of their named tuples."""
    for value in values:
        if _is_own(value):
            yield value
        elif _is_own(type(value)):
            yield type(value)
            yield from _own_classes(value)


def _is_own(value: Any) -> bool:
    """Tell whether a value is a class of a block."""
    return isinstance(value, type) and value.__module__.startswith(f"{blocks.__name__}.")


def _string(text: str) -> str:
    """Write a string with the quotes that need fewer escapes, double ones where it is the same."""
    inside = repr(f"{text}'\"")[1:-4]  # in single quotes, those inside escaped
    if text.count('"') > text.count("'"):
        return f"'{inside}'"
    return '"' + inside.replace("\\'", "'").replace('"', '\\"') + '"'


def _constants(architecture: Architecture, facts: Facts) -> list[str]:
    cost = network.cost(architecture)
    lines = [
        f"IN_CHANNELS = {architecture.in_channels}",
        f"RESOLUTION = {architecture.resolution}",
        f"CLASSES = {architecture.classes}",
    ]
    if facts.class_names:
        lines.append("CLASS_NAMES = " + _fitted(facts.class_names, "", "CLASS_NAMES = "))
    if facts.mean:
        lines.append("# Per channel, of pixel values from 0 to 1.")
        lines += [f"MEAN = {_literal(facts.mean)}", f"STD = {_literal(facts.std)}"]
        if facts.reading.levels is not None:
            lines.append(
                f"LEVELS = {_literal(facts.reading.levels)}  # of pixels that become 0 and 255"
            )
        if facts.reading.background is not None:
            lines.append(f"BACKGROUND = {facts.reading.background}  # behind transparent pixels")
        lines.append(f"ANSWER = {_literal(facts.targets.rule)}")
    return [
        *lines,
        f"PARAMS = {cost.params:_}",
        f"MACS = {cost.macs:_}  # multiply-accumulates for one image, convolution and linear",
        'WEIGHTS = Path(__file__).with_name("model.safetensors")',
    ]


def _docstring(architecture: Architecture, facts: Facts) -> str:
    cost = network.cost(architecture)
    size = f"{architecture.resolution} x {architecture.resolution}"
    on = f", trained on {docstring_text(facts.data)}" if facts.data else ""
    when = f" ({docstring_text(facts.date)})" if facts.date else ""
    title = f'"""A ConvNet for {architecture.classes} classes and images of {size}{on}{when}.'
    lines = [*textwrap.wrap(title, WIDTH), ""]
    lines += [f"score   {facts.score:.4f}"] if facts.score is not None else []
    lines += [f"macs    {cost.macs:,}", f"params  {cost.params:,}", ""]
    lines += _metrics(facts) + _recipe(facts)
    lines_of_parts = zip(architecture.parts(), notation(architecture), strict=True)
    words = {name: line for (name, _), line in lines_of_parts}
    width = max(map(len, words))
    for name, line in words.items():
        indent = " " * (width + 2)
        lines += textwrap.wrap(
            f"{name:{width}}  {line}", WIDTH, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join([*lines, '"""', ""])


def _metrics(facts: Facts) -> list[str]:
    """Return a small table of metrics, a column per split."""
    columns = {"validation": facts.validation, "test": facts.test}
    columns = {split: metrics for split, metrics in columns.items() if metrics}
    names = list(dict.fromkeys(name for metrics in columns.values() for name in metrics))
    if not names:
        return []
    width = max(map(len, names))
    lines = [" " * width + "".join(f"{split:>12}" for split in columns)]
    for name in names:
        values = (metrics.get(name, "") for metrics in columns.values())
        cells = (f"{value:.4f}" if isinstance(value, float) else value for value in values)
        lines.append(f"{docstring_text(name):{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return [line.rstrip() for line in lines] + [""]


def _recipe(facts: Facts) -> list[str]:
    """Return the values of the recipe that the search found, a line each."""
    width = max(map(len, facts.recipe), default=0)
    lines = [docstring_text(f"{key:{width}}  {value}") for key, value in facts.recipe.items()]
    return ["the recipe's values that the search found:", *lines, ""] if lines else []


def _plain_tensor(tensor: Tensor) -> Tensor:
    plain = tensor.detach().cpu().contiguous()
    return plain.float() if plain.is_floating_point() else plain
