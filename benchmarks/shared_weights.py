"""A one-shot supernet: weights that many networks share, trained once to compare all of them.

For each tensor at each place the supernet has one that is as large as the largest network's there.
A network takes the first channels of it and the middle of its kernels. In each step the dearest
network learns from labels; the cheapest and a few drawn ones learn from its answers: the sandwich
rule and in-place distillation (Yu and Huang, arXiv:1903.05134; Yu et al., arXiv:2003.11142). A
network is scored by the moving average of the weights, with statistics of batch norm of its own.
"""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas.architecture import Architecture
from nas.blocks.modules.stochastic_depth import StochasticDepth
from nas.data import DataSet
from nas.network import build, cost
from nas.training.augmentations import augmenter
from nas.training.batch_norm import refit_batch_norm
from nas.training.images import Indices, Material, every_few, gather, shuffled, standardised
from nas.training.losses import Classes, classes_of, share_of_loss, total_weights
from nas.training.methods.distillation import divergence
from nas.training.metrics import epoch_metrics
from nas.training.optimisers import optimiser_of
from nas.training.recipe import Recipe
from nas.training.schedules import learning_rate
from nas.training.targets import targets_of
from nas.training.trainer import predict, update_ema

CHANCE = (nn.Dropout, StochasticDepth)
DRAWN = 2  # networks of a step, beside the dearest and the cheapest
STATISTICS = 512  # images of batch norm's statistics
_GROUP = re.compile(r"\.convs\.\d+\.")  # a convolution among those of a MixConv


class Slice(NamedTuple):
    """Which part of the shared tensor `key` is a network's: from a row on, of this shape."""

    key: str
    row: int
    shape: tuple[int, ...]

    @property
    def end(self) -> tuple[int, ...]:
        """The least shape of the shared tensor."""
        return (self.row + self.shape[0], *self.shape[1:])

    def of(self, tensor: Tensor) -> Tensor:
        """Return the part: rows and columns from the start, the middle of a kernel."""
        part = tensor[self.row : self.row + self.shape[0]]
        if len(self.shape) > 1:
            part = part[:, : self.shape[1]]
        for axis, size in enumerate(self.shape[2:], 2):
            part = part.narrow(axis, (part.shape[axis] - size) // 2, size)
        return part


@dataclass(frozen=True)
class Child:
    """A network that shares weights with others."""

    architecture: Architecture

    @property
    def resolution(self) -> int:
        """The size of its images."""
        return self.architecture.resolution

    @cached_property
    def skeleton(self) -> nn.Module:
        """Its module without numbers."""
        with torch.device("meta"):
            return build(self.architecture)

    @cached_property
    def slices(self) -> dict[str, Slice]:
        """Its parameters' parts of the shared ones, by name; blocks of one kind share."""
        rows = iter(self.architecture.rows)
        found, ends = {}, dict[str, int]()
        for part, blocks in self.skeleton.named_children():
            for (number, block), row in zip(blocks.named_children(), rows):  # noqa: B905
                for name, parameter in block.named_parameters():
                    whole = f"{part}.{number}.{name}"
                    key = f"{row.block}:{_GROUP.sub('.', whole)}"
                    found[whole] = Slice(key, ends.get(key, 0), tuple(parameter.shape))
                    ends[key] = found[whole].end[0]
        return found


class Supernet(nn.Module):
    """The weights that networks share, drawn as those of the network that is largest there."""

    def __init__(self, children: Sequence[Child]) -> None:
        super().__init__()
        shapes: dict[str, tuple[int, ...]] = {}
        largest: dict[str, tuple[int, Architecture, str]] = {}
        for child in children:
            for name, part in child.slices.items():
                shapes[part.key] = tuple(map(max, shapes.get(part.key, part.end), part.end))
                size = math.prod(part.shape)
                if size > largest.get(part.key, (0,))[0]:
                    largest[part.key] = (size, child.architecture, name)
        self.names = {key: f"shared{number}" for number, key in enumerate(shapes)}
        states: dict[str, Mapping[str, Tensor]] = {}
        for key, (_, architecture, name) in largest.items():
            if architecture.id not in states:
                states[architecture.id] = build(architecture).state_dict()
            like = states[architecture.id][name]
            drawn = like.mean() + like.std(correction=0) * torch.randn(shapes[key])
            self.register_parameter(self.names[key], nn.Parameter(drawn))

    def weights(self, child: Child) -> dict[str, Tensor]:
        """Return a network's parameters by name, parts of the shared ones."""
        return {
            name: part.of(self.get_parameter(self.names[part.key]))
            for name, part in child.slices.items()
        }

    def forward(self, child: Child, x: Tensor) -> Tensor:
        """Return a network's logits, (N, classes), with the batch's own statistics."""
        statistics = {
            name: torch.zeros_like(buffer, device=x.device)
            for name, buffer in child.skeleton.named_buffers()
        }
        logits: Tensor = functional_call(child.skeleton, self.weights(child) | statistics, x)
        return logits


@dataclass(frozen=True, eq=False)
class Course:
    """What a supernet of some networks is trained and scored on: data, under a recipe."""

    children: Sequence[Child]
    data: DataSet
    recipe: Recipe

    @cached_property
    def ends(self) -> tuple[Child, Child]:
        """The dearest and the cheapest network."""
        order = sorted(self.children, key=lambda child: cost(child.architecture).macs)
        return order[-1], order[0]

    @cached_property
    def device(self) -> torch.device:
        """A GPU where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def updates(self) -> int:
        """The updates that one training of a network alone has under the recipe."""
        images = len(self.materials[self.children[0].resolution].members)
        return self.recipe.epochs * self.recipe.updates(images)

    @cached_property
    def materials(self) -> dict[int, Material]:
        """The images at the networks' resolutions; with folds those of the first one."""
        rung = self.recipe.rung(1)
        return {
            size: gather(self.data, self.recipe, rung, size, refit=False)[0]
            for size in {child.resolution for child in self.children}
        }

    def train(self, updates: int) -> Supernet:
        """Train a supernet; return the moving average of its weights."""
        recipe, rng = replace(self.recipe, epochs=1), np.random.default_rng(self.recipe.seed)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(recipe.seed)
            net = Supernet(self.children).to(self.device)
            average = copy.deepcopy(net).requires_grad_(False)
            optimiser = optimiser_of(net, recipe)
            for step, members in enumerate(self._batches(updates)):
                drawn = [self.children[i] for i in rng.integers(len(self.children), size=DRAWN)]
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(recipe, step, updates)
                optimiser.zero_grad()
                self._backward(net, [*self.ends, *drawn], members)
                if recipe.clip_norm:
                    nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
                optimiser.step()
                update_ema(average, net, min(recipe.ema_decay, (1 + step) / (10 + step)))
        return average

    def _batches(self, updates: int) -> list[Indices]:
        """Return the members of the train images in each update."""
        material, recipe = self.materials[self.ends[0].resolution], self.recipe
        labels = material.train.labels[material.members]
        size, balance = recipe.batch_size, recipe.balanced_sampling
        batches = shuffled(labels, size, updates=updates, balance=balance)
        return [material.members[batch] for batch in batches]

    def _images(self, child: Child, members: Indices) -> Tensor:
        """Return train images for a network, each changed at random."""
        material = self.materials[child.resolution]
        images = material.train.images(child.resolution)[members]
        change = augmenter(self.recipe.augmentation, material.mean, material.std)
        return change(standardised(images, material.mean, material.std, self.device))

    def _backward(self, net: Supernet, children: Sequence[Child], members: Indices) -> None:
        """Add a batch's gradients: the first network learns from labels, the others from it."""
        dearest, *others = children
        train = self.materials[dearest.resolution].train
        labels, classes = torch.from_numpy(train.labels[members]).to(self.device), self._classes
        dearest.skeleton.train()
        x = {dearest.resolution: self._images(dearest, members)}
        logits = net(dearest, x[dearest.resolution])
        weight = 1 / total_weights(labels, classes)
        loss = share_of_loss(logits, labels, classes, self.recipe, weight)
        loss.backward()  # type: ignore[no-untyped-call]
        for child in others:
            if child.resolution not in x:
                x[child.resolution] = self._images(child, members)
            for module in child.skeleton.modules():  # the dearest alone is regularised
                module.train(not isinstance(module, CHANCE))
            answers = net(child, x[child.resolution])
            loss = divergence(answers, logits.detach(), 1.0, targets_of(labels))
            loss.backward()  # type: ignore[no-untyped-call]

    @cached_property
    def _classes(self) -> Classes:
        labels = self.materials[self.ends[0].resolution].labels
        return classes_of(labels, self.recipe, self.device)

    def score(self, net: Supernet, child: Child) -> dict[str, float]:
        """Return a network's metrics on the validation images by the shared weights."""
        material, size = self.materials[child.resolution], child.resolution
        module = build(child.architecture).to(self.device)
        module.load_state_dict(net.weights(child), strict=False)
        images = material.train.images(size)[every_few(material.members, STATISTICS)]
        statistics = material.mean, material.std
        refit_batch_norm(module, [standardised(images, *statistics, self.device)])
        assert material.validation is not None
        answer = self.recipe.answer
        given = predict(module, material.validation, size, *statistics, material.classes, answer)
        return epoch_metrics(given, self.recipe.metric)
