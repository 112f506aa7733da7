"""Explanations of a divergence: the known deviations that, when replayed, give exactly the observed bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, DEVIATIONS, Basis, compose
from sgd_ref.conformance.diagnosis.candidates import may_act
from sgd_ref.conformance.diagnosis.names import are_roundings
from sgd_ref.conformance.diagnosis.replay import Match, Step, steps
from sgd_ref.conformance.diagnosis.replayed_rates import Rate
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.trajectories.comparison import Difference, are_equal

MOST_TOGETHER = 8
"""The largest number of candidates for which every choice is tried."""

MOST_LEFT_OUT = 1
"""Candidates may exclude each other, so at first all but up to this many are tried together."""


@dataclass(frozen=True)
class Explanation:
    """The known deviations that a trajectory shows.

    Attributes
    ----------
    names : tuple of str
        As few deviations as possible, in the order of the candidates. If the explanation is not complete,
        they explain all calls that can be explained.
    residual_units : float
        The remaining error of norms, or of the learning rate of a schedule, in units in the last place.
    complete : bool
        Whether every bit is explained.
    left : Difference or None
        If the explanation is not complete: the first element that differs from the result of these
        deviations. None if they give no result from the observed state.
    """

    names: tuple[str, ...] = ()
    residual_units: float = 0.0
    complete: bool = True
    left: Difference | None = None


def explain(
    case: Case, observed: Trajectory, candidates: Sequence[str], basis: Basis = DEFINITION
) -> Explanation:
    """Find the known deviations with which the reference gives the observed trajectory.

    Every call is replayed by itself, from the state observed before it and with the learning rate
    observed in it, and must give every observed bit. If the rate is not reported, it is sought among the
    rates that the candidates give. If the state is not reported, the whole case is replayed from the
    beginning instead.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        The answer of an implementation, of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations. If several explain everything alone, the first of them is chosen. If more than
        one is needed, contradictions are left out before roundings.
    basis : Basis, optional
        The rule that the deviations are added to.

    Returns
    -------
    Explanation
        Without names if the trajectory is that of the rule.

    Raises
    ------
    ValueError
        If there is no deviation of one of the names.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> explain(case, reference.run(case), ["averages-on-every-call"])
    Explanation(names=(), residual_units=0.0, complete=True, left=None)
    """
    compose(candidates)
    made = steps(case, observed, basis)
    names, units = _explain_steps(made, candidates)
    if names is not None:
        return Explanation(names, units)
    unexplained = [step for step in made if _explain_steps([step], candidates)[0] is None]
    others = [step for step in made if step not in unexplained]
    names, units = _explain_steps(others, candidates) if others else (None, 0.0)
    names = tuple(candidates) if names is None else names
    first = next(step for step in unexplained or made if step.match(names) is None)
    return Explanation(names, units, False, first.difference(names))


def explain_within_bounds(
    case: Case,
    observed: Trajectory,
    candidates: Sequence[str],
    basis: Basis = DEFINITION,
    is_state_hidden: bool = False,
) -> tuple[str, ...]:
    """Return as few candidates as possible within whose derived bounds a trajectory lies.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations that are expected in the case. Among several choices, contradictions are preferred
        to mere roundings, few names to many, and earlier names to later ones.
    basis : Basis, optional
        The rule that they are added to.
    is_state_hidden : bool, default False
        Whether the state may be wider than the reported one.

    Returns
    -------
    tuple of str
        Empty if the trajectory lies within the bounds of no choice.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> wrong = reference.run(case, *compose(["ascends"]))
    >>> explain_within_bounds(case, wrong, ["nesterov-ignored", "ascends"])
    ('ascends',)
    """
    if case.made is not None:
        # Its arrays are compared by digests, which do not show how near the arrays are.
        return ()
    search = Search(case, observed, candidates, is_state_hidden, basis)
    possible = [name for name in candidates if may_act(case, name)]
    expected = basis.run(case)
    acting = [name for name in possible if _acts(case, name, basis, expected)]
    # Some deviations act only beside another one; a choice that was tried is not tried again.
    choices = dict.fromkeys([*_choices(acting), *_choices(possible)])
    return next((names for names in choices if search.holds(names)), ())


def is_within_bounds(
    case: Case,
    observed: Trajectory,
    names: Sequence[str],
    basis: Basis = DEFINITION,
    is_state_hidden: bool = False,
) -> bool:
    """Whether a trajectory is within the derived bounds of some deviations together.

    This may also hold for deviations that are too small to tell from roundings: naming them takes other
    evidence.

    Parameters
    ----------
    case, observed, basis, is_state_hidden
        As for `explain_within_bounds`.
    names : sequence of str
        Names of deviations.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> wrong = reference.run(case, *compose(["ascends"]))
    >>> is_within_bounds(case, wrong, ["ascends"]), is_within_bounds(case, wrong, ["nesterov-unasked"])
    (True, False)
    """
    return case.made is None and fit(case, names, observed, is_state_hidden, basis).fits


def _choices(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the choices among the first names: mere roundings last, few names before many."""
    chosen = names[:MOST_TOGETHER]
    choices = [some for size in range(1, len(chosen) + 1) for some in combinations(chosen, size)]
    return sorted(choices, key=are_roundings)


def _acts(case: Case, name: str, basis: Basis, expected: Trajectory) -> bool:
    try:
        return not are_equal(case, expected, basis.run(case, [name]))
    # From such a state, the deviation may be unable to make a step.
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False


def _explain_steps(made: Sequence[Step], candidates: Sequence[str]) -> tuple[tuple[str, ...] | None, float]:
    """Return as few deviations as possible that explain all steps, if any do, and the residual units."""
    replays = _Replays(list(made))
    names = _fewest(candidates, replays.succeed)
    return names, replays.residual_units


class _Replays:
    """The steps of one trajectory, to be replayed with many sets of deviations."""

    def __init__(self, made: list[Step]) -> None:
        self._steps = made
        self._known_rates: dict[int, Rate | None] = {}
        self.residual_units = 0.0

    def succeed(self, names: Sequence[str]) -> bool:
        """Whether every step, with these deviations, gives the observed bits."""
        matches: dict[int, Match] = {}
        for step in self._steps:
            match = step.match(names, self._known_rates.get(step.first))
            if match is None:
                # The step that refutes one set of deviations is likely to refute the next set, too.
                self._steps.remove(step)
                self._steps.insert(0, step)
                return False
            matches[step.first] = match
        self._known_rates = {first: match.rate for first, match in matches.items()}
        self.residual_units = max((match.units for match in matches.values()), default=0.0)
        return True


def _fewest(candidates: Sequence[str], succeed: Callable[[Sequence[str]], bool]) -> tuple[str, ...] | None:
    """Return no name, one name, or several names if all are needed; None if nothing succeeds."""
    for names in ((), *((name,) for name in candidates)):
        if succeed(names):
            return names
    for left_out in range(MOST_LEFT_OUT + 1):
        for absent in combinations(candidates, left_out):
            names = tuple(name for name in candidates if name not in absent)
            if succeed(names):
                return _reduced(names, succeed)
    return None


def _reduced(names: tuple[str, ...], succeed: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    # A divergence that roundings explain does not count against an implementation, so contradictions are
    # dropped first.
    order = sorted(names, key=lambda name: DEVIATIONS[name].kind != "contradiction")
    parts = [order]
    while parts:
        part = parts.pop()
        fewer = tuple(name for name in names if name not in part)
        if succeed(fewer):
            names = fewer
        elif len(part) > 1:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
    succeed(names)
    return names
