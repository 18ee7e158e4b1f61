"""HTML and SVG as text in which no name can be more than a name: all text is escaped.

A page has no template: elements are made by `element`, which escapes every child that is not
`Markup` already, and every attribute. Only the functions of this file make `Markup`.
"""

import json
from html import escape
from typing import Any

# Elements without children.
CLOSED = {"br", "circle", "col", "img", "input", "line", "link", "meta", "path", "rect"}


class Markup(str):
    """Text that is HTML or SVG; all other text is escaped where it becomes a part of a page."""

    __slots__ = ()


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element; a child or an attribute that is None is left out, True is a bare one.

    An attribute's name may end in _, and other underscores are dashes: `class_`, `aria_label`.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{escape(str(value))}"')
    inside = joined(*children)
    end = "/>" if tag in CLOSED else f">{inside}</{tag}>"
    return Markup(f"<{' '.join(words)}{end}")


def joined(*children: object) -> Markup:
    """Return children side by side, escaped unless they are `Markup`."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: object) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def data(identity: str, value: Any) -> Markup:
    """Return plain data for a script of the page; no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return element("script", Markup(text), type="application/json", id=identity)


def own(text: str) -> Markup:
    """Take our own style or script, a file of this package, as it is."""
    return Markup(text)
