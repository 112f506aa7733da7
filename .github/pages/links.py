"""Checks the links of built pages: ``python .github/pages/links.py FOLDER [REPOSITORY] [--online]``.

Each link within the folder leads to a file and, with an anchor, to an element of that name. Each link to a
file of the repository leads to one that is there. Any other address has the form of one, and its host is
among `HOSTS`, so that a slip in it is noticed without a network. With ``--online`` each is also asked.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
MADE_BY_SCRIPTS = {"", "top"}
"""Anchors that browsers have by themselves."""

HOSTS = {
    "cs231n.github.io",
    "distributed.dask.org",
    "docs.jax.dev",
    "docs.pytest.org",
    "docs.pytorch.org",
    "docs.tinygrad.org",
    "download.pytorch.org",
    "github.com",
    "huggingface.co",
    "img.shields.io",
    "json-schema.org",
    "keepachangelog.com",
    "ml-explore.github.io",
    "onnx.ai",
    "optax.readthedocs.io",
    "proceedings.mlr.press",
    "pytorch-optimizers.readthedocs.io",
    "semver.org",
    "shields.io",
    "www.paddlepaddle.org.cn",
    "www.tensorflow.org",
}
"""Where the pages may lead. A host is added with the first link to it."""

IN_AN_ADDRESS = re.compile(r"[\w.~:/?#\[\]@!$&'*+,;=%-]*", re.ASCII)
NO_ANSWER_FOR_PROGRAMS = {403, 405, 429}
"""Statuses by which a host declines to tell whether the page is there."""
SECONDS = 20


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


def read(folder: Path) -> dict[Path, Page]:
    """Return the pages of a folder."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def broken(folder: Path, repository: str = "") -> Iterator[str]:
    """Yield each link of the pages in a folder that leads nowhere, with its page."""
    pages = read(folder)
    for path, page in pages.items():
        for link in page.links:
            if not _leads_somewhere(link, path, pages, repository):
                yield f"{path.relative_to(folder)}: {link}"


def _leads_somewhere(link: str, path: Path, pages: dict[Path, Page], repository: str) -> bool:
    if repository and link.startswith((f"{repository}/blob/main/", f"{repository}/tree/main/")):
        return (ROOT / unquote(urlsplit(link).path).split("/main/", 1)[1]).exists()
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return is_address(link)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if parts.fragment in MADE_BY_SCRIPTS or target not in pages:
        return target.is_file()
    return unquote(parts.fragment) in pages[target].names


def is_address(link: str) -> bool:
    """Whether a link has the form of an address of the web, at a known host.

    >>> is_address("https://github.com/a/b/issues/1"), is_address("https://gihtub.com/a/b/issues/1")
    (True, False)
    >>> is_address("http://github.com/a"), is_address("https://github.com/a b"), is_address("https://github.com//a")
    (False, False, False)
    """
    parts = urlsplit(link)
    has_form = IN_AN_ADDRESS.fullmatch(link) is not None and "//" not in parts.path
    return parts.scheme == "https" and parts.netloc in HOSTS and has_form


def gone(folder: Path, repository: str, ask: Callable[[str], int]) -> Iterator[str]:
    """Yield each address outside of the folder and the repository at which there is nothing.

    Parameters
    ----------
    folder : Path
        Of the pages.
    repository : str
        Its address. What leads there is known without asking.
    ask : callable
        From an address to the status of the answer.
    """
    links = {link.partition("#")[0] for page in read(folder).values() for link in page.links}
    for link in sorted(link for link in links if urlsplit(link).scheme == "https"):
        if repository and link.startswith(repository):
            continue
        status = ask(link)
        if status >= HTTPStatus.BAD_REQUEST and status not in NO_ANSWER_FOR_PROGRAMS:
            yield f"{link}: {status}"


def status_of(address: str) -> int:
    """Return the status with which an address answers; 599 where nothing answers."""
    try:
        # Only addresses with https come here.
        request = Request(address, headers={"User-Agent": "sgd-ref links"})  # noqa: S310
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as refusal:
        return refusal.code
    except (URLError, TimeoutError, ConnectionError):
        return 599


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check the links of built pages.")
    parser.add_argument("folder", type=Path, help="where the pages are")
    parser.add_argument("repository", nargs="?", default="", help="the address of the repository")
    parser.add_argument("--online", action="store_true", help="also ask each address outside of the pages")
    options = parser.parse_args()
    found = list(broken(options.folder.resolve(), options.repository))
    if options.online:
        found += gone(options.folder.resolve(), options.repository, status_of)
    print(*found, sep="\n")
    print(f"{len(found)} broken links")
    sys.exit(bool(found))
