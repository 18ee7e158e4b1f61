"""The emitted Python file: runs alone, says what it is, and computes what was trained."""

import ast
import os
import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import referee
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import architectures
from torch import Tensor

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.blocks.notation import notation
from nas.errors import NasError, UserError
from nas.export import Facts, get, names
from nas.export._definitions import Definitions
from nas.export.python import _string, export, source

SMALL = blocks.canonical(
    Architecture(
        1, 16, 3,
        (Row("conv", 8, 2),),
        (
            Row("mbconv", 12, 2, (("kernels", "3.5"), ("se_ratio", 0.5))),
            Row("mbconv", 12, 1, (("activation", "silu"), ("drop_path", 0.1))),
        ),
        (Row("conv", 32, 1, (("kernels", "1"),)), Row("classifier", 3, 1, (("dropout", 0.2),))),
    )
)  # fmt: skip
FACTS = Facts(
    score=0.98765,
    validation={"accuracy": 0.98, "predicted_classes": 3},
    test={"accuracy": 0.97},
    data="digits",
    class_names=("a", "it's", 'say "b"'),
    date="2026-01-02",
    mean=(0.5,),
    std=(0.25,),
)


def trained(architecture: Architecture) -> dict[str, Tensor]:
    """Return weights that no initialisation gives, batch norm's statistics included."""
    module = network.build(architecture)
    with torch.no_grad():
        for buffer in (*module.parameters(), *module.buffers()):
            if buffer.is_floating_point():
                buffer.uniform_(0.1, 0.3)
    return module.state_dict()


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(SMALL, trained(SMALL), tmp_path_factory.mktemp("best"), FACTS)


def run_alone(path: Path) -> subprocess.CompletedProcess[str]:
    """Run a file in an empty folder with torch but without us, safetensors or numpy."""
    blocked = "nas", "safetensors", "numpy"
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({blocked!r}));"
        f"runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120
    )


def test_the_file_runs_with_torch_alone(emitted: Path) -> None:
    """Without nas, safetensors and numpy it loads its weights, checks itself and says so."""
    run = run_alone(emitted)
    cost = network.cost(SMALL)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        f"params: {cost.params}, as stated",
        f"macs: {cost.macs}, as stated",
        "output: (1, 3), as stated",
    ]


def test_the_file_runs_without_its_weights(emitted: Path, tmp_path: Path) -> None:
    """The architecture alone still checks itself."""
    alone = tmp_path / "model.py"
    alone.write_text(emitted.read_text())
    assert run_alone(alone).returncode == 0


@pytest.mark.parametrize("name", ["PARAMS", "MACS", "CLASSES"])
def test_a_file_that_says_something_false_fails(emitted: Path, tmp_path: Path, name: str) -> None:
    """A stated number that does not hold ends with status 1 and both numbers."""
    changed = tmp_path / "model.py"
    changed.write_text(re.sub(rf"^{name} = \d+", f"{name} = 7", emitted.read_text(), flags=re.M))
    run = run_alone(changed)
    assert run.returncode == 1
    assert re.search(r"\d+\)?, but this file states .*7", run.stderr)


def test_only_torch_and_the_standard_library_are_imported(emitted: Path) -> None:
    """No import of anything else, but Pillow's, in the function that reads image files."""
    imported: dict[bool, set[str]] = {True: set(), False: set()}
    tree = ast.parse(emitted.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported[node in tree.body] |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported[node in tree.body].add(str(node.module).partition(".")[0])
    assert imported[True] - sys.stdlib_module_names == {"torch"}
    assert imported[False] == {"PIL"}


def test_the_classes_it_needs_and_no_others_are_there(emitted: Path) -> None:
    """A network without depthwise-separable blocks does not carry their class."""
    tree = ast.parse(emitted.read_text())
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes == [
        "ConvNormAct", "Squeeze", "Skip", "MixConv2d", "SqueezeExcite", "StochasticDepth",
        "SkipConnection", "MBConv", "Classifier", "Network",
    ]  # fmt: skip


def test_a_plain_network_carries_plain_code() -> None:
    """Without mbconv there is no trace of it, nor of any registry or cost code."""
    plain = Architecture(3, 8, 2, (Row("conv", 8),), (), (Row("classifier", 2),))
    text = source(plain, Facts())
    for word in ("MBConv", "depthwise", "noqa", "tape", "BLOCK", "Options", "nas.", "preprocess"):
        assert word not in text


def test_the_layers_are_literal(emitted: Path) -> None:
    """Each layer is one call; arguments that are the default are not written."""
    text = emitted.read_text()
    assert "            ConvNormAct(1, 8, 3, stride=2),\n" in text
    assert "            Classifier(32, 3, dropout=0.2),\n" in text
    assert (
        "            MBConv(8, 12, (24, 24), (3, 5), stride=2, se=Squeeze(4)),\n"
        "            MBConv(12, 12, (72,), (3,), activation=nn.SiLU,"
        ' skip=Skip("identity", drop_path=0.1)),\n'
    ) in text
    assert "        x = self.stage1(x)  # (N, 12, 4, 4)\n" in text


def test_the_docstring_says_what_the_network_is(emitted: Path) -> None:
    """Score, macs, params, data set, date, metrics per split and the notation per stage."""
    text = ast.get_docstring(ast.parse(emitted.read_text())) or ""
    cost = network.cost(SMALL)
    assert text.startswith(
        "A ConvNet for 3 classes and images of 16 x 16, trained on digits (2026-01-02)."
    )
    for line in (
        "score   0.9877",
        f"macs    {cost.macs:,}",
        f"params  {cost.params:,}",
        "                   validation        test",
        "accuracy               0.9800      0.9700",
        "predicted_classes           3",
        *(
            f"{name:6}  {word}"
            for (name, _), word in zip(SMALL.parts(), notation(SMALL), strict=True)
        ),
    ):
        assert line in text.splitlines()


def test_the_constants_are_what_is_needed_to_use_it(emitted: Path) -> None:
    """Sizes, class names and normalisation stand in the file."""
    found = runpy.run_path(str(emitted))
    cost = network.cost(SMALL)
    constants = (
        "IN_CHANNELS",
        "RESOLUTION",
        "CLASSES",
        "CLASS_NAMES",
        "MEAN",
        "STD",
        "PARAMS",
        "MACS",
    )
    assert [found[name] for name in constants] == [
        1, 16, 3, FACTS.class_names, (0.5,), (0.25,), cost.params, cost.macs,
    ]  # fmt: skip


def test_images_are_resized_and_normalised(emitted: Path) -> None:
    """preprocess takes uint8 images of any size; 255 is 1, then (1 - mean) / std."""
    images = torch.full((2, 1, 40, 30), 255, dtype=torch.uint8)
    prepared = runpy.run_path(str(emitted))["preprocess"](images)
    torch.testing.assert_close(prepared, torch.full((2, 1, 16, 16), 2.0))


def test_images_are_prepared_on_their_own_device(emitted: Path) -> None:
    """preprocess computes where its images lie: on a GPU, or here on torch's meta device."""
    prepared = runpy.run_path(str(emitted))["preprocess"](torch.zeros(2, 1, 40, 30, device="meta"))
    assert (prepared.device.type, prepared.shape) == ("meta", (2, 1, 16, 16))


def test_the_weights_are_those_that_were_given(emitted: Path) -> None:
    """The file's own reader returns every tensor exactly, with the built network's keys."""
    loaded = runpy.run_path(str(emitted))["load"]().state_dict()
    built = network.build(SMALL).state_dict()
    assert list(loaded) == list(built)
    assert all(loaded[name].shape == tensor.shape for name, tensor in built.items())


def test_the_outputs_are_those_of_the_trained_network(tmp_path: Path) -> None:
    """With the weights loaded, logits equal the built network's."""
    state = trained(SMALL)
    path = export(SMALL, state, tmp_path / "new" / "best", FACTS)
    built = network.build(SMALL).eval()
    built.load_state_dict(state)
    images = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(runpy.run_path(str(path))["load"]()(images), built(images))


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    """Two files, no temporary ones, no bytecode; a second export replaces the first."""
    for _ in range(2):
        export(SMALL, trained(SMALL), tmp_path, FACTS)
    assert sorted(os.listdir(tmp_path)) == ["model.py", "model.safetensors"]


def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Another network's weights end in an error, and the folder stays as it was."""
    other = SMALL.at(classes=4)
    with pytest.raises(NasError, match="weights do not fit"):
        export(SMALL, trained(other), tmp_path, FACTS)
    assert os.listdir(tmp_path) == []


def test_an_emitted_file_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the source wrong, the proof would find it before the file is in place."""
    wrong = source(SMALL, FACTS).replace("return self.head(x)", "return self.head(x * 1.001)")
    monkeypatch.setattr("nas.export.python.source", lambda *_: wrong)
    with pytest.raises(NasError, match="outputs differ by"):
        export(SMALL, trained(SMALL), tmp_path, FACTS)
    assert os.listdir(tmp_path) == []


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN weights are never called proven."""
    state = {name: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor
             for name, tensor in trained(SMALL).items()}  # fmt: skip
    with pytest.raises(NasError, match="outputs differ by nan"):
        export(SMALL, state, tmp_path, FACTS)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(architecture=architectures())
def test_whatever_is_emitted_is_formatted_as_ruff_would(architecture: Architecture) -> None:
    """For random architectures `ruff format` has nothing to change."""
    assert referee.formatting(source(architecture, FACTS)) == ""


NAMES = ('it\'s "so"', "a'b'\"", '"', "'", "\\", "a\\'b\"", "tab\t", "\u00e9\u4e2d", "x" * 95)


@pytest.mark.parametrize("name", NAMES)
def test_class_names_are_written_as_ruff_would(name: str) -> None:
    """Quotes, backslashes and long names come out as literals that mean the same."""
    assert ast.literal_eval(_string(name)) == name
    facts = Facts(class_names=(name, "b", "c"), data=f'"""{name}', date="\\")
    text = source(SMALL, facts)
    assert referee.formatting(text) == ""
    assert ast.parse(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text())
def test_every_string_means_itself(text: str) -> None:
    """Whatever a folder is called, its literal is its name."""
    assert ast.literal_eval(_string(text)) == text


def test_a_name_for_two_things_is_refused() -> None:
    """A block's class that is called like something in the file itself is no silent mix-up."""
    definitions = Definitions(taken=["MBConv"])
    with pytest.raises(NasError, match="has a MBConv as well"):
        definitions.add(import_module("nas.blocks.modules.mbconv"), "MBConv")


def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> ModuleType:
    """Import a module with this text, as a registered block's would be."""
    (tmp_path / "plugin.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    return __import__("plugin")


def test_definitions_come_with_what_they_refer_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constants, helpers, decorators and imports come along, each before its use."""
    text = (
        "import math\nfrom functools import cache\nfrom torch.nn import functional as F\n"
        "from nas.blocks.modules.layer_scale import LayerScale\n"
        "UNUSED = 1\nHALF: float = math.pi / 2  # noqa: E501\n"
        "@cache\ndef helper():\n    return HALF\n"
        "class Block(LayerScale):\n"
        "    def forward(self, x):\n        return F.relu(x) * helper()\n"
    )
    definitions = Definitions()
    definitions.add(plugin(tmp_path, monkeypatch, text), "Block")
    assert list(definitions.texts) == ["LayerScale", "HALF", "helper", "Block"]
    assert definitions.texts["HALF"] == "HALF: float = math.pi / 2"
    assert definitions.texts["helper"].startswith("@cache\n")
    assert definitions.import_lines() == (
        "import math\nfrom functools import cache\n\nimport torch\n"
        "from torch import Tensor, nn\nfrom torch.nn import functional as F"
    )


def test_a_class_that_needs_something_else_can_not_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block's class that uses numpy, say, is refused with the name of what it uses."""
    text = "import numpy as np\nclass Block:\n    zero = np.zeros(1)\n"
    with pytest.raises(NasError, match="plugin uses np of numpy"):
        Definitions().add(plugin(tmp_path, monkeypatch, text), "Block")


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    """The registry knows its files' names without importing them."""
    assert "python" in names()
    with pytest.raises(UserError, match=r"No export format named 'pyton'\. Did you mean 'python'"):
        get("pyton")
