"""A checkpoint is one safetensors file with JSON in its header: nothing is ever unpickled."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and plain state at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE}.{os.getpid()}.tmp"
    try:
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"state": json.dumps(state)},
        )
        os.replace(temporary, folder / FILE)
    finally:
        temporary.unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the checkpoint back; None when there is none or it is damaged."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            state = json.loads((file.metadata() or {})["state"])
    except (OSError, SafetensorError, ValueError, KeyError):
        return None
    return tensors, state


def copy(source: Path, folder: Path) -> bool:
    """Take over another folder's checkpoint, as it is now, where there is one and none is here."""
    if source == folder or (folder / FILE).exists() or not (source / FILE).is_file():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE}.{os.getpid()}.tmp"
    try:
        shutil.copyfile(source / FILE, temporary)
        os.replace(temporary, folder / FILE)
    except FileNotFoundError:  # its study has just finished with it
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def save_weights(folder: Path, state: Mapping[str, Tensor]) -> Path:
    """Keep a finished training's weights, beside the checkpoint until `drop`."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{WEIGHTS}.{os.getpid()}.tmp"
    try:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)
        os.replace(temporary, folder / WEIGHTS)
    finally:
        temporary.unlink(missing_ok=True)
    return folder / WEIGHTS


def drop(folder: Path) -> None:
    """Delete a checkpoint that is not needed any more."""
    (folder / FILE).unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, Tensor] | None:
    """Read a finished training's weights; None when they are gone or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None
