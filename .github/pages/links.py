"""Checks the links of built pages: ``python .github/pages/links.py FOLDER [REPOSITORY]``.

Each link within the folder leads to a file and, with an anchor, to an element of that name. Each link to a
file of the repository leads to one that is there. Other addresses are not asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
MADE_BY_SCRIPTS = {"", "top"}
"""Anchors that browsers have by themselves."""


class Page(HTMLParser):
    """The links of a page and the names of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what leads somewhere, and where something leads."""
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            if name == "id" or (tag == "a" and name == "name"):
                self.names.add(value or "")


def broken(folder: Path, repository: str = "") -> Iterator[str]:
    """Yield each link of the pages in a folder that leads nowhere, with its page."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        for link in page.links:
            if not _leads_somewhere(link, path, pages, repository):
                yield f"{path.relative_to(folder)}: {link}"


def _leads_somewhere(link: str, path: Path, pages: dict[Path, Page], repository: str) -> bool:
    if repository and link.startswith((f"{repository}/blob/main/", f"{repository}/tree/main/")):
        return (ROOT / unquote(urlsplit(link).path).split("/main/", 1)[1]).exists()
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if parts.fragment in MADE_BY_SCRIPTS or target not in pages:
        return target.is_file()
    return unquote(parts.fragment) in pages[target].names


if __name__ == "__main__":
    found = list(broken(Path(sys.argv[1]).resolve(), *sys.argv[2:]))
    print(*found, sep="\n")
    print(f"{len(found)} broken links")
    sys.exit(bool(found))
