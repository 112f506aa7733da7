"""Explaining a divergence: which known deviations, when replayed, give exactly the observed bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.diagnosis.closeness import leaves_rounding_only
from sgd_ref.conformance.diagnosis.replay import Match, Step, replayed, steps, with_given_rates
from sgd_ref.conformance.diagnosis.replayed_rates import Rate
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import Difference
from sgd_ref.optimizer import SGD

MOST_LEFT_OUT = 1
"""Some candidates can exclude each other; this many are left out before others are found superfluous."""


@dataclass(frozen=True)
class Explanation:
    """The known deviations that a trajectory has.

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
        deviations, if they give a result from the observed state.
    """

    names: tuple[str, ...] = ()
    residual_units: float = 0.0
    complete: bool = True
    left: Difference | None = None


def explain(case: Case, observed: Trajectory, candidates: Sequence[str]) -> Explanation:
    """Find the known deviations with which the reference gives the observed trajectory.

    Every call is replayed by itself, from the state observed before it and with the learning rate
    observed in it, and must give every observed bit. A rate that is not reported is looked for among
    those that the candidates give. Where the state is not reported, the whole case is replayed from the
    beginning instead.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        What an implementation answered; of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations. Of several that explain everything alone, the first one is taken; where more
        than one is needed, contradictions are left out before roundings.

    Returns
    -------
    Explanation
        Without names where the trajectory is that of the reference.

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
    made = steps(case, observed)
    names, units = _explain_steps(made, candidates)
    if names is not None:
        return Explanation(names, units)
    unexplained = [step for step in made if _explain_steps([step], candidates)[0] is None]
    others = [step for step in made if step not in unexplained]
    names, units = _explain_steps(others, candidates) if others else (None, 0.0)
    names = tuple(candidates) if names is None else names
    first = next(step for step in unexplained or made if step.match(names) is None)
    return Explanation(names, units, False, first.difference(names))


def explain_but_for_rounding(
    case: Case, observed: Trajectory, candidates: Sequence[str], variants: Sequence[type[SGD]] = ()
) -> tuple[str, ...]:
    """Return as few of the candidates as leave nothing but rounding to explain, replayed from the beginning.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations that are to be expected in the case, a few.
    variants : sequence of subclasses of SGD, optional
        Faithful variants that round as the implementation does, to be tried after the reference.

    Returns
    -------
    tuple of str
        Empty where no choice of them does.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> wrong = reference.run(case, *compose(["ascends"]))
    >>> explain_but_for_rounding(case, wrong, ["nesterov-ignored", "ascends"])
    ('ascends',)
    """
    sizes = range(1, len(candidates) + 1)
    choices = [names for size in sizes for names in combinations(candidates, size)]
    # For deviations that only round, near is enough. So they come last, or they would explain contradictions.
    choices.sort(key=_are_roundings)
    leave_rounding_only = _rounding_judge(case, observed)
    evaluations: tuple[type[SGD], ...] = (SGD, *variants)
    for variant in evaluations:
        for names in choices:
            if leave_rounding_only(names, variant):
                return names
    return ()


def is_explained_but_for_rounding(
    case: Case, observed: Trajectory, names: Sequence[str], variants: Sequence[type[SGD]] = ()
) -> bool:
    """Whether these deviations, all of them together, leave nothing but rounding to explain.

    Parameters
    ----------
    case, observed, variants
        As for `explain_but_for_rounding`.
    names : sequence of str
        Names of deviations.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> wrong = reference.run(case, *compose(["ascends"]))
    >>> is_explained_but_for_rounding(case, wrong, ["ascends"])
    True
    >>> is_explained_but_for_rounding(case, wrong, ["nesterov-unasked"])
    False
    """
    leave_rounding_only = _rounding_judge(case, observed)
    evaluations: tuple[type[SGD], ...] = (SGD, *variants)
    return any(leave_rounding_only(names, variant) for variant in evaluations)


def _rounding_judge(case: Case, observed: Trajectory) -> Callable[[Sequence[str], type[SGD]], bool]:
    """Return whether deviations of the reference, or of a variant of it, leave rounding only."""
    expected = reference.run(case)
    rates: Any = tuple(record.get("learning_rate") for record in observed[: len(case.gradients)])
    # A rate that is kept in float64 is no mistake, but makes more of a difference than some mistakes. But the
    # reported rate need not be the used one: a compiler may have frozen the rate that it uses.
    is_given = None not in rates and not _are_documented(expected, rates)
    given = replace(case, learning_rate_calls=rates)

    def leave_rounding_only(names: Sequence[str], variant: type[SGD]) -> bool:
        def leaves(wrong: Trajectory) -> bool:
            return leaves_rounding_only(expected, wrong, observed, _are_roundings(names))

        return leaves(replayed(case, names, variant)) or (
            is_given and leaves(reference.run(given, *with_given_rates(names, variant)))
        )

    return leave_rounding_only


def _are_roundings(names: Sequence[str]) -> bool:
    return all(DEVIATIONS[name].kind == "rounding" for name in names)


def _are_documented(expected: Trajectory, rates: Sequence[float]) -> bool:
    """Whether the rates of all calls are those that the definition uses."""
    return all(record["learning_rate"] == rate for record, rate in zip(expected, rates, strict=False))


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
                # The step that refutes one set of deviations is likely to refute the next one, too.
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
    # What roundings explain is not held against an implementation, so contradictions go first.
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
