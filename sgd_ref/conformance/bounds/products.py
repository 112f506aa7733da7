"""Products in any order: an array times factors, divided by divisors, each rounded or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from sgd_ref.conformance.bounds.enclosure import Enclosure, hull

Choice = tuple[int, ...]
"""The positions of some factors and divisors."""

MOST_KEPT = 512
"""The number of lists of factors whose common factors are kept; the variables of a call share theirs."""


def product_in_any_order(
    values: Enclosure, factors: Sequence[Enclosure], divisors: Sequence[Enclosure] = ()
) -> Enclosure:
    """Return the possible products in any order.

    Either a divisor divides or its reciprocal multiplies. Several divisors may be multiplied first, or a
    divisor may be divided by a factor: ``x * f / d`` may be ``x / (d / f)``. The product with a reciprocal
    encloses the quotient, because the reciprocal need not be rounded.

    Examples
    --------
    >>> import numpy as np
    >>> from sgd_ref.conformance.bounds.enclosure import arithmetic_of
    >>> single = arithmetic_of(np.dtype("f4"))
    >>> third = product_in_any_order(single.point(1), [single.point(7)], [single.point(21)]).stored()
    >>> third.lower, third.upper
    (array([0.33333334]), array([0.33333334]))
    """
    items = (*factors, *divisors)
    multipliers = _multipliers_of(items, len(factors))
    products: dict[Choice, Enclosure] = {(): values}
    for size in range(1, len(items) + 1):
        for chosen in combinations(range(len(items)), size):
            products[chosen] = hull(
                *(
                    products[tuple(index for index in chosen if index not in part)] * multipliers[part]
                    for part_size in range(1, size + 1)
                    for part in combinations(chosen, part_size)
                )
            )
    return products[tuple(range(len(items)))]


@dataclass(frozen=True, eq=False)
class _Items:
    """Factors and divisors, of which two with the same bits are equal."""

    items: tuple[Enclosure, ...]
    factors: int
    key: tuple[object, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Items) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _multipliers_of(items: tuple[Enclosure, ...], factors: int) -> dict[Choice, Enclosure]:
    """Return the common factor of each choice of items; what was computed for the same bits is used again."""
    arrays = [array for item in items for array in (item.lower, item.upper, item.nan)]
    # The bytes of a fraction are an address.
    if any(array.dtype == object for array in arrays):
        return _multipliers(items, factors)
    kinds = tuple((item.arithmetic.dtype.str, item.arithmetic.flushes) for item in items)
    bits = tuple((array.shape, array.dtype.str, array.tobytes()) for array in arrays)
    return _kept(_Items(items, factors, (factors, kinds, bits)))


@lru_cache(MOST_KEPT)
def _kept(given: _Items) -> dict[Choice, Enclosure]:
    return _multipliers(given.items, given.factors)


def _multipliers(items: tuple[Enclosure, ...], factors: int) -> dict[Choice, Enclosure]:
    multipliers: dict[Choice, Enclosure] = {}
    dividers: dict[Choice, Enclosure] = {}
    for size in range(1, len(items) + 1):
        for chosen in combinations(range(len(items)), size):
            if size > 1:
                _join(chosen, multipliers, dividers)
            elif chosen[0] < factors:
                multipliers[chosen] = items[chosen[0]]
            else:
                dividers[chosen] = items[chosen[0]]
                multipliers[chosen] = 1 / items[chosen[0]]
    return multipliers


def _join(chosen: Choice, multipliers: dict[Choice, Enclosure], dividers: dict[Choice, Enclosure]) -> None:
    """Compute the common factor and divisor of the chosen items, from those of smaller choices."""
    multiplying, dividing = [], []
    for part_size in range(1, len(chosen)):
        for part in combinations(chosen, part_size):
            rest = tuple(index for index in chosen if index not in part)
            if part[0] == chosen[0]:
                multiplying.append(multipliers[part] * multipliers[rest])
            if part in dividers:
                dividing.append(
                    dividers[part] * dividers[rest]
                    if rest in dividers
                    else dividers[part] / multipliers[rest]
                )
    if dividing:
        dividers[chosen] = hull(*dividing)
        multiplying.append(1 / dividers[chosen])
    multipliers[chosen] = hull(*multiplying)
