"""A teacher: a trained network whose answers another one learns from."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nas.data import DataSet
from nas.data.dataset import Images
from nas.errors import UserError
from nas.training.changes import Statistics
from nas.training.images import most_at_once, normalisation, standardised
from nas.training.methods import Appearance
from nas.training.sources import Source


@dataclass(frozen=True)
class Teacher:
    """A trained network, the size of its images and how they are standardised.

    A recipe names it by the `digest` of its content.
    """

    module: nn.Module
    digest: str
    resolution: int
    mean: Statistics
    std: Statistics

    @classmethod
    def of(cls, source: Source, data: DataSet) -> "Teacher":
        """Return the teacher of a data set, whose statistics standardise its images.

        Raises UserError for other classes or channels than the data's.
        """
        taught = source.architecture
        for kind, wanted, found in (
            ("classes", len(data.classes), taught.classes),
            ("channels", data.in_channels, taught.in_channels),
        ):
            if wanted != found:
                raise UserError(
                    f"A teacher has the {kind} of the data; {data.name!r} has {wanted}, "
                    f"{source.name} {found}."
                )
        statistics = normalisation(data, taught.resolution)
        return cls(source.build(), source.digest, taught.resolution, *statistics)

    def on(self, device: torch.device) -> "Teacher":
        """Return the teacher on a device, in evaluation mode and without gradients."""
        module = copy.deepcopy(self.module).requires_grad_(False).eval()
        return replace(self, module=module.to(device))

    @torch.no_grad()
    def logits(self, x: Tensor, look: Appearance) -> Tensor:
        """Return the answers, (N, classes), to images that are standardised as `look` says.

        x: (N, C, R, R). They are resized, and standardised anew, where the teacher's are others.
        """
        if (look.mean, look.std) != (self.mean, self.std):
            x = x * _channels(look.std, x) + _channels(look.mean, x)
            x = (x - _channels(self.mean, x)) / _channels(self.std, x)
        if x.shape[-1] != self.resolution:
            size = (self.resolution, self.resolution)
            x = interpolate(x, size, mode="bilinear", antialias=True)
        answers: Tensor = self.module(x)
        return answers.float()

    def probabilities(self, images: Images) -> Tensor:
        """Return the probability of each class, (N, classes), of uint8 images of its own size."""
        device = next(self.module.parameters()).device
        size, own = most_at_once(self.resolution), Appearance(self.mean, self.std)
        parts = [
            self.logits(standardised(images[at : at + size], self.mean, self.std, device), own)
            for at in range(0, len(images), size)
        ]
        return torch.cat(parts).softmax(1)


def _channels(values: Statistics, like: Tensor) -> Tensor:
    """Return a value for each channel as a tensor that images (N, C, R, R) are multiplied by."""
    return torch.tensor(values, device=like.device).view(1, -1, 1, 1)
