"""A number that an implementation seems to use in place of the given one, where no name explains it.

Most mistakes that nobody has listed are a factor: a setting that is squared or halved, gradients that are
divided once more. The rule has the same form with another number, and this number can be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.candidates import beginning
from sgd_ref.conformance.diagnosis.work import FIT, Work, work_of
from sgd_ref.conformance.trajectories.comparison import arrays_of_both, compare
from sgd_ref.gradients import SparseRows

SETTINGS = (
    "momentum",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "ema_momentum",
    "loss_scale_factor",
)
"""The settings of a config that are tried."""

GRADIENTS, RATES = "the gradients", "the learning rates"

STEP = 1.25
"""The factor between a given number and the first other one that is tried."""

MOST_STEPS = 4
"""The largest number of steps of the secant method; one is enough for a number that enters linearly."""

LEAST_CHANGE = 1e-5
"""The least relative change of a number that is told from roundings."""

LEAST_DIFFERING = 4
"""How many elements must have other bits than those of the rule: one number can explain a few by chance."""

MUCH_LESS = 0.6
"""The share of other bits that the other number may leave."""


@dataclass(frozen=True)
class OtherNumber:
    """A number with which the rule gives the whole answer, within the derived bounds.

    Attributes
    ----------
    name : str
        The setting; or "the gradients" or "the learning rates", which a factor multiplies.
    given, used : float
        The number of the case, and the one in its place. The given factor is 1.

    Examples
    --------
    >>> print(OtherNumber("weight_decay", 0.1, 0.2))
    it equals no known deviation, but the rule with a weight_decay of 0.2 in place of 0.1
    >>> print(OtherNumber("the gradients", 1.0, 0.5))
    it equals no known deviation, but the rule with the gradients multiplied by 0.5
    """

    name: str
    given: float
    used: float

    def __str__(self) -> str:
        instead = f"a {self.name} of {self.used:.6g} in place of {self.given:.6g}"
        if self.name in (GRADIENTS, RATES):
            instead = f"{self.name} multiplied by {self.used:.6g}"
        return f"it equals no known deviation, but the rule with {instead}"


def other_number(
    case: Case,
    observed: Trajectory,
    violation: Violation,
    is_state_hidden: bool = False,
    basis: Basis = DEFINITION,
    work: Work | None = None,
) -> OtherNumber | None:
    """Find a number in whose place another one explains a trajectory.

    The number is found in the record of the first violation, by the secant method on all of its elements.
    Then the whole trajectory must lie within the bounds of the rule with this number.

    Parameters
    ----------
    case, observed, is_state_hidden, basis
        As for ``diagnose``.
    violation : Violation
        The first value that is wrong.
    work : Work, optional
        Counts the calls that are made.

    Returns
    -------
    OtherNumber or None
        The one that leaves the fewest other bits; None if there is none.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.bounds.violation import Violation
    >>> case = next(case for case in conformance.cases() if case.id == "axes/momentum/decay")
    >>> config = case.config | {"weight_decay": 0.3}
    >>> wrong = DEFINITION.run(replace(case, config=config))
    >>> found = other_number(case, wrong, Violation(0, "variables", case.names[0], (0,), 0.0, 0.0, 0.0))
    >>> found.name, round(found.used, 4)
    ('weight_decay', 0.3)
    """
    whole = compare(case, basis.run(case), observed)
    if case.made is not None or whole.differing < LEAST_DIFFERING:
        return None
    found: list[tuple[int, OtherNumber]] = []
    for name, given, changed in _numbers(case):
        used = _solved(name, given, changed, observed, violation.call, basis, work)
        if used is None:
            continue
        # Who uses another rate may still report the given one.
        shown = _without_rates(observed) if name == RATES else observed
        fitted = fit(changed(used), (), shown, is_state_hidden, basis)
        if work is not None:
            work.add(FIT * work_of(case, fitted.calls + 1))
        if fitted.fits and fitted.differing <= MUCH_LESS * whole.differing:
            found.append((fitted.differing, OtherNumber(name, given, used)))
    return min(found, key=lambda one: one[0])[1] if found else None


def _numbers(case: Case) -> Iterator[tuple[str, float, Callable[[float], Case]]]:
    """Yield the numbers of a case, each with a function that puts another one in its place."""
    for name in SETTINGS:
        given = case.config.get(name)
        if given:
            yield name, float(given), partial(_with_setting, case, name)
    yield GRADIENTS, 1.0, partial(_with_gradients, case)
    # Under dynamic loss scaling, a schedule does not count the calls that are skipped.
    if case.loss_scaling is None:
        yield RATES, 1.0, partial(_with_rates, case)


def _with_setting(case: Case, name: str, used: float) -> Case:
    return replace(case, config={**case.config, name: used})


def _with_gradients(case: Case, factor: float) -> Case:
    def times(gradient: Any) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, SparseRows):
            return SparseRows(gradient.indices, _times(gradient.values, factor), gradient.shape)
        return _times(gradient, factor)

    return replace(case, gradients=tuple(tuple(map(times, gradients)) for gradients in case.gradients))


def _times(array: Array, factor: float) -> Array:
    with np.errstate(all="ignore"):
        return convert(np.asarray(convert(array, FLOAT64) * factor), array.dtype)


def _with_rates(case: Case, factor: float) -> Case:
    rates = tuple(factor * case.rate(call) for call in range(len(case.gradients)))
    return replace(case, config={**case.config, "learning_rate": None}, learning_rate_calls=rates)


def _solved(
    name: str,
    given: float,
    changed: Callable[[float], Case],
    observed: Trajectory,
    call: int,
    basis: Basis,
    work: Work | None,
) -> float | None:
    """Return the number that leads nearest to the record of a call; None if it is the given one, or none."""
    seen = observed[min(call, len(observed) - 1)]

    def run(number: float) -> Array | None:
        start = beginning(changed(number), call + 1)
        try:
            records = basis.run(start)
        # Such a number may not be accepted, and with it a step may be impossible.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None
        if work is not None:
            work.add(work_of(start, len(start.gradients)))
        return _distances(start, records[-1], seen)

    before, number = given, given / STEP if name.endswith("momentum") else given * STEP
    left = run(before)
    for _ in range(MOST_STEPS):
        nearer = run(number)
        step = None if left is None or nearer is None else _secant(left, nearer)
        if step is None or not np.isfinite(step):
            return None
        before, number, left = number, number + step * (before - number), nearer
        if abs(number - before) <= LEAST_CHANGE * abs(number):
            break
    return number if abs(number - given) > LEAST_CHANGE * abs(given) else None


def _distances(case: Case, record: Record, seen: Record) -> Array:
    """Return how far the numbers that were seen are from those of a record."""
    with np.errstate(all="ignore"):
        pairs = [
            np.ravel(got).astype(FLOAT64) - np.ravel(want).astype(FLOAT64)
            for want, got in arrays_of_both(case, record, seen)
        ]
    return np.concatenate(pairs) if pairs else np.zeros(0)


def _secant(before: Array, after: Array) -> float | None:
    """Return the step from the second number, as a share of the way to the first, that leaves least."""
    with np.errstate(all="ignore"):
        moved = after - before
        usable = np.isfinite(moved) & np.isfinite(after)
        weight = float(np.sum(moved[usable] ** 2))
        return float(np.sum(after[usable] * moved[usable])) / weight if weight > 0 else None


def _without_rates(observed: Trajectory) -> Trajectory:
    return [{key: value for key, value in record.items() if key != "learning_rate"} for record in observed]
