"""Images without labels: all those below a folder, whatever its folders are called."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nas.data.dataset import DataSet, Images, content_hash
from nas.data.decoders import check_packages
from nas.data.image_list import ImageFile, ImageList, examined, images_of, unreadable_error
from nas.data.layout import images_below
from nas.data.pixels import decode
from nas.errors import DataError


@dataclass(frozen=True)
class Unlabelled:
    """Images without labels; `images(resolution)` returns them, (N, R, R, C) uint8, as a split's.

    A recipe names them by the `digest` of their content.
    """

    images: Callable[[int], Images] = field(repr=False)
    digest: str
    count: int


def load_unlabelled(folder: str, data: DataSet, cache: Path) -> Unlabelled:
    """Read the images below a folder as a data set's are read: its channels, its levels.

    `cache` keeps them resized. Raises DataError that names the images that are unreadable.
    """
    root, channels, reading = Path(folder), data.in_channels, data.reading
    if not root.is_dir():
        raise DataError(f"Images without labels are a folder of image files; {folder} is none.")
    if channels not in (1, 3):
        raise DataError(
            f"Images without labels are read from files in gray or RGB; {data.name!r} has "
            f"{channels} channels."
        )
    files = [ImageFile(path, ()) for path in images_below(root)]
    check_packages(file.path for file in files)
    read, unreadable = examined(ImageList(root.name, root, root, files), cache)
    if unreadable:
        raise unreadable_error(root, unreadable, len(files))
    if reading.levels is None and (deep := [file.path for file in read if file.pixels.range]):
        raise DataError(
            f"Images without labels have the levels of {data.name!r}, which are of 8 bits; "
            f"{len(deep)} of {folder} have more, such as {deep[0]}."
        )
    lines = "\n".join(f"{file.path}\t{file.sha256}" for file in read)
    digest = content_hash([f"{channels}\n{lines}".encode(), *reading.content()])
    decoded = partial(decode, reading=reading, channels=channels)
    return Unlabelled(images_of(root, read, cache / digest, decoded), digest, len(read))
