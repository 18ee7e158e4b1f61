"""Export as data: the architecture as JSON, and its weights; `nas` builds the network of them."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor, nn

from nas import network
from nas.architecture import Architecture
from nas.errors import NasError
from nas.export import Exportable, Written
from nas.files import write_json

EXTRA = None
PACKAGES = ("torch",)
RUNTIME = "torch"
OPTIONS: tuple[str, ...] = ()
TOLERANCE = 1e-5
NEEDS_DATA = False
WEIGHTS = "model.safetensors"


def write(exportable: Exportable, folder: Path) -> Written:
    """Write architecture.json and model.safetensors; NasError where another id is read back."""
    path, architecture = folder / "architecture.json", exportable.architecture
    write_json(path, architecture.to_json())
    weights = {name: tensor.cpu().contiguous() for name, tensor in exportable.state.items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    if (identity := _read(path).id) != architecture.id:
        raise NasError(f"{identity} is read back, not {architecture.id}.")
    return Written(path)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Build the network of the file, with the weights beside it."""
    module: nn.Module = network.build(_read(path))
    module.load_state_dict(load_file(path.with_name(WEIGHTS)))
    return module.eval()


def _read(path: Path) -> Architecture:
    return Architecture.from_json(json.loads(path.read_text(encoding="utf-8")))
