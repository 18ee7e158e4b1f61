"""A data set of arrays in memory: missing splits are carved, pixels become 8 bits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.dataset import (
    DataSet,
    Labels,
    Origin,
    check_classes,
    content_hash,
    fill_splits,
    in_memory,
)
from nas.data.groups import check_apart, numbered
from nas.data.pixels import PixelReading, eight_bits, reading_of_array

Raw = npt.NDArray[Any]


def array_set(
    path: Path,
    images: Mapping[str, Raw],
    labels: Mapping[str, Labels],
    classes: tuple[str, ...],
    *,
    groups: Sequence[str] = (),
    origin: Origin,
    reading: PixelReading | None,
) -> DataSet:
    """Make a data set of the images, (N, H, W, C), and labels of each split of a file.

    `groups` are those of all images in turn, if there are any. Raises DataError.
    """
    levels, all_labels = np.concatenate(list(images.values())), np.concatenate([*labels.values()])
    bounds = np.cumsum([len(split) for split in images.values()])[:-1]
    given = dict(zip(images, np.split(np.arange(len(all_labels)), bounds), strict=True))
    numbers = None
    if groups:
        check_apart(given, groups)
        numbers = numbered(groups)
    parts = fill_splits(given, all_labels, classes, numbers)
    check_classes(classes, all_labels[parts["train"]], where=path)
    read = reading_of_array(levels, parts["train"], str(path), given=reading)
    all_images = eight_bits(levels, read)
    content: list[bytes | npt.NDArray[Any]] = [all_images, all_labels, *parts.values()]
    content.append("\n".join(classes).encode())
    mode = "L" if all_images.shape[3] == 1 else "RGB"
    return DataSet(
        name=path.stem,
        fingerprint=content_hash(content if numbers is None else [*content, numbers]),
        classes=classes,
        in_channels=all_images.shape[3],
        native_resolution=max(all_images.shape[1:3]),
        forbids=frozenset(),
        reading=read,
        origin=Origin(
            {(all_images.shape[2], all_images.shape[1]): len(all_images)},
            {mode if levels.dtype == np.uint8 else str(levels.dtype): len(all_images)},
            origin.left_out,
            origin.notes,
        ),
        splits={
            name: in_memory(
                all_images[part], all_labels[part], None if numbers is None else numbers[part]
            )
            for name, part in parts.items()
        },
    )
