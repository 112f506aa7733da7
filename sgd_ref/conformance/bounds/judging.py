"""The judge: it decides whether a faithful evaluation of the documented rule can give a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.conformance.bounds.settings import Reading, readings, relevant
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.conformance.catalogue.case import Case, Trajectory


@dataclass(frozen=True)
class Judgement:
    """The result of the judge.

    Attributes
    ----------
    violation : Violation or None
        The first impossible value, under the reading that accepts the most calls; None if all values are
        possible.
    reading : mapping of str to str
        For each setting where it matters, how the implementation holds it.
    """

    violation: Violation | None
    reading: Reading

    @property
    def is_faithful(self) -> bool:
        """Whether every value is possible."""
        return self.violation is None


def judge(
    case: Case,
    expected: Trajectory,
    observed: Trajectory,
    is_state_hidden: bool = False,
    flushes: bool = False,
    walk: type[Walk] = Walk,
) -> Judgement:
    """Judge a trajectory.

    Parameters
    ----------
    case : Case
        The case.
    expected : trajectory
        The trajectory of the reference, or of the optimizer that `walk` is for.
    observed : trajectory
        The trajectory of an implementation, of the form that ``check_form`` checks.
    is_state_hidden : bool, default False
        False: step by step, each call from the reported state, if there is one. True: free-running from the
        start, with a state that may be wider than the reported one.
    flushes : bool, default False
        Whether subnormal numbers may become zero.
    walk : subclass of Walk, optional
        The class with the bounds.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> trajectory = reference.run(case)
    >>> judge(case, trajectory, trajectory).is_faithful
    True
    """
    dtypes = list(dict.fromkeys(variable.dtype for variable in case.variables))
    judged = [
        _judged(case, expected, observed, is_state_hidden, flushes, walk, dtype if len(dtypes) > 1 else None)
        for dtype in dtypes
    ]
    violating = [found for found in judged if not found.is_faithful]
    return min(violating, key=_place) if violating else judged[0]


def _judged(
    case: Case,
    expected: Trajectory,
    observed: Trajectory,
    is_state_hidden: bool,
    flushes: bool,
    walk: type[Walk],
    dtype: np.dtype[Any] | None,
) -> Judgement:
    """Return the reading under which the variables of one dtype are possible, or become impossible latest."""
    farthest: Judgement | None = None
    failed: list[dict[str, str]] = []
    for reading in readings(case):
        if any(parts.items() <= reading.items() for parts in failed):
            continue
        violation = walk(
            case, expected, observed, reading, is_state_hidden, flushes, dtype=dtype
        ).first_violation()
        found = Judgement(violation, reading)
        if found.violation is None:
            return found
        names = relevant(found.violation.quantity, case, is_state_hidden)
        failed.append({name: kind for name, kind in reading.items() if name in names})
        if farthest is None or _place(found) > _place(farthest):
            farthest = found
    assert farthest is not None
    return farthest


def _place(found: Judgement) -> int:
    return -1 if found.violation is None else found.violation.call
