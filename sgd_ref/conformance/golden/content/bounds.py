"""Stored bounds: all values that a faithful evaluation of a whole trajectory may give, from its start.

With these bounds, a consumer needs no judge. They are free-running, that is, no call goes on from a reported
state, and they are the hull over all readings of the settings. So they are wider than the bounds of the
judge, which go step by step and under one reading at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.bounds.enclosure import Enclosure, hull
from sgd_ref.conformance.bounds.rate import Rates
from sgd_ref.conformance.bounds.settings import readings
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.bounds.walk import Slot, Walk
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.protocol.arrays import array_from_json, result_to_json
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories.comparison import LISTS, equal_bits, same_bits

RATE = "learning_rate"


@dataclass(frozen=True, eq=False)
class Bound:
    """The values that each element of an array may have, besides the expected bits.

    Attributes
    ----------
    lower, upper : ndarray
        The ends, both included, of the dtype and shape of the array. An interval that holds one zero holds
        both. NaN where no number is allowed.
    nan : ndarray of bool
        Where NaN is allowed.
    """

    lower: Array
    upper: Array
    nan: Array

    def holds(self, observed: Array) -> Array:
        """Return where an array is allowed."""
        with np.errstate(invalid="ignore"):
            inside = (self.lower <= observed) & (observed <= self.upper)
            return np.where(np.isnan(observed), self.nan, inside)


RecordBounds = dict[str, Any]
"""For each quantity of a record that has arrays, one Bound or None for each array; for "learning_rate" one.
None where only the expected bits are allowed."""


def bounds_of(case: Case, expected: Trajectory) -> list[RecordBounds] | None:
    """Return the bounds of each record of the trajectory of the reference; None if only its bits are allowed.

    A computed zero always has a bound, since it may have either sign.

    Raises
    ------
    ArithmeticError
        If the reference is outside of its own bounds.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> len(bounds_of(case, reference.run(case))) == len(case.gradients)
    True
    """
    # Reported state narrows the possible values afterwards, and here nothing may narrow them.
    observed = [{"variables": record["variables"]} for record in expected]
    walks = [_Following(case, expected, observed, reading) for reading in readings(case)]
    for walk in walks:
        walk.follow()
    records = []
    rates = _RateBounds(case)
    calls = 0 if case.state is None else case.state.calls
    for call, record in enumerate(expected):
        bounds: RecordBounds = {
            quantity: [
                _bound([walk.possible[call][quantity][position] for walk in walks], array)
                for position, array in enumerate(record[quantity])
            ]
            for quantity in LISTS
        }
        bounds[RATE] = rates.bound(call, calls, record[RATE]) if RATE in record else None
        calls = record["calls"]
        records.append(bounds)
    first = first_outside(expected, records, expected)
    if first is not None:
        raise ArithmeticError(f"the reference is outside of its own bounds in {case.id}: {first}")
    if all(bound is None for bounds in records for bound in _flat(bounds)):
        return None
    return records


def first_outside(
    expected: Trajectory, bounds: Sequence[RecordBounds] | None, observed: Trajectory
) -> tuple[int, str, int, tuple[int, ...]] | None:
    """Return the first place where a trajectory is neither expected nor allowed.

    Quantities that a record leaves out are not compared. Counters and the loss scale are always exact.

    Returns
    -------
    tuple or None
        Call, quantity, position of the variable (0 for a scalar), and element; of a digest, no element.
    """
    for call, (wanted, given) in enumerate(zip(expected, observed, strict=True)):
        for quantity, value in wanted.items():
            if given.get(quantity) is None or value is None:
                continue
            of_record = None if bounds is None else bounds[call].get(quantity)
            if quantity in LISTS:
                pairs = list(zip(value, given[quantity], of_record or [None] * len(value), strict=False))
            else:
                pairs = [(_scalar(value), _scalar(given[quantity]), of_record)]
            for position, (want, got, bound) in enumerate(pairs):
                if isinstance(want, Digest):
                    if not same_bits(want, got):
                        return call, quantity, position, ()
                    continue
                places = np.argwhere(~allowed(want, bound, np.asarray(got)))
                if len(places):
                    return call, quantity, position, tuple(int(index) for index in places[0])
    return None


def allowed(expected: Array, bound: Bound | None, observed: Array) -> Array:
    """Return where an array has the expected bits, or is within its bound.

    >>> allowed(np.array([0.0, 1.0]), None, np.array([-0.0, 1.0]))
    array([False,  True])
    """
    same = equal_bits(expected, observed) if expected.dtype.kind != "i" else expected == observed
    return np.asarray(same if bound is None else same | bound.holds(observed))


def bounds_to_json(bounds: Sequence[RecordBounds] | None, expected: Trajectory) -> list[Json] | None:
    """Return the bounds of a trajectory as objects of JSON.

    For each end, the leading digits that equal those of the expected pattern are left out, but at least the
    last digit is written.
    """
    if bounds is None:
        return None
    return [
        {
            quantity: [
                _bound_to_json(bound, array)
                for bound, array in zip(part[quantity], record.get(quantity, ()), strict=True)
            ]
            for quantity in LISTS
        }
        | {RATE: _bound_to_json(part[RATE], _scalar(record.get(RATE, 0.0)))}
        if record
        else {}
        for part, record in zip(bounds, expected, strict=True)
    ]


def bounds_from_json(document: Any, expected: Trajectory) -> list[RecordBounds] | None:
    """Return the bounds that `bounds_to_json` wrote.

    Raises
    ------
    ValueError
        If they do not fit what is expected.
    """
    if document is None:
        return None
    if len(document) != len(expected):
        raise ValueError(f"bounds must have {len(expected)} records, got {len(document)}")
    records: list[RecordBounds] = []
    for part, record in zip(document, expected, strict=True):
        if not record and not part:
            # Both are left out.
            records.append({})
            continue
        if set(part) != {*LISTS, RATE}:
            raise ValueError(f"the keys of bounds must be {[*LISTS, RATE]}, got {sorted(part)}")
        bounds: RecordBounds = {}
        for quantity in LISTS:
            arrays = record.get(quantity, ())
            if len(part[quantity]) != len(arrays):
                raise ValueError(f"bounds of {quantity} must have one part for each array")
            pairs = zip(part[quantity], arrays, strict=True)
            bounds[quantity] = [_bound_from_json(bound, array) for bound, array in pairs]
        bounds[RATE] = _bound_from_json(part[RATE], _scalar(record.get(RATE, 0.0)))
        records.append(bounds)
    return records


class _Following(Walk):
    """A walk along the reference itself that notes all possible values after each call."""

    def __init__(self, case: Case, expected: Trajectory, observed: Trajectory, reading: Any) -> None:
        super().__init__(case, expected, observed, reading, is_state_hidden=True, everywhere=True)
        self.possible: list[dict[str, list[Slot]]] = []

    def follow(self) -> None:
        """Walk to the end, also past what this reading does not give: the hull is over all readings."""
        with np.errstate(all="ignore"):
            for _ in self._violations():
                pass
            self._note()
        del self.possible[0]

    def _scalars(self, call: int, wanted: Record, given: Record) -> Iterator[Violation]:
        # This comes first in every call, so that the state is still that after the call before.
        self._note()
        return super()._scalars(call, wanted, given)

    def _note(self) -> None:
        self.possible.append(
            {
                quantity: [slot.stored() if isinstance(slot, Enclosure) else slot for slot in slots]
                for quantity, slots in self._slots.items()
            }
        )


class _RateBounds(Rates):
    """The bounds of the learning rates of one case."""

    def bound(self, call: int, calls: int, documented: Any) -> Bound | None:
        """Return the float32 values that a rate may have; None for the documented one alone."""
        if self._units == 0:
            return None
        ends = np.array([*self._single(documented), *self._double(call, calls), documented], FLOAT64)
        lower, upper = convert(ends.min(), FLOAT32)[()], convert(ends.max(), FLOAT32)[()]
        if lower == upper:
            return None
        return Bound(np.asarray(lower), np.asarray(upper), np.zeros((), bool))


def _bound(slots: Sequence[Slot], expected: Array) -> Bound | None:
    """Return the hull of the bounds of several readings; None where only the expected bits are allowed."""
    enclosures = [slot for slot in slots if isinstance(slot, Enclosure)]
    if not enclosures:
        return None
    joined = hull(*enclosures)
    lower, upper = (
        convert(np.asarray(end, FLOAT64), expected.dtype).reshape(expected.shape)
        for end in (joined.lower, joined.upper)
    )
    empty = np.asarray(joined.lower > joined.upper, bool).reshape(expected.shape)
    nan = np.asarray(joined.nan, bool).reshape(expected.shape)
    with np.errstate(invalid="ignore"):
        # An exact zero may have either sign, and so is no point.
        point = np.where(empty, nan, (lower == upper) & (lower != 0) & ~nan)
    if point.all():
        return None
    lower, upper = (np.where(empty, np.array(np.nan, expected.dtype), end) for end in (lower, upper))
    return Bound(lower, upper, nan)


def _flat(bounds: RecordBounds) -> Iterator[Bound | None]:
    for quantity in LISTS:
        yield from bounds[quantity]
    yield bounds[RATE]


def _scalar(value: Any) -> Array:
    """Return a counter, or a rate or a scale as the float32 that it is rounded to."""
    with np.errstate(over="ignore"):
        array = np.asarray(value)
        return array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(FLOAT32)


def _bound_to_json(bound: Bound | None, expected: Array) -> Json | None:
    if bound is None:
        return None
    wanted = result_to_json(expected)["bits"].split()

    def shortened(end: Array) -> str:
        return " ".join(map(_differing, result_to_json(end)["bits"].split(), wanted))

    return {
        "lower": shortened(bound.lower),
        "upper": shortened(bound.upper),
        "nan": np.flatnonzero(bound.nan).tolist(),
    }


def _differing(pattern: str, wanted: str) -> str:
    """Return the digits of a pattern from the first one on that differs, and at least the last one.

    >>> _differing("3f800001", "3f800010"), _differing("3f80", "3f80")
    ('01', '0')
    """
    places = range(len(pattern) - 1)
    return pattern[next((i for i in places if pattern[i] != wanted[i]), len(places)) :]


def _bound_from_json(document: Any, expected: Array) -> Bound | None:
    if document is None:
        return None
    form = result_to_json(expected)
    wanted = form["bits"].split()

    def end(key: str) -> Array:
        digits = document[key].split()
        if len(digits) != len(wanted):
            raise ValueError(f"{key} must have {len(wanted)} patterns, got {len(digits)}")
        patterns = [of[: len(of) - len(last)] + last for of, last in zip(wanted, digits, strict=True)]
        return array_from_json({**form, "bits": " ".join(patterns)}, key)

    nan = np.zeros(expected.size, bool)
    nan[document["nan"]] = True
    return Bound(end("lower"), end("upper"), nan.reshape(expected.shape))
