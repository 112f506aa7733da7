"""The kill matrix as data: which case exposes which deviation, as the audit of the kit found it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sgd_ref.conformance import data_folder

DATA = data_folder.folder() / "audit" / "kill_matrix.json"


@dataclass(frozen=True)
class Outcome:
    """The judge's results for one implementation over the standard tier.

    Attributes
    ----------
    name : str
        Of a deviation or of a faithful variant.
    is_rejected : bool
        Whether it diverges or fails in any case, also if its state may be wider than reported.
    exposing : tuple of str
        Ids of the cases in which it diverges or fails.
    rounding : tuple of str
        Ids of the cases in which its bits differ, but faithfully.
    noticing : dict of str to int
        For each judge with a tolerance, the number of cases in which that one rejects it.
    """

    name: str
    is_rejected: bool
    exposing: tuple[str, ...]
    rounding: tuple[str, ...]
    noticing: Mapping[str, int]


@cache
def read() -> Mapping[str, Mapping[str, Outcome]]:
    """Return the matrix: "deviations" and "faithful", each by name."""
    content = _content()
    ids = content["cases"]

    def outcome(name: str, row: dict[str, Any]) -> Outcome:
        exposing, rounding = (tuple(ids[index] for index in row[key]) for key in ("exposing", "rounding"))
        return Outcome(name, row["is_rejected"], exposing, rounding, row["noticing"])

    return {
        part: {name: outcome(name, row) for name, row in content[part].items()}
        for part in ("deviations", "faithful")
    }


@cache
def exposed_by_case() -> Mapping[str, tuple[str, ...]]:
    """Return for the id of each case that the audit has seen the deviations that it exposes."""
    names: dict[str, list[str]] = {case_id: [] for case_id in _content()["cases"]}
    for name, found in read()["deviations"].items():
        for case_id in found.exposing:
            names[case_id].append(name)
    return {case_id: tuple(exposed) for case_id, exposed in names.items()}


def to_text(case_ids: Sequence[str], deviations: Sequence[Outcome], faithful: Sequence[Outcome]) -> str:
    """Return the data file: the cases, and for each name their positions."""
    position = {case_id: index for index, case_id in enumerate(case_ids)}

    def entry(found: Outcome) -> str:
        content = {
            "is_rejected": found.is_rejected,
            "exposing": [position[case_id] for case_id in found.exposing],
            "rounding": [position[case_id] for case_id in found.rounding],
            "noticing": dict(found.noticing),
        }
        return f"  {json.dumps(found.name)}: {json.dumps(content, separators=(',', ':'))}"

    parts = [f' "cases": {json.dumps(list(position), indent=2)}']
    for name, all_found in (("deviations", deviations), ("faithful", faithful)):
        parts.append(f' "{name}": {{\n' + ",\n".join(entry(found) for found in all_found) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def forget() -> None:
    """Let the data be read anew, after they were written."""
    for cached in (read, exposed_by_case, _content):
        cached.cache_clear()


@cache
def _content() -> Any:
    return json.loads(DATA.read_text(encoding="utf-8"))
