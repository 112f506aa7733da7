"""The part of a long or large case that a search looks at: calls and elements around the first violation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.candidates import suiting
from sgd_ref.conformance.diagnosis.elements import MOST_ELEMENTS, around_element, size_of
from sgd_ref.conformance.diagnosis.names import Names
from sgd_ref.conformance.diagnosis.replay import reports_state, state_after
from sgd_ref.conformance.diagnosis.work import FIT, work_of

MOST_CALLS = 12
"""The number of calls to which a longer case is cut."""

AFTER = 4
"""How many of these calls come after the violation."""

WORK_ON_WHOLE = 1500
"""The largest work for which an explanation of the window is compared with the whole case."""

WORK_ON_CANDIDATES = 5500
"""The work from which it takes too long to make the calls up to the violation with every deviation."""


@dataclass(frozen=True)
class Window:
    """Some calls of a case, perhaps with fewer elements.

    Attributes
    ----------
    case : Case
        The chosen calls, from the state that was reported before them, with the chosen elements.
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
        """Whether all of the case is chosen."""
        return self.case is self.whole

    def candidates(self, names: Iterable[str] | None, basis: Basis) -> Iterable[str] | None:
        """Return the deviations that may change something in the whole case."""
        return names if self.is_all else suiting(self.whole, names, basis)

    @property
    def calls(self) -> tuple[int, int] | None:
        """The first and the last chosen call; None if all calls are chosen."""
        if len(self.case.gradients) == len(self.whole.gradients):
            return None
        return self.first, self.first + len(self.case.gradients) - 1

    @property
    def elements(self) -> tuple[int, int] | None:
        """How many elements are chosen, and of how many; None if all are."""
        chosen, of = size_of(self.case), size_of(self.whole)
        return None if chosen == of else (chosen, of)

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
    """Return the part around the first violation: of a long case some calls, of a large one some elements.

    The calls start at the first one if a state is not reported.

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
    if calls <= MOST_CALLS and size_of(case) <= MOST_ELEMENTS:
        return Window(case, observed, 0, case, observed)
    violation = fit(case, (), observed, is_state_hidden, basis).violation
    violation = violation or judge(case, basis.run(case), observed, is_state_hidden).violation
    made = _around_call(case, observed, violation, is_state_hidden) if calls > MOST_CALLS else None
    chosen = made or Window(case, observed, 0, case, observed)
    return chosen if violation is None else _around_element(chosen, violation, basis)


def _around_call(
    case: Case, observed: Trajectory, violation: Violation | None, is_state_hidden: bool
) -> Window:
    calls = len(case.gradients)
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


def _around_element(window: Window, violation: Violation, basis: Basis) -> Window:
    """Return the window with fewer elements, if all of them would take too long."""
    case = window.case
    if size_of(case) <= MOST_ELEMENTS:
        return window
    calls = violation.call - window.first + 1
    if len(suiting(window.whole, None, basis)) * work_of(case, calls) <= WORK_ON_CANDIDATES:
        return window
    cut = around_element(case, window.observed, violation, basis)
    return window if cut is None else replace(window, case=cut[0], observed=cut[1])
