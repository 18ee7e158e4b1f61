"""A folder of images per class, with or without train, validation and test folders above them.

`nas.data.layout` says which files are images of which class and split; splits that are missing are
carved out of train.
"""

from pathlib import Path

from nas.data.dataset import DataSet, Origin
from nas.data.groups import of_names
from nas.data.image_list import ImageFile, ImageList, load_images
from nas.data.layout import Labelled, understand
from nas.data.request import DataRequest


def load_folder(folder: Path, request: DataRequest) -> DataSet:
    """Read a folder of images. Raises DataError that names the images that are unreadable.

    The groups of the request are the regular expression that finds an image's in its name.
    """
    layout = understand(folder, request.patterns)
    files = [ImageFile(each.path, (each.label,), each.split) for each in layout.images]
    if request.groups is not None:
        keys = of_names(request.groups, [_name(each) for each in layout.images])
        pairs = zip(layout.images, keys, strict=True)
        files = [ImageFile(each.path, (each.label,), each.split, key) for each, key in pairs]
    name, origin = layout.root.resolve().name, Origin(left_out=layout.left_out, notes=layout.notes)
    return load_images(ImageList(name, layout.root, layout.root, files, origin=origin), request)


def _name(image: Labelled) -> str:
    """Return the path below the folder of its class, and of its split."""
    return "/".join(image.path.split("/")[2 if image.split else 1 :])
