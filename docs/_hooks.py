"""What the site does to a page before it is built."""

import posixpath
import re

OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page, **_) -> str:  # type: ignore[no-untyped-def]
    """Name a file of the repository that is not of the site, where the page links to it."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        return link[0] if target.startswith("docs/") else f"{link[1]} (`{target}`)"

    return OUTSIDE.sub(named, markdown)
