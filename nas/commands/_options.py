"""The options of verbs: a Help beside a parameter's type makes an option of the parameter.

A command line needs no more than the verb's signature; a parameter without Help (a callback) is
Python's alone.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypedDict


@dataclass(frozen=True)
class Help:
    """The text of an option; its flag is the parameter's name unless `flags` are given.

    `default` is the command line's where it differs from the function's; `argument` makes it a word
    without a flag.
    """

    text: str
    flags: tuple[str, ...] = ()
    default: Any = None
    argument: bool = False


def argument(text: str) -> Help:
    """Explain a word that stands on the command line without a flag."""
    return Help(text, argument=True)


Store = Annotated[str | None, Help("Database URL; else NAS_STORE, else sqlite:///studies/nas.db.")]
StudyName = Annotated[str | None, Help("Name; the newest study if left out.")]
Target = Annotated[str | float | None, Help("A number such as 300M.")]
Names = Annotated[list[str], argument("Family members, or architectures' JSON files.")]
SpaceName = Annotated[str, argument("Name, or path of a .py or .json file.")]
Picture = Annotated[str | None, Help("Picture to write, .svg or .png.")]


class Images(TypedDict, total=False):
    """The images and classes that a network is for, where they are not its own."""

    resolution: Annotated[int | None, Help("Image size in pixels.")]
    classes: Annotated[int | None, Help("Number of classes.")]
    in_channels: Annotated[int | None, Help("Channels of the images.")]


def silent(_: object) -> None:
    """Take a line or a snapshot that nobody wants to see."""
