"""The page: the results of each target for each feature, and every divergence with its plot."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sgd_ref.base.installing import how_to_install, project_url
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.answering import basis_of
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import GRADES, Verdict
from sgd_ref.conformance.reports.html.plot import HEIGHT, WIDTH, Plot, plot
from sgd_ref.conformance.targets.registry import FAMILIES, arguments_of

EXTRA = "report"
"""The extra that has the template engine."""

WORST = ("error", "diverges", "rounding", "exact", "unsupported")
"""The grades, in the order in which one stands for several."""


@dataclass(frozen=True)
class Divergence:
    """One case that diverges or fails.

    Attributes
    ----------
    run : int
        The position of the run.
    case, grade, what : str
        The id of the case, its grade, and the first wrong value or the failure.
    names : tuple of str
        The known mistakes that explain it.
    partly : str
        What explains a part of it, in words.
    is_expected : bool
        Whether it does not count.
    features : frozenset of (str, str)
        The axes with their values; empty for a named case.
    plot : Plot or None
        The element in which it begins.
    reproducer : str
        A command that shows it.
    """

    run: int
    case: str
    grade: str
    what: str
    names: tuple[str, ...]
    partly: str
    is_expected: bool
    features: frozenset[tuple[str, str]]
    plot: Plot | None
    reproducer: str


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
    """Return the report as one HTML page, which loads nothing."""
    import jinja2

    folder = files(__package__)

    def text(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    divergences = [one for run, found in enumerate(all_findings) for one in _divergences(run, found)]
    names = dict.fromkeys(name for one in divergences for name in one.names)
    return environment.from_string(text("page.html.jinja")).render(
        style=text("style.css"),
        script=text("script.js"),
        url=project_url(),
        runs=[_run(findings) for findings in all_findings],
        features=list(_features(all_findings)),
        divergences=divergences,
        mistakes=[DEVIATIONS[name] for name in names if name in DEVIATIONS],
        counts={name: sum(name in one.names for one in divergences) for name in names},
        cases=list(_cases(all_findings)),
        grades=GRADES,
        width=WIDTH,
        height=HEIGHT,
    )


def _run(findings: Findings) -> dict[str, Any]:
    report = findings.report
    return {
        "name": report.name,
        "versions": ", ".join(f"{name} {version}" for name, version in findings.versions.items()),
        "as_expected": findings.as_expected,
        "counts": {grade: report.count(grade) for grade in GRADES},
        "never": report.coverage.in_words,
        "answers": report.answers,
        "unproven": [" ".join(claim) for claim in report.unproven_claims()],
    }


def _features(all_findings: Sequence[Findings]) -> Iterator[dict[str, Any]]:
    """Yield a row for each value of each axis, with a cell for each run."""
    for axis, values in AXES.items():
        for position, value in enumerate(values):
            cells = [
                _cell(
                    [v for v in found.report.verdicts.values() if (v.case.features or {}).get(axis) == value]
                )
                for found in all_findings
            ]
            if any(cell["worst"] for cell in cells):
                yield _row((axis, value), position == 0, cells)
    named = [
        _cell([v for v in found.report.verdicts.values() if not v.case.features]) for found in all_findings
    ]
    yield _row(None, True, named)


def _row(key: tuple[str, str] | None, is_first: bool, cells: list[dict[str, Any]]) -> dict[str, Any]:
    name = "named cases" if key is None else " ".join(key).replace("_", " ")
    return {"key": key, "name": name, "is_first": is_first, "cells": cells}


def _cell(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    counts = {grade: sum(verdict.grade == grade for verdict in verdicts) for grade in GRADES}
    graded = sum(counts[grade] for grade in GRADES if grade != "unsupported")
    return {
        "worst": next((grade for grade in WORST if counts[grade]), ""),
        "right": counts["exact"] + counts["rounding"],
        "graded": graded,
        "words": ", ".join(f"{count} {grade}" for grade, count in counts.items() if count),
    }


def _divergences(run: int, findings: Findings) -> Iterator[Divergence]:
    unexpected = {verdict.case.id for verdict in findings.unexpected()}
    for verdict in findings.mismatches():
        case_id = verdict.case.id
        what = str(verdict.violation) if verdict.violation is not None else ""
        if verdict.message:
            what = "; ".join(filter(None, [what, " ".join(verdict.message.split())]))
        yield Divergence(
            run,
            case_id,
            verdict.grade,
            what,
            tuple(findings.names.get(case_id, ())),
            findings.partly.get(case_id, ""),
            case_id not in unexpected,
            frozenset((verdict.case.features or {}).items()),
            _plot(verdict, verdict.violation),
            reproducer(findings.report.name, case_id),
        )


def _plot(verdict: Verdict, violation: Violation | None) -> Plot | None:
    if violation is None or verdict.trajectory is None or verdict.case.made is not None:
        return None
    expected = basis_of(verdict).run(verdict.case)
    return plot(verdict.case.names, expected, verdict.trajectory, violation)


def reproducer(name: str, case_id: str) -> str:
    """Return the command that shows one case of a run.

    Examples
    --------
    >>> reproducer("keras jax eager", "axes/plain")
    'sgd-ref explain axes/plain keras --backend jax --mode eager'
    >>> reproducer("mine:run", "axes/plain"), reproducer("-- ./sgd", "axes/plain")
    ('sgd-ref explain axes/plain mine:run', 'sgd-ref explain axes/plain -- ./sgd')
    >>> reproducer("test_mine.py::test_sgd", "axes/plain")
    "pytest 'test_mine.py::test_sgd[axes/plain]'"
    """
    if "::" in name:
        if name.endswith("]"):
            return f"pytest {shlex.quote(name.partition('[')[0])} -k {shlex.quote(case_id)}"
        return f"pytest {shlex.quote(f'{name}[{case_id}]')}"
    known = name.partition(" ")[0] in FAMILIES
    return f"sgd-ref explain {case_id} {arguments_of(name) if known else name}"


def _cases(all_findings: Sequence[Findings]) -> Iterator[tuple[str, list[str]]]:
    """Yield each case with its grade in each run; empty where it was not run."""
    ids = dict.fromkeys(case_id for found in all_findings for case_id in found.report.verdicts)
    for case_id in ids:
        verdicts = [found.report.verdicts.get(case_id) for found in all_findings]
        yield case_id, ["" if verdict is None else verdict.grade for verdict in verdicts]
