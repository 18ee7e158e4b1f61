"""Tables of images in Parquet, and data sets of Hugging Face: Parquet or Arrow files with images.

    labels.parquet                              paths and labels, as a .csv table has them
    data/train-00000-of-00002.parquet           as the hub keeps a data set
    train/data-00000-of-00001.arrow             as `save_to_disk` of `datasets` writes one

Images that lie in the files are unpacked once below the user's cache. pyarrow reads the files; it
runs no code of theirs.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.data import archive
from nas.data.columns import BAR, image_list, meanings, table_of
from nas.data.dataset import DataSet
from nas.data.image_list import load_images, user_cache
from nas.data.layout import split_of
from nas.data.request import DataRequest
from nas.errors import DataError
from nas.files.limits import limits
from nas.files.reading import reading

WORDS = "a .parquet table of images or of image files"
ENDINGS = (".parquet",)
HAS_GROUPS = True
_HUB = ("*-of-*.parquet", "*/*-of-*.parquet", "*/train/[0-9]*.parquet", "train/[0-9]*.parquet")
_SAVED = {"dataset_dict.json": "*/*.arrow", "state.json": "*.arrow"}  # by `save_to_disk`
_ROWS = 256  # images that are in memory at once
Shards = Mapping[Path, str]  # the split of each file, "" if not given


def takes(path: Path) -> bool:
    """Tell a file by its ending, a folder by the names that Hugging Face's files have."""
    if not path.is_dir():
        return path.suffix.lower() in ENDINGS
    is_saved = any((path / name).is_file() for name in _SAVED)
    return is_saved or any(next(path.glob(each), None) is not None for each in _HUB)


def load(path: Path, request: DataRequest) -> DataSet:
    """Read a table or a data set of Hugging Face. Raises DataError."""
    request.refuse(path.name, groups=False)
    shards, others = _shards(path) if path.is_dir() else ({path: ""}, [])
    with _files(path, shards) as files:
        of = meanings(files[0].columns, request.groups, path)
        size = sum(file.size for file in files)
        limits().check("total_bytes", size, str(path), DataError)
        columns = _joined(files, of)
        root = path.resolve().parent
        if files[0].is_bytes(of["image"]):

            def unpack(folder: Path) -> None:
                _unpack(files, of["image"], columns[of["image"]], folder)

            say, name = request.say, path.stem or "images"
            root = archive.once(list(shards), name, user_cache(), say, unpack).resolve()
        table = table_of(columns, request.groups, path)
    unread = [name for name in files[0].columns if name not in of.values()]
    table = replace(table, unread=unread, classes=files[0].names(of))
    listed = image_list(table, path, root, path.resolve().stem)
    if others:
        left_out = {**listed.origin.left_out, "splits of other names": others}
        listed = replace(listed, origin=replace(listed.origin, left_out=left_out))
    return load_images(listed, request)


def image_files(path: Path) -> Sequence[str]:
    """Return the paths of a table's image files, none where the images lie in it."""
    with _files(path, {path: ""}) as (file,):
        column = meanings(file.columns, None, path)["image"]
        return [] if file.is_bytes(column) else list(file.text(column))


@contextmanager
def _files(path: Path, shards: "Shards") -> "Iterator[list[_File]]":
    """Open the files of a data set; raises DataError for damage, now and later."""
    if find_spec("pyarrow") is None:
        raise DataError(f"{path.name} needs the package pyarrow: pip install 'nas[parquet]'.")
    with reading(f"{path} can't be read", DataError):
        files = [_File(file, split) for file, split in shards.items()]
        limits().check("members", sum(file.rows for file in files), str(path), DataError)
        yield files


def _shards(folder: Path) -> tuple[Shards, list[str]]:
    """Return the files of a data set by their splits, and the names of other splits."""
    saved = next((each for name, each in _SAVED.items() if (folder / name).is_file()), None)
    patterns = (saved,) if saved else _HUB
    files = sorted({file for each in patterns for file in folder.glob(each)})
    if saved == "*.arrow":
        return dict.fromkeys(files, ""), []
    homes: dict[str, list[Path]] = {}
    shards: dict[Path, str] = {}
    others: dict[str, None] = {}
    for file in files:
        by_name = re.match(r"(.+?)-\d+-of-\d+", file.name)
        name = by_name[1] if by_name and not saved else file.parent.name
        home = file.parent if by_name and not saved else file.parent.parent
        homes.setdefault(str(home.relative_to(folder)), []).append(file)
        if split := split_of(name):
            shards[file] = split
        else:
            others[name] = None
    if len(homes) > 1:
        raise DataError(
            f"A data set has one configuration; {folder} has {', '.join(homes)}: give the folder "
            "of one of them."
        )
    if "train" not in shards.values():
        raise DataError(f"{folder} has no files of a train split, but of: {', '.join(others)}.")
    return shards, list(others)


class _File:
    """A Parquet file, or an Arrow stream, and what its schema says."""

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        self.is_arrow = path.suffix == ".arrow"
        if self.is_arrow:
            self.size = path.stat().st_size
            with self._stream() as stream:
                self.schema = stream.schema
                self.rows = sum(batch.num_rows for batch in stream)
        else:
            found = self._parquet()
            self.schema, facts = found.schema_arrow, found.metadata
            groups = (facts.row_group(number) for number in range(facts.num_row_groups))
            self.rows, self.size = facts.num_rows, sum(each.total_byte_size for each in groups)
        self.columns = list(self.schema.names)

    def _stream(self) -> Any:
        import pyarrow

        return pyarrow.ipc.open_stream(pyarrow.memory_map(str(self.path)))

    def _parquet(self) -> Any:
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self.path)

    def cells(self, column: str, field: str | None = None) -> Iterator[Any]:
        """Yield the cells of a column, or of a field of it, few in memory at once."""
        if self.is_arrow:
            with self._stream() as stream:
                for batch in stream:
                    cells = batch.column(column)
                    for start in range(0, len(cells), _ROWS):
                        few = cells.slice(start, _ROWS)
                        yield from (few.field(field) if field else few).to_pylist()
            return
        name = f"{column}.{field}" if field else column
        for batch in self._parquet().iter_batches(_ROWS, columns=[name]):
            cells = batch.column(0)
            yield from (cells.field(field) if field else cells).to_pylist()

    def is_bytes(self, column: str) -> bool:
        """Tell whether a column has the files of images, not their paths."""
        kind = str(self.schema.field(column).type)
        return kind.startswith(("struct<bytes: binary", "binary", "large_binary"))

    def field(self, column: str) -> str | None:
        """Return the field of a column that has the files of images."""
        is_struct = str(self.schema.field(column).type).startswith("struct")
        return "bytes" if is_struct else None

    def _feature(self, column: str) -> Any:
        """Return what Hugging Face says about a column."""
        told = json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = told.get("info", {}).get("features", {}).get(column, {})
        if isinstance(feature, list):
            feature = {"feature": feature[0]}
        return feature.get("feature", feature)

    def names(self, of: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of classes that the file tells, if it does."""
        return tuple(map(str, self._feature(of.get("label") or of["labels"]).get("names") or ()))

    def text(self, column: str) -> Iterator[str]:
        """Yield a column's cells as text: class names for numbers, a bar between several."""
        names = self._feature(column).get("names") or []
        for cell in self.cells(column):
            if isinstance(cell, list):
                yield BAR.join(_named(each, names, column) for each in cell)
            else:
                yield "" if cell is None else _named(cell, names, column)


def _named(cell: Any, names: Sequence[str], column: str) -> str:
    if not names or not isinstance(cell, int):
        return str(cell)
    if not 0 <= cell < len(names):
        raise DataError(
            f"Numbers of the column {column!r} are 0 to {len(names) - 1}, as it has {len(names)} "
            f"names; there is {cell}. Leave out the files of images without a label."
        )
    return str(names[cell])


def _joined(files: Sequence[_File], of: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns that have a meaning as text; images in the files get names."""
    found: dict[str, list[str]] = {column: [] for column in of.values()}
    splits: list[str] = []
    for number, file in enumerate(files):
        if file.schema.names != files[0].schema.names:
            raise DataError(f"{file.path.name} has other columns than {files[0].path.name}.")
        for meaning, column in of.items():
            if meaning == "image" and file.is_bytes(column):
                found[column] += [f"{number}/{row}" for row in range(file.rows)]
            else:
                found[column] += file.text(column)
        splits += [file.split] * file.rows
    return found if "split" in of or not any(splits) else found | {"split": splits}


def _unpack(files: Sequence[_File], column: str, paths: Sequence[str], folder: Path) -> None:
    """Write the images of files to these paths below a folder."""
    folder.mkdir()
    archive.check_space(sum(file.size for file in files), folder, str(files[0].path.parent))
    images = (image for file in files for image in file.cells(column, file.field(column)))
    for path, image in zip(paths, images, strict=True):
        if image is None:
            raise DataError(f"Every image needs to lie in the file; row {path} has none.")
        limits().check("image_bytes", len(image), f"row {path}", DataError)
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(image)
