"""Forgotten copies: records that are views of one state, which goes on changing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.trajectories.comparison import LISTS, before_first_call, has_state, same_bits


def forgotten_copy(case: Case, expected: Trajectory, observed: Trajectory) -> str:
    """Return in words where records share memory that changes between them; empty if they do not.

    Parameters
    ----------
    case : Case
        The case.
    expected, observed : trajectory
        The trajectory of the reference, and one that differs from it, both of the form that ``check_form``
        checks.

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
            changing = [
                call for call in range(1, len(wanted)) if not same_bits(wanted[call - 1], wanted[call])
            ]
            for call in changing:
                if np.shares_memory(given[call - 1], given[call]):
                    return (
                        f"{quantity} of {name} are the same memory in records {call - 1} and {call}: "
                        "a copy was forgotten"
                    )
            if len(changing) > 1 and _hold_the_last(given, before_first_call(case, quantity, position)):
                return (
                    f"{quantity} of {name} are the same in all records, and not those before the first call: "
                    "perhaps all records were written at the end, since a copy was forgotten"
                )
    return ""


def _hold_the_last(given: Sequence[Array], before: Array) -> bool:
    return all(same_bits(array, given[-1]) for array in given) and not same_bits(before, given[-1])
