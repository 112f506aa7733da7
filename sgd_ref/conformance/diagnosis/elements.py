"""The elements of a large case that a search looks at: those around the first violation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.catalogue.layouts import with_layouts
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.reductions import with_part
from sgd_ref.conformance.trajectories.comparison import LISTS, are_equal

MOST_ELEMENTS = 1000
"""The number of elements to which a larger case is cut."""

Parts = tuple[slice, ...]
"""For each axis of a variable, the positions that are kept."""


def size_of(case: Case) -> int:
    """Return the number of elements of all variables.

    >>> size_of(Case("a", {}, ("w", "v"), (np.zeros((2, 3)), np.zeros(4)), ()))
    10
    """
    return sum(variable.size for variable in case.variables)


def around_element(
    case: Case, observed: Trajectory, violation: Violation, basis: Basis = DEFINITION
) -> tuple[Case, Trajectory] | None:
    """Return a large case with fewer elements, and the answer to it; None if fewer elements would not do.

    Every variable keeps some elements: that of the violation those around it, the others their first ones.
    A norm needs all elements, and so may the decision whether a call is skipped. So a case with a norm is not
    cut, nor is one in which the rule gives other values to fewer elements.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        The answer of an implementation.
    violation : Violation
        The first value that is wrong.
    basis : Basis, optional
        The rule.

    Examples
    --------
    >>> from sgd_ref import SGD
    >>> from sgd_ref.conformance.trajectories import reference
    >>> w = np.zeros((50, 100), "f4")
    >>> case = Case("a", SGD(0.5).get_config(), ("w",), (w,), ((w + 1,),))
    >>> where = Violation(0, "variables", "w", (40, 7), 0.0, 1.0, 1.0)
    >>> cut, records = around_element(case, reference.run(case), where)
    >>> cut.variables[0].shape, records[0]["variables"][0].shape
    ((50, 20), (50, 20))
    """
    if any(case.config.get(name) is not None for name in ("clipnorm", "global_clipnorm")):
        return None
    limit = _limit([variable.size for variable in case.variables])
    kept = [
        _parts(variable.shape, limit, violation.element if name == violation.variable else ())
        for name, variable in zip(case.names, case.variables, strict=True)
    ]
    cut = case
    for position, parts in enumerate(kept):
        for axis, part in enumerate(parts):
            if part != slice(0, case.variables[position].shape[axis]):
                cut = with_part(cut, range(part.start, part.stop), position, axis)
    cut = with_layouts(cut)
    try:
        whole, fewer = basis.run(case), basis.run(cut)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    if not are_equal(cut, [_cut(record, kept) for record in whole], fewer):
        return None
    return cut, [_cut(record, kept) for record in observed]


def _limit(sizes: Sequence[int]) -> int:
    """Return the largest number of elements of a variable with which all together are few enough."""
    limit, left = 1, MOST_ELEMENTS
    ordered = sorted(sizes)
    for index, size in enumerate(ordered):
        limit = max(left // (len(ordered) - index), 1)
        if size > limit:
            return limit
        left -= size
    return max(ordered, default=limit)


def _parts(shape: tuple[int, ...], limit: int, element: tuple[int, ...]) -> Parts:
    """Return the positions to keep along each axis: the longest axis is shortened first."""
    lengths = list(shape)
    while (size := int(np.prod(lengths, dtype=np.int64))) > limit:
        axis = lengths.index(max(lengths))
        lengths[axis] = max(lengths[axis] * limit // size, 1)
    parts = []
    for axis, length in enumerate(lengths):
        middle = element[axis] if element else 0
        start = min(max(middle - length // 2, 0), shape[axis] - length)
        parts.append(slice(start, start + length))
    return tuple(parts)


def _cut(record: Record, kept: Sequence[Parts]) -> Record:
    arrays = {
        quantity: [np.asarray(array)[parts] for array, parts in zip(record[quantity], kept, strict=True)]
        for quantity in LISTS
        if record.get(quantity)
    }
    return {**record, **arrays}
