"""One walk, two folds: the module and the cost of whole networks."""

import math

import referee
import torch
from hypothesis import given, settings
from strategies import architectures

from nas import blocks, network
from nas.architecture import Architecture, Row
from nas.cost import Cost

often = settings(max_examples=40, deadline=None, derandomize=True)
SMALL = Architecture(
    3, 9, 5,
    (Row("conv", 8, 2),),
    (Row("mbconv", 12, 2, (("kernels", "3.5"),)), Row("mbconv", 12)),
    (Row("classifier", 5),),
)  # fmt: skip


@often
@given(architecture=architectures())
def test_a_network_counts_the_parameters_it_builds(architecture: Architecture) -> None:
    """The analytic number of parameters is that of the network built on the meta device."""
    assert network.cost(architecture).params == referee.meta_params(architecture)


@often
@given(architecture=architectures())
def test_a_network_counts_what_the_referees_count(architecture: Architecture) -> None:
    """Macs and activations equal fvcore's, and peak memory that of a trace of the operators."""
    built = network.build(architecture)
    size = (architecture.in_channels, architecture.resolution)
    cost = network.cost(architecture)
    assert (cost.macs, cost.activations) == referee.macs_and_activations(built, *size)
    assert cost.peak_activation_bytes == referee.peak_activation_bytes(built, *size)


@often
@given(architecture=architectures())
def test_a_network_gives_logits(architecture: Architecture) -> None:
    """Images of (N, in_channels, R, R) become (N, classes) finite numbers."""
    size = architecture.resolution
    images = torch.randn(2, architecture.in_channels, size, size)
    logits = network.build(architecture).eval()(images)
    assert logits.shape == (2, architecture.classes)
    assert logits.isfinite().all()


@often
@given(architecture=architectures())
def test_the_total_is_the_sum_of_the_blocks(architecture: Architecture) -> None:
    """Macs, params and activations add up; the peak is the largest block's."""
    costs = [cost for *_, cost in network.block_costs(architecture)]
    *sums, peaks = zip(*costs, strict=True)
    assert network.cost(architecture) == Cost(*map(sum, sums), max(peaks))


def test_the_walk_yields_what_each_block_sees() -> None:
    """Sizes are rounded up at every stride: 9, 5, 3."""
    walked = [(row.block, channels, size) for row, channels, size in network.walk(SMALL)]
    assert walked == [("conv", 3, 9), ("mbconv", 8, 5), ("mbconv", 12, 3), ("classifier", 12, 3)]


def test_parts_are_named_after_the_stages() -> None:
    """State-dict keys begin with stem, stage1, ..., head."""
    assert [name for name, _ in network.build(SMALL).named_children()] == ["stem", "stage1", "head"]


def test_the_cost_is_the_same_before_and_after_it_is_remembered() -> None:
    """A row counted before gives the same numbers as one counted afresh."""
    for row in SMALL.rows:
        row.counted.clear()
    assert network.cost(SMALL) == network.cost(SMALL)


def test_a_row_remembers_each_input_apart() -> None:
    """The same row at another size has another cost."""
    one, other = blocks.cost(SMALL.body[0], 8, 4), blocks.cost(SMALL.body[0], 8, 8)
    assert other.macs > one.macs
    assert other.params == one.params


def test_dropping_is_for_training_only() -> None:
    """Stochastic depth and dropout change outputs in training and leave inference alone."""
    rows = (Row("mbconv", 8, 1, (("drop_path", 0.5),)),)
    head = (Row("classifier", 5, 1, (("dropout", 0.5),)),)
    dropping = Architecture(3, 9, 5, (Row("conv", 8),), rows, head)
    torch.manual_seed(0)
    module, images = network.build(dropping), torch.randn(16, 3, 9, 9)
    assert not torch.equal(module(images), module(images))
    module.eval()
    assert torch.equal(module(images), module(images))


def test_stochastic_depth_keeps_the_mean() -> None:
    """What survives is scaled up by 1 / (1 - rate): the mean over many images stays."""
    from nas.blocks.modules.stochastic_depth import StochasticDepth

    torch.manual_seed(0)
    kept = StochasticDepth(0.25)(torch.ones(20_000, 1, 1, 1))
    assert kept.unique().tolist() == [0, torch.tensor(1 / 0.75).item()]
    assert math.isclose(kept.mean().item(), 1, abs_tol=0.02)
