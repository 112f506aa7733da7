"""Tuples in kernels, one function for each position: they stay in registers; a loop would use memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba_kernels.cuda.toolkit import IS_SIMULATED, intrinsic, types
from numba_kernels.shared.inlining import inlined


def each(count: int, function_of: Callable[[int], Any], place: int = 0) -> Any:
    """Return the function of kernels that makes a tuple, each position by a function of its own.

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


def across(count: int, function: Any) -> Any:
    """Return the function of kernels that applies a function to each item of a tuple.

    Parameters
    ----------
    count : int
        Length of the tuples, at least 1.
    function : function of kernels
        Of an item and one more argument. It is compiled once: with a function for each place, Numba took
        10 seconds instead of 5 for the largest kernel of a half type.

    Examples
    --------
    >>> across(3, lambda number, more: number + more)((1, 2, 3), 10)
    (11, 12, 13)
    """
    if count == 1:

        @inlined
        def last(items: Any, more: Any) -> Any:
            return (function(items[0], more),)

        return last
    rest = across(count - 1, function)

    @inlined
    def several(items: Any, more: Any) -> Any:
        return (function(items[0], more), *rest(items[1:], more))

    return several


def _transposed_on_host(rows: Any) -> Any:
    return tuple(zip(*rows, strict=True))


def _transposing() -> Any:
    @intrinsic
    def transpose(typing_context: Any, rows: Any) -> Any:
        column = types.UniTuple(rows.dtype.dtype, rows.count)
        columns = types.UniTuple(column, rows.dtype.count)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            made = [
                context.make_tuple(
                    builder,
                    column,
                    [builder.extract_value(arguments[0], [row, place]) for row in range(rows.count)],
                )
                for place in range(rows.dtype.count)
            ]
            return context.make_tuple(builder, columns, made)

        return columns(rows), generate

    return transpose


transposed = _transposed_on_host if IS_SIMULATED else _transposing()
"""Transpose a tuple of rows of equal length into a tuple of columns; this costs no instruction."""
