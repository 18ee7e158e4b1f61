"""URLs that a user gives: what is one, and that none holds a secret.

A URL of data or checkpoints is kept in a study's configuration and printed. What it takes to open
it is in the environment of the machines that do.
"""

import re

from nas.errors import UserError

_USER = re.compile(r"://([^/?#]*@|[^/?#]*:.*@)")  # a password may have any character in it
_SECRET = re.compile(
    r"[?&#](sig|[^=&]*(passw|secret|token|signature|credential|api[_-]?key|access[_-]?key)[^=&]*)=",
    re.IGNORECASE,
)


def is_url(text: str) -> bool:
    """Tell a URL from a name and from a path."""
    return "://" in text


def check_no_secret(url: str, option: str) -> None:
    """Refuse a URL with a user, a password or a signature in it; the message does not repeat it."""
    if _USER.search(url) or _SECRET.search(url):
        raise UserError(
            f"{option} is kept with the study and shown, so its URL has no user, no password and "
            "no token (an @ of a file's name is written %40): they belong to the environment of "
            "the machines that open it."
        )
