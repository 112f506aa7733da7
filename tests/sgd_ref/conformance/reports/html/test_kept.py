"""The page of what is kept: it says what ledgers and findings say, and nothing that they do not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.reports.html.content import RIGHT, Content, Divergence, Run
from sgd_ref.conformance.reports.html.kept import content_of_kept, kept_targets
from sgd_ref.conformance.reports.html.page import render
from sgd_ref.conformance.targets import ledger
from sgd_ref.conformance.targets.names import file_name

LOOP, SKLEARN, KERAS = "torch loop", "sklearn", "keras jax compiled"
KEPT = data_folder.folder() / "targets"


def copied(folder: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(KEPT / file_name(name), folder / file_name(name))
    return folder


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return content_of_kept(kept_targets(copied(tmp_path_factory.mktemp("kept"), KERAS, LOOP, SKLEARN)))


def run_of(content: Content, name: str) -> Run:
    return next(run for run in content.runs if run.name == name)


def divergences_of(content: Content, name: str) -> list[Divergence]:
    return [one for one in content.divergences if content.runs[one.run].name == name]


def right(counts: Any) -> int:
    return sum(counts.get(grade, 0) for grade in (RIGHT, "exact", "rounding"))


@pytest.mark.parametrize("name", [KERAS, LOOP, SKLEARN])
def test_the_counts_are_those_of_the_ledger(content: Content, name: str) -> None:
    run, listed = run_of(content, name), ledger.read(ledger.path_of(name))
    for grade in ("diverges", "error", "unsupported"):
        ids = {case_id for case_id, one in listed.items() if one.grade == grade}
        assert run.counts.get(grade, 0) == len(ids)
        assert {case_id for case_id, found in run.cases.items() if found == grade} == ids
    assert right(run.counts) == len(run.cases) - len(listed)
    # Each case counts once in each axis, or in its group.
    for axis in ("dtype", "settings"):
        parts = [counts for key, counts in run.features.items() if key[0] in (axis, "cases")]
        assert sum(map(right, parts)) == right(run.counts)
        assert sum(sum(part.values()) for part in parts) == len(run.cases)


def test_the_exact_are_told_from_the_rounding_where_that_is_kept(content: Content) -> None:
    kept = json.loads((KEPT / "sklearn" / "page.json").read_bytes())
    features = run_of(content, SKLEARN).features
    assert features["dtype", "float32"] == kept["features"]["dtype"]["float32"]
    assert features["cases", "exact"] == kept["cases"]["exact"]
    assert RIGHT not in run_of(content, SKLEARN).counts


def test_counts_that_do_not_fit_the_ledger_are_left_out(tmp_path: Path) -> None:
    file = copied(tmp_path, SKLEARN) / "sklearn" / "page.json"
    changed = json.loads(file.read_bytes())
    changed["cases"]["named"]["exact"] -= 1
    file.write_text(json.dumps(changed))
    content = content_of_kept(kept_targets(tmp_path))
    (run,) = content.runs
    assert run.counts[RIGHT] == len(run.cases) - len(ledger.read(ledger.path_of(SKLEARN)))
    assert not {"exact", "rounding"} & set(run.counts)
    assert "exact" in run.features["dtype", "float32"]
    assert RIGHT in run.features["cases", "named"]
    assert any("is left out" in note for note in run.notes)
    row = render(content).partition(">sklearn<")[2].partition("</tr>")[0]
    assert f"<td>{run.counts[RIGHT]}</td><td>–</td><td>–</td>" in row  # noqa: RUF001


@pytest.mark.parametrize("name", [KERAS, LOOP, SKLEARN])
def test_each_divergence_of_the_ledger_is_there(content: Content, name: str) -> None:
    listed = ledger.read(ledger.path_of(name))
    shown = {one.case: one for one in divergences_of(content, name)}
    for case_id, expected in listed.items():
        if expected.grade == "unsupported":
            assert case_id not in shown
        else:
            assert (shown[case_id].grade, shown[case_id].names) == (expected.grade, expected.names)


@pytest.mark.parametrize("name", [KERAS, LOOP, SKLEARN])
def test_each_finding_is_there_with_what_shows_it_again(content: Content, name: str) -> None:
    found = json.loads((KEPT / file_name(name) / "findings.json").read_bytes())["findings"]
    pictures = [picture for one in divergences_of(content, name) for picture in one.pictures]
    assert sorted(picture.name for picture in pictures) == sorted(one["name"] for one in found)
    for picture in pictures:
        assert picture.command.startswith(f"sgd-ref reproduce {name.split(maxsplit=1)[0]} {picture.name}")
        assert picture.what.startswith("call ")


def test_a_plot_has_the_bounds_of_the_judge(content: Content) -> None:
    pictures = [picture for one in divergences_of(content, LOOP) for picture in one.pictures]
    squares = next(picture for picture in pictures if picture.name == "norm-of-rounded-squares")
    assert squares.plot is not None
    assert squares.plot.bounds is not None
    assert squares.what == "call 0, variables of w[0]: 0 is outside of [-0.27734375, -0.22265625]"


def test_what_is_right_by_another_answer_counts_for_nothing(content: Content) -> None:
    shown = {one.case: one for one in divergences_of(content, KERAS)}
    listed = ledger.read(ledger.path_of(KERAS))
    beside = [one for case_id, one in shown.items() if case_id not in listed]
    assert beside
    for one in beside:
        assert one.grade == ""
        assert one.features == frozenset()
        assert "counts as right" in one.message
        (picture,) = one.pictures
        assert picture.plot is not None
        assert picture.plot.bounds is None


def test_links_lead_to_the_plots(content: Content) -> None:
    text = render(content)
    elsewhere = [(one.run, name) for one in content.divergences for name in one.elsewhere]
    assert elsewhere
    for run, name in elsewhere:
        assert f'href="#smallest-{run}-{name}"' in text
        assert text.count(f'id="smallest-{run}-{name}"') == 1


def test_failures_are_explained_by_their_evidence(content: Content) -> None:
    failure = next(one for one in divergences_of(content, KERAS) if one.grade == "error")
    (name,) = failure.names
    entry = render(content).partition(f'<dt id="name-{name}">')[2].partition("</dd>")[0]
    assert content.evidence[name][0].split("`")[0] in entry


def test_a_name_says_since_which_release_it_is_there(content: Content) -> None:
    name = divergences_of(content, KERAS)[0].names[0]
    asked = replace(content, since={name: ["mine: since 1.0, still in 1.2", "other: not in 3.0"]})
    entry = render(asked).partition(f'<dt id="name-{name}">')[2].partition("</dd>")[0]
    assert entry.endswith(" Releases: mine: since 1.0, still in 1.2 · other: not in 3.0.")


def test_nothing_is_said_to_be_expected_and_nothing_to_be_run(content: Content) -> None:
    text = render(content)
    assert "Nothing was run for this page." in text
    assert "(expected)" not in text
    assert 'name="unexpected"' not in text


def test_the_rules_of_all_ledgers_can_be_read() -> None:
    for path in KEPT.glob("*/ledger.json"):
        assert str(Dialect.read(ledger.rule_of(path))) == ledger.rule_of(path)


def test_a_target_without_a_ledger_is_not_there(tmp_path: Path) -> None:
    (copied(tmp_path, LOOP) / "torch-loop" / "ledger.json").unlink()
    assert kept_targets(tmp_path) == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_in_a_browser(browser: Any, content: Content, tmp_path: Path, width: int, scheme: Any) -> None:
    file = tmp_path / "page.html"
    file.write_text(render(content), encoding="utf-8")
    shown = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.check("input[name=plotted]")
    plotted = [one for one in content.divergences if any(picture.plot for picture in one.pictures)]
    assert shown.locator("article:visible").count() == len(plotted)
    # A link into what is filtered away shows it again.
    link = shown.locator("a[href^='#smallest-']").first
    target = str(link.get_attribute("href"))
    shown.fill("input[name=case]", "no such case")
    shown.evaluate(f"location.hash = '{target}'")
    shown.wait_for_selector(target, state="visible")
    assert complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_it_is_accessible(
    browser: Any, check_accessibility: Any, content: Content, tmp_path: Path, width: int, scheme: Any
) -> None:
    file = tmp_path / "page.html"
    file.write_text(render(content), encoding="utf-8")
    shown = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    shown.goto(file.as_uri())
    check_accessibility(shown)
