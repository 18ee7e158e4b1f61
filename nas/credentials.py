"""Credentials in texts and URLs: `hidden` hides them, `check_no_secret` refuses them.

A text that is logged, stored or shown goes through `hidden` first. A URL of data or checkpoints is
kept in a study's configuration and printed, so it holds no secret: what it takes to open it is in
the environment of the machines that do.
"""

import json
import logging
import re
from collections.abc import Iterable

from nas.errors import UserError

HIDDEN = "***"
# Words in the name of a URL's option whose value is a secret, and such names' last words.
_WORDS = (
    *("pass", "pwd", "secret", "token", "credential", "jwt", "bearer", "signature"),
    *("key(?!w)", r"auth(?!ors?\b)"),  # a keyword and an author are none
)
_LAST_WORDS = ("sig", "sign", "sas")
SECRET_NAME = re.compile(
    rf"{'|'.join(_WORDS)}|(?:^|[-_.])(?:{'|'.join(_LAST_WORDS)})$", re.IGNORECASE
)


def _coded(word: str) -> str:
    """Return a pattern of a word of which any letter may be percent-encoded, even repeatedly."""
    letters, rest = re.fullmatch(r"(\W|\w+)(.*)", word).groups()  # type: ignore[union-attr]
    codes = (f"{ord(one.lower()):02x}|{ord(one.upper()):02x}" for one in letters)
    pairs = zip(map(re.escape, letters), codes, strict=True)
    return "".join(f"(?:{one}|%(?:25)*(?:{code}))" for one, code in pairs) + rest


_BEGIN, _IS = f"(?:{'|'.join(map(_coded, '?&;#'))})", _coded("=")
_LETTER = rf"(?:(?!{_BEGIN}|{_IS})\S)"
_NAME = (
    rf"(?:{_LETTER}*?(?:{'|'.join(map(_coded, _WORDS))}){_LETTER}*+"
    rf"|(?:{_LETTER}*?[-_.])?(?:{'|'.join(map(_coded, _LAST_WORDS))}))"
)
# Nothing but white space is sure to end a URL or what is left of one: rather too much is hidden.
_BEFORE_HOST = re.compile(r"://[^\s:]*:(?P<secret>\S*)@")
_OPTION = re.compile(  # after an encoded = the value ends where an & is that is encoded alike
    rf"(?:{_BEGIN}{_NAME}|password)\s*(?:=|(?P<coded>%(?P<again>(?:25)*)3d))\s*"
    r"(?P<secret>'(?:\\.|[^'\\])*'|(?(coded)(?:(?!%(?P=again)26)[^\s&@])+|[^\s&]+))",
    re.IGNORECASE,
)
_USER = re.compile(r"://([^/?#]*@|[^/?#]*:.*@)")  # a password may have any character in it


def hidden(text: str, known: Iterable[str] = ()) -> str:
    """Return a text without the credentials that its URLs have, and without those that are known.

    URLs' passwords stand before a host (`//user:password@host`) or in an option (`?password=`,
    `&key=`, `%26sig%3D`, libpq's `password=`). Known ones are hidden however they are written.
    """
    patterns = (_BEFORE_HOST, _OPTION, *(_spelled(secret) for secret in known if secret))
    spans = sorted(match.span("secret") for pattern in patterns for match in pattern.finditer(text))
    shown, end = [], 0
    for begin, stop in spans:
        if begin >= end:
            shown += [text[end:begin], HIDDEN]
        end = max(end, stop)
    return "".join([*shown, text[end:]])


class _Hiding(logging.Filter):
    """Lets each record pass, with its traceback, without credentials."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = hidden(record.getMessage()), None
        if record.exc_info:
            record.exc_text = hidden(logging.Formatter().formatException(record.exc_info))
        return True


logging.getLogger("nas").addFilter(_Hiding())  # ours, wherever they go: a file, a notebook


def log_to_stderr(form: str) -> None:
    """Log what happens in this process on standard error: all libraries, without credentials."""
    handler = logging.StreamHandler()
    handler.addFilter(_Hiding())
    logging.basicConfig(level=logging.INFO, format=form, handlers=[handler], force=True)


def _spelled(secret: str) -> re.Pattern[str]:
    """Return what finds a secret as it is, percent-encoded, escaped as in JSON, or in part so."""
    characters = ("|".join(map(re.escape, _spellings(letter))) for letter in secret)
    return re.compile(f"(?P<secret>{''.join(f'(?:{spellings})' for spellings in characters)})")


def _spellings(character: str) -> list[str]:
    percent = "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))
    spellings = {character, percent, percent.lower(), json.dumps(character)[1:-1]}
    spellings |= {f"\\{character}"} if character in "'\"\\" else {repr(character)[1:-1]}
    return sorted(spellings | ({"+"} if character == " " else set()), key=len, reverse=True)


def is_url(text: str) -> bool:
    """Tell a URL from a name and from a path."""
    return "://" in text


def check_no_secret(url: str, option: str) -> None:
    """Refuse a URL with a user, a password or a signature in it; the message does not repeat it."""
    if _USER.search(url) or _OPTION.search(url):
        raise UserError(
            f"{option} is kept with the study and shown, so its URL has no user, no password and "
            "no token (an @ of a file's name is written %40): they belong to the environment of "
            "the machines that open it."
        )
