"""The static pages that CI builds: what they are made of is there, and a broken link is found."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sgd_ref.conformance.deviations import DEVIATIONS

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
        '<a href="https://github.com/x/y/issues/1">not asked</a><a href="inner/none.html">no</a>'
        '<a href="https://gihtub.com/x">no</a><a href="http://github.com/x">no</a>'
        '<img src="none.svg"><a href="https://example.org/r/blob/main/sgd_ref/rule.py#L3">yes</a>'
        '<a href="https://example.org/r/blob/main/sgd_ref/none.py">no</a>'
    )
    found = list(loaded("links").broken(tmp_path, "https://example.org/r"))
    assert found == [
        "a.html: inner/none.html",
        "a.html: https://gihtub.com/x",
        "a.html: http://github.com/x",
        "a.html: none.svg",
        "a.html: https://example.org/r/blob/main/sgd_ref/none.py",
        "inner/index.html: ../a.html#no",
    ]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://github.com/a/b/blob/main/c.py#L1-L2", True),
        ("https://github.com/a/b/issues?q=is%3Aopen", True),
        ("https://github.com.example.org/a", False),
        ("https://someone@github.com/a", False),
        ("https://github.com:8080/a", False),
        ("https://github.com/a//b", False),
        ("https://github.com/a b", False),
        ("https://github.com/a>", False),
        ("//github.com/a", False),
        ("mailto:a@github.com", False),
    ],
)
def test_addresses_have_a_form_and_a_known_host(link: str, expected: bool) -> None:
    assert loaded("links").is_address(link) == expected


def test_each_address_is_asked_once_and_those_that_decline_to_tell_are_left(tmp_path: Path) -> None:
    statuses = {"https://github.com/there": 200, "https://github.com/gone": 404, "https://onnx.ai/bots": 403}
    links = [*statuses, "https://github.com/there#anchor", "other.html", "https://github.com/me/blob/main/x"]
    (tmp_path / "a.html").write_text("".join(f'<a href="{link}">a</a>' for link in links))
    asked: list[str] = []

    def ask(link: str) -> int:
        asked.append(link)
        return statuses[link]

    assert list(loaded("links").gone(tmp_path, "https://github.com/me", ask)) == [
        "https://github.com/gone: 404"
    ]
    assert sorted(asked) == sorted(statuses)


def test_what_the_documents_say_leads_to_known_hosts() -> None:
    links = loaded("links")
    texts = [path.read_text(encoding="utf-8") for path in ROOT.rglob("*.md") if ".venv" not in str(path)]
    addresses = {link for text in texts for link in re.findall(r"\]\((https?://[^)\s]+)\)", text)}
    assert addresses
    assert [link for link in sorted(addresses) if not links.is_address(link)] == []


def test_each_known_deviation_leads_to_a_known_host() -> None:
    links = loaded("links")
    addresses = [known.address for known in DEVIATIONS.values() if known.address]
    assert addresses
    assert [link for link in addresses if not links.is_address(link)] == []


def test_captions_of_the_contents_have_a_level() -> None:
    context = {"furo_navigation_tree": '<p class="caption" role="heading"><span>The kit</span></p>'}
    loaded("conf").with_levels(App, "README", "page.html", context, None)
    assert context["furo_navigation_tree"].startswith('<p class="caption" role="heading" aria-level="2">')
    empty: dict[str, Any] = {}
    loaded("conf").with_levels(App, "genindex", "genindex.html", empty, None)
    assert empty["furo_navigation_tree"] == ""


def test_the_page_of_targets_leads_to_their_report() -> None:
    conf, source = loaded("conf"), ["# Targets\n\ntext"]
    conf.with_contents(App, conf.TARGETS, source)
    assert source[0].startswith("# Targets\n\n<p>All of this")
    assert 'href="../../reports/targets.html"' in source[0]
    assert '"$pages/reports/targets.html"' in (FOLDER / "build").read_text(encoding="utf-8")
    assert rewritten("# Golden data\n\ntext") == "# Golden data\n\ntext"


def test_what_scrolls_is_reached_by_a_script_that_is_there() -> None:
    conf = loaded("conf")
    (folder,), ((script, options),) = conf.html_static_path, conf.html_js_files
    assert "defer" in options
    assert (FOLDER / folder / script).is_file()
