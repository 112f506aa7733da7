"""The static pages that CI builds: what they are made of is there, and a broken link is found."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github/pages"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() or not (ROOT / "sgd_ref").is_dir(), reason="without the repository there are no pages"
)


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pages_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contents_name_every_page_for_readers_once() -> None:
    conf = loaded("conf")
    named = [page for pages in conf.CONTENTS.values() for page in pages]
    assert len(set(named)) == len(named)
    found = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for pattern in conf.include_patterns
        for path in ROOT.glob(pattern.replace("**.md", "**/*.md"))
    }
    assert found - {conf.root_doc} == set(named)


def test_it_can_be_started() -> None:
    assert os.access(FOLDER / "build", os.X_OK)


class App:
    """What `conf.py` asks of Sphinx."""

    class env:  # noqa: N801 - as in Sphinx
        found_docs = frozenset({"README", "golden/README"})


def rewritten(text: str) -> Any:
    conf, source = loaded("conf"), [text]
    conf.with_contents(App, "golden/README", source)
    return source[0].replace(conf.REPOSITORY, "REPOSITORY")


def test_links_to_sources_lead_to_the_repository() -> None:
    assert rewritten("[a](first.json)") == "[a](REPOSITORY/blob/main/golden/first.json)"
    assert rewritten("[a](consumers/c)") == "[a](REPOSITORY/tree/main/golden/consumers/c)"
    assert rewritten("[a](starters)") == "[a](starters/README.md)"
    for unchanged in ("[a](../README.md#b)", "[a](#b)", "[a](missing.py)", "```\n[a](first.json)\n```"):
        assert rewritten(unchanged) == unchanged


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/index.html").write_text('<h1 id="there">A</h1><a href="../a.html#no">no</a>')
    (tmp_path / "a.html").write_text(
        '<p id="b"><a href="#b">yes</a><a href="#">yes</a><a href="inner/#there">yes</a>'
        '<a href="https://example.org/x">not asked</a><a href="inner/none.html">no</a>'
        '<img src="none.svg"><a href="https://example.org/r/blob/main/sgd_ref/rule.py#L3">yes</a>'
        '<a href="https://example.org/r/blob/main/sgd_ref/none.py">no</a>'
    )
    found = list(loaded("links").broken(tmp_path, "https://example.org/r"))
    assert found == [
        "a.html: inner/none.html",
        "a.html: none.svg",
        "a.html: https://example.org/r/blob/main/sgd_ref/none.py",
        "inner/index.html: ../a.html#no",
    ]
