"""A table of images as text, .csv or .tsv: a row for each, with its path, label, split and group.

file,label,split,patient
xray/001.png,normal,train,17
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from nas.data.columns import image_list, table_of
from nas.data.dataset import DataSet
from nas.data.image_list import load_images
from nas.data.request import DataRequest
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import read_text, reading

WORDS = "a .csv or .tsv table of image files"
ENDINGS = (".csv", ".tsv")
HAS_GROUPS = True


def takes(path: Path) -> bool:
    """Tell whether a path is that of a table."""
    return path.suffix.lower() in ENDINGS


def load(path: Path, request: DataRequest) -> DataSet:
    """Read a table and its images. The request's groups are the name of a column."""
    request.refuse(path.name, groups=False)
    table = table_of(_columns(path), request.groups, path)
    return load_images(image_list(table, path, path.resolve().parent, path.stem), request)


def image_files(path: Path) -> Sequence[str]:
    """Return the paths of a table's images, from its folder or absolute."""
    return table_of(_columns(path), None, path).images


def _columns(path: Path) -> dict[str, list[str]]:
    """Return the cells of each column; raises DataError that names the line."""
    text = read_text(path, DataError)
    head = text.partition("\n")[0]
    comma = "\t" if path.suffix.lower() == ".tsv" else ";" if "," not in head else ","
    with reading(str(path), DataError):
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=comma))
    rows = [row for row in rows if row]
    limits().check("members", len(rows), str(path), DataError)
    if len(rows) < 2:
        raise DataError(f"A table has a line of names and a row for each image; {path} has none.")
    names = [name.strip() for name in rows[0]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"Every column has a name of its own; {path} has {twice[0]!r} twice.")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(
                f"{path}, row {number}: {len(row)} cells, but the table has {len(names)} columns."
            )
    return dict(zip(names, map(list, zip(*rows[1:], strict=True)), strict=True))
