"""The calls of a long case that a search looks at: those around the first violation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.candidates import suiting
from sgd_ref.conformance.diagnosis.names import Names
from sgd_ref.conformance.diagnosis.replay import reports_state, state_after
from sgd_ref.conformance.diagnosis.work import FIT, work_of

MOST_CALLS = 12
"""The number of calls to which a longer case is cut."""

AFTER = 4
"""How many of these calls come after the violation."""

WORK_ON_WHOLE = 1500
"""The largest work for which an explanation of the window is compared with the whole case."""


@dataclass(frozen=True)
class Window:
    """Some calls of a case.

    Attributes
    ----------
    case : Case
        The chosen calls, from the state that was reported before them.
    observed : trajectory
        The records of these calls.
    first : int
        The first of these calls, counted in the whole case.
    whole : Case
        The whole case.
    answer : trajectory
        The records of the whole case.
    """

    case: Case
    observed: Trajectory
    first: int
    whole: Case
    answer: Trajectory

    @property
    def is_all(self) -> bool:
        """Whether all calls of the case are chosen."""
        return self.case is self.whole

    def candidates(self, names: Iterable[str] | None, basis: Basis) -> Iterable[str] | None:
        """Return the deviations that may change something in the whole case."""
        return names if self.is_all else suiting(self.whole, names, basis)

    @property
    def calls(self) -> tuple[int, int] | None:
        """The first and the last chosen call; None if all calls are chosen."""
        return None if self.is_all else (self.first, self.first + len(self.case.gradients) - 1)

    @property
    def is_compared(self) -> bool:
        """Whether an explanation of the window is compared with the whole answer, which may take too long."""
        return FIT * work_of(self.whole, len(self.answer)) <= WORK_ON_WHOLE

    def fit_of_all(self, names: Names, is_state_hidden: bool, basis: Basis) -> Fit:
        """Return how well the whole answer fits some deviations."""
        return fit(self.whole, names, self.answer, is_state_hidden, basis)


def around_violation(
    case: Case, observed: Trajectory, is_state_hidden: bool = False, basis: Basis = DEFINITION
) -> Window:
    """Return the calls around the first violation; all calls of a short case.

    They start at the first call if a state is not reported.

    Parameters
    ----------
    case, observed, is_state_hidden, basis
        As for ``diagnose``.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = next(one for one in conformance.cases() if len(one.gradients) == 66)
    >>> wrong = reference.run(case)
    >>> wrong[40]["variables"][0] += 1
    >>> around_violation(case, wrong).calls
    (33, 44)
    """
    calls = len(case.gradients)
    if calls <= MOST_CALLS:
        return Window(case, observed, 0, case, observed)
    violation = fit(case, (), observed, is_state_hidden, basis).violation
    violation = violation or judge(case, basis.run(case), observed, is_state_hidden).violation
    call = calls if violation is None else violation.call
    last = min(max(call + AFTER, MOST_CALLS - 1), calls - 1)
    first = max(last - MOST_CALLS + 1, 0)
    if first and (is_state_hidden or not reports_state(case, observed[first - 1])):
        first = 0
    is_end = last == calls - 1
    rates = case.learning_rate_calls
    cut = replace(
        case,
        gradients=case.gradients[first : last + 1],
        learning_rate_calls=None if rates is None else rates[first : last + 1],
        finalize=case.finalize and is_end,
    )
    if first:
        before = observed[first - 1]
        cut = replace(cut, state=state_after(case, before), variables=tuple(before["variables"]))
    return Window(cut, observed[first:] if is_end else observed[first : last + 1], first, case, observed)
