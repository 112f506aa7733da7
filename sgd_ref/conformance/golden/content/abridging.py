"""The records of a trajectory that are stored, and the state in them, chosen to keep the data small.

A mistake nearly always shows in later records, too. A record that is left out is one without keys, so that
the others keep their places; one without state has no keys for it. A consumer compares what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from sgd_ref.conformance.catalogue.case import Record
from sgd_ref.conformance.golden.content.bounds import RecordBounds
from sgd_ref.conformance.trajectories.comparison import LISTS

STATE = LISTS[1:]
"""Velocities, averages and accumulators."""

SHORT = 12
"""The number of records of the longest run of which every second record is stored."""


def kept_records(count: int) -> list[int]:
    """Return which records of a trajectory are stored.

    For a short run, these are the first three records, the last one, and every second one before the last.
    For a long run, they are the first four, the last two, and those on either side of a power of two.

    >>> kept_records(3), kept_records(10)
    ([0, 1, 2], [0, 1, 2, 3, 5, 7, 9])
    >>> kept_records(67)
    [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 65, 66]
    """
    if count <= SHORT:
        return [record for record in range(count) if record < 3 or (count - 1 - record) % 2 == 0]
    powers = takewhile(lambda power: power < count, (2**exponent for exponent in range(2, 64)))
    near = {record for power in powers for record in (power - 1, power)}
    return sorted({*range(4), *near, count - 2, count - 1})


def abridged(
    expected: Sequence[Record], bounds: Sequence[RecordBounds] | None
) -> tuple[list[Record], list[RecordBounds] | None]:
    """Return the records of a trajectory, and their bounds, as they are stored.

    State is kept in the first and in the last record.

    >>> first, second, last = ({"variables": [], "velocities": [], "calls": call} for call in (1, 2, 3))
    >>> abridged([first, second, last], None)[0][1]
    {'variables': [], 'calls': 2}
    """
    kept = kept_records(len(expected))
    whole = {kept[0], kept[-1]}
    left_out = set(range(len(expected))).difference(kept)

    def part(place: int, record: Record, without_state: Record) -> Record:
        if place in left_out:
            return {}
        return record if place in whole else without_state

    records = [
        part(place, record, {key: value for key, value in record.items() if key not in STATE})
        for place, record in enumerate(expected)
    ]
    if bounds is None:
        return records, None
    nothing: RecordBounds = {quantity: [] for quantity in STATE}
    return records, [part(place, given, given | nothing) for place, given in enumerate(bounds)]
