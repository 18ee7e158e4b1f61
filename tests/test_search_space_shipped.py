"""What holds for every shipped space and member, and the published numbers of the MixNets."""

import json
import random
from math import prod
from pathlib import Path

import pytest
import referee
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import blocks, network
from nas.architecture import Architecture
from nas.errors import SpaceError
from nas.files import shipped
from nas.search_space import SearchSpace, files, load, members, names, spaces

SWEEP = Path(__file__).parents[2] / "shared" / "reference" / "mixnet_kernel_sweep.json"
every_name = pytest.mark.parametrize("name", names())


def samples(space: SearchSpace, most: int = 20) -> list[dict[str, str | int | float | bool]]:
    """Draw 20 assignments, fewer where there are fewer."""
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(min(most, space.size()))]


@every_name
def test_the_name_is_that_of_the_file(name: str) -> None:
    """A space is called in messages and results what it is loaded by."""
    assert load(name).name == name


@every_name
def test_samples_are_canonical_architectures_that_encode_back(name: str) -> None:
    """20 samples decode, survive JSON, and what they encode to decodes to the same."""
    space = load(name)
    for values in samples(space):
        architecture = space.decode(values)
        assert blocks.canonical(architecture) == architecture
        assert (
            Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
        )
        assert space.decode(space.encode(architecture)) == architecture


@pytest.mark.parametrize("name", sorted(spaces()))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_assignment_is_a_network_that_counts_what_it_builds(
    name: str, data: st.DataObject
) -> None:
    """Choice by choice: canonical, the same from JSON, found again, its parameters those built."""
    space = load(name)
    values: dict[str, str | int | float | bool] = {}
    for parameter in space.parameters():
        if parameter.is_active(values):
            values[parameter.name] = data.draw(st.sampled_from(parameter.choices))
    architecture = space.decode(values)
    assert blocks.canonical(architecture) == architecture
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert again.id == architecture.id
    assert space.decode(space.encode(architecture)) == architecture
    assert network.cost(architecture).params == referee.meta_params(architecture)


@every_name
def test_samples_may_have_gray_images_and_two_classes(name: str) -> None:
    """What a study takes from its data is not the space's to say, and encodes all the same."""
    space = load(name)
    for values in samples(space, 5):
        other = space.decode(values, in_channels=1, classes=2)
        assert (other.in_channels, other.classes) == (1, 2)
        assert space.decode(space.encode(other), in_channels=1, classes=2) == other


@every_name
def test_a_space_survives_json(name: str) -> None:
    """Read back from text it is equal, with the same parameters and the same size."""
    space = load(name)
    back = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert back == space
    assert (back.parameters(), back.size()) == (space.parameters(), space.size())


@every_name
def test_neighbours_change_one_active_parameter(name: str) -> None:
    """Of 3 samples: as many as there are other values, and each decodes."""
    space = load(name)
    for values in samples(space, 3):
        neighbours = list(space.neighbours(values))
        active = [parameter for parameter in space.parameters() if parameter.name in values]
        assert len(neighbours) == sum(len(parameter.choices) - 1 for parameter in active)
        for neighbour in neighbours:
            both = values.keys() & neighbour.keys()
            assert sum(values[key] != neighbour[key] for key in both) == 1
            space.decode(neighbour)


@every_name
def test_parents_come_first_and_the_printout_has_a_line_each(name: str) -> None:
    """Parameters are declared before what depends on them; every one is printed."""
    space = load(name)
    before: set[str] = set()
    for parameter, line in zip(space.parameters(), space.describe(), strict=True):
        assert parameter.parents <= before
        before.add(parameter.name)
        assert line.startswith(f"{parameter.name} = ")


def test_a_member_has_no_choice_and_a_space_has() -> None:
    """Members are fixed architectures, spaces are to be searched."""
    assert all(space.size() == 1 for space in members().values())
    assert all(space.size() > 1 for space in spaces().values())
    assert not members().keys() & spaces().keys()


def test_mixconv_reaches_from_16_to_224_pixels() -> None:
    """Nothing in it depends on anything else, so its size is the product of all choices."""
    space = load("mixconv")
    resolutions = space.parameters()[0].choices
    assert (resolutions[0], resolutions[-1]) == (16, 224)
    assert space.size() == prod(len(parameter.choices) for parameter in space.parameters())


@pytest.mark.parametrize(
    ("name", "params"),
    [("mixnet_s", 4_134_606), ("mixnet_m", 5_014_382), ("mixnet_l", 7_329_252)],
)
def test_mixnets_have_their_published_parameters(name: str, params: int) -> None:
    """At 224 px and 1000 classes; their macs are held to fvcore's in test_spaces.py."""
    architecture = load(name).decode({})
    assert (architecture.resolution, architecture.classes) == (224, 1000)
    assert network.cost(architecture).params == params


@pytest.mark.parametrize("first", range(3, 18, 2))
def test_the_kernel_sweep_has_its_closed_form(first: int) -> None:
    """MixNet-S for 2 classes with kernels a, b, c: 2,500,084 + 1,212 (a^2 + b^2 + c^2)."""
    a, b, c = first, first + 2, first + 4
    architecture = load(f"mixnet_s_k{a}.{b}.{c}").decode({})
    assert architecture.classes == 2
    assert network.cost(architecture).params == 2_500_084 + 1_212 * (a**2 + b**2 + c**2)


def test_the_sweep_begins_with_mixnet_s() -> None:
    """With kernels 3, 5, 7 it is MixNet-S for two classes."""
    assert load("mixnet_s_k3.5.7").decode({}) == load("mixnet_s").decode({}, classes=2)


@pytest.mark.skipif(not SWEEP.exists(), reason="the reference numbers are not in this checkout")
def test_the_kernel_sweep_has_its_published_macs() -> None:
    """At 224 and 256 px, to the thousand to which they are given."""
    for row in json.loads(SWEEP.read_text())["rows"]:
        name = "mixnet_s_k" + ".".join(map(str, row["kernels"]))
        architecture = load(name).decode({})
        assert network.cost(architecture).params == row["params"]
        for size in (224, 256):
            macs = network.cost(architecture.at(resolution=size)).macs
            assert round(macs, -3) == row[f"macs_{size}"]


def test_the_listing_says_what_the_files_say() -> None:
    """listing.json holds; after a change of a space `files.write_listing()` makes it anew."""
    assert shipped.listed() == files.table()
    names = [each["name"] for each in files.table()]
    assert len(set(names)) == len(names)
    assert shipped.file_of("mixnet_s") == "mixnet"


def test_a_listing_of_other_files_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a space was changed or added, the list is not read, and names are not refused by it."""
    for path in shipped.folder().glob("*.*"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(shipped, "folder", lambda: tmp_path)
    assert shipped.listed() is not None
    with pytest.raises(SpaceError, match="Did you mean 'mixconv'"):
        shipped.check("mixconw")
    (tmp_path / "new.py").write_text("SPACE = 0")
    assert shipped.listed() is None
    shipped.check("new")
