"""The result of a check."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 5
"""The number of differences of one check that are printed in full."""


@dataclass
class Result:
    """The result of one check.

    Attributes
    ----------
    name : str
        The name of the check.
    cases, compared : int
        The numbers of runs and of values that were compared.
    differing : int
        The number of differing values, and of cases that failed in another way.
    skipped : int
        The number of cases that were not run, for the reasons that are counted in `reasons`.
    seconds : float
        The duration of the check.
    differences : list of str
        A few differences in full: those with the shortest first lines. That line is the id of a case, and
        plain cases have short ids. So they are the same differences however the cases are split into parts.
    reasons : Counter of str
        The reasons why cases were skipped.

    Examples
    --------
    >>> result = Result("sizes")
    >>> result.differs("float32/3: call 0", 2)
    >>> result.differing, result.differences
    (2, ['float32/3: call 0'])
    """

    name: str
    cases: int = 0
    compared: int = 0
    differing: int = 0
    skipped: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def differs(self, description: str, values: int = 1) -> None:
        """Count values that differ."""
        self.differing += values
        self.differences = _plainest([*self.differences, description])

    def skips(self, reason: str, cases: int = 1) -> None:
        """Count cases that were not run."""
        self.skipped += cases
        self.reasons[reason] += cases

    def include(self, other: Result) -> None:
        """Add the result of another part of the same check."""
        self.cases += other.cases
        self.compared += other.compared
        self.differing += other.differing
        self.skipped += other.skipped
        self.seconds += other.seconds
        self.differences = _plainest([*self.differences, *other.differences])
        self.reasons += other.reasons


def _plainest(differences: Iterable[str]) -> list[str]:
    return heapq.nsmallest(SHOWN, differences, key=lambda text: (len(text.partition("\n")[0]), text))
