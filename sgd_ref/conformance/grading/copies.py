"""Copies that were forgotten: records that are views of one state, which goes on changing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.trajectories.comparison import LISTS, equal_bits, has_state


def forgotten_copy(case: Case, expected: Trajectory, observed: Trajectory) -> str:
    """Return where records share what changes between them, in words, or nothing.

    Parameters
    ----------
    case : Case
        The case.
    expected, observed : trajectory
        That of the reference, and one that differs from it, both of the form that ``check_form`` checks.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> expected = reference.run(case)
    >>> forgotten_copy(case, expected, [expected[-1]] * len(expected))
    'variables of kernel are the same memory in records 0 and 1: a copy was forgotten'
    """
    for quantity in LISTS:
        if not has_state(case, quantity) or not all(record.get(quantity) for record in observed):
            continue
        for position, name in enumerate(case.names):
            wanted = [record[quantity][position] for record in expected]
            given = [np.asarray(record[quantity][position]) for record in observed]
            changing = [call for call in range(1, len(wanted)) if not _same(wanted[call - 1], wanted[call])]
            for call in changing:
                if np.shares_memory(given[call - 1], given[call]):
                    return (
                        f"{quantity} of {name} are the same memory in records {call - 1} and {call}: "
                        "a copy was forgotten"
                    )
            if len(changing) > 1 and _hold_the_last(given, _before(case, quantity, position)):
                return (
                    f"{quantity} of {name} are the same in all records, and not those before the first call: "
                    "perhaps all records were written at the end, since a copy was forgotten"
                )
    return ""


def _hold_the_last(given: Sequence[Array], before: Array) -> bool:
    return all(_same(array, given[-1]) for array in given) and not _same(before, given[-1])


def _before(case: Case, quantity: str, position: int) -> Array:
    if quantity == "variables":
        return case.variables[position]
    arrays = () if case.state is None else getattr(case.state, quantity)
    return np.asarray(arrays[position]) if arrays else np.zeros_like(case.variables[position])


def _same(one: Array, other: Array) -> bool:
    return bool(equal_bits(one, other).all())
