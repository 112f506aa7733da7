"""Memory layouts: how the arrays of a case are stored; no value depends on them.

A case states the layouts as data. They are applied wherever the arrays of the case are made or copied in
Python: for an implementation in this process, and in a process that reads cases by ``protocol.encoding``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Layouts
from sgd_ref.gradients import SparseRows

CONTIGUOUS = "contiguous"
BROADCAST = "broadcast"

BETWEEN = 7.0
"""The number that fills the memory between the elements of an array that is a part of a larger array."""

OFFSET = 3
"""The number of elements before an array that begins within a larger one, so that it is not aligned to a
vector register."""


def laid_out(array: Array, layout: str) -> Array:
    """Return an array of the same elements with a layout, in new memory.

    Parameters
    ----------
    array : ndarray
        Any array.
    layout : str
        A key of ``LAYOUTS``. "contiguous": row by row. "transposed": the first axis runs fastest. "strided":
        every second element of a larger array, along each axis. "reversed": each axis runs backwards.
        "offset": it begins within a larger array. "broadcast": an axis along which all elements are equal is
        stored once; the result is read-only.

    Raises
    ------
    ValueError
        If there is no such layout.

    Examples
    --------
    >>> matrix = np.arange(6.0).reshape(2, 3)
    >>> [laid_out(matrix, layout).strides for layout in ("contiguous", "transposed", "reversed")]
    [(24, 8), (8, 16), (-24, -8)]
    >>> laid_out(np.ones(3), "broadcast").strides
    (0,)
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    return LAYOUTS[layout](np.asarray(array))


def with_layouts(case: Case) -> Case:
    """Return a case whose variables and gradients have the layouts that it states, in new memory.

    Read-only arrays stay read-only. Sparse rows have no layout.
    """
    if case.layouts is None:
        return case
    layouts = case.layouts

    def like(arrays: Sequence[Any], names: Sequence[str]) -> tuple[Any, ...]:
        return tuple(_like(array, name) for array, name in zip(arrays, names, strict=True))

    return replace(
        case,
        variables=like(case.variables, layouts.variables),
        gradients=tuple(like(call, layouts.gradients) for call in case.gradients),
    )


def own_variables(case: Case) -> list[Array]:
    """Return writable copies of the variables of a case, with the layouts that it states."""
    if case.layouts is None:
        return [np.array(variable) for variable in case.variables]
    pairs = zip(case.variables, case.layouts.variables, strict=True)
    return [laid_out(variable, layout) for variable, layout in pairs]


def checked_layouts(case: Case) -> Case:
    """Return the case itself if its layouts are known and there is one for each variable.

    Raises
    ------
    ValueError
        If not, or if the layout of a variable is "broadcast", which cannot be written to.
    """
    layouts = case.layouts or Layouts((), ())
    for part, given in (("variables", layouts.variables), ("gradients", layouts.gradients)):
        known = [name for name in LAYOUTS if part == "gradients" or name != BROADCAST]
        if case.layouts is not None and len(given) != len(case.variables):
            raise ValueError(f"layouts.{part} must have {len(case.variables)} parts, got {len(given)}")
        for layout in given:
            if layout not in known:
                raise ValueError(f"layouts.{part} must be of {', '.join(known)}, got {layout!r}")
    return case


def _like(array: Any, layout: str) -> Any:
    if array is None or isinstance(array, SparseRows):
        return array
    given = laid_out(array, layout)
    given.flags.writeable = given.flags.writeable and array.flags.writeable
    return given


def _contiguous(array: Array) -> Array:
    return np.array(array, order="C")


def _transposed(array: Array) -> Array:
    return np.array(array.T, order="C").T


def _strided(array: Array) -> Array:
    around = np.full([2 * length for length in array.shape], BETWEEN, array.dtype)
    return _filled(_stepped(around, 2), array)


def _reversed(array: Array) -> Array:
    return _stepped(np.array(_stepped(array, -1), order="C"), -1)


def _offset(array: Array) -> Array:
    around = np.full(array.size + 2 * OFFSET, BETWEEN, array.dtype)
    return _filled(around[OFFSET : OFFSET + array.size].reshape(array.shape), array)


def _broadcast(array: Array) -> Array:
    once = array
    for axis, length in enumerate(array.shape):
        first: Sequence[slice] = [
            slice(0, 1) if axis == other else slice(None) for other in range(array.ndim)
        ]
        if length > 1 and bool((once == once[tuple(first)]).all()):
            once = once[tuple(first)]
    return np.broadcast_to(np.array(once, order="C"), array.shape)


def _stepped(array: Array, step: int) -> Array:
    """Return a view of an array with steps along each axis; the result is an array even without axes."""
    index: tuple[Any, ...] = (..., *(slice(None, None, step) for _ in array.shape))
    view: Array = array[index]
    return view


def _filled(view: Array, array: Array) -> Array:
    view[...] = array
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    CONTIGUOUS: _contiguous,
    "transposed": _transposed,
    "strided": _strided,
    "reversed": _reversed,
    "offset": _offset,
    BROADCAST: _broadcast,
}
"""Every layout by name, with the function that applies it to an array."""
