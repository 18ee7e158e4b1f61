"""Every export format: written, run by its own runtime, equal to the built network, or absent."""

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import referee
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from search_kit import arguments, nas_here, result
from torch import Tensor
from training_kit import few_digits

from nas import blocks
from nas.architecture import Architecture, Row
from nas.errors import SpaceError, UserError
from nas.export import Exportable, ExportOptions, Facts, get, names, proof
from nas.search_space import load, spaces
from nas.training.images import normalisation
from tests.test_search import rows

RESOLUTION = 32
SLOW = ("executorch", "litert")  # whose compilers take seconds for the smallest network
PARTIAL = ("timm",)  # it can't say every network; tests/test_export_timm.py has those that it can
FORMATS = [name for name in names() if all(map(find_spec, get(name).PACKAGES))]
SMALL = blocks.canonical(
    Architecture(
        1, 8, 10,
        (Row("conv", 8, 2),),
        (Row("mbconv", 12, 2, (("kernels", "3.5"), ("se_ratio", 0.5))),),
        (Row("conv", 32, 1, (("kernels", "1"),)), Row("classifier", 10)),
    )
)  # fmt: skip


@st.composite
def shipped(draw: Any) -> Architecture:
    """Draw from a shipped space, and of that architecture the first layer of three stages."""
    space = load(draw(st.sampled_from(sorted(spaces()))))
    whole = space.decode(space.sample(random.Random(draw(st.integers(0, 99)))))
    try:
        body = tuple(stage[0] for stage in whole.stages[:3])
        return blocks.canonical(replace(whole.at(resolution=RESOLUTION, classes=5), body=body))
    except SpaceError:
        assume(False)
        raise


def exportable(architecture: Architecture, **options: Any) -> Exportable:
    """Return a network of random weights, calibrated, with the statistics of some images."""
    state = referee.calibrated(architecture).state_dict()
    channels = architecture.in_channels
    facts = Facts(mean=(0.4,) * channels, std=(0.25,) * channels)
    return Exportable(architecture, state, facts, ExportOptions(**options))


def of_digits(**options: Any) -> Exportable:
    """Return a small network with the digits as its images."""
    data = few_digits()
    mean, std = normalisation(data, 8)
    facts = Facts(mean=mean, std=std)
    return replace(exportable(SMALL, **options), facts=facts, data=data)


def check(architecture: Architecture, folder: Path, formats: list[str], **options: Any) -> None:
    """Export into formats and expect that each file is there and equal, by our own look too."""
    network = exportable(architecture, **options)
    for name in formats:
        proven = proof.prove(name, network, folder)
        assert (name, proven.failure) == (name, None)
        assert proven.path is not None
        assert proven.path.is_file()
        assert proven.verified is not None
        assert proven.verified <= 1e-4


@settings(max_examples=3, deadline=None, derandomize=True)
@given(architecture=shipped(), folds=st.booleans(), preprocess=st.booleans())
def test_every_format_computes_what_the_built_network_does(
    architecture: Architecture,
    folds: bool,
    preprocess: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Networks of all shipped spaces, with each option of the formats; quantisation aside."""
    formats = [n for n in FORMATS if n not in (*SLOW, *PARTIAL) and not get(n).NEEDS_DATA]
    options = {"fold_batch_norm": folds, "preprocess": preprocess}
    check(architecture, tmp_path_factory.mktemp("formats"), formats, **options)


@pytest.mark.parametrize("name", [name for name in SLOW if name in FORMATS])
def test_a_slow_format_computes_what_the_built_network_does(name: str, tmp_path: Path) -> None:
    """A MixConv with squeeze-and-excite, in formats that run image by image."""
    check(SMALL, tmp_path, [name])


def test_cond_conv_is_exported_for_any_number_of_images(tmp_path: Path) -> None:
    """A kernel for each image, shared routing or not, strided or 1x1: the batch is not fixed."""
    body = (Row("condconv", 12, 2), Row("condconv", 16, 1, (("routing", "convolution"),)))
    check(blocks.canonical(replace(SMALL, body=body)), tmp_path, ["onnx"])


def test_folding_leaves_no_batch_norm(tmp_path: Path) -> None:
    """Also a batch norm over the concatenation of a MixConv's convolutions is in their weights."""
    onnx = pytest.importorskip("onnx")
    operators = []
    for folds in (False, True):
        check(SMALL, tmp_path, ["onnx"], fold_batch_norm=folds)
        nodes = onnx.load(tmp_path / "model.onnx").graph.node
        operators.append({node.op_type for node in nodes})
    assert [{"BatchNormalization"} & each for each in operators] == [{"BatchNormalization"}, set()]


def test_with_preprocess_a_file_takes_pixels(tmp_path: Path) -> None:
    """Its input is uint8 of any number of images; standardised by hand it is the same network."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = exportable(SMALL, preprocess=True)
    proven = proof.prove("onnx", network, tmp_path)
    session = onnxruntime.InferenceSession(str(proven.path))
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [1, 8, 8])
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    (logits,) = session.run(["logits"], {"images": pixels.numpy()})
    plain = referee.calibrated(SMALL)((pixels / 255 - 0.4) / 0.25)
    torch.testing.assert_close(torch.from_numpy(logits), plain.detach(), rtol=1e-3, atol=1e-4)


def test_a_quantised_network_states_what_it_loses(tmp_path: Path) -> None:
    """The metric on validation, in both forms, by onnxruntime; the file holds 8-bit weights."""
    onnx = pytest.importorskip("onnx")
    proven = proof.prove("onnx-int8", of_digits(max_loss=100.0), tmp_path)
    assert proven.failure is None
    stated = proven.stated
    loss = 100 * (stated["float32"] - stated["int8"])
    assert (stated["metric"], stated["loss_points"]) == ("accuracy", pytest.approx(loss))
    assert os.listdir(tmp_path) == ["model.int8.onnx"]
    weights = onnx.load(proven.path).graph.initializer
    assert any(weight.data_type == onnx.TensorProto.INT8 for weight in weights)


def test_a_quantised_network_that_loses_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason has both numbers and the limit; no file is left."""
    pytest.importorskip("onnxruntime")
    values = iter((0.9, 0.8))
    monkeypatch.setattr("nas.export.onnx_int8._metric", lambda *_: next(values))
    proven = proof.prove("onnx-int8", of_digits(), tmp_path)
    assert proven.failure == (
        "accuracy on the validation split falls from 0.9000 to 0.8000, by 10.0 points;"
        " --max-loss allows 2."
    )
    assert os.listdir(tmp_path) == []


def wrong(right: Callable[[Path], Callable[[Tensor], Tensor]]) -> Any:
    """Return a loader whose network's outputs are a little larger."""
    return lambda path: lambda images: right(path)(images) * 1.001


def test_real_images_are_part_of_the_proof(tmp_path: Path) -> None:
    """Where the data set is at hand, eight images of its train split are run as well."""
    proven = proof.prove("json", of_digits(), tmp_path)
    assert (proven.real_images, proven.failure) == (8, None)


@pytest.mark.parametrize("name", ["python", "torch-export"])
def test_a_file_that_is_not_equal_is_not_left(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were an export wrong, the proof would find it: the folder stays as it was."""
    monkeypatch.setattr(get(name), "load", wrong(get(name).load))
    proven = proof.prove(name, exportable(SMALL), tmp_path / "new")
    assert (proven.path, proven.verified) == (None, None)
    assert "outputs differ by 1.0e-03" in str(proven.failure)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("factor", "equal"), [(1.001, True), (1.5, False)])
def test_rounding_is_no_difference(
    factor: float, equal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where float32 itself is less exact than the tolerance, that much is allowed, and no more."""
    exact = exportable(SMALL)
    state, shift = dict(exact.state), 1e4  # it cancels: what is left has few digits
    state["head.0.norm.bias"] = state["head.0.norm.bias"] + shift
    weight, bias = state["head.1.linear.weight"], state["head.1.linear.bias"]
    state["head.1.linear.bias"] = bias - shift * weight.sum(1)
    right = get("torch-export").load
    monkeypatch.setattr(
        get("torch-export"), "load", lambda path: lambda images: right(path)(images) * factor
    )
    proven = proof.prove("torch-export", replace(exact, state=state), tmp_path)
    assert (proven.failure is None) == equal
    if equal:
        assert proven.tolerance is not None
        assert 1e-3 < proven.tolerance <= proof.MOST


def test_outputs_that_are_no_numbers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that gives NaN is not called equal, whatever the tolerance."""
    monkeypatch.setattr(
        get("json"), "load", lambda _: lambda x: torch.full((len(x), 10), torch.nan)
    )
    proven = proof.prove("json", exportable(SMALL), tmp_path)
    assert proven.failure == "the outputs are not finite, or have another shape."


def test_a_format_whose_converter_fails_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of another package is the verdict, in a line; the other formats go on."""

    def fail(*_: object) -> None:
        raise RuntimeError("no such operator\nat line 3")

    monkeypatch.setattr(get("torchscript"), "load", fail)
    proven = proof.prove("torchscript", exportable(SMALL), tmp_path)
    assert proven.failure == "RuntimeError: no such operator"
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, the message names the format, the package and the way to it."""
    monkeypatch.setattr(
        "nas.export.proof.find_spec", lambda name: None if name == "onnxscript" else name
    )
    with pytest.raises(UserError, match=r"onnx needs onnxscript: pip install 'nas\[onnx\]'"):
        proof.check_formats(["json", "onnx"], ExportOptions())


def test_an_option_that_no_format_heeds_is_refused() -> None:
    """--max-loss is for quantised formats; beside one, others may stand."""
    with pytest.raises(UserError, match="--max-loss is no option of json, onnx"):
        proof.check_formats(["json", "onnx"], ExportOptions(max_loss=5.0))
    proof.check_formats(["json", "onnx-int8"], ExportOptions(max_loss=5.0))


def member(out: Path, *words: str) -> Any:
    """Run nas export on a small published network."""
    given = ("--member", "mnasnet_small", "--classes", "10", "--resolution", "32")
    return nas_here("export", *given, "--out", str(out), *words)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Export a published network as a user would."""
    out = tmp_path_factory.mktemp("member") / "out"
    return out, result(member(out, "--format", "json, python", "--json"))


def test_a_published_network_is_exported_untrained(written: tuple[Path, Any]) -> None:
    """For each format there are the path, the largest difference and the runtime."""
    out, said = written
    assert list(said["formats"]) == ["json", "python"]
    for name, file in (("json", "architecture.json"), ("python", "model.py")):
        one = said["formats"][name]
        assert Path(one["path"]) == out / file
        assert one["verified"] <= 1e-5
        assert one["runtime"] == f"torch {torch.__version__}"
    stored = Architecture.from_json(json.loads((out / "architecture.json").read_text()))
    assert (stored.id, stored.classes, stored.resolution) == (said["architecture_id"], 10, 32)


def test_the_seed_draws_the_weights(written: tuple[Path, Any], tmp_path: Path) -> None:
    """The same seed gives the same file, another one another; 0 is the default."""
    weights = (written[0] / "model.safetensors").read_bytes()
    for seed in (0, 1):
        out = tmp_path / str(seed)
        member(out, "--format", "json", "--seed", str(seed))
        assert ((out / "model.safetensors").read_bytes() == weights) is (seed == 0)


def test_a_failure_ends_with_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other formats are written, and all verdicts are printed."""
    monkeypatch.setattr(get("json"), "load", wrong(get("json").load))
    run = member(tmp_path / "out", "--format", "python,json", "--json")
    assert run.returncode == 1
    said = json.loads(run.stdout)["formats"]
    assert said["python"]["failure"] is None
    assert "outputs differ" in said["json"]["failure"]
    assert "Not written: json: the outputs differ" in run.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["model.py", "model.safetensors"]


REFUSED = {
    "two networks": (("s", "--member", "mixnet_s"), "study and --member each say which network"),
    "a trial of a member": (("--member", "mixnet_s", "--trial", "1"), "--trial and --member each"),
    "classes of a study": (("s", "--classes", "3"), "--classes is for --member"),
    "images of a member": (("--member", "mixnet_s", "--format", "onnx-int8"), "needs a study"),
    "pixels of a member": (
        ("--member", "mixnet_s", "--format", "torch-export", "--preprocess"),
        "--preprocess needs a study",
    ),
    "a loss of a member": (("--member", "mixnet_s", "--max-loss", "200"), "from 0 to 100 points"),
    "a format twice wrong": (("s", "--format", "python,onyx"), "No export format named 'onyx'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    """One message names the rule, exit code 2; there is no folder."""
    words, expected = REFUSED[case]
    run = nas_here("export", *words, "--out", str(tmp_path / "out"))
    assert (run.returncode, expected in run.stderr) == (2, True), run.stderr
    assert os.listdir(tmp_path) == []


def study_note(folder: Path) -> str:
    """Return the dashboard's note on the only study of a store."""
    of = "FROM study_system_attributes WHERE key = 'dashboard:note_str:0'"
    ((note,),) = rows(folder, f"SELECT value_json {of}")
    return str(json.loads(str(note)))


def test_a_verdict_is_stored_with_the_trial(tmp_path: Path) -> None:
    """A study's winner is proven on its own images too; nas show, nas top and its note tell it."""
    result(nas_here("search", *arguments(tmp_path, workers=0, trials=1, epochs=1), "--json"))
    store = ("--store", f"sqlite:///{tmp_path}/nas.db")
    for names_ in ("json", "json,torchscript"):
        words = ("--format", names_, "--out", str(tmp_path / "out"), "--json", *store)
        said_of = result(nas_here("export", "tiny", *words))
    said = said_of["formats"]
    assert said["torchscript"]["real_images"] == 8
    shown = result(nas_here("show", "--study", "tiny", "--json", *store))["exports"]
    stored = [(one["format"], one["verified"], one["runtime"]) for one in shown]
    assert stored == [(n, said[n]["verified"], said[n]["runtime"]) for n in said]
    assert "exported as torchscript: differs by" in nas_here("show", *store).stdout
    assert all(one["latency_ms"] > 0 for one in shown)
    assert "trial 0 is exported: json (" in nas_here("top", *store).stdout
    words = f"**Exported:** network {said_of['architecture_id']} as json ("
    assert study_note(tmp_path).count(words) == 1
    resumed = nas_here("resume", "--study", "tiny", "--trials", "2", "--workers", "0", *store)
    assert resumed.returncode == 0
    assert study_note(tmp_path).count(words) == 1
