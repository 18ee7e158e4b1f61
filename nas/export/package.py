"""A package around an exported `model.py`: installable, with a test, an example, a training script.

It needs torch alone. Its own test is run before it is called done.
"""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import torch

from nas.errors import NasError, UserError
from nas.export import Exportable
from nas.export._training import check as check_recipe
from nas.export._training import script
from nas.training.recipe import Recipe

FOLDER = "package"
PREFIX = "convnet"
SECONDS = 1800  # that the package's test may take, on a machine that does other work as well
LONGEST = 40  # characters of the study's name in the package's

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{project}"
version = "0.1.0"
description = "{description}"
requires-python = ">=3.11"
dependencies = ["{torch}"]

[project.optional-dependencies]
images = ["{pillow}"]

[tool.setuptools]
packages = ["{package}"]

[tool.setuptools.package-data]
{package} = ["model.safetensors"]
"""

EXAMPLE = '''\
"""Classify images: `python examples/predict.py IMAGE...`, with Pillow; or noise."""

import sys

import torch

from {package}.model import (
    CLASS_NAMES,
    IN_CHANNELS,
    RESOLUTION,
    answers,
    classify,
    load,
    normalise,
    probabilities_of,
)

if paths := sys.argv[1:]:
    classify(paths)  # as `python -m {package}.model IMAGE...` does
else:
    noise = torch.randint(0, 256, (1, IN_CHANNELS, RESOLUTION, RESOLUTION), dtype=torch.uint8)
    with torch.no_grad():
        probabilities = probabilities_of(load()(normalise(noise)))
    for answer, shares in zip(answers(probabilities), probabilities, strict=True):
        print(f"{{CLASS_NAMES[int(answer)]}}: {{shares.max():.1%}}")
'''

TEST = '''\
"""The network is the exported one, and its training script runs: `python -m unittest discover`."""

import math
import tempfile
import unittest
from pathlib import Path

import torch

from {package}.model import (
    CLASSES,
    IN_CHANNELS,
    RESOLUTION,
    check,
    load,
    normalise,
    read_safetensors,
)
from {package}.train import RECIPE, train, write_safetensors

LOGITS = {logits}  # of the image below, when this package was written
SHAPE = (IN_CHANNELS, RESOLUTION, RESOLUTION)


class TestNetwork(unittest.TestCase):
    def test_counts(self) -> None:
        """Parameters, macs and the output's shape are as model.py states."""
        for fact, (found, stated) in check(load()).items():
            self.assertEqual(found, stated, fact)

    def test_outputs(self) -> None:
        """The outputs are those of the network that was exported."""
        image = (torch.arange(math.prod(SHAPE)) * 37 % 256).byte().view(1, *SHAPE)
        with torch.no_grad():
            found = load()(normalise(image))[0]
        torch.testing.assert_close(found, torch.tensor(LOGITS), rtol=1e-3, atol=1e-3)

    def test_training(self) -> None:
        """Two updates on noise leave finite weights, which are written and read back."""
        images = torch.randint(0, 256, (8, *SHAPE), dtype=torch.uint8)
        recipe = RECIPE._replace(epochs=1, epoch_updates=2, batch_size=4)
        weights = train(images, torch.arange(8) % CLASSES, recipe).cpu().state_dict()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.safetensors")
            write_safetensors(weights, path)
            again = read_safetensors(path)
        self.assertEqual(weights.keys(), again.keys())
        for name, tensor in weights.items():
            self.assertTrue(tensor.isfinite().all(), name)
            torch.testing.assert_close(tensor, again[name], rtol=0, atol=0)


if __name__ == "__main__":
    unittest.main()
'''


def check(exportable: Exportable) -> Recipe:
    """Return the recipe of a package; UserError for a network that no package can be made of."""
    architecture, facts, recipe = exportable.architecture, exportable.facts, exportable.recipe
    if recipe is None:
        raise UserError("--package needs a study: the recipe that its network was trained by.")
    if facts.targets.task != "classes":
        raise UserError("--package is for images of one class each; these may have several labels.")
    if architecture.in_channels not in (1, 3):
        raise UserError(
            f"--package is for images of 1 or 3 channels, not {architecture.in_channels}."
        )
    check_recipe(recipe)
    return recipe


def name_of(study: str) -> str:
    """Return the name of a study's package: letters, digits and underscores."""
    words = re.sub("[^a-z0-9]+", "_", study.lower())[:LONGEST].strip("_")
    return f"{PREFIX}_{words}" if words else PREFIX


def write(exportable: Exportable, code: Path, folder: Path) -> str:
    """Write a package of an emitted model.py and the weights beside it; return its name.

    Raises NasError where the package's test fails.
    """
    recipe, package = check(exportable), name_of(exportable.name)
    text = code.read_text(encoding="utf-8")
    names = [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    size = exportable.architecture.resolution
    classes = exportable.architecture.classes
    described = f"A ConvNet for {classes} classes and images of {size} x {size}"
    project = PYPROJECT.format(
        project=package.replace("_", "-"), package=package, description=described,
        torch=_needed("torch"), pillow=_needed("pillow"),
    )  # fmt: skip
    test = TEST.format(package=package, logits=_logits(exportable))
    files = {
        "pyproject.toml": project,
        f"{package}/__init__.py": f'"""{described}."""\n',
        f"{package}/model.py": text,
        f"{package}/train.py": script(recipe, names, package),
        "examples/predict.py": EXAMPLE.format(package=package),
        "tests/test_network.py": test,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    weights = code.with_name("model.safetensors").read_bytes()
    (folder / package / "model.safetensors").write_bytes(weights)
    _prove(folder)
    return package


def _needed(name: str) -> str:
    """Return our own requirement of a distribution, with its least version."""
    return next(each for each in requires("nas") or () if re.match(rf"{name}\b", each))


def _logits(exportable: Exportable) -> str:
    """Return the built network's outputs on the image of the package's test, as a literal."""
    from nas.export import graph

    architecture, facts = exportable.architecture, exportable.facts
    shape = (1, architecture.in_channels, architecture.resolution, architecture.resolution)
    pixels = (torch.arange(torch.Size(shape).numel()) * 37 % 256).view(shape) / 255
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (facts.mean, facts.std))
    with torch.no_grad():
        logits = graph.rebuilt(exportable)((pixels - mean) / std)[0]
    return "[" + ", ".join(f"{value:.5g}" for value in logits.tolist()) + "]"


def _prove(folder: Path) -> None:
    """Run a package's test as its users do, without our modules; raises NasError if it fails."""
    code = "import sys, unittest; sys.modules['nas'] = None; unittest.main('tests.test_network')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-3:]
        raise NasError(f"The package's test fails: {' '.join(last)}")
