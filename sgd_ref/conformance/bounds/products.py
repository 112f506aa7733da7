"""Products in any order: an array times factors, divided by divisors, each rounded or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.bounds.choices import (
    Choices,
    all_parts,
    joined,
    mask_of,
    masks,
    parts_with_the_first,
)
from sgd_ref.conformance.bounds.enclosure import Enclosure, hull

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
    if not items:
        return values
    count = len(items)
    multipliers = _multipliers_of(items, len(factors))
    products = Choices(count, (values, *items))
    products.put([0], [values])
    for size in range(1, count + 1):
        chosen, parts, rests = masks(count, size, all_parts)
        products.put_hulls(chosen, products.at(rests) * multipliers.at(parts))
    return products.of_all()


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


def _multipliers_of(items: tuple[Enclosure, ...], factors: int) -> Choices:
    """Return the common factor of each choice of items; what was computed for the same bits is used again."""
    arrays = [array for item in items for array in (item.lower, item.upper, item.nan)]
    # The bytes of a fraction are an address.
    if any(array.dtype == object for array in arrays):
        return _multipliers(items, factors)
    kinds = tuple((item.arithmetic.dtype.str, item.arithmetic.flushes) for item in items)
    bits = tuple((array.shape, array.dtype.str, array.tobytes()) for array in arrays)
    return _kept(_Items(items, factors, (factors, kinds, bits)))


@lru_cache(MOST_KEPT)
def _kept(given: _Items) -> Choices:
    return _multipliers(given.items, given.factors)


def _multipliers(items: tuple[Enclosure, ...], factors: int) -> Choices:
    """Return the common factor of each choice, from those of smaller choices."""
    count = len(items)
    multipliers, dividers = Choices(count, items), Choices(count, items)
    multipliers.put(
        (1 << position for position in range(count)),
        (*items[:factors], *(1 / divisor for divisor in items[factors:])),
    )
    dividers.put((1 << position for position in range(factors, count)), items[factors:])
    for size in range(2, count + 1):
        chosen, parts, rests = masks(count, size, parts_with_the_first)
        multipliers.put_hulls(chosen, multipliers.at(parts) * multipliers.at(rests))
        dividing = _divisions(count, factors, size)
        if dividing.chosen.size:
            ways = joined(
                dividers.at(dividing.first) * dividers.at(dividing.second),
                dividers.at(dividing.divided) / multipliers.at(dividing.by),
            )
            for mask, places in zip(dividing.chosen, dividing.places, strict=True):
                dividers.put_hulls(np.array([mask]), ways[places])
            reciprocals = 1 / dividers.at(dividing.chosen)
            joint = hull(multipliers.at(dividing.chosen), reciprocals)
            multipliers.put(dividing.chosen, (joint[index] for index in range(len(dividing.chosen))))
    return multipliers


class _Divisions(NamedTuple):
    """How the common divisors of the choices of one size are formed from those of smaller choices.

    A divisor is the product of two, `first` times `second`, or one that a factor divides, `divided` over
    `by`. For each of the `chosen`, `places` are those of its ways among all products and then all quotients.
    """

    chosen: Array
    first: Array
    second: Array
    divided: Array
    by: Array
    places: tuple[Array, ...]


@lru_cache
def _divisions(count: int, factors: int, size: int) -> _Divisions:
    divisors = mask_of(tuple(range(factors, count)))
    chosen, parts, rests = masks(count, size, all_parts)
    products: list[tuple[int, int]] = []
    quotients: list[tuple[int, int]] = []
    ways: list[list[tuple[bool, int]]] = []
    kept: list[int] = []
    for index in np.flatnonzero(chosen & divisors).tolist():
        kept.append(int(chosen[index]))
        ways.append([])
        # The last part is the whole choice.
        for part, rest in zip(parts[:-1, index].tolist(), rests[:-1, index].tolist(), strict=True):
            if part & divisors:
                found = products if rest & divisors else quotients
                ways[-1].append((found is quotients, len(found)))
                found.append((part, rest))
    first, second = np.array(products, np.intp).reshape(-1, 2).T
    divided, by = np.array(quotients, np.intp).reshape(-1, 2).T
    places = tuple(
        np.array([index + is_quotient * len(products) for is_quotient, index in one]) for one in ways
    )
    return _Divisions(np.array(kept, np.intp), first, second, divided, by, places)
