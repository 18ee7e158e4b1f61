"""What holds for any search space: properties over generated ones, and examples of meanings."""

import json
import random
from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from space_strategies import assignments, every_assignment, search_spaces

from nas import blocks, network
from nas.architecture import Architecture, Value
from nas.cost import Limits
from nas.errors import SpaceError, UserError
from nas.files.shipped import check_file
from nas.search_space import Compound, SearchSpace, block, choice, load, per_layer, scaled, stage
from nas.search_space.preflight import Subject, survey

MANY = 1500
thorough = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Assigned = tuple[SearchSpace, dict[str, Value]]


@thorough
@given(search_spaces())
def test_size_is_the_number_of_assignments(space: SearchSpace) -> None:
    """The counted size equals that of a brute-force enumeration, up to a number it can reach."""
    found = list(islice(every_assignment(space), MANY))
    assert len({tuple(sorted(values.items())) for values in found}) == len(found)
    assert space.size() == len(found) if len(found) < MANY else space.size() >= MANY


@thorough
@given(assignments())
def test_a_sample_is_what_decode_asks_for(drawn: Assigned) -> None:
    """A sample holds every active parameter, no other, and each value is one of its choices."""
    space, values = drawn
    active = [p for p in space.parameters() if p.is_active(values)]
    assert list(values) == [parameter.name for parameter in active]
    assert all(values[p.name] in p.choices for p in active)
    for name in values:
        with pytest.raises(SpaceError, match=f"Parameter {name} has no value"):
            space.decode({key: value for key, value in values.items() if key != name})


@thorough
@given(assignments())
def test_a_sample_decodes_to_a_canonical_architecture(drawn: Assigned) -> None:
    """It is canonical already, survives JSON, and can be built and counted."""
    space, values = drawn
    architecture = space.decode(values)
    assert blocks.canonical(architecture) == architecture
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert network.cost(architecture).params > 0


@thorough
@given(assignments())
def test_encode_is_the_inverse_of_decode(drawn: Assigned) -> None:
    """An encoded architecture decodes to itself, whichever of its assignments is found."""
    space, values = drawn
    architecture = space.decode(values)
    encoded = space.encode(architecture)
    assert space.decode(encoded) == architecture
    assert encoded == space.complete(encoded)


@thorough
@given(search_spaces())
def test_a_space_survives_json(space: SearchSpace) -> None:
    """Written as text and read back it is equal, with the same parameters and size."""
    back = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert back == space
    assert back.parameters() == space.parameters()


@thorough
@given(search_spaces())
def test_parents_come_first(space: SearchSpace) -> None:
    """A parameter's conditions name parameters before it, and values that these can have."""
    before: dict[str, tuple[Value, ...]] = {}
    for parameter in space.parameters():
        for conjunction in parameter.when:
            assert all(allowed <= set(before[name]) for name, allowed in conjunction)
        before[parameter.name] = parameter.choices


@thorough
@given(assignments())
def test_neighbours_differ_in_one_active_parameter(drawn: Assigned) -> None:
    """Each other value of each active parameter once; the rest is what that activates or ends."""
    space, values = drawn
    neighbours = list(space.neighbours(values))
    active = [p for p in space.parameters() if p.name in values]
    assert len(neighbours) == sum(len(p.choices) - 1 for p in active)
    assert len({tuple(sorted(n.items())) for n in neighbours}) == len(neighbours)
    for neighbour in neighbours:
        changed = [n for n in values.keys() & neighbour.keys() if values[n] != neighbour[n]]
        assert len(changed) == 1
        assert neighbour == space.complete(neighbour)
        space.decode(neighbour)


@thorough
@given(search_spaces())
def test_every_parameter_has_a_line_in_the_printout(space: SearchSpace) -> None:
    """The printout has one line per parameter, with its name and its choices."""
    for parameter, line in zip(space.parameters(), space.describe(), strict=True):
        shown = " | ".join(map(str, parameter.choices))
        assert line.startswith(f"{parameter.name} = {shown}")


def test_the_printout_says_when_a_parameter_exists() -> None:
    """Conditions are written with the names and values that a reader knows."""
    chosen = choice(block("conv"), block("mbconv", kernels=per_layer(choice("3", "3.5"))))
    space = SearchSpace(name="s", stages=[stage(chosen, width=16, depth=choice(1, 2, 3))])
    where = "stage1.layer{}.mbconv.kernels = 3 | 3.5  if {}stage1.block = mbconv"
    assert space.describe() == [
        "stage1.depth = 1 | 2 | 3",
        "stage1.block = conv | mbconv",
        where.format(1, ""),
        where.format(2, "stage1.depth = 2 | 3 and "),
        where.format(3, "stage1.depth = 3 and "),
    ]


def tiny(kernels: object = "3", **options: object) -> SearchSpace:
    """A stem of 16 channels and one stage of two MBConv layers, 16 channels, stride 2."""
    return SearchSpace(
        name="tiny",
        resolution=16,
        stem=stage(block("conv"), width=16),
        stages=[stage(block("mbconv", kernels=kernels, **options), width=16, depth=1, stride=2)],
    )


@pytest.mark.parametrize(
    "space",
    [
        tiny(partition=choice("equal", "exponential")),
        tiny("3.5", partition=choice("equal", "exponential")),
        tiny(skip=choice("identity", "none")),
        tiny(drop_path=choice(0, 0.2)),
        tiny(se_ratio=choice(0.25, 0.26)),
        tiny(choice("3", "03")),
        tiny(expansion=choice(3, 3.0001)),
    ],
    ids=["one_group", "halves", "skip", "drop_path", "squeeze", "spelling", "expansion"],
)
def test_assignments_that_give_the_same_network_have_one_id(space: SearchSpace) -> None:
    """An option without effect changes neither architecture nor id; the space counts both."""
    ids = {space.decode(values).id for values in every_assignment(space)}
    assert (space.size(), len(ids)) == (2, 1)


@pytest.mark.parametrize(
    "space",
    [
        tiny("3.5.7", partition=choice("equal", "exponential")),
        tiny(se_ratio=choice(0, 0.25)),
        tiny(choice("3.5", "5.3")),
        tiny(activation=choice("relu", "relu6")),
    ],
    ids=["partition", "squeeze", "order", "activation"],
)
def test_assignments_that_give_other_networks_have_other_ids(space: SearchSpace) -> None:
    """An option with an effect changes the id."""
    ids = {space.decode(values).id for values in every_assignment(space)}
    assert (space.size(), len(ids)) == (2, 2)


def test_a_chosen_blocks_options_exist_only_where_it_is_chosen() -> None:
    """stage1.block decides which of the options' parameters are active; the size adds up."""
    chosen = choice(
        block("conv", kernels=choice("1", "3")), block("mbconv", se_ratio=choice(0, 0.5, 1))
    )
    space = SearchSpace(name="s", stages=[stage(chosen, width=16)])
    names = [parameter.name for parameter in space.parameters()]
    assert names == ["stage1.block", "stage1.conv.kernels", "stage1.mbconv.se_ratio"]
    assert space.size() == 2 + 3


def test_layers_choose_for_themselves() -> None:
    """Per layer there is a parameter for every layer that a stage may have; sizes multiply."""
    chosen = per_layer(
        choice(block("conv"), block("mbconv", kernels=per_layer(choice("3", "5", "7"))))
    )
    space = SearchSpace(name="s", stages=[stage(chosen, width=16, depth=choice(1, 3))])
    assert "stage1.layer3.mbconv.kernels" in [parameter.name for parameter in space.parameters()]
    assert space.size() == 4 + 4**3


def test_a_shared_choice_is_one_parameter() -> None:
    """It is named as told, exists where any of its places does, and counts once."""
    shared = choice("relu", "silu", "mish", name="activation")
    chosen = choice(block("conv"), block("mbconv", activation=shared))
    space = SearchSpace(name="s", stages=[stage(chosen, width=16), stage(chosen, width=16)])
    assert [p.name for p in space.parameters()] == ["stage1.block", "stage2.block", "activation"]
    assert space.size() == 1 + 3 * 3


def test_a_width_is_a_multiple_of_a_base() -> None:
    """scaled(40, m) is 40 m, rounded to a multiple of 8 and not under 90 %."""
    width = scaled(40, choice(0.75, 1.0, 1.25))
    space = SearchSpace(name="s", stages=[stage(block("conv"), width=width)])
    widths = [
        space.decode({"stage1.width_multiplier": m}).body[0].out_channels for m in (0.75, 1.0, 1.25)
    ]
    assert widths == [32, 40, 48]


def test_compound_scaling_scales_depth_width_and_resolution() -> None:
    """Layers times alpha^phi, channels times beta^phi, pixels times gamma^phi."""
    space = SearchSpace(
        name="s",
        resolution=32,
        stages=[stage(block("conv"), width=16, depth=2)],
        scaling=Compound(alpha=1.5, beta=2.0, gamma=1.25, phi=choice(0, 1, 2)),
    )
    found = [space.decode({"scaling.phi": phi}) for phi in (0, 1, 2)]
    assert [(len(a.body), a.body[0].out_channels, a.resolution) for a in found] == [
        (2, 16, 32), (3, 32, 40), (5, 64, 48),
    ]  # fmt: skip


def test_coefficients_may_share_a_choice() -> None:
    """One shared choice for alpha and beta never has two values at once."""
    factor = choice(1.0, 2.0, name="factor")
    kernels = per_layer(choice("3", "5"))
    stages = [stage(block("mbconv", kernels=kernels), width=16, depth=1)]
    space = SearchSpace(name="s", stages=stages, scaling=Compound(alpha=factor, beta=factor, phi=1))
    assert space.size() == len(list(every_assignment(space))) == 2 + 4


@pytest.mark.parametrize("limit", ["macs", "params", "activations", "peak_activation_bytes"])
def test_samples_keep_the_limits(limit: str) -> None:
    """Every sample costs at most what the space's limits and those of the call allow."""
    space = SearchSpace(
        name="s",
        resolution=choice(16, 32),
        stages=[stage(block("mbconv", expansion=choice(2, 6)), width=choice(16, 64), stride=2)],
    )
    costs = [network.cost(space.decode(values)) for values in every_assignment(space)]
    middle = sorted(getattr(cost, limit) for cost in costs)[len(costs) // 2]
    rng = random.Random(0)
    for _ in range(30):
        values = space.sample(rng, limits=Limits(**{limit: middle}))
        assert getattr(network.cost(space.decode(values)), limit) <= middle


def test_a_limit_in_a_space_may_be_a_float() -> None:
    """1e6, as JSON has it, is the whole number 1,000,000; it holds for samples and in JSON."""
    stages = [stage(block("mbconv"), width=choice(16, 64))]
    limits = Limits.checked(peak_activation_bytes=1e6)
    space = SearchSpace(name="s", resolution=64, stages=stages, limits=limits)
    data = space.to_json() | {"limits": {"peak_activation_bytes": 1e6}}
    assert SearchSpace.from_json(data) == space
    assert space.to_json()["limits"] == {"peak_activation_bytes": 1_000_000}
    assert repr(space.limits.peak_activation_bytes) == "1000000"


def test_an_impossible_limit_is_refused() -> None:
    """The message names the space, the limit and how close the closest sample comes."""
    cheapest = network.cost(tiny(choice("3", "5")).decode({"stage1.kernels": "3"})).params
    message = rf"samples of tiny keeps the limits; the closest has params {cheapest:,} over .* 9"
    with pytest.raises(SpaceError, match=message):
        tiny(choice("3", "5")).sample(random.Random(0), limits=Limits(params=9))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Parameter stage1.kernels has no value; one of '3', '5'."),
        ({"stage1.kernels": "7"}, "Parameter stage1.kernels is one of '3', '5', not '7'."),
        ({"stage1.kernels": 3}, "Parameter stage1.kernels is one of '3', '5', not 3."),
        ({"stage1.kernels": ["3"]}, "Parameter stage1.kernels is one of '3', '5', not ['3']."),
        (
            {"stage1.kernels": "3", "stage1.kernel": "3"},
            "No parameter named 'stage1.kernel'. Did you mean 'stage1.kernels'? "
            "Available: stage1.kernels.",
        ),
    ],
)
def test_decode_says_what_is_wrong_with_values(values: dict[str, Value], message: str) -> None:
    """Missing, foreign and unknown parameters are each refused with what is valid."""
    with pytest.raises(SpaceError) as raised:
        tiny(choice("3", "5")).decode(values)
    assert str(raised.value) == message
    with pytest.raises(SpaceError):
        list(tiny(choice("3", "5")).neighbours(values))


def test_true_is_not_one() -> None:
    """A truth value is not taken for the number that Python finds equal to it."""
    with pytest.raises(SpaceError, match="not 1"):
        SearchSpace(
            name="s",
            stages=[stage(block("conv"), width=16)],
            classifier={"layer_norm": choice(True, False)},
        ).decode({"classifier.layer_norm": 1})


def test_values_of_inactive_parameters_are_ignored() -> None:
    """What another block's option would be makes no difference."""
    chosen = choice(block("conv", kernels=choice("1", "3")), block("mbconv"))
    space = SearchSpace(name="s", stages=[stage(chosen, width=16)])
    values = {"stage1.block": "mbconv"}
    assert space.decode(values) == space.decode({**values, "stage1.conv.kernels": "3"})


def test_places_that_share_labels_differ_in_their_options() -> None:
    """One decision, stored under its label, sets width, depth and kernels of a stage."""
    labels = ("small", "large")
    space = SearchSpace(
        name="linked",
        resolution=16,
        stages=[
            stage(
                block("mbconv", kernels=choice("3", "3.5", name="size", labels=labels)),
                width=choice(16, 32, name="size", labels=labels),
                depth=choice(1, 3, name="size", labels=labels),
            ),
            stage(block("conv"), width=choice(64, 64, name="size", labels=labels)),
        ],
        classifier={"hidden_channels": choice(0, 128, name="size", labels=labels)},
    )
    assert (space.size(), [p.name for p in space.parameters()]) == (2, ["size"])
    large = space.decode({"size": "large"})
    assert (len(large.body), large.body[0].out_channels) == (4, 32)
    assert dict(large.head[0].options) == {"hidden_channels": 128}
    assert space.encode(large) == {"size": "large"}
    assert space.describe() == [
        "size = small | large (stage1.width 16 | 32, stage1.depth 1 | 3, stage1.kernels 3 | 3.5,"
        " stage2.width 64 | 64, classifier.hidden_channels 0 | 128)"
    ]
    assert {space.decode(values).id for values in every_assignment(space)} == {
        space.decode({"size": label}).id for label in labels
    }


def test_a_stride_that_a_block_refuses_is_refused_beforehand() -> None:
    """Every stride of a choice is tried when the space is made, not when it is drawn."""
    with pytest.raises(SpaceError, match="stride"):
        SearchSpace(name="s", stages=[stage(block("resnet_stem"), width=16, stride=choice(2, 3))])


def test_resolutions_with_labels_suit_the_images_too() -> None:
    """Labels go with their sizes; a resolution shared with another place stays as it is."""
    sizes = choice(8, 16, 64, name="size", labels=("s", "m", "l"))
    widths = choice(8, 16, 24, name="size", labels=("s", "m", "l"))
    alone = SearchSpace(name="s", resolution=sizes, stages=[stage(block("conv"), width=8)])
    space, left_out = alone.for_images(8)
    assert (space.parameters()[0].choices, left_out) == (("s", "m"), (64,))
    shared = SearchSpace(name="s", resolution=sizes, stages=[stage(block("conv"), width=widths)])
    assert shared.for_images(8) == (shared, ())


def test_a_label_decides_which_layers_exist() -> None:
    """Choices of a third layer exist only under the label whose option is three layers."""
    depth = choice(1, 3, name="depth", labels=("shallow", "deep"))
    kernels = per_layer(choice("3", "5"))
    space = SearchSpace(
        name="s", stages=[stage(block("mbconv", kernels=kernels), width=16, depth=depth)]
    )
    assert space.size() == 2 + 2**3
    assert sum(1 for _ in every_assignment(space)) == space.size()


def test_an_architecture_of_another_space_can_not_be_encoded() -> None:
    """The message names the architecture and the space."""
    foreign = tiny("7").decode({})
    with pytest.raises(SpaceError, match=f"Architecture {foreign.id} is not in space 'tiny'"):
        tiny(choice("3", "5")).encode(foreign)


def test_encode_does_not_try_what_makes_no_difference() -> None:
    """2^40 options without effect stand before a choice whose first value is wrong."""
    wrong = choice("relu", "silu", name="activation")
    free = [
        stage(
            block("conv", activation=wrong)
            if number == 40
            else block("mbconv", skip=choice("identity", "none")),
            width=16,
            stride=2,
        )
        for number in range(41)
    ]
    start = stage(block("mbconv", partition=choice("equal", "exponential", name="p")), width=16)
    end = stage(
        block("mbconv", kernels="3.5.7", partition=choice("equal", "exponential", name="p")),
        width=16,
    )
    space = SearchSpace(name="s", stages=[start, *free, end])
    values = space.complete({"activation": "silu", "p": "exponential"})
    architecture = space.decode(values)
    assert space.decode(space.encode(architecture)) == architecture


def test_size_counts_a_choice_shared_by_hundreds_of_layers() -> None:
    """8 stages of 1 to 8 layers choosing among 4 blocks, two of which share an activation."""
    shared = choice("relu", "silu", name="activation")
    chosen = per_layer(
        choice(
            block("conv", kernels=choice("1", "3")), block("mbconv", activation=shared),
            block("depthwise_separable", activation=shared),
        )
    )  # fmt: skip
    stages = [stage(chosen, width=16, depth=choice(*range(1, 9))) for _ in range(8)]
    everything = sum(4**layers for layers in range(1, 9)) ** 8
    without = sum(2**layers for layers in range(1, 9)) ** 8
    assert SearchSpace(name="s", stages=stages).size() == 2 * everything - without


def test_resolutions_that_do_not_suit_the_images_are_left_out() -> None:
    """Over twice the images' size, and under that of tiny images; the nearest always stays."""
    space = SearchSpace(
        name="s", resolution=choice(16, 28, 64, 96), stages=[stage(block("conv"), width=16)]
    )
    smaller, left_out = space.for_images(28)
    assert (smaller.resolution, left_out) == (choice(28), (16, 64, 96))
    assert space.for_images(40)[1] == (96,)
    assert space.for_images(4)[0].resolution == choice(16)
    assert space.for_images(48) == (space, ())
    assert space.at_resolution(50).for_images(8) == (space.at_resolution(50), ())


def test_images_and_classes_are_those_asked_for() -> None:
    """The space's own are defaults; decode takes others, and encode reads them back."""
    space = tiny(choice("3", "5"))
    other = space.decode({"stage1.kernels": "5"}, in_channels=1, classes=2)
    assert (other.in_channels, other.classes) == (1, 2)
    assert space.encode(other) == {"stage1.kernels": "5"}


def test_channels_that_a_block_can_not_take_are_refused_with_the_place() -> None:
    """A stem in 3 groups is fine for RGB and impossible for gray images."""
    space = SearchSpace(name="s", stages=[stage(block("conv", groups=3), width=6)])
    with pytest.raises(SpaceError, match=r"stage1: conv\.groups divides the channels, 1 in"):
        space.decode({}, in_channels=1)


def test_many_choices_that_stages_share_are_counted_at_once() -> None:
    """Up to twelve stages in a ring of shared choices: two values of each that a stage asks for."""

    def ring(stages: int) -> SearchSpace:
        def shared(kind: str, number: int, *options: object) -> object:
            return choice(*options, name=f"{kind}{number % stages}", labels=["x", "y"])

        return SearchSpace(
            name="ring",
            resolution=32,
            stages=[
                stage(
                    choice(
                        block("conv"),
                        block(
                            "mbconv",
                            kernels=shared("a", i, "3", "5"),
                            expansion=shared("a", i - 1, 3, 6),
                            se_ratio=shared("b", i, 0.0, 0.25),
                            activation=shared("b", i - 2, "relu", "silu"),
                        ),
                    ),
                    width=16,
                )
                for i in range(stages)
            ],
        )

    def counted(stages: int) -> int:
        total = 0
        for asks in product((False, True), repeat=stages):  # which stages are the mbconv
            of = [i for i in range(stages) if asks[i]]
            names = {("a", (i - k) % stages) for i in of for k in (0, 1)}
            names |= {("b", (i - k) % stages) for i in of for k in (0, 2)}
            total += 2 ** len(names)
        return total

    for stages in (4, 7, 12):
        assert ring(stages).size() == counted(stages)


def test_a_fixed_resolution_is_not_scaled() -> None:
    """`--resolution` says what the images' size is; width and depth are scaled all the same."""
    space = load("efficientnet").at_resolution(64)
    drawn = [space.decode(space.draw(random.Random(seed))) for seed in range(30)]
    assert {each.resolution for each in drawn} == {64}
    assert len({each.id for each in drawn}) > 5


def test_one_network_is_one_whatever_its_recipe() -> None:
    """A choice of one option has its value, and choices of the recipe make no other network."""
    space = SearchSpace(
        name="one",
        stages=[stage(block("conv"), width=8)],
        resolution=choice(16),
        recipe={"learning_rate": choice(0.1, 0.2)},
    )
    assert (space.size(), space.architectures()) == (2, 1)
    assert space.decode(space.complete({})).resolution == 16


def test_limits_that_nothing_keeps_are_refused_without_a_target_too() -> None:
    """The message says how far the closest network is from them."""
    with pytest.raises(UserError, match="in reach keeps the limits: at the least, params"):
        survey(Subject(load("mixconv"), 3, 10), limits=Limits(params=10))


def test_a_file_name_that_is_too_long_is_no_file() -> None:
    """The system's refusal is no traceback."""
    with pytest.raises(SpaceError, match="No file aaa"):
        check_file(Path("a" * 300 + ".json"))
