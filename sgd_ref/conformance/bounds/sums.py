"""Sums in any order: every tree of additions over some terms, each sum rounded or not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.bounds.choices import Choices, halves, masks
from sgd_ref.conformance.bounds.enclosure import Enclosure, with_numbers

MOST_TERMS_IN_ALL_ORDERS = 6


def sum_in_any_order(terms: Sequence[Enclosure]) -> Enclosure:
    """Return the possible sums in any order of addition: every tree over the terms.

    Up to 6 terms each partial sum is enclosed; beyond that the error is at most (n - 1) u times the sum
    of the magnitudes, in any order, without terms of higher order.

    Source: C.-P. Jeannerod and S. M. Rump, Improved error bounds for inner products in floating-point
    arithmetic, SIAM Journal on Matrix Analysis and Applications 34 (2013).

    Examples
    --------
    >>> from sgd_ref.conformance.bounds.enclosure import arithmetic_of
    >>> single = arithmetic_of(np.dtype("f4"))
    >>> total = sum_in_any_order([single.point(1), single.point(2.0**-24), single.point(2.0**-24)]).stored()
    >>> total.lower.tolist(), total.upper.tolist()
    ([1.0], [1.0000001192092896])
    """
    count = len(terms)
    if count > MOST_TERMS_IN_ALL_ORDERS:
        return _sum_of_many(terms)
    if count <= 2:
        return reduce(Enclosure.__add__, terms)
    partial = Choices(count, terms)
    partial.put((1 << position for position in range(count)), terms)
    for size in range(2, count + 1):
        chosen, parts, rests = masks(count, size, halves)
        partial.put_hulls(chosen, partial.at(parts) + partial.at(rests))
    return partial.of_all()


def _sum_of_many(terms: Sequence[Enclosure]) -> Enclosure:
    arithmetic = terms[0].arithmetic
    ends = arithmetic.endpoints
    lower, upper, magnitude = (
        reduce(lambda x, y: ends.add(x, y)[0], (term.lower for term in terms)),
        reduce(lambda x, y: ends.add(x, y)[1], (term.upper for term in terms)),
        reduce(lambda x, y: ends.add(x, y)[1], (np.maximum(np.abs(t.lower), np.abs(t.upper)) for t in terms)),
    )
    unit = ends.point(np.array((len(terms) - 1) * 2.0 ** -FORMATS[arithmetic.dtype].precision))
    error = ends.multiply(magnitude, unit)[1]
    nan = reduce(np.logical_or, (term.nan for term in terms)) | np.asarray(magnitude == np.inf, bool)
    return arithmetic.operation(
        with_numbers(ends.add(lower, -error)[0], -np.inf),
        with_numbers(ends.add(upper, error)[1], np.inf),
        nan,
    )
