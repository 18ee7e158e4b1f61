"""Data sets of the Hugging Face hub by name, from its cache: nas downloads none itself."""

import os
import re
from pathlib import Path

from nas.errors import DataError
from nas.files.reading import read_text

_NAME = re.compile(r"hf://datasets/([\w.-]+(?:/[\w.-]+)?)")


def is_dataset(source: str) -> bool:
    """Tell the name of a data set, hf://datasets/owner/name, from a URL of a file."""
    return _NAME.fullmatch(source) is not None


def folder_of(source: str) -> Path:
    """Return the folder of a data set's files as they were fetched last.

    Raises DataError that says how to fetch them.
    """
    name = source.removeprefix("hf://datasets/")
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))
    place = cache / f"datasets--{name.replace('/', '--')}"
    if (place / "refs" / "main").is_file():
        revision = read_text(place / "refs" / "main", DataError).strip()
        if re.fullmatch(r"\w+", revision) and (found := place / "snapshots" / revision).is_dir():
            return found
    raise DataError(
        f"{source} is not in the cache of the Hugging Face hub, {cache}: fetch it with "
        f"hf download {name} --repo-type dataset, or give the folder of its files."
    )
