"""Conformance of every registered block, without an edit for a new one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import referee
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Placed, candidates, network_of, placed_rows
from torch import Tensor, nn

from nas import blocks, network
from nas.architecture import Row
from nas.blocks import Place, options
from nas.blocks.classes import loaded
from nas.blocks.mixconv import partition_channels
from nas.blocks.modules.skip import Skip
from nas.cost import Tape
from nas.errors import NasError, SpaceError
from nas.export import Facts
from nas.export.python import export
from nas.latency.table import features

FACTS = Path(__file__).parents[2] / "shared/reference/facts.json"

every_block = pytest.mark.parametrize("name", blocks.names())
often = settings(max_examples=40, deadline=None, derandomize=True)
seldom = settings(max_examples=6, deadline=None, derandomize=True)


def build(placed: Placed) -> nn.Module:
    torch.manual_seed(0)
    return blocks.build(placed.row, placed.in_channels).eval()


def images(placed: Placed, batch: int = 2) -> Tensor:
    shape = (batch, placed.in_channels, placed.size, placed.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@every_block
@often
@given(data=st.data())
def test_a_block_counts_the_parameters_it_builds(name: str, data: st.DataObject) -> None:
    """The analytic number of parameters is that of the module, built on the meta device."""
    placed = data.draw(placed_rows(name))
    with torch.device("meta"):
        built = blocks.build(placed.row, placed.in_channels)
    counted = blocks.cost(placed.row, placed.in_channels, placed.size)
    assert counted.params == sum(parameter.numel() for parameter in built.parameters())


@every_block
@often
@given(data=st.data())
def test_a_block_counts_what_fvcore_counts(name: str, data: st.DataObject) -> None:
    """Macs and activations equal those of fvcore's conv, linear and matmul handlers."""
    placed = data.draw(placed_rows(name))
    counted = blocks.cost(placed.row, placed.in_channels, placed.size)
    expected = referee.macs_and_activations(build(placed), placed.in_channels, placed.size)
    assert (counted.macs, counted.activations) == expected


@every_block
@often
@given(data=st.data())
def test_a_block_counts_the_memory_that_a_trace_sees(name: str, data: st.DataObject) -> None:
    """Peak activation memory is that of the operators run, each tensor alive until its last use."""
    placed = data.draw(placed_rows(name))
    counted = blocks.cost(placed.row, placed.in_channels, placed.size)
    traced = referee.peak_activation_bytes(build(placed), placed.in_channels, placed.size)
    assert counted.peak_activation_bytes == traced


@every_block
@often
@given(data=st.data())
def test_a_block_gives_the_shape_its_row_says(name: str, data: st.DataObject) -> None:
    """Out come out_channels maps of the size the block states, or a vector of out_channels."""
    placed = data.draw(placed_rows(name))
    shape = build(placed)(images(placed)).shape
    size = blocks.out_size(placed.row, placed.size)
    assert shape in ((2, placed.row.out_channels, size, size), (2, placed.row.out_channels))


@every_block
@often
@given(data=st.data())
def test_gradients_reach_every_parameter(name: str, data: st.DataObject) -> None:
    """With positive weights that keep sums near 1, where nothing is flat, no gradient is zero."""
    placed = data.draw(placed_rows(name))
    module = build(placed)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 5
        nn.init.uniform_(parameter, 0.5 / fan_in, 1 / fan_in)
    module(images(placed).abs()).sum().backward()
    dead = [
        name
        for name, parameter in module.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert dead == []


@every_block
@often
@given(data=st.data())
def test_the_canonical_row_is_the_same_function(name: str, data: st.DataObject) -> None:
    """What canonical drops has no effect: same parameters, same output from the same seed.

    MBConv without an expansion becomes, by design, a block without an expanding convolution.
    """
    placed = data.draw(placed_rows(name))
    row = blocks.canonical_row(placed.row, placed.in_channels)
    if row.block == name:
        canonical = Placed(row, placed.in_channels, placed.size)
        expected, actual = build(placed), build(canonical)
        assert expected.state_dict().keys() == actual.state_dict().keys()
        assert torch.equal(expected(images(placed)), actual(images(placed)))
    assert row.out_channels == placed.row.out_channels
    assert row.stride == placed.row.stride


@every_block
@often
@given(data=st.data())
def test_the_canonical_row_stays_as_it_is(name: str, data: st.DataObject) -> None:
    """Making a canonical row canonical changes nothing, the type of a number included."""
    placed = data.draw(placed_rows(name))
    once = blocks.canonical_row(placed.row, placed.in_channels)
    twice = blocks.canonical_row(once, placed.in_channels)
    assert repr(twice) == repr(once)


@every_block
@often
@given(data=st.data())
def test_rows_survive_json(name: str, data: st.DataObject) -> None:
    """A row written as JSON and read back is the same row."""
    row = data.draw(placed_rows(name)).row
    assert repr(Row.from_json(json.loads(json.dumps(row.to_json())))) == repr(row)


@every_block
@often
@given(data=st.data())
def test_a_block_lists_the_operators_that_run(name: str, data: st.DataObject) -> None:
    """The transcript has each operator of a trace as often, and its numbers add up to the cost."""
    placed = data.draw(placed_rows(name))
    transcript = blocks.transcript(placed.row, placed.in_channels, placed.size)
    traced = referee.operators(build(placed), placed.in_channels, placed.size)
    assert referee.operators_of(transcript.steps) == traced
    assert transcript.cost() == blocks.cost(placed.row, placed.in_channels, placed.size)


@every_block
@seldom
@given(data=st.data())
def test_a_block_survives_export(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The emitted file computes what the built network does, and ruff has nothing to format."""
    architecture = blocks.canonical(network_of(data.draw(placed_rows(name))))
    state = network.build(architecture).state_dict()
    path = export(architecture, state, tmp_path_factory.mktemp("export"), Facts())
    assert referee.formatting(path.read_text()) == ""


@every_block
def test_every_option_can_be_something_else_than_its_default(name: str) -> None:
    """The default keeps the rule, and the tests above know other values that do."""
    for option in blocks.get(name).options.values():
        assert option.valid(option.default)
        assert len(candidates(option)) >= 2


@every_block
def test_an_unknown_option_is_refused_with_the_known_ones(name: str) -> None:
    """A misspelt option names the block's options."""
    row = Row(name, 8, 1, (("kernls", "3"),))
    with pytest.raises(SpaceError, match=r"kernls.*Available: ") as error:
        blocks.canonical_row(row, 8)
    assert all(option in str(error.value) for option in blocks.get(name).options)


@every_block
def test_an_option_that_breaks_its_rule_is_refused_with_the_rule(name: str) -> None:
    """No option accepts a text that means nothing; the message states rule and value."""
    for option, spec in blocks.get(name).options.items():
        with pytest.raises(SpaceError) as error:
            blocks.canonical_row(Row(name, 8, 1, ((option, "nonsense"),)), 8)
        assert spec.rule in str(error.value)
        assert "'nonsense'" in str(error.value)


@pytest.mark.parametrize(
    ("attend", "message"),
    [
        (lambda tape: setattr(tape, "macs", tape.macs + 8), "8 macs were counted by no operator"),
        (lambda tape: tape.play("attention", 8, 4), "No kind of operator named 'attention'"),
    ],
    ids=["beside the tape", "unknown kind"],
)
def test_an_operator_that_is_missing_in_the_table_raises(
    attend: Callable[[Tape], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator added at run time is no silent zero: neither for latency nor for the diagram."""
    monkeypatch.setattr(Tape, "attend", attend, raising=False)
    attending = replace(blocks.get("conv"), cost=lambda tape, _: tape.attend())  # type: ignore[attr-defined]
    monkeypatch.setattr(blocks, "get", lambda _: attending)
    with pytest.raises(NasError, match=message):
        features((Row("conv", 8), 8, 4))
    with pytest.raises(NasError, match=message):
        blocks.transcript(Row("conv", 8), 8, 4)


def test_an_unknown_block_is_refused_with_the_known_ones() -> None:
    """A misspelt block names the closest one first."""
    with pytest.raises(SpaceError, match=r"'mbconf'\. Did you mean 'mbconv'"):
        blocks.get("mbconf")


@pytest.mark.parametrize(
    ("block", "option", "value", "message"),
    [
        ("mbconv", "kernels", "4", "odd kernel sizes"),
        ("mbconv", "kernels", "3.", "odd kernel sizes"),
        ("mbconv", "kernels", "3.5.7.9.11", "kernels: 5 groups need at least 5 channels, not 4"),
        ("mbconv", "expand_groups", 3, "expand_groups divides the channels, 4 in and 4 out"),
        ("depthwise_separable", "project_groups", 3, "project_groups divides the channels"),
        ("conv", "groups", 3, "groups divides the channels"),
    ],
)
def test_rows_that_cannot_be_built_are_refused(
    block: str, option: str, value: int | str, message: str
) -> None:
    """Even kernels, more groups than channels and groups that do not divide are named."""
    written = {option: value} | ({"expansion": 1} if block == "mbconv" else {})
    with pytest.raises(SpaceError, match=message):
        blocks.canonical_row(Row(block, 4, 1, tuple(sorted(written.items()))), 4)


def test_partitions_are_those_of_the_reference() -> None:
    """Equal groups as in timm and exponential ones as in our table, zero channels excepted."""
    if not FACTS.exists():
        pytest.skip("needs ../shared/reference, which is not here")
    facts = json.loads(FACTS.read_text())["partition"]
    for rule in ("equal", "exponential"):
        table = facts[{"equal": "partition_equal_timm"}.get(rule, f"partition_{rule}")]
        for case, expected in table.items():
            channels, groups = map(int, case.split("/"))
            if 0 in expected:
                with pytest.raises(SpaceError, match="groups need"):
                    partition_channels(channels, groups, rule)
            else:
                assert list(partition_channels(channels, groups, rule)) == expected


@pytest.mark.parametrize(("partition", "expected"), [("equal", 1312), ("exponential", 864)])
def test_a_mixed_convolution_has_the_weights_of_the_paper(partition: str, expected: int) -> None:
    """32 channels with 3, 5, 7 and 9: 1312 weights in equal groups, 864 in exponential ones."""
    tape = Tape(32, 8)
    tape.mix_conv(partition_channels(32, 4, partition), (3, 5, 7, 9))
    assert tape.params == expected


def test_a_partition_always_shares_out_all_channels() -> None:
    """Every group has at least one channel, and together they have all."""
    for channels in range(1, 70):
        for groups in range(1, channels + 1):
            for partition in ("equal", "exponential"):
                try:
                    shares = partition_channels(channels, groups, partition)
                except SpaceError:
                    continue
                assert (sum(shares), len(shares), min(shares) >= 1) == (channels, groups, True)


@pytest.mark.parametrize("block", ["conv", "depthwise_separable", "mbconv"])
def test_kernels_are_written_one_way(block: str) -> None:
    """A leading zero makes no other network: "03" is the default "3", and so not written."""
    assert blocks.canonical_row(Row(block, 8, 1, (("kernels", "03"),)), 8).options == ()


def test_kernel_order_and_repeats_stay() -> None:
    """9.11.13.9 has four groups, in this order."""
    options = (("kernels", "9.11.13.9"),)
    assert blocks.canonical_row(Row("mbconv", 8, 1, options), 8).options == options


def test_mbconv_without_expansion_is_depthwise_separable() -> None:
    """Expansion 1 leaves no expanding convolution; what is left keeps its options."""
    row = Row("mbconv", 8, 1, (("expand_groups", 2), ("expansion", 1), ("kernels", "3.5")))
    expected = Row("depthwise_separable", 8, 1, (("kernels", "3.5"),))
    assert blocks.canonical_row(row, 8) == expected


def test_a_classifier_has_no_stride() -> None:
    """A stride that could have no effect is refused rather than made part of the id."""
    with pytest.raises(SpaceError, match="its stride is 1, not 2"):
        blocks.canonical_row(Row("classifier", 10, 2), 8)


class Pair(NamedTuple):
    """Two activations, as a block of one's own may have them."""

    first: object
    second: object


def test_arguments_name_classes_until_a_module_is_built() -> None:
    """Names of classes become classes, calls are made, also inside of tuples; the rest stays."""
    relu = options.ACTIVATIONS["relu"]
    skip = options.read_skip({"skip": "pool", "drop_path": 0.1}, Place(8, 8, 1))
    assert loaded(relu) is nn.ReLU
    assert loaded(Pair(relu, (3, relu))) == Pair(nn.ReLU, (3, nn.ReLU))
    assert type(loaded(Pair(relu, None))) is Pair
    assert loaded(skip) == Skip("pool", 0.1)
    assert loaded("3.5") == "3.5"


SCALED_CONV = '''
"""A convolution whose output is scaled by one learnable number."""

import torch
from torch import Tensor, nn

from nas.blocks import Args, Arguments, Block, Options, Place, options
from nas.blocks.layer_norm import count_norm
from nas.blocks.modules.conv import ConvNormAct
from nas.blocks.modules.layer_norm import LayerNorm2d
from nas.blocks.modules.skip import Skip, SkipConnection
from nas.blocks.skip import add_skip
from nas.cost import Tape


class ScaledConv(nn.Module):
    """k x k convolution, batch norm, activation, norm, scale [+ skip]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        norm: type[nn.Module],
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU,
        skip: Skip | None = None,
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, out_channels, kernel, stride, activation=activation)
        self.norm = norm(out_channels)
        self.skip = SkipConnection(skip, stride) if skip else None
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x)) * self.scale
        return y if self.skip is None else self.skip(x, y)


def cost(tape: Tape, args: Args) -> None:
    """Count ScaledConv."""
    held = tape.hold() if args.skip else None
    tape.conv(args.out_channels, args.kernel, stride=args.stride)
    tape.norm_act()
    count_norm(tape, args.norm)
    tape.scale(1)
    if held:
        add_skip(tape, held, args.skip, args.stride)


def _arguments(values: Options, place: Place) -> Arguments:
    plain = options.plain_arguments(values, place, "kernel", "activation", "skip")
    return plain | {"norm": LayerNorm2d if place.out_channels > 1 else nn.BatchNorm2d}


OPTIONS = {
    "kernels": options.kernel(),
    "activation": options.activation(),
    **options.residual(),
}
BLOCK = Block("scaled_conv", ScaledConv, OPTIONS, _arguments, cost)
'''


def test_a_block_is_one_new_file(tmp_path: Path) -> None:
    """A file in a folder of one's own passes every test above, in a process that knows only it."""
    (tmp_path / "scaled_conv.py").write_text(SCALED_CONV)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            "-k",
            "scaled_conv",
            __file__,
        ],
        env=os.environ | {"NAS_BLOCKS": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-2000:]
    conformance = Path(__file__).read_text().count("\n@every_block")
    assert f" {conformance} passed" in run.stdout


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"conv.py": SCALED_CONV}, "conv.py: nas has a file of this name; rename yours"),
        (
            {"mine.py": SCALED_CONV.replace('"scaled_conv"', '"conv"')},
            "mine.py: there is another block named 'conv'",
        ),
        (
            {"broken.py": "import nosuch"},
            "broken.py: ModuleNotFoundError: No module named 'nosuch'",
        ),
        (None, "NAS_BLOCKS names folders; there is no folder"),
    ],
    ids=["our file", "our name", "broken", "no folder"],
)
def test_a_block_file_that_cannot_be_used_is_named(
    files: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    """Nothing of ours is silently replaced, nothing of theirs silently left out; exit code 2."""
    folder = tmp_path / "own"
    for name, text in (files or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "nas.cli", "cost", "mixnet_s"],
        env=os.environ | {"NAS_BLOCKS": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_one_network_of_dense_branches_has_one_row() -> None:
    """A partition of single kernels has no effect, dense or depthwise."""
    rows = [
        Row("mixconv_se_ghost", 24, 1, (("cheap_kernels", "3"), ("kernels", "5"), *more))
        for more in (
            (),
            (("mixconv", "dense"),),
            (("mixconv", "dense"), ("partition", "exponential")),
        )
    ]
    assert len({blocks.canonical_row(row, 24).options for row in rows}) == 1


def test_a_canonical_row_keeps_the_rules() -> None:
    """Groups that would make a bottleneck wider inside than any ratio allows are refused."""
    row = Row("resnest_bottleneck", 2, 1, (("cardinality", 64), ("radix", 2)))
    with pytest.raises(SpaceError, match="at most 32 times as wide inside"):
        blocks.canonical_row(row, 2)


def test_ratios_that_give_the_same_squeeze_become_one() -> None:
    """At 16 channels 0.25, 0.26 and 0.3 all squeeze to 4: the usual one stands for them."""
    rows = [Row("mbconv", 16, 1, (("se_ratio", ratio),)) for ratio in (0.25, 0.26, 0.3)]
    assert {blocks.canonical_row(row, 16).options for row in rows} == {(("se_ratio", 0.25),)}


def test_every_canonical_ratio_keeps_the_width() -> None:
    """Making a ratio canonical never changes the width it stands for."""
    for channels in range(1, 130):
        for percent in range(1, 101):
            ratio = percent / 100
            width = max(1, int(ratio * channels))
            kept = options.canonical_ratio(ratio, channels, width)
            assert max(1, int(kept * channels)) == width
            wider = options.canonical_expansion(1 + percent / 20, channels)
            assert int(wider * channels) == int((1 + percent / 20) * channels)
