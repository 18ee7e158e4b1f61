"""Every error `nas` raises on purpose.

NasError
├── UserError            a mistake in the input: one message, exit code 2, nothing written
│   ├── SpaceError       a search space or architecture that breaks a rule
│   ├── DataError        a data set that is absent, empty, unreadable or has the wrong shape
│   ├── StoreError       a database that can't be opened, or a study that means something else
│   │   ├── StoreAway    a database that may be back soon: dropped, restarting, locked, full
│   │   └── NotStored    a study or a trial that is not there; NotFound too
│   ├── NotFound         a search, an upload or a token that is not there, or is another's
│   ├── Conflict         a thing whose state does not allow what is asked
│   ├── QuotaSpent       a token has as many searches or bytes as it may have
│   ├── Untrainable      a network that a recipe's method can't train; a TrialError too
│   ├── UnknownOption    an option or an argument that does not exist; a TypeError too
│   └── ClusterError     a cluster that refuses what it is asked, or a job it does not have
│       └── NoHead       nothing that is a Ray head answers at an address
├── TrialError           ends one trial with a recorded reason, never the search
│   ├── Diverged         the loss became NaN or infinite
│   ├── OutOfMemory      the network and its batch do not fit
│   └── UnreadableImage  an image that was readable when the search began is not any more
├── LostLease            another worker has taken the trial over; this one must let go
├── DiskFull             no space for a checkpoint; the search waits until there is some
└── Interrupted          somebody asked to stop; the work is kept and resumable
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# What readers of damaged data raise, besides errors on purpose.
UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)
FEW = 12  # names that a message lists
LONGEST_WORD, LONGEST = 200, 2_000  # characters of a message: of one without a space, of all
# What a terminal obeys or can't write: control characters, changes of direction, half characters.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Escape the characters that a terminal obeys or can't write, but line ends and tabs.

    A byte of a file's name that is not UTF-8 is written as such: \\xfc.
    """
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(found[0])[1:-1]


def shortened(text: str) -> str:
    """Make a message one that people can read: printable, its long values cut in the middle."""
    text = re.sub(
        rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0], LONGEST_WORD), printable(text)
    )
    return _cut(text, LONGEST)


def _cut(text: str, longest: int) -> str:
    part = longest // 2 - 2
    return text if len(text) <= longest else f"{text[:part]}...{text[-part:]}"


class NasError(Exception):
    """Base of all errors raised on purpose by `nas`; the message is `shortened`."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class UserError(NasError):
    """A user's mistake: the message names the rule, the value and the valid options."""


class SpaceError(UserError):
    """A search space or an architecture breaks a rule; `line` is where in the space's file."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class DataError(UserError):
    """A data set is absent, empty, unreadable or has the wrong shape."""


class StoreError(UserError):
    """A database can't be opened or written, or a study of that name means something else."""


class StoreAway(StoreError):
    """A database does not answer now but may soon: it restarts, is locked, or its disk is full."""


class NotFound(UserError):
    """A search, an upload or a token is not there, or is not the asker's."""


class Conflict(UserError):
    """The state of a search, or an earlier request, does not allow what is asked."""


class QuotaSpent(UserError):
    """A token has as many searches or as many bytes as it may have."""


class NotStored(StoreError, NotFound):
    """A store has no study or no trial of that name or number."""


class UnknownOption(UserError, TypeError):
    """An option or an argument of that name does not exist."""


class ClusterError(UserError):
    """A cluster refuses what it is asked, or does not have a job any more."""


class NoHead(ClusterError):
    """Nothing that is a Ray head answers at an address."""


class TrialError(NasError):
    """One trial can't go on; the message is the recorded reason."""


class Diverged(TrialError):
    """The loss became NaN or infinite."""


class OutOfMemory(TrialError):
    """The network and its batch do not fit into memory."""


class UnreadableImage(TrialError):
    """An image that was readable when the search began is not readable any more."""


class Untrainable(UserError, TrialError):
    """A network that a recipe's method can't train: of a search it ends the trial."""


class LostLease(NasError):
    """Another worker holds this trial now; a write with the old attempt number was refused."""


class DiskFull(NasError):
    """There is no space left for a checkpoint."""


class Interrupted(NasError):
    """Somebody asked to stop; the work so far is kept and resumable."""


def either(words: Iterable[str]) -> str:
    """Write words as a choice: a, b or c."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def unknown(kind: str, name: object, available: Iterable[str], *, listing: str = "") -> str:
    """Say that no such thing exists, with the closest name first and all the valid ones.

    Of more than `FEW` names the three closest stand for all; `listing` is the command that lists
    them. Without such a command the message lists them.
    """
    names = sorted(available)
    many = bool(listing) and len(names) > FEW
    close = get_close_matches(str(name), names, *((3, 0.5) if many else (1,)))
    near = [repr(each) for each in close]
    hint = f" Did you mean {either(near)}?" if near else ""
    every = f"All {len(names)}: {listing}" if many else f"Available: {', '.join(names)}"
    return f"No {kind} named {name!r}.{hint} {every}."
