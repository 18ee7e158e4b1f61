"""A slice or an X-ray image in DICOM, .dcm, by pydicom: the first frame of several.

Levels are those of the modality, such as Hounsfield units, and higher is brighter (MONOCHROME1 is
turned round). The windows that a file proposes for viewing are not used: a set has one range.
"""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.decoders import check_pixels
from nas.errors import DataError

ENDINGS = (".dcm", ".dicom")
PACKAGE = "pydicom"
EXTRA = "medical"
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # would be unpacked whole, whatever its size
_HEAD = 4096  # bytes in which the file says how it is packed


def knows(content: bytes) -> bool:
    """Tell a file by its content."""
    return content[128:132] == b"DICM"


def levels(content: bytes) -> tuple[npt.NDArray[Any], int]:
    """Return the levels, (H, W) or (H, W, 3), and 2 where the file has more frames."""
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    if _DEFLATED in content[:_HEAD]:
        raise DataError("DICOM that is deflated as a whole is not read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        file = dcmread(io.BytesIO(content))
        if "PixelData" not in file:
            raise DataError("this DICOM file has no pixels")
        samples, kind = int(file.SamplesPerPixel), str(file.PhotometricInterpretation)
        frames = int(file.get("NumberOfFrames") or 1)
        check_pixels((int(file.Rows), int(file.Columns), samples))
        found = pixel_array(file, index=0)
        if kind == "PALETTE COLOR":
            return apply_color_lut(found, file), min(frames, 2)
        if samples > 1:
            return found, min(frames, 2)
        if kind == "MONOCHROME1":
            found = (-1 if file.PixelRepresentation else 2**file.BitsStored - 1) - found.astype(int)
        scaled = apply_modality_lut(found, file)
    whole = scaled.dtype.kind == "f" and (scaled == np.rint(scaled)).all()
    return (scaled.astype(np.int64) if whole else scaled), min(frames, 2)
