"""Tuples in kernels, one function for each place: they stay in registers, where a loop would use memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba_kernels.inlining import inlined


def each(count: int, function_of: Callable[[int], Any], place: int = 0) -> Any:
    """Return the function of kernels that makes a tuple, each place of it by a function of its own.

    Parameters
    ----------
    count : int
        Length of the tuple, at least 1.
    function_of : callable
        From a place to a function of kernels of two arguments.
    place : int
        The first one.

    Examples
    --------
    >>> each(3, lambda place: lambda numbers, more: numbers[place] + more)((1, 2, 3), 10)
    (11, 12, 13)
    """
    first = function_of(place)
    if place == count - 1:

        @inlined
        def last(arguments: Any, more: Any) -> Any:
            return (first(arguments, more),)

        return last
    rest = each(count, function_of, place + 1)

    @inlined
    def several(arguments: Any, more: Any) -> Any:
        return (first(arguments, more), *rest(arguments, more))

    return several
