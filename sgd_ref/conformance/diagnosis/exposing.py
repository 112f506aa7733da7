"""The cases in which each known deviation shows, from the kill matrix."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations.mistakes import STRUCTURAL


@cache
def cases_that_expose(name: str) -> frozenset[str]:
    """Return the ids of the standard cases in which a deviation is rejected, possibly none.

    >>> "named/exclusion-is-a-substring" in cases_that_expose("exclusion-by-pattern")
    True
    """
    return _matrix().get(name, frozenset())


def has_other_bits(name: str, case: Case) -> bool:
    """Whether a deviation alone may give other bits than the reference in a case.

    False only for a standard case in which the kill matrix shows the same bits.

    >>> from sgd_ref import conformance
    >>> plain = conformance.cases("smoke")[0]
    >>> has_other_bits("ascends", plain), has_other_bits("clip-adds-epsilon", plain)
    (True, False)
    """
    # A changed case may have kept its id, and big cases were run for structural deviations only.
    is_on_record = name in _matrix() and (case.made is None or name in STRUCTURAL)
    # Most cases of users are told by their ids alone, without making all standard cases.
    if not is_on_record or case.id not in _recorded() or case is not _uncontested().get(case.id):
        return True
    return case.id in _matrix()[name] or case.id in _roundings()[name]


@cache
def _recorded() -> frozenset[str]:
    return frozenset(_content()["cases"])


@cache
def _uncontested() -> dict[str, Case]:
    """Return the recorded cases, without those in which other bits may be right under another answer."""
    return {case.id: case for case in cases() if case.id in _recorded() and not contested(case)}


@cache
def _content() -> Any:
    path = data_folder.folder() / "audit" / "kill_matrix.json"
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def _matrix() -> dict[str, frozenset[str]]:
    return _ids("exposing")


@cache
def _roundings() -> dict[str, frozenset[str]]:
    return _ids("rounding")


def _ids(part: str) -> dict[str, frozenset[str]]:
    ids = _content()["cases"]
    return {
        name: frozenset(ids[position] for position in outcome[part])
        for name, outcome in _content()["deviations"].items()
    }
