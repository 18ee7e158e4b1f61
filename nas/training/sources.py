"""Sources: trained weights that a training starts from, or that teach it.

The weights of a source decide a training's result, so the recipe names them by the digest of their
content. They are kept below a study's checkpoints under that digest, where each worker finds them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nas import blocks
from nas.architecture import Architecture
from nas.errors import UserError
from nas.files.reading import read_json, reading
from nas.network import build
from nas.training.checkpoint import Checkpoints
from nas.training.recipe import Recipe

WEIGHTS, ARCHITECTURE = "model.safetensors", "architecture.json"


@dataclass(frozen=True)
class Source:
    """A trained network: its name for people, its architecture, its module's tensors by name.

    `trained_by` is the recipe that it was trained by, where that is known. Raises UserError where
    the tensors are another network's.
    """

    name: str
    architecture: Architecture
    state: Mapping[str, Tensor] = field(repr=False, compare=False)
    trained_by: Recipe | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        wanted = {name: tensor.shape for name, tensor in expected(self.architecture).items()}
        if wanted != {name: tensor.shape for name, tensor in self.state.items()}:
            raise UserError(
                f"{self.name}: the weights are not those of its architecture, "
                f"{self.architecture.id}: names or shapes differ."
            )

    @cached_property
    def digest(self) -> str:
        """The hash of the architecture and of all tensors, 32 hex characters."""
        content = hashlib.sha256(self.architecture.id.encode())
        for name, tensor in sorted(self.state.items()):
            content.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            content.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return content.hexdigest()[:32]

    def build(self) -> nn.Module:
        """Build the network with its weights, in evaluation mode."""
        module = build(self.architecture)
        module.load_state_dict(dict(self.state))
        return module.eval()


def expected(architecture: Architecture) -> dict[str, Tensor]:
    """Return the tensors of a network by name, with shapes and without numbers."""
    with torch.device("meta"):
        return dict(build(architecture).state_dict())


def read(path: str) -> Source:
    """Read a folder of `nas train` or of a search's winner, or a .safetensors file of one.

    The architecture lies beside the weights. Raises UserError for anything else.
    """
    given = Path(path)
    files = [given / WEIGHTS, given / "best" / WEIGHTS] if given.is_dir() else [given]
    weights = next((each for each in files if each.is_file()), None)
    if weights is None or weights.suffix != ".safetensors":
        raise UserError(
            f"A folder of weights has {WEIGHTS}, and a file of weights ends in .safetensors; "
            f"{path!r} is neither."
        )
    beside = weights.with_name(ARCHITECTURE)
    if not beside.is_file():
        raise UserError(f"{weights} needs its network beside it: {beside} is missing.")
    architecture = blocks.canonical(Architecture.from_json(read_json(beside, UserError)))
    with reading(str(weights)):
        state = load_file(weights)
    return Source(path, architecture, state)


def keep(root: str, source: Source) -> None:
    """Keep a source below a folder or URL, by its digest; raises DiskFull without space."""
    place = _place(root, source.digest)
    if place.load() is None:
        facts = {"name": source.name, "architecture": source.architecture.to_json()}
        place.save(source.state, facts, 0)


def kept(root: str, digest: str) -> Source:
    """Return the source of a digest that is kept below a folder or URL.

    Raises UserError where it is gone or damaged.
    """
    loaded = _place(root, digest).load()
    if loaded is not None:
        state, facts = loaded
        name, architecture = facts["name"], Architecture.from_json(facts["architecture"])
        source = Source(name, architecture, state)
        if source.digest == digest:
            return source
    raise UserError(
        f"The weights {digest}, which the recipe begins with or learns from, are not in {root} any "
        "more: their files were deleted or damaged."
    )


def _place(root: str, digest: str) -> Checkpoints:
    return Checkpoints(f"{root}/source-{digest}")
