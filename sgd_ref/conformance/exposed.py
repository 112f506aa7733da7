"""What each case of the standard tier exposes: the deviations that diverge in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from sgd_ref.conformance.case import Case

DATA = Path(__file__).with_name("kill_matrix.json")
"""The kill matrix, written by ``kill_matrix.py`` and compared with what it computes by the tests."""


def with_exposed(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return cases that state which deviations they expose.

    Raises
    ------
    ValueError
        If a case exposes none: it would pass whatever is known to be wrong.
    """
    names = _names_by_case()
    for case in cases:
        if case.id not in names:
            raise ValueError(f"case {case.id} exposes no known deviation")
    return tuple(replace(case, exposes=names[case.id]) for case in cases)


@cache
def _names_by_case() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, entry in json.loads(DATA.read_text(encoding="utf-8"))["deviations"].items():
        for case_id in entry["exposing"]:
            found.setdefault(case_id, []).append(name)
    return {case_id: tuple(names) for case_id, names in found.items()}
