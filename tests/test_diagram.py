"""The diagram of an architecture: everything is in it, to scale, and no text lies on another."""

import json
import math
import random
import re
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from strategies import architectures
from typer.testing import CliRunner

from nas import blocks, search_space
from nas.architecture import Architecture, Row
from nas.cli import app
from nas.report import diagram

MEMBERS = search_space.members()


def member(name: str) -> Architecture:
    """Return a shipped network."""
    return MEMBERS[name].decode({})


def words(path: Path) -> list[str]:
    """Return the texts of an SVG, in order."""
    found = (node for node in ElementTree.parse(path).iter() if node.tag.endswith("}text"))
    return [" ".join("".join(node.itertext()).split()) for node in found]


def collisions(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of texts that overlap by more than a pixel, and texts beyond the edge."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    edges = [(text.get_text(), text.get_window_extent(renderer).extents) for text in texts]
    _, _, width, height = figure.bbox.bounds
    outside = [
        (text, "edge")
        for text, (x0, y0, x1, y1) in edges
        if min(x0, y0) < 0 or x1 > width or y1 > height
    ]
    return outside + [
        (one, other)
        for (one, a), (other, b) in combinations(edges, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
    ]


@pytest.mark.parametrize("name", MEMBERS)
def test_no_text_lies_on_another(name: str) -> None:
    """Every shipped network is drawn so that all its texts can be read."""
    assert collisions(diagram.figure(member(name), title=name)) == []


@settings(max_examples=25, deadline=None)
@given(architectures())
def test_no_text_of_any_network_lies_on_another(architecture: Architecture) -> None:
    """Networks of any registered blocks with any options are drawn readably."""
    assert collisions(diagram.figure(architecture)) == []


def test_a_long_network_is_readable() -> None:
    """A hundred layers of many kernel groups and long words fit too."""
    options = (
        ("activation", "hard_swish"),
        ("kernels", "3.5.7.9.11"),
        ("partition", "exponential"),
    )
    rows = [Row("mbconv", 16 * (1 + n // 9), 1 + (n % 18 == 0), options) for n in range(100)]
    head = (Row("conv", 12345), Row("classifier", 21843))
    long = Architecture(3, 1024, 21843, (Row("conv", 8, 2),), tuple(rows), head)
    assert collisions(diagram.figure(blocks.canonical(long), title="long")) == []


@settings(max_examples=100, deadline=None)
@given(architectures())
def test_boxes_are_to_scale(architecture: Architecture) -> None:
    """Heights go with the square root of the channels, widths with the layers; nothing is lost."""
    boxes = diagram.layout(architecture)
    assert [layer.row for box in boxes for layer in box.layers] == list(architecture.rows)
    unit = diagram.TALLEST / math.sqrt(diagram.scale(architecture))
    for box in boxes:
        channels = {layer.row.out_channels for layer in box.layers}
        assert len(channels) == 1
        exact = unit * math.sqrt(channels.pop())
        assert box.height <= exact if box.cut else box.height == pytest.approx(exact)
        assert box.cut == (exact > diagram.TALLEST + 1e-9)
        assert box.slice == boxes[0].slice
        assert len(box.layers) * box.slice < box.pitch
    for one, other in pairwise(boxes):
        assert other.x == pytest.approx(one.x + one.pitch)


@settings(max_examples=100, deadline=None)
@given(architectures())
def test_kernel_groups_share_all_channels(architecture: Architecture) -> None:
    """A layer's bars fill its slice: one per kernel group, in proportion to its channels."""
    for _, layer in diagram.layers(architecture):
        assert sum(group.share for group in layer.groups) == pytest.approx(1)
        assert all(group.share > 0 for group in layer.groups)
        channels = blocks.arguments(layer.row, layer.in_channels).get("group_channels")
        if channels:
            shares = [count / sum(channels) for count in channels]
            assert [group.share for group in layer.groups] == pytest.approx(shares)


def test_a_run_is_one_box_of_its_stage() -> None:
    """Equal layers stand together; stage 3 of MixNet-M is one layer of 4 groups, then 3 of 2."""
    stage = [box for box in diagram.layout(member("mixnet_m")) if box.part == "stage3"]
    assert [len(box.layers) for box in stage] == [1, 3]
    kernels = [[group.kernel for group in box.layers[0].groups] for box in stage]
    assert kernels == [[3, 5, 7, 9], [3, 5]]
    assert [[layer.skip for layer in box.layers] for box in stage] == [[False], [True] * 3]


def test_an_arc_stands_for_any_kind_of_skip() -> None:
    """A skip that is an option is seen, and one that is part of the block, as ResNet's is."""
    for skip in ("identity", "none"):
        row = Row("mbconv", 16, 1, (("skip", skip),))
        assert blocks.transcript(row, 16, 8).skip == (skip == "identity")
    assert blocks.transcript(Row("basic", 32, 2), 16, 8).skip
    assert blocks.transcript(Row("ghost", 32, 2), 16, 8).skip
    assert not blocks.transcript(Row("condconv", 32, 2), 16, 8).skip


def test_stochastic_depth_does_not_break_a_run() -> None:
    """Layers that differ only in how they are trained are drawn as equal ones."""
    body = tuple(Row("mbconv", 16, 1, (("drop_path", rate),)) for rate in (0.1, 0.2))
    ends = (Row("conv", 16),), body, (Row("classifier", 2),)
    assert [len(box.layers) for box in diagram.layout(Architecture(3, 8, 2, *ends))] == [1, 2, 1]


def test_the_picture_says_what_the_architecture_has(tmp_path: Path) -> None:
    """The SVG's text has the resolutions, widths, repeats, kernel sizes, strides, SE and totals."""
    diagram.draw(member("mixnet_m"), tmp_path / "m.svg", title="MixNet-M")
    found = words(tmp_path / "m.svg")
    assert found[0] == "MixNet-M"
    assert "339M macs, 5.01M params, 22 layers, 1000 classes" in found[1]
    sizes = [word for word in found if re.fullmatch(r"\d+ × \d+", word)]
    assert sizes[:5] == ["1 × 1", "3 × 3", "5 × 5", "7 × 7", "9 × 9"]
    pixels = (224, 112, 112, 56, 28, 14, 14, 7, 7)
    assert sizes[5:] == [f"{size} × {size}" for size in pixels]
    assert found.count("×3") == 4
    assert found.count("0.25") == 2
    assert {"mbconv", "1536", "expansion", "SE ratio", "share of macs"} <= set(found)


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    """An SVG holds no date and no random name: drawn twice it is equal byte for byte."""
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        diagram.draw(member("mixnet_s"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_member_is_drawn_in_this_folder(here: Path) -> None:
    """Without --out both files are named after the network, dots in its name included."""
    ended = CliRunner().invoke(app, ["space", "diagram", "mixnet_s_k9.11.13", "--json"])
    files = json.loads(ended.stdout)["files"]
    assert files == ["mixnet_s_k9.11.13.svg", "mixnet_s_k9.11.13.png"]
    assert (here / files[1]).read_bytes().startswith(b"\x89PNG")


def test_a_space_is_drawn_as_a_sample(here: Path) -> None:
    """Of a space one random network is drawn, and the title says so."""
    options = ["--seed", "3", "--out", "new/x.svg", "--resolution", "64", "--classes", "7"]
    ended = CliRunner().invoke(app, ["space", "diagram", "mixconv", *options])
    assert ended.stdout == "mixconv, random sample of seed 3: new/x.svg\n"
    found = words(here / "new" / "x.svg")
    assert found[0] == "mixconv, random sample of seed 3"
    assert found[1].startswith("64 × 64 × 3 image")
    space = search_space.load("mixconv")
    sample = space.decode(space.sample(random.Random(3))).at(resolution=64, classes=7)
    assert f"{len(sample.rows)} layers" in found[1]


def test_an_architecture_file_is_drawn(here: Path) -> None:
    """What a search leaves as architecture.json is drawn under the file's name."""
    Path("best.json").write_text(json.dumps(member("mixnet_s").to_json()))
    ended = CliRunner().invoke(app, ["space", "diagram", "best.json", "--in-channels", "1"])
    assert ended.stdout == "best: best.svg\nbest: best.png\n"
    assert "224 × 224 × 1 image" in words(Path("best.svg"))[1]


MISTAKES = {
    "another suffix": (["--out", "x.pdf"], ["--out", ".svg or .png", "'x.pdf'"]),
    "no suffix": (["--out", "x"], ["--out", ".svg or .png", "'x'"]),
    "a folder": (["--out", "folder.svg"], ["--out", "'folder.svg'", "folder"]),
    "below a file": (["--out", "file/x.svg"], ["--out", "'file/x.svg'", "'file' is a file"]),
    "0 px": (["--resolution", "0"], ["--resolution", "at least 1", "not 0"]),
    "no classes": (["--classes", "0"], ["--classes", "at least 1"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(mistake: str, here: Path) -> None:
    """A picture that can't be drawn: one message with rule and value, exit code 2, no file."""
    (here / "folder.svg").mkdir()
    (here / "file").write_text("not a folder")
    options, message = MISTAKES[mistake]
    ended = CliRunner().invoke(app, ["space", "diagram", "mixnet_s", *options])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("nas: ")
    assert [word for word in message if word not in ended.stderr] == []
    assert sorted(path.name for path in here.iterdir()) == ["file", "folder.svg"]


@st.composite
def any_kernel(draw: st.DrawFn) -> int:
    """Draw an odd kernel size."""
    return 2 * draw(st.integers(0, 60)) + 1


@given(any_kernel())
def test_every_kernel_size_has_a_colour(kernel: int) -> None:
    """A size beyond the palette has a colour too, never that of a 1x1 or of no kernel."""
    colour = diagram.colour(kernel)
    assert colour.startswith("#")
    assert (colour in (diagram.colour(1), diagram.NO_KERNEL)) == (kernel == 1)


@pytest.mark.parametrize("name", ["mixnet_m", "efficientnet_b0", "me_nest_ghost_s"])
def test_pixels_show_what_the_figure_shows(name: str, tmp_path: Path) -> None:
    """The quick picture has the figure's proportions and colours, in nearly the same places."""
    architecture = member(name)
    quick = Image.open(BytesIO(diagram.png(architecture, title=name))).convert("RGB")
    diagram.draw(architecture, tmp_path / "figure.png", title=name)
    figure = Image.open(tmp_path / "figure.png").convert("RGB")
    assert abs(quick.width / quick.height - figure.width / figure.height) < 0.01
    small = (figure.width // 8, figure.height // 8)
    pair = [np.asarray(one.resize(small), dtype=float) for one in (quick, figure)]
    assert np.abs(pair[0] - pair[1]).mean() < 4
