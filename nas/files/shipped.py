"""The search spaces and networks that come with nas: where their files lie, and a list of them.

The list is kept beside the files, because running them all takes a while. It holds for the files
that it was made of; `nas.search_space.files.write_listing` makes it anew.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.errors import SpaceError, unknown

LISTING = "nas space list"  # the command that lists what is shipped
FILE = "listing.json"


def folder() -> Path:
    """Return the shipped spaces' folder: inside the installed package, or beside a checkout's."""
    package = Path(__file__).parent.parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def listed() -> list[dict[str, Any]] | None:
    """Return what `nas space list` shows; None where a file has changed since it was listed."""
    return _kept().get("shipped")


def file_of(member: str) -> str | None:
    """Return the file that has a fixed architecture, without its ending; None where unlisted."""
    members: dict[str, str] = _kept().get("members", {})
    return members.get(member)


def _kept() -> dict[str, Any]:
    """Return the list; an empty one where a file has changed since."""
    path = folder() / FILE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept if kept.get("digest") == digest() else {}


def digest() -> str:
    """Return a digest of the files' content."""
    content = hashlib.sha256()
    for path in sorted(folder().glob("*.py")):
        content.update(f"{path.name}\n{path.read_text(encoding='utf-8')}\n".encode())
    return content.hexdigest()[:16]


def check(source: str) -> None:
    """Refuse a space's or a network's name that is unknown, and a file that is not there.

    A name passes where the list does not hold: running the files tells.
    """
    if Path(source).suffix in (".py", ".json"):
        check_file(Path(source))
    elif (shipped := listed()) is not None:
        names = [each["name"] for each in shipped]
        if source not in names:
            raise no_such(source, names)


def check_file(path: Path) -> None:
    """Refuse a space's file that is not there."""
    if not os.path.isfile(path):  # False for a name that is too long, too
        raise SpaceError(f"No file {path}. The shipped spaces: {LISTING}.")


def no_such(source: str, names: Iterable[str]) -> SpaceError:
    """Return the error for a name that is none of these."""
    known = unknown("search space", source, names, listing=LISTING)
    return SpaceError(f"{known} A space's file ends in .py or .json.")
