"""The registry of training methods: a file is one; it makes the losses of a batch.

`plain` has the labels' loss alone. Another method adds the answers of a teacher, images without
labels or another pass over changed images. Importing this package imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nas.errors import UserError
from nas.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.data.unlabelled import Unlabelled
    from nas.training.changes import Statistics
    from nas.training.recipe import Recipe
    from nas.training.sources import Source
    from nas.training.targets import Targets
    from nas.training.teachers import Teacher

PLAIN = "plain"


@dataclass(frozen=True)
class Appearance:
    """How an epoch's images are standardised, and how each is changed at random."""

    mean: "Statistics" = (0.0,)
    std: "Statistics" = (1.0,)
    change: "Callable[[Tensor], Tensor]" = lambda x: x


UNCHANGED = Appearance()


@dataclass(frozen=True)
class MicroBatch:
    """The images that a network sees at once, and the functions that a method makes losses of.

    `x`: (N, C, R, R), standardised and changed, a `share` of the step's images. `answer(x, own)`
    returns the network's logits, (N, classes), in float32; the tensors `own`, by their names, take
    the place of the network's. `loss(logits)` is the part of x in the step's mean loss, by labels.
    """

    x: "Tensor"
    share: float
    answer: "Callable[..., Tensor]"
    loss: "Callable[[Tensor], Tensor]"
    targets: "Targets"
    look: Appearance


@dataclass(frozen=True)
class Guide:
    """A method in the training of one network.

    `losses` yields a micro-batch's losses; each is backpropagated before the next is asked for.
    The `tensors` are trained, if they are parameters, and kept in checkpoints; they are no part of
    the trained network.
    """

    losses: "Callable[[MicroBatch], Iterator[Tensor]]"
    tensors: "Mapping[str, Tensor]" = field(default_factory=dict)


@dataclass(frozen=True)
class Aids:
    """What a training has beside its data: the teacher and the images without labels of its
    method, and the weights that it starts from.
    """

    teacher: "Teacher | None" = None
    unlabelled: "Unlabelled | None" = None
    start: "Source | None" = None


NO_AIDS = Aids()


class Method(Protocol):
    """A method's file.

    `teaches` tells whether it learns from a teacher, `reads` whether from images without labels,
    `one_class` whether it is only for images of one class each.
    """

    teaches: bool
    reads: bool
    one_class: bool

    def words(self, recipe: "Recipe") -> str:
        """Describe the method with the recipe's settings in a sentence; plain training in none."""

    def begin(self, module: "nn.Module", recipe: "Recipe", aids: Aids) -> Guide:
        """Begin the training of a network; raises Untrainable where the method can't train it.

        Without the aids that it needs, as where only a step's time is measured, it is plain.
        """


_registry: Registry[Method] = Registry("method", __name__)
METHODS: Mapping[str, Method] = {name: _registry.get(name) for name in _registry.names()}


def _those(kind: str) -> str:
    """Return the names of the methods that are of a kind, such as `teaches`, as words."""
    return " or ".join(name for name, method in METHODS.items() if getattr(method, kind))


def check(recipe: "Recipe") -> None:
    """Refuse a method without its teacher, and a teacher or images that the method has no use for.

    Raises UserError.
    """
    name, method = recipe.method, METHODS[recipe.method]
    if method.teaches and not recipe.teacher:
        raise UserError(f"The method {name} needs a teacher: --teacher SOURCE.")
    if recipe.teacher and not method.teaches:
        raise UserError(f"A teacher is for the method {_those('teaches')}, not for {name}.")
    if recipe.unlabelled and not method.reads:
        raise UserError(
            f"Images without labels are for the method {_those('reads')}, not for {name}."
        )


def check_aids(recipe: "Recipe", aids: Aids) -> None:
    """Refuse aids that are not the recipe's. Raises UserError."""
    check(recipe)
    for kind, wanted, given in (
        ("the teacher", recipe.teacher, aids.teacher),
        ("the images without labels", recipe.unlabelled, aids.unlabelled),
        ("the weights", recipe.start, aids.start),
    ):
        found = given.digest if given is not None else ""
        if wanted != found:
            raise UserError(
                f"The recipe learns from {kind} {wanted or 'none'}; given: {found or 'none'}."
            )
