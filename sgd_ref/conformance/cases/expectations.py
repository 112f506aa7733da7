"""What each case of the standard tier exposes: the deviations that diverge in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sgd_ref.conformance import published
from sgd_ref.conformance.cases.case import Case

DATA = published.folder() / "audit" / "kill_matrix.json"
"""The kill matrix, written by ``kill_matrix.py`` and compared with what it computes by the tests."""


@dataclass(frozen=True)
class Entry:
    """What the matrix says of one deviation or faithful variant; see ``kill_matrix.Outcome``."""

    is_rejected: bool
    exposing: tuple[str, ...]
    rounding: tuple[str, ...]
    noticing: Mapping[str, int]


@cache
def read() -> Mapping[str, Mapping[str, Entry]]:
    """Return the matrix: "deviations" and "faithful", each by name."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    ids = content["cases"]

    def entry(row: dict[str, Any]) -> Entry:
        exposing, rounding = (tuple(ids[index] for index in row[key]) for key in ("exposing", "rounding"))
        return Entry(row["is_rejected"], exposing, rounding, row["noticing"])

    return {
        part: {name: entry(row) for name, row in content[part].items()} for part in ("deviations", "faithful")
    }


def with_exposed(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return cases that state which deviations they expose.

    Raises
    ------
    ValueError
        If a case exposes none: it would pass whatever is known to be wrong.
    """
    names: dict[str, list[str]] = {case.id: [] for case in cases}
    for name, entry in read()["deviations"].items():
        for case_id in entry.exposing:
            if case_id in names:
                names[case_id].append(name)
    for case_id, exposed in names.items():
        if not exposed:
            raise ValueError(f"case {case_id} exposes no known deviation")
    return tuple(replace(case, exposes=tuple(names[case.id])) for case in cases)


def cover(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return few cases that together expose all that these cases do, each next one exposing most of the rest.

    Of those that expose equally many, the smaller one comes first.
    """
    left = {name for case in cases for name in case.exposes}
    chosen = []
    while left:
        best = max(cases, key=lambda case: (len(left.intersection(case.exposes)), -_size(case)))
        chosen.append(best)
        left -= set(best.exposes)
    order = {case.id: index for index, case in enumerate(cases)}
    return tuple(sorted(chosen, key=lambda case: order[case.id]))


def _size(case: Case) -> int:
    return sum(variable.size for variable in case.variables) * len(case.gradients)
