"""A photograph in HEIC, as phones take them, .heic or .heif, by pi-heif: upright, in 8 bits."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.decoders import check_pixels
from nas.errors import DataError

ENDINGS = (".heic", ".heif")
PACKAGE = "pi_heif"
EXTRA = "heic"
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")


def knows(content: bytes) -> bool:
    """Tell a file by its content; AVIF is a sibling that Pillow reads."""
    return content[4:8] == b"ftyp" and content[8:12] in _BRANDS and b"avif" not in content[:40]


def levels(content: bytes) -> tuple[npt.NDArray[Any], int]:
    """Return the levels, (H, W) or (H, W, 3), and 2 where the file has more images."""
    import pi_heif

    file = pi_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    check_pixels((*file.size, 3))
    if file.mode not in ("L", "RGB"):
        raise DataError(f"HEIC is read in gray or RGB, not {file.mode}")
    return np.array(file), min(len(file), 2)  # a copy: the file's memory goes with the file
