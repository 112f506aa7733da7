"""Enclosures for each choice among several numbers; those for choices of one size are computed together.

A sum of six terms in any order has several hundred partial sums of few elements each, so that the cost of
each operation is that of its start. One operation on all sums of equal size gives the same ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from itertools import combinations

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.bounds.enclosure import Enclosure

Choice = tuple[int, ...]
"""The positions of some of the numbers."""

Parts = tuple[Choice, ...]
"""Parts of a choice, as positions in the choice."""


class Choices:
    """One enclosure for each choice; a choice is a bit mask of the positions of its numbers.

    Parameters
    ----------
    count : int
        How many numbers there are.
    alike : sequence of Enclosure
        Enclosures with whose shapes and arithmetic those of all choices agree.

    Examples
    --------
    >>> from sgd_ref.conformance.bounds.enclosure import arithmetic_of
    >>> one = arithmetic_of(np.dtype("f4")).point(1)
    >>> choices = Choices(2, [one])
    >>> choices.put([1, 2], [one, one + one])
    >>> choices.at(np.array([[2, 1]])).lower
    array([[[2.],
            [1.]]])
    """

    def __init__(self, count: int, alike: Sequence[Enclosure]) -> None:
        shape = np.broadcast_shapes(*(array.shape for one in alike for array in (one.lower, one.nan)))
        self._arithmetic = alike[0].arithmetic
        self._lower, self._upper = (np.empty((2**count, *shape), alike[0].lower.dtype) for _ in range(2))
        self._nan = np.empty((2**count, *shape), bool)

    def put(self, masks: Iterable[int], enclosures: Iterable[Enclosure]) -> None:
        """Keep one enclosure for each of some choices."""
        for mask, enclosure in zip(masks, enclosures, strict=True):
            self._lower[mask], self._upper[mask] = enclosure.lower, enclosure.upper
            self._nan[mask] = enclosure.nan

    def put_hulls(self, masks: Array, ways: Enclosure) -> None:
        """Keep for each of some choices the hull of the ways to compute it, along the first axis."""
        self._lower[masks] = reduce(np.minimum, ways.lower)
        self._upper[masks] = reduce(np.maximum, ways.upper)
        self._nan[masks] = reduce(np.logical_or, ways.nan)

    def at(self, masks: Array) -> Enclosure:
        """Return the enclosures of some choices, with the axes of `masks` before those of the elements."""
        return Enclosure(self._arithmetic, self._lower[masks], self._upper[masks], self._nan[masks])

    def of_all(self) -> Enclosure:
        """Return the enclosure of the choice of all numbers."""
        return Enclosure(self._arithmetic, self._lower[-1], self._upper[-1], self._nan[-1])


@lru_cache
def masks(count: int, size: int, parts_of: Callable[[int], Parts]) -> tuple[Array, Array, Array]:
    """Return the masks of all choices of a size, of parts of them, and of what is left beside these parts.

    Parameters
    ----------
    count : int
        How many numbers there are.
    size : int
        How many of them are chosen.
    parts_of : callable
        From a size to the parts of a choice of this size.

    Returns
    -------
    ndarray of shape (choices,)
    ndarray of shape (parts, choices)
    ndarray of shape (parts, choices)

    Examples
    --------
    >>> chosen, parts, rests = masks(3, 2, halves)
    >>> chosen, parts, rests
    (array([3, 5, 6]), array([[1, 1, 2]]), array([[2, 4, 4]]))
    """
    choices = list(combinations(range(count), size))
    chosen = np.array([mask_of(choice) for choice in choices])
    parts = np.array(
        [[mask_of(tuple(choice[i] for i in part)) for choice in choices] for part in parts_of(size)]
    )
    return chosen, parts, chosen - parts


def halves(size: int) -> Parts:
    """Return one part of each division of a choice into two.

    >>> halves(3), halves(2)
    (((0,), (1,), (2,)), ((0,),))
    """
    return tuple(
        part
        for part_size in range(1, size // 2 + 1)
        for part in combinations(range(size), part_size)
        # If the halves have equal size, each division would occur twice.
        if 2 * part_size < size or part[0] == 0
    )


def parts_with_the_first(size: int) -> Parts:
    """Return the parts of a choice that hold its first number, but not all of them.

    >>> parts_with_the_first(3)
    ((0,), (0, 1), (0, 2))
    """
    return tuple(part for part in all_parts(size) if part[0] == 0 and len(part) < size)


def all_parts(size: int) -> Parts:
    """Return every part of a choice that is not empty.

    >>> all_parts(2)
    ((0,), (1,), (0, 1))
    """
    return tuple(part for part_size in range(1, size + 1) for part in combinations(range(size), part_size))


def mask_of(choice: Choice) -> int:
    """Return the bit mask of a choice.

    >>> mask_of((0, 2))
    5
    """
    return sum(1 << position for position in choice)


def joined(one: Enclosure, other: Enclosure) -> Enclosure:
    """Return the enclosures of two arrays of ways, one array after the other.

    >>> from sgd_ref.conformance.bounds.enclosure import arithmetic_of
    >>> one = arithmetic_of(np.dtype("f4")).point(1)
    >>> joined(one, one + one).lower
    array([1., 2.])
    """
    return Enclosure(
        one.arithmetic,
        np.concatenate([one.lower, other.lower]),
        np.concatenate([one.upper, other.upper]),
        np.concatenate([one.nan, other.nan]),
    )
