"""The page of sgd_ref/conformance/reports/html: what is on it, and that it loads nothing."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports.html.page import check_installed, to_html
from sgd_ref.conformance.targets.running import named_together
from sgd_ref.conformance.trajectories import reference

EVIL = "<script>alert('&')</script>"

CASES = conformance.cases("smoke")[:12]


def mine(case: Case) -> Trajectory:
    if case.id == CASES[0].id:
        raise RuntimeError(EVIL)
    return replayed(case, ["ascends"])


@pytest.fixture(scope="module")
def findings() -> list[Findings]:
    return [
        named_together(conformance.check(mine, CASES, EVIL)),
        named_together(conformance.check(reference.run, CASES, "the reference")),
    ]


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.found.append((tag, dict(attrs)))

    def having(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page(findings: list[Findings]) -> Elements:
    return Elements(to_html(findings))


def test_every_divergence_is_there_with_its_plot(page: Elements, findings: list[Findings]) -> None:
    articles = page.having("article")
    mismatches = list(findings[0].mismatches())
    assert re.findall(r"<h3>(.*?)</h3>", to_html(findings)) == [verdict.case.id for verdict in mismatches]
    assert len(articles) == len(mismatches)
    assert {article["data-run"] for article in articles} == {"0"}
    diverging = sum(verdict.grade == "diverges" for verdict in mismatches)
    assert diverging > 3
    assert len(page.having("svg")) == diverging
    assert all("data-unexpected" in article for article in articles)


def test_the_filter_of_a_feature_finds_what_its_cell_counts(page: Elements, findings: list[Findings]) -> None:
    buttons = [button for button in page.having("button") if "data-feature" in button]
    options = page.having("option")
    articles = page.having("article")
    assert buttons
    for button in buttons:
        assert any(option.get("value") == button["data-feature"] for option in options)
        shown = [one for one in articles if button["data-feature"] in (one["data-features"] or "").split()]
        words = str(button["title"])
        counted = sum(
            int(part.split()[0]) for part in words.split(", ") if part.split()[1] in ("diverges", "error")
        )
        assert len(shown) == counted, words


def test_nothing_is_loaded(page: Elements) -> None:
    for _, attributes in page.found:
        assert attributes.keys() & {"src", "srcset", "data", "action", "onclick", "onload"} == set()
    assert page.having("link") == []
    (policy,) = [meta["content"] for meta in page.having("meta") if "http-equiv" in meta]
    assert str(policy).startswith("default-src 'none';")


def test_links_within_the_page_lead_somewhere(page: Elements) -> None:
    ids = {attributes["id"] for _, attributes in page.found if "id" in attributes}
    links = {str(link["href"]) for link in page.having("a") if str(link["href"]).startswith("#")}
    assert "#name-ascends" in links
    assert {link[1:] for link in links} <= ids
    named = [attributes["aria-labelledby"] for _, attributes in page.found if "aria-labelledby" in attributes]
    assert set(named) <= ids


def test_what_an_implementation_says_is_no_markup(page: Elements, findings: list[Findings]) -> None:
    assert len(page.having("script")) == 1
    text = to_html(findings)
    assert EVIL not in text
    assert "&lt;script&gt;" in text


def test_without_anything_wrong_there_are_no_filters(findings: list[Findings]) -> None:
    page = Elements(to_html(findings[1:]))
    assert page.having("article") == page.having("form") == []


def test_without_the_engine_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ValueError, match=r"the page needs Jinja: pip install"):
        check_installed()


SIZES = [(1280, 900, "light"), (320, 640, "dark")]


@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_in_a_browser(
    browser: Any, findings: list[Findings], tmp_path: Path, width: int, height: int, scheme: Any
) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(findings), encoding="utf-8")
    shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    complaints: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(file.as_uri())
    count = shown.locator("article").count()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # With the keyboard alone: a cell, which chooses its feature, and then all of it again.
    shown.locator("td button").last.focus()
    shown.keyboard.press("Enter")
    chosen = shown.locator("article:visible").count()
    assert 0 < chosen < count
    assert shown.locator("#shown").inner_text() == f"{chosen} shown"
    assert shown.evaluate("document.activeElement.name") == "feature"
    shown.locator("form button").press("Enter")
    shown.wait_for_function(f"document.getElementById('shown').textContent === '{count} shown'")
    shown.fill("input[name=case]", "no such case")
    assert shown.locator("article:visible").count() == 0
    assert complaints == []
    assert requests == [file.as_uri()]


@pytest.mark.parametrize(("width", "height", "scheme"), SIZES)
def test_it_is_accessible(
    browser: Any,
    check_accessibility: Any,
    findings: list[Findings],
    tmp_path: Path,
    width: int,
    height: int,
    scheme: Any,
) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(findings), encoding="utf-8")
    shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    shown.goto(file.as_uri())
    check_accessibility(shown)
