"""An entry of a trajectory: a case, the answer of the reference, and the bounds of other right answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.records import RECORD_NUMBERS
from sgd_ref.conformance.golden.content.bounds import (
    RecordBounds,
    bounds_from_json,
    bounds_of,
    bounds_to_json,
)
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.protocol.arrays import with_one_nan
from sgd_ref.conformance.protocol.digest import Digest, digested
from sgd_ref.conformance.protocol.encoding import (
    Json,
    case_from_json,
    case_to_json,
    trajectory_from_json,
    trajectory_to_json,
)
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS

DECIMAL = "decimal"
KERAS = "keras"
"""The rule of an entry that names none."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One case of the golden data.

    Attributes
    ----------
    case : Case
        The input of an optimizer.
    expected : list of dict
        The trajectory of the reference, whole or as it is stored; see ``abridging.py``.
    bounds : list of dict or None
        For each record, the values that any faithful evaluation may give; None if only the expected bits are
        allowed. See ``bounds.py``.
    contested : tuple of str
        The open questions that the case depends on.
    provenance : dict
        What wrote it, from which version of the definition, and the seed of its numbers.
    rule : str
        The rule that an implementation whose answer was recorded is held to, as ``Dialect.read`` reads it.
    """

    case: Case
    expected: list[Record]
    bounds: list[RecordBounds] | None
    contested: tuple[str, ...]
    provenance: dict[str, str]
    rule: str = KERAS


def made(case: Case, source: str) -> Entry:
    """Return the entry of a case.

    Parameters
    ----------
    case : Case
        It is run by the reference.
    source : str
        The module that makes the case. The numbers of a case are seeded by its id.
    """
    expected = reference.run(case)
    if case.made is not None:
        # Nothing is rounded in a big case.
        return Entry(case, digested(expected), None, contested(case), provenance(source, case.id))
    return Entry(case, expected, bounds_of(case, expected), contested(case), provenance(source, case.id))


def entry_to_json(entry: Entry, with_decimals: bool = False) -> Json:
    """Return an entry as an object of JSON, with its hash, and with decimals for human readers if asked."""
    expected = [trajectory_to_json([_with_one_nan(record)])[0] if record else {} for record in entry.expected]
    if with_decimals:
        for array, record in zip(expected, entry.expected, strict=True):
            _add_decimals(array, record)
    return hashed(
        {
            "case": case_to_json(entry.case),
            "expected": expected,
            "bounds": bounds_to_json(entry.bounds, entry.expected),
            "contested": list(entry.contested),
            "provenance": entry.provenance,
            **({} if entry.rule == KERAS else {"rule": entry.rule}),
        }
    )


def entry_from_json(document: Any) -> Entry:
    """Return the entry that `entry_to_json` wrote.

    Raises
    ------
    TypeError
        If a part of `document` has the wrong type.
    ValueError
        If keys are missing or unknown, or a part of `document` has a value that is not accepted.
    """
    keys = {"case", "expected", "bounds", "contested", "provenance", "sha256"}
    if not isinstance(document, dict) or set(document) - {"rule"} != keys:
        raise ValueError(f"the keys of an entry must be {sorted(keys)}, and there may be a rule")
    expected = [
        trajectory_from_json([_without_decimals(record)])[0] if record else {}
        for record in document["expected"]
    ]
    return Entry(
        case_from_json(document["case"]),
        expected,
        bounds_from_json(document["bounds"], expected),
        tuple(document["contested"]),
        dict(document["provenance"]),
        document.get("rule", KERAS),
    )


def decimals(array: Array) -> str:
    """Return the shortest decimals that round to the same numbers, one space between two of them.

    >>> decimals(np.array([0.1, -0.0, np.inf], "float32"))
    '0.1 -0.0 inf'
    """
    return " ".join(_decimal(number) for number in np.asarray(array).reshape(-1))


def _decimal(number: Any) -> str:
    if number.dtype != BFLOAT16:
        # NumPy writes the shortest decimals, but some of them without a point.
        return repr(float(str(number)))
    wide = float(number)
    for digits in range(1, 5):
        text = f"{wide:.{digits}g}"
        if np.array_equal(convert(np.array(float(text), FLOAT64), BFLOAT16), number, equal_nan=True):
            return repr(float(text))
    return repr(wide)


def _with_one_nan(record: Record) -> Record:
    """Return a record as it is on any processor."""
    plain = dict(record)
    for quantity in LISTS:
        if quantity in plain:
            plain[quantity] = [
                part if isinstance(part, Digest) else with_one_nan(part) for part in plain[quantity]
            ]
    return plain | {name: with_one_nan(plain[name]) for name in RECORD_NUMBERS if name in plain}


def _add_decimals(document: Json, record: Record) -> None:
    for array, values in _arrays(document, record):
        array[DECIMAL] = decimals(values)


def _arrays(document: Json, record: Record) -> Iterator[tuple[Json, Array]]:
    for quantity in LISTS:
        yield from zip(document.get(quantity, ()), record.get(quantity, ()), strict=True)
    for quantity in RECORD_NUMBERS:
        if quantity in record:
            yield document[quantity], np.asarray(record[quantity])


def _without_decimals(record: Json) -> Json:
    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(array) for array in part]
        return {key: value for key, value in part.items() if key != DECIMAL}

    return {key: part if isinstance(part, int) else plain(part) for key, part in record.items()}
