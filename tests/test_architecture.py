"""Architectures as data: what changes the id and what does not, JSON, notation."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import architectures

from nas import blocks
from nas.architecture import Architecture, Row, Value
from nas.blocks.notation import notation
from nas.errors import SpaceError


def mbconv(out_channels: int = 24, stride: int = 1, /, **options: Value) -> Row:
    return Row("mbconv", out_channels, stride, tuple(sorted(options.items())))


def network(*body: Row, classes: int = 10, dropout: float = 0.0) -> Architecture:
    options = (("dropout", dropout),) if dropout else ()
    head = (Row("conv", 64, 1, (("kernels", "1"),)), Row("classifier", classes, 1, options))
    return blocks.canonical(Architecture(3, 32, classes, (Row("conv", 16, 2),), body, head))


BASE = network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7"))


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, resolution=48),
        BASE.at(in_channels=1),
        BASE.at(classes=9),
        replace(BASE, stem=(Row("conv", 24, 2),)),
        network(mbconv(24, 2, kernels="3.5")),
        network(mbconv(24, 1, kernels="3.5"), mbconv(24, kernels="3.5.7")),
        network(mbconv(32, 2, kernels="3.5"), mbconv(32, kernels="3.5.7")),
        network(mbconv(24, 2, kernels="5.3"), mbconv(24, kernels="3.5.7")),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", expansion=4)),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", se_ratio=0.25)),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", activation="silu")),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", partition="exponential")),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", expand_groups=2)),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", project_groups=2)),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", skip="none")),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7", drop_path=0.1)),
        network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7"), dropout=0.2),
    ],
)
def test_every_field_with_an_effect_changes_the_id(other: Architecture) -> None:
    """Another input, width, depth, stride or option is another architecture."""
    assert other.id != BASE.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mbconv(24, kernels="5"), mbconv(24, kernels="5", partition="exponential")),
        (mbconv(24, kernels="3.5"), mbconv(24, kernels="3.5", partition="exponential")),
        (mbconv(16, 2), mbconv(16, 2, skip="none")),
        (mbconv(16, 2), mbconv(16, 2, drop_path=0.2)),
        (mbconv(24), mbconv(24, skip="none", drop_path=0.3)),
        (mbconv(16, skip="none"), mbconv(16, skip="none", drop_path=0.3)),
        (mbconv(24, se_ratio=0.25), mbconv(24, se_ratio=0.3)),
        (mbconv(24, se_ratio=0.01), mbconv(24, se_ratio=0.0625)),
        (mbconv(24, expansion=3), mbconv(24, expansion=3.05)),
        (mbconv(24, expansion=3), mbconv(24, expansion=3.0)),
        (mbconv(24, se_ratio=1), mbconv(24, se_ratio=1.0)),
        (mbconv(24), mbconv(24, activation="relu", kernels="3", expansion=6)),
        (mbconv(24, expansion=1), Row("depthwise_separable", 24)),
    ],
)
def test_what_has_no_effect_does_not_change_the_id(one: Row, other: Row) -> None:
    """Partition of one group or equal halves, skip where shapes differ, ratios of equal widths."""
    assert network(one).id == network(other).id


def test_the_id_does_not_depend_on_which_spelling_came_first() -> None:
    """6 and 6.0 are equal in Python; a row that was made earlier lends its spelling to nobody."""
    earlier = Architecture(3, 8, 2, (), (Row("mbconv", 77, 1, (("se_ratio", 1),)),), ())
    later = replace(earlier, body=(Row("mbconv", 77, 1, (("se_ratio", 1.0),)),))
    assert [row.to_json()["se_ratio"] for row in (*earlier.body, *later.body)] == [1, 1.0]
    assert earlier.id != later.id
    assert isinstance(later.body[0].options[0][1], float)


def test_equal_rows_share_what_was_counted() -> None:
    """Two architectures with an equal row have the same object for it."""
    other = network(mbconv(24, 2, kernels="3.5"))
    assert other.body[0] is BASE.body[0]


def test_an_architecture_is_hashable_and_equal_by_content() -> None:
    """The same rows are the same architecture."""
    again = network(mbconv(24, 2, kernels="3.5"), mbconv(24, kernels="3.5.7"))
    assert {BASE: "found"}[again] == "found"


def test_the_id_is_the_same_in_another_process() -> None:
    """The id is a content hash, not Python's: sixteen hexadecimal digits, for ever the same."""
    text = json.dumps(BASE.to_json())
    code = (
        "import json, sys; from nas.architecture import Architecture;"
        "print(Architecture.from_json(json.load(sys.stdin)).id, 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stdout.split() == [BASE.id, "False"]
    assert len(BASE.id) == 16


@settings(max_examples=60, deadline=None, derandomize=True)
@given(architecture=architectures())
def test_architectures_survive_json(architecture: Architecture) -> None:
    """Written and read back, an architecture is equal and has the same id."""
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert again == architecture
    assert again.id == architecture.id


@settings(max_examples=60, deadline=None, derandomize=True)
@given(architecture=architectures())
def test_canonical_changes_a_canonical_architecture_not_at_all(architecture: Architecture) -> None:
    """Making canonical twice is making canonical once."""
    assert blocks.canonical(architecture).id == architecture.id


def test_at_changes_what_it_is_asked_to() -> None:
    """The same network for other images and classes; without arguments it is itself."""
    other = BASE.at(resolution=64, classes=7, in_channels=1)
    assert (other.resolution, other.classes, other.in_channels) == (64, 7, 1)
    assert other.head[-1].out_channels == 7
    assert other.at(resolution=32, classes=10, in_channels=3) == BASE.at() == BASE


def test_stages_begin_where_stride_or_width_changes() -> None:
    """Rows of one width follow each other in a stage until one has a stride."""
    rows = (mbconv(24, 2), mbconv(24), mbconv(32), mbconv(32, 2), mbconv(32))
    assert [len(stage) for stage in network(*rows).stages] == [2, 1, 2]
    assert [name for name, _ in network(*rows).parts()] == [
        "stem", "stage1", "stage2", "stage3", "head",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            mbconv(40, 2, kernels="3.5.7", se_ratio=0.5, activation="silu"),
            "ir_r1_k3.5.7_s2_e6_c40_se0.5_nsw",
        ),
        (mbconv(24, 2, expand_groups=2, project_groups=2), "ir_r1_k3_s2_e6_c24_a1.1_p1.1"),
        (mbconv(24, kernels="3.5.7", partition="exponential"), "ir_r1_k3.5.7_s1_e6_c24_kexp"),
        (mbconv(16, expansion=2.5, skip="none"), "ir_r1_k3_s1_e2.5_c16_noskip"),
        (mbconv(16, drop_path=0.1, activation="gelu"), "ir_r1_k3_s1_e6_c16_nge_d0.1"),
        (mbconv(16, expansion=1, activation="hard_swish"), "ds_r1_k3_s1_c16_nhs"),
    ],
)
def test_notation_is_timms_with_what_it_lacks(row: Row, expected: str) -> None:
    """One word per run of equal layers: kernels, stride, expansion, width, then what differs."""
    stem, stage, head = notation(network(row))
    assert (stem, stage, head) == ("cn_r1_k3_s2_c16", expected, "cn_r1_k1_s1_c64 fc_r1_c10")


def test_notation_counts_repeats() -> None:
    """Layers that are equal but for the first one's stride are one word."""
    rows = (mbconv(24, 2), mbconv(24), mbconv(24), mbconv(24, kernels="5"))
    assert notation(network(*rows))[1] == "ir_r3_k3_s2_e6_c24 ir_r1_k5_s1_e6_c24"


def broken(path: tuple[str | int, ...], value: Any) -> Any:
    """Return BASE's JSON with one thing replaced, or left out where the value is None."""
    data = copy.deepcopy(BASE.to_json())
    *parents, last = path
    place: Any = data
    for step in parents:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], '"format": "nas.architecture/1"'),
        (broken(("format",), "nas.architecture/2"), '"format": "nas.architecture/1"'),
        (broken(("classes",), None), "needs 'classes'"),
        (broken(("resolution",), 0), "resolution is a whole number from 1 to 16,384, not 0"),
        (broken(("classes",), True), "classes is a whole number from 1 to 1,000,000, not True"),
        (broken(("stem",), 5), "stem is a list, not 5"),
        (broken(("stages", 0), {}), "Stage 1 is a list of rows"),
        (broken(("stages", 0, 0), "ir_r1"), "A row is an object, not 'ir_r1'"),
        (broken(("stages", 0, 0, "block"), None), "needs block and out_channels; 'block'"),
        (broken(("stages", 0, 0, "block"), ["mbconv"]), "block is a name"),
        (broken(("stages", 0, 0, "out_channels"), "24"), "mbconv: out_channels is a whole number"),
        (broken(("stages", 0, 0, "stride"), 0), "mbconv: stride is a whole number"),
        (broken(("stages", 0, 0, "kernels"), [3, 5]), "mbconv: option kernels is text"),
    ],
)
def test_broken_json_is_refused_with_what_is_wrong(data: Any, message: str) -> None:
    """A missing field, a wrong type or a foreign format is named; there is no traceback."""
    with pytest.raises(SpaceError, match=message):
        Architecture.from_json(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": ()}, "The head's last row is a classifier"),
        ({"head": BASE.head[:1]}, "The head's last row is a classifier"),
        ({"classes": 11}, "gives 10 logits for 11 classes"),
        ({"stem": (Row("conv", 16, 1, (("kernels", "4"),)),)}, "stem, row 1: conv.kernels"),
        ({"body": (mbconv(8), mbconv(8, size=3))}, "body, row 2: mbconv: No option named 'size'"),
    ],
)
def test_canonical_refuses_networks_that_break_a_rule(
    changes: dict[str, Any], message: str
) -> None:
    """The message says in which part and row the mistake is."""
    with pytest.raises(SpaceError, match=message):
        blocks.canonical(replace(BASE, **changes))
