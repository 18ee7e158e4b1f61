"""A single slice in NIfTI, .nii or .nii.gz, by nibabel: upright as its axes say, x right and y up.

A volume is refused: which of its slices shows the class is not known.
"""

import gzip
import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.decoders import check_pixels
from nas.errors import DataError
from nas.files.limits import limits

ENDINGS = (".nii", ".nii.gz")
PACKAGE = "nibabel"
EXTRA = "medical"
_GZIP = b"\x1f\x8b"


def knows(content: bytes) -> bool:
    """Tell a file by its content; no other image is packed by gzip."""
    return content[344:348] == b"n+1\0" or content[4:8] == b"n+2\0" or content[:2] == _GZIP


def levels(content: bytes) -> tuple[npt.NDArray[Any], int]:
    """Return the levels, (H, W), scaled as the header says."""
    import nibabel

    if content[:2] == _GZIP:
        most = limits().image_bytes
        content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(most + 1)
        limits().check("image_bytes", len(content), "unpacked", DataError)
    if not knows(content) or content[:2] == _GZIP:
        raise DataError("no NIfTI file, though packed by gzip")
    kind = nibabel.Nifti1Image if content[344:348] == b"n+1\0" else nibabel.Nifti2Image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = kind.from_bytes(content)
        shape = tuple(int(size) for size in image.shape)
        sides = shape[:2] + tuple(size for size in shape[2:] if size != 1)
        if len(sides) != 2 or 0 in shape:
            raise DataError(f"a single slice is read, (W, H) or (W, H, 1); the volume has {shape}")
        check_pixels(sides)
        array = np.asarray(image.dataobj).reshape(sides)
    if array.dtype.kind not in "iuf":
        raise DataError(f"levels need to be numbers, not {array.dtype}")
    return array.T[::-1], 1
