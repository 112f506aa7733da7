"""The result of a check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 5
"""The number of differences of one check that are printed in full."""


@dataclass
class Result:
    """What one check found.

    Attributes
    ----------
    name : str
        Of the check.
    cases, compared : int
        How many runs were compared, and how many values of them.
    differing : int
        Values that differ, and cases that failed otherwise.
    skipped : int
        Cases that were not run, for the reasons that are counted in `reasons`.
    seconds : float
        How long it took.
    differences : list of str
        The first few, told in full.
    reasons : Counter of str
        Why cases were skipped.

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
        if len(self.differences) < SHOWN:
            self.differences.append(description)

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
        self.differences = [*self.differences, *other.differences][:SHOWN]
        self.reasons += other.reasons
