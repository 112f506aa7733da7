"""The data about one target for the page of targets, so that it can be run again without the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import GRADES

FORMAT = 1

GROUPS = ("named", "exact", "optimization", "structure")
"""The first words of the ids of cases that are not combinations of the feature axes."""

Data = dict[str, Any]
"""What `to_data` returns; JSON can hold it."""


def to_data(findings: Findings) -> Data:
    """Return the data about one run that the page shows.

    Returns
    -------
    dict
        "target", "rule" and "versions"; "features": by axis and value, and "cases" by group, the number of
        cases of each grade; "contradictions": by name, the number of cases; "unexplained": the number of
        uncontested cases without a known name; "optimizations": by name, whether it is done; "unsupported":
        by reason, the number of cases.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> plain = [case for case in conformance.cases("smoke") if case.id == "axes/plain"]
    >>> data = to_data(Findings(conformance.check(reference.run, plain, "the reference")))
    >>> data["target"], data["features"]["update"]
    ('the reference', {'plain': {'exact': 1}, 'momentum': {}, 'nesterov': {}})
    """
    counts: dict[str, dict[str, int]] = {}
    unsupported: dict[str, int] = {}
    for verdict in findings.report.verdicts.values():
        for axis, value in places(verdict.case):
            place = value if axis == "cases" else f"{axis}/{value}"
            grades = counts.setdefault(place, {})
            grades[verdict.grade] = grades.get(verdict.grade, 0) + 1
        if verdict.grade == "unsupported":
            reason = " ".join(verdict.message.split())
            unsupported[reason] = unsupported.get(reason, 0) + 1
    contradictions = [name for name in findings.found if name in findings.contradictions]
    return {
        "format": FORMAT,
        "target": findings.report.name,
        "rule": str(findings.report.profile.dialect),
        "versions": dict(findings.versions),
        "features": {
            axis: {value: _in_order(counts.get(f"{axis}/{value}", {})) for value in values}
            for axis, values in AXES.items()
        },
        "cases": {group: _in_order(counts.get(group, {})) for group in GROUPS},
        "contradictions": {name: len(findings.cases_of(name)) for name in sorted(contradictions)},
        "unexplained": len(findings.unexplained()),
        "optimizations": dict(findings.report.optimizations),
        "unsupported": dict(sorted(unsupported.items())),
    }


def to_text(data: Data) -> str:
    """Return the data as the text of a file."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Data:
    """Return the data of a target from its file.

    Raises
    ------
    ValueError
        If the file is of another form.
    """
    try:
        data: Data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"it has format {data['format']!r}, and {FORMAT} is read here")
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no data of a target: {problem}") from problem
    return data


def places(case: Case) -> list[tuple[str, str]]:
    """Return the rows that count a case: each axis with its value, or "cases" with the group of its id.

    >>> one = Case("named/one", {"learning_rate": 0.5}, (), (), ())
    >>> places(one)
    [('cases', 'named')]
    """
    return list(case.features.items()) if case.features else [("cases", case.id.split("/")[0])]


def _in_order(grades: Mapping[str, int]) -> dict[str, int]:
    return {grade: grades[grade] for grade in GRADES if grade in grades}
