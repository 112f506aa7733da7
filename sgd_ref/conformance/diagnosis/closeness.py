"""Whether a deviation explains an observed trajectory except for rounding.

An implementation with a mistake also rounds in its own way, and so it seldom has the very bits of the
mistake. No bound is derived around a deviation: this is a diagnosis and decides no grade.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, SCALARS, equal_bits

UNITS = 16.0
"""The largest error by roundings of a whole trajectory, in units in the last place.

The units are those of the largest number that an array had on its way: an error made while a number is large
stays when the number becomes small."""

SHARE = 1 / 32
"""The share of a difference that roundings may make where the difference is large."""

NEARER = 0.75
"""The share of the largest difference from the reference that may be left, if both are small."""


def leaves_rounding_only(
    expected: Trajectory, wrong: Trajectory, observed: Trajectory, is_rounding: bool = False
) -> bool:
    """Whether an observed trajectory is near that of a deviation, and nearer to it than to the reference.

    Parameters
    ----------
    expected, wrong, observed : trajectory
        Of the reference, of the deviation, and of the implementation; of one form.
    is_rounding : bool, default False
        Whether the deviation itself only rounds differently; then it is enough to be near.

    Examples
    --------
    >>> def weights(value):
    ...     return [{"variables": [np.array([value, 3.0], "f4")]}]
    >>> leaves_rounding_only(weights(1.0), weights(2.0), weights(2.0000002))
    True
    >>> leaves_rounding_only(weights(1.0), weights(2.0), weights(1.5))
    False
    """
    before, left = 0.0, 0.0
    largest: dict[Place, float] = {}
    for place, want, explained, got in _arrays(expected, wrong, observed):
        # A digest tells equal bits from others, and nothing of how near these are.
        if isinstance(got, Digest):
            return False
        largest[place] = max(largest.get(place, 0.0), _largest(want, explained, got))
        distances = _distances(want, explained, got, largest[place])
        if distances is None or distances[1] > max(UNITS, SHARE * distances[0]):
            return False
        before, left = max(before, distances[0]), max(left, distances[1])
    return bool(left == 0 or is_rounding or left <= NEARER * before)


Place = tuple[str, int]
"""A quantity and the index of a variable."""


def _arrays(
    expected: Trajectory, wrong: Trajectory, observed: Trajectory
) -> Iterator[tuple[Place, Any, Any, Any]]:
    for want, explained, got in zip(expected, wrong, observed, strict=True):
        for quantity in (*COUNTERS, *SCALARS):
            if None not in (explained.get(quantity), got.get(quantity)):
                yield (quantity, 0), want[quantity], explained[quantity], got[quantity]
        for quantity in LISTS:
            if want.get(quantity) and got.get(quantity):
                arrays = zip(want[quantity], explained[quantity], got[quantity], strict=True)
                yield from (((quantity, index), *three) for index, three in enumerate(arrays))


def _largest(*arrays: Any) -> float:
    """Return the largest finite number of several arrays."""
    wide = [_wide(array) for array in arrays]
    return float(max(np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in wide))


def _distances(want: Any, explained: Any, got: Any, largest: float) -> tuple[float, float] | None:
    """Return how far an array is from the reference and from a deviation, in units of the largest number.

    None where numbers that are not finite, or integers, differ from those of the deviation.
    """
    dtype = np.asarray(want).dtype
    expected, wrong, observed = (_wide(array) for array in (want, explained, got))
    finite = np.isfinite(wrong) & np.isfinite(observed)
    if not np.array_equal(wrong[~finite], observed[~finite], equal_nan=True):
        return None
    if dtype.kind in "iu" and (wrong != observed).any():
        return None
    usual = finite & np.isfinite(expected)
    unit = (largest or 1.0) * 2.0 ** -FORMATS[dtype if dtype in FORMATS else FLOAT32].precision
    before = float(np.abs(observed[usual] - expected[usual]).max(initial=0.0)) / unit
    left = float(np.abs(observed[finite] - wrong[finite]).max(initial=0.0)) / unit
    is_other = ~usual & ~equal_bits(expected, observed)
    return (math.inf if is_other.any() else before), left


def _wide(array: Any) -> Array:
    values = np.asarray(array)
    if values.dtype.kind in "iu":
        return values.astype(FLOAT64)
    with np.errstate(all="ignore"):
        return convert(values, FLOAT64)
