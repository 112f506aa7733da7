"""State of a feature that is off: it must be left out, or be zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.conformance.bounds.violation import DIGITS, DIGITS_OF_SINGLE, Violation
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.trajectories.comparison import LISTS, has_state


def state_of_nothing(call: int, case: Case, given: Record) -> Iterator[Violation]:
    """Yield the first nonzero element of each array that belongs to a feature that is off.

    Parameters
    ----------
    call : int
        Counted from 0.
    case : Case
        The case, which says which features are on.
    given : dict
        The observed record.
    """
    for quantity in LISTS:
        if has_state(case, quantity) or not given.get(quantity):
            continue
        for name, array in zip(case.names, map(np.asarray, given[quantity]), strict=True):
            for index in np.argwhere(array != 0)[:1]:
                element = tuple(int(place) for place in index)
                digits = DIGITS if array.dtype == FLOAT64 else DIGITS_OF_SINGLE
                yield Violation(call, quantity, name, element, float(array[element]), 0.0, 0.0, digits=digits)
