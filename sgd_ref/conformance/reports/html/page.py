"""The page: the results of each target for each feature, and every divergence with its plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from sgd_ref.base.installing import how_to_install, project_url
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import GRADES
from sgd_ref.conformance.reports.html.content import RIGHT, Content, Divergence, Key, Run
from sgd_ref.conformance.reports.html.kept import content_of_kept, kept_targets
from sgd_ref.conformance.reports.html.live import content_of_runs
from sgd_ref.conformance.reports.html.plot import HEIGHT, WIDTH
from sgd_ref.conformance.reports.target_data import GROUPS

EXTRA = "report"
"""The extra that has the template engine."""

WORST = ("error", "diverges", RIGHT, "rounding", "exact", "unsupported")
"""The grades; in a cell for several cases, the first of their grades in this order is shown."""


def check_installed() -> None:
    """Check that the template engine is there.

    Raises
    ------
    ValueError
        If it is not.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as problem:
        raise ValueError(f"the page needs Jinja: {how_to_install(EXTRA)}") from problem


def to_html(all_findings: Sequence[Findings]) -> str:
    """Return the report on some runs as one HTML page, which loads nothing."""
    return render(content_of_runs(all_findings))


def kept_to_html() -> str:
    """Return the report on all targets of which a ledger is kept, as one HTML page; nothing is run for it.

    Raises
    ------
    ValueError
        If a file of what is kept is malformed.
    """
    return render(content_of_kept(kept_targets()))


def render(content: Content) -> str:
    """Return the page with some content."""
    import jinja2

    folder = files(__package__)

    def text(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["count_of"] = _count
    rows = list(_rows(content))
    return environment.from_string(text("page.html.jinja")).render(
        style=text("style.css"),
        script=text("script.js"),
        url=project_url(),
        is_kept=content.is_kept,
        runs=content.runs,
        rows=rows,
        articles=[(one, _positions(one, rows)) for one in content.divergences],
        names=list(_names(content)),
        cases=list(_cases(content)),
        grades=[grade for grade in (RIGHT, *GRADES) if grade != RIGHT or content.is_kept],
        width=WIDTH,
        height=HEIGHT,
    )


def _count(run: Run, grade: str) -> str:
    """Return how many cases have a grade; a dash where it is not known."""
    if grade == RIGHT:
        return str(sum(run.counts.get(one, 0) for one in (RIGHT, "exact", "rounding")))
    is_known = RIGHT not in run.counts or grade not in ("exact", "rounding")
    return str(run.counts.get(grade, 0)) if is_known else "–"  # noqa: RUF001 - a dash in a table


def _rows(content: Content) -> Iterator[dict[str, Any]]:
    """Yield a row for each value of each axis and for each group of cases, with a cell for each run."""
    others = [key for run in content.runs for key in run.features if key[0] == "cases"]
    groups = dict.fromkeys([*GROUPS, *(group for _, group in others)])
    for axis, values in {**AXES, "cases": groups}.items():
        is_first = True
        for value in values:
            key = (axis, value)
            cells = [_cell(run.features.get(key, {})) for run in content.runs]
            if any(cell["worst"] for cell in cells):
                name = f"{value} cases" if axis == "cases" else " ".join(key)
                yield {"key": key, "name": name.replace("_", " "), "is_first": is_first, "cells": cells}
                is_first = False


def _cell(counts: Mapping[str, int]) -> dict[str, Any]:
    present = {grade: counts[grade] for grade in (RIGHT, *GRADES) if counts.get(grade)}
    return {
        "worst": next((grade for grade in WORST if grade in present), ""),
        "right": sum(present.get(grade, 0) for grade in (RIGHT, "exact", "rounding")),
        "graded": sum(count for grade, count in present.items() if grade != "unsupported"),
        "words": ", ".join(f"{count} {grade}" for grade, count in present.items()),
    }


def _positions(one: Divergence, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the positions of the rows that count a divergence, as words."""
    keys: frozenset[Key] = one.features
    return " ".join(str(position) for position, row in enumerate(rows) if row["key"] in keys)


def _names(content: Content) -> Iterator[dict[str, Any]]:
    """Yield each name that explains anything, with what it means."""
    for name in dict.fromkeys(name for one in content.divergences for name in one.names):
        known = DEVIATIONS.get(name)
        yield {
            "name": name,
            "summary": "A failure." if known is None else known.summary,
            "address": "" if known is None else known.address,
            "evidence": content.evidence.get(name, ()),
            "since": content.since.get(name, ()),
            "count": sum(name in one.names for one in content.divergences),
        }


def _cases(content: Content) -> Iterator[tuple[str, list[str]]]:
    """Yield each case with its grade in each run; empty where it was not run."""
    for case_id in dict.fromkeys(case_id for run in content.runs for case_id in run.cases):
        yield case_id, [run.cases.get(case_id, "") for run in content.runs]
