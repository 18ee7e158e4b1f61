"""A single array: a .npy file, or a .raw file with the shape and type that a raw.toml tells."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.arrays import check_header
from nas.data.decoders import check_pixels
from nas.errors import DataError

ENDINGS = (".npy", ".raw")
PACKAGE = ""
EXTRA = ""


def knows(content: bytes) -> bool:
    """Tell a file by its content."""
    return content.startswith(b"\x93NUMPY")


def levels(content: bytes) -> tuple[npt.NDArray[Any], int]:
    """Return the levels, (H, W) or (H, W, 3)."""
    shape = check_header(io.BytesIO(content), len(content), "the array")
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
        raise DataError(f"an image needs the shape (H, W) or (H, W, 3), not {shape}")
    check_pixels(shape)
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array.reshape(shape), 1
