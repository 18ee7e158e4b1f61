"""How much of a file that somebody gives is read: one policy for all files, local and fetched.

`NAS_LIMITS` changes it, such as NAS_LIMITS=pixels=200M,total_bytes=100G.
"""

import os
from dataclasses import dataclass, field, fields
from typing import Any

from nas import quantities
from nas.errors import UserError, unknown

VARIABLE = "NAS_LIMITS"


def _limit(default: int, words: str) -> Any:
    return field(default=default, metadata={"words": words})


@dataclass(frozen=True)
class InputLimits:
    """The most that is read; the words of a field say of what."""

    total_bytes: int = _limit(32 * 2**30, "bytes of a download, and all that an archive unpacks to")
    array_bytes: int = _limit(16 * 2**30, "bytes of one array of an .npz file")
    image_bytes: int = _limit(2**27, "bytes of one image file")
    pixels: int = _limit(36_000_000, "pixels of one image")
    members: int = _limit(250_000, "members of an archive, or rows of a table")
    header_bytes: int = _limit(2**20, "bytes of a header of an archive, names included")
    text_bytes: int = _limit(2**23, "bytes of a JSON, TOML or CSV file")
    depth: int = _limit(64, "lists and objects inside each other in JSON or TOML")
    digits: int = _limit(30, "digits of a whole number in JSON or TOML")

    def check(self, name: str, value: int, where: str, error: type[UserError] = UserError) -> None:
        """Refuse a value over the limit of this name; `where` it is begins the message."""
        limit = getattr(self, name)
        if value > limit:
            raise error(
                f"{where}: {value:,} {words()[name]}, over the limit of {limit:,}. "
                f"{VARIABLE}={name}={value} allows it."
            )


def words() -> dict[str, str]:
    """Return what each limit counts."""
    return {each.name: each.metadata["words"] for each in fields(InputLimits)}


def limits() -> InputLimits:
    """Return the limits with the changes of the environment; raises UserError for a mistake."""
    given = {}
    for part in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, text = part.partition("=")
        if name.strip() not in words():
            raise UserError(f"{VARIABLE}: {unknown('limit', name.strip(), words())}")
        given[name.strip()] = quantities.count(text, f"{VARIABLE}, {name.strip()}")
    return InputLimits(**given)
