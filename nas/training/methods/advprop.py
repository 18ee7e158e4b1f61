"""Adversarial Examples Improve Image Recognition (AdvProp): Xie et al., arXiv:1911.09665.

Each step trains on the batch and on adversarial changes of it, which have batch norms of their own,
with statistics and affine weights. These auxiliary batch norms are never part of the network, so
that nothing has to be dropped from the trained one.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nas.errors import Untrainable
from nas.training.methods import Aids, Guide, MicroBatch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.training.recipe import Recipe

teaches = reads = one_class = False
LEVELS = 255  # of a pixel: epsilon and step sizes are counted in them, as in the paper


def words(recipe: "Recipe") -> str:
    """Say how strong the attack is."""
    steps = f"{recipe.attack_steps} step{'' if recipe.attack_steps == 1 else 's'}"
    return (
        f"Each batch is seen once more with adversarial changes of up to {recipe.epsilon:g}/255, "
        f"by {steps} of {recipe.attack_step_size:g}/255, through batch norms of their own."
    )


def begin(module: "nn.Module", recipe: "Recipe", _: Aids) -> Guide:
    """Begin with auxiliary batch norms that are copies of the network's."""
    auxiliary = auxiliary_norms(module)
    if not auxiliary:
        raise Untrainable(
            "The method advprop gives adversarial images batch norms of their own; this network "
            "has no batch norm."
        )

    def losses(batch: MicroBatch) -> "Iterator[Tensor]":
        # The mean, where equation 3 has the sum: a learning rate means what it does without it.
        yield batch.loss(batch.answer(batch.x)) / 2
        yield batch.loss(batch.answer(attacked(batch, recipe, auxiliary), auxiliary)) / 2

    return Guide(losses, auxiliary)


def auxiliary_norms(module: "nn.Module") -> "dict[str, Tensor]":
    """Return copies of the parameters and buffers of each batch norm, by their names."""
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    copies: dict[str, Tensor] = {}
    for place, norm in module.named_modules():
        if isinstance(norm, _BatchNorm):
            for name, tensor in norm.state_dict(keep_vars=True).items():
                copy = tensor.detach().clone()
                is_trained = isinstance(tensor, nn.Parameter)
                copies[f"{place}.{name}"] = nn.Parameter(copy) if is_trained else copy
    return copies


def attacked(batch: MicroBatch, recipe: "Recipe", auxiliary: "Mapping[str, Tensor]") -> "Tensor":
    """Return images that raise the loss, none of whose pixels is farther than epsilon from x.

    Steps by the gradient's sign, with the auxiliary batch norms, from a random place: Madry et al.,
    arXiv:1706.06083. With epsilon 0 they are x itself.
    """
    import torch

    if not recipe.epsilon:
        return batch.x
    spread = torch.tensor(batch.look.std, device=batch.x.device).view(1, -1, 1, 1) * LEVELS
    reach, step = recipe.epsilon / spread, recipe.attack_step_size / spread
    # Drawn on the CPU, as all random numbers of a training are.
    moved = (2 * torch.rand(batch.x.shape) - 1).to(batch.x.device) * reach
    for _ in range(recipe.attack_steps):
        x = (batch.x + moved).requires_grad_()
        (slope,) = torch.autograd.grad(batch.loss(batch.answer(x, auxiliary)), x)
        moved = (moved + step * slope.sign()).clamp(-reach, reach)
    return batch.x + moved
