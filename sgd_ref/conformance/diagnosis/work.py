"""The work of a search, counted in calls: what is found must not depend on the speed of a machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sgd_ref.conformance.catalogue.case import Case

FIT = 5
"""How many times the work of running deviations a comparison of an answer with their bounds takes."""


class Work:
    """The work done so far.

    Parameters
    ----------
    whole : Work, optional
        The work that this one is a part of; it counts the same units, too.

    Attributes
    ----------
    done : int
        In the unit of `work_of`, about a fifth of a millisecond.

    Examples
    --------
    >>> whole = Work()
    >>> part = Work(whole)
    >>> whole.add(3)
    >>> part.add(2)
    >>> whole.done, part.done
    (5, 2)
    """

    def __init__(self, whole: Work | None = None) -> None:
        self.done = 0
        self._whole = whole

    def add(self, units: int) -> None:
        """Count some more."""
        self.done += units
        if self._whole is not None:
            self._whole.add(units)


def work_of(case: Case, calls: int) -> int:
    """Return what it takes to make some calls of a case: one unit for each call of each variable.

    >>> from sgd_ref import conformance
    >>> work_of(conformance.cases("smoke")[0], 2) / len(conformance.cases("smoke")[0].variables)
    2.0
    """
    size = sum(variable.size for variable in case.variables)
    return calls * max(len(case.variables), math.ceil(size / 1000))


def interleaved(orders: Iterable[Sequence[Any]]) -> list[Any]:
    """Return the first elements of all orders, then the second ones, and so on, each element once.

    >>> interleaved(["abc", "cad"])
    ['a', 'c', 'b', 'd']
    """
    lists = list(orders)
    most = max(map(len, lists), default=0)
    return list(dict.fromkeys(order[i] for i in range(most) for order in lists if i < len(order)))
