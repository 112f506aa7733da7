"""In which cases each known deviation shows: what the kill matrix has on record."""

from __future__ import annotations

import json
from functools import cache

from sgd_ref.conformance import data_folder


@cache
def cases_that_expose(name: str) -> frozenset[str]:
    """Return the ids of the standard cases in which a deviation is rejected; none for one that never is.

    >>> "named/exclusion-is-a-substring" in cases_that_expose("exclusion-by-pattern")
    True
    """
    return _matrix().get(name, frozenset())


@cache
def _matrix() -> dict[str, frozenset[str]]:
    path = data_folder.folder() / "audit" / "kill_matrix.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    ids = content["cases"]
    return {
        name: frozenset(ids[position] for position in outcome["exposing"])
        for name, outcome in content["deviations"].items()
    }
