"""The work of a search, counted in calls: what is found must not depend on the speed of a machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sgd_ref.conformance.catalogue.case import Case


class Work:
    """The work done so far.

    Attributes
    ----------
    done : int
        In the unit of `work_of`, about a third of a millisecond.

    Examples
    --------
    >>> work = Work()
    >>> work.add(3)
    >>> work.done
    3
    """

    def __init__(self) -> None:
        self.done = 0

    def add(self, units: int) -> None:
        """Count some more."""
        self.done += units


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
