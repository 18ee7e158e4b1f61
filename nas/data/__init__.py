"""Data sets: a registered name, an .npz file in MedMNIST's layout, or a folder of images.

A new data set is one file in this package with a function under `@register("its name")`;
every test of `tests/test_data.py` then runs over it.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from nas.data.dataset import OPERATIONS, SPLITS, DataSet, Split, registered
from nas.data.folder import load_folder
from nas.data.npz import load_npz
from nas.errors import DataError, unknown

__all__ = ["OPERATIONS", "SPLITS", "DataSet", "Split", "load", "names"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def names() -> list[str]:
    """Return the names that `load` knows without a path."""
    return sorted(registered())


def load(source: str | Path, *, cache_dir: Path | None = None) -> DataSet:
    """Load a data set by its name, from an .npz file or from a folder of images per class.

    `cache_dir` holds the resized images of folders; the user's cache directory by default.
    Raises DataError with the rule, the value and the valid options.
    """
    if str(source) in registered():
        return registered()[str(source)]()
    path = Path(source).expanduser()
    if path.is_dir():
        return load_folder(path, cache_dir=cache_dir)
    if not path.exists():
        raise DataError(
            f"No such file or folder: {source}. {unknown('data set', str(source), names())} "
            "Or give the path of an .npz file or of a folder of images per class."
        )
    if path.suffix.lower() != ".npz":
        raise DataError(
            f"A data file needs to be an .npz in MedMNIST's layout; got {path.name!r}. "
            f"Other sources: a folder of images per class, or a name: {', '.join(names())}."
        )
    return load_npz(path)
