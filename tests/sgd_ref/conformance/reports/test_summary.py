"""A report in short: at most thirty lines, whatever is in it, and the badge says how it went."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.reports.files import to_json
from sgd_ref.conformance.reports.summary import MOST_LINES, runs_of, to_badge, to_markdown
from sgd_ref.conformance.targets.running import named_together

MISTAKE, WHERE = "scale-never-grows", "first/dynamic-loss-scale"


def mine(case: Case) -> Trajectory:
    if case.id == "first/cosine":
        raise conformance.Unsupported("no cosine")
    if case.id == "first/plain":
        raise RuntimeError("a | b\n<script>`x`")
    return replayed(case, [MISTAKE])


def runs(**changes: Any) -> list[Any]:
    report = conformance.check(mine, conformance.cases("first"), "mine")
    return runs_of(to_json([replace(named_together(report), **changes)]))


def invented(name: str, grade: str = "exact", names: tuple[str, ...] = (), expected: bool = True) -> Any:
    verdict = {"case": "axes/plain", "grade": grade, "names": list(names), "violation": "call 0"}
    return {"name": name, "as_expected": expected, "unproven_claims": [], "verdicts": [verdict]}


def test_what_went_wrong_is_on_the_page() -> None:
    page = to_markdown(runs(), "[more](https://example.org)")
    lines = page.splitlines()
    assert lines[0] == "### SGD: NOT as expected"
    assert f"| `mine` | NOT as expected | {len(conformance.cases('first')) - 3} | 0 | 1 | 1 | 1 |" in lines
    (row,) = (line for line in lines if MISTAKE in line)
    assert row.startswith(f"| `{MISTAKE}` | 1 | `{WHERE}` | call 1, growth_counter: 2, where 0 is")
    assert "| error: RuntimeError: a &#124; b &lt;script&gt;'x' | 1 | `first/plain` |  |" in lines
    assert lines[-1] == "[more](https://example.org)"


def test_a_mistake_links_to_its_evidence() -> None:
    page = to_markdown([invented("mine", "diverges", ("rate-outside-velocity", "ascends"), expected=False)])
    assert "[`rate-outside-velocity`](https://github.com/" in page
    assert " with `ascends` | 1 |" in page


def test_the_page_never_has_more_lines() -> None:
    many = [invented(f"run {i}", "diverges", (f"name-{i}-{j}",), False) for i in range(40) for j in range(3)]
    many.append(invented("right"))
    many[0]["unproven_claims"] = [["dtype", "float16"]]
    lines = to_markdown(many, "last").splitlines()
    assert len(lines) == MOST_LINES
    assert "Claimed, but never graded: dtype float16" in lines
    assert any(line.startswith("| and 113 more |") for line in lines)
    named = sum(line.startswith("| `name-") for line in lines)
    assert f"| and {120 - named} more | | | |" in lines
    # The longest that needs no line about others.
    fitting = [invented("mine", "diverges", (f"name-{j}",), False) for j in range(MOST_LINES)]
    assert "more" not in to_markdown(fitting[:8])


@pytest.mark.parametrize(
    ("given", "message", "color"),
    [
        (
            [invented("a"), invented("b", "rounding"), invented("c", "unsupported")],
            "2 of 2 cases",
            "brightgreen",
        ),
        ([invented("a"), invented("b", "diverges", ("ascends",))], "1 of 2 cases", "yellow"),
        ([invented("a"), invented("b", "diverges", ("ascends",), False)], "1 of 2 cases", "red"),
        ([invented("a", expected=False)], "1 of 1 cases", "red"),
        ([], "0 of 0 cases", "red"),
    ],
)
def test_the_badge_says_how_it_went(given: list[Any], message: str, color: str) -> None:
    expected = {"schemaVersion": 1, "label": "SGD", "message": message, "color": color}
    assert json.loads(to_badge(given)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"runs": [{}]}',
        '{"runs": 3}',
        '{"runs": [{"name": 3}]}',
        json.dumps({"runs": [invented("a", grade="good")]}),
    ],
)
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is no report of sgd-ref"):
        runs_of(text)
