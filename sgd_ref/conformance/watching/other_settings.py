"""Settings that have another value in an optimizer than in its rule, and the value that it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.trajectories.comparison import LISTS
from sgd_ref.conformance.watching.window import Seen

NAMES = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "loss_scale_factor",
)
"""The settings that are looked at, the likeliest first."""

FEWEST_ELEMENTS = 8
"""The fewest elements that have to agree on a value, since one element agrees with some value of each."""

SMALLEST = 1e-300
"""Added to the units, so that none is 0."""

DIGITS = 9
"""The largest number of significant digits of a value."""


@dataclass(frozen=True)
class OtherSetting:
    """A setting with another value; the rule with this value explains what was seen.

    Attributes
    ----------
    name : str
        The setting.
    given : float or None
        The value that was stated or declared; None if it is off, or if there is another rate in each step.
    used : float
        The value that explains what was seen; without a `given` rate, the factor of the rates.
    calls : int or None
        If the value explains the first violation, but not all calls: the number of calls that it explains.

    Examples
    --------
    >>> print(OtherSetting("momentum", 0.9, 0.95))
    momentum=0.95 in place of 0.9
    >>> print(OtherSetting("learning_rate", None, 0.5, calls=3))
    learning_rate multiplied by 0.5 up to call 2
    """

    name: str
    given: float | None
    used: float
    calls: int | None = None

    def __str__(self) -> str:
        used = f"{self.used:.{DIGITS}g}"
        until = "" if self.calls is None else f" up to call {self.calls - 1}"
        if self.name == "learning_rate" and self.given is None:
            return f"{self.name} multiplied by {used}{until}"
        return f"{self.name}={used} in place of {_shown(self.given)}{until}"


def _shown(number: float | None) -> str:
    """Return a number as it was written, even if it has passed through float32."""
    if number is None:
        return "none"
    single = np.float32(number)
    return str(single) if float(single) == number else str(number)


def other_settings(seen: Seen) -> tuple[OtherSetting, ...]:
    """Return each setting whose value explains some steps by itself.

    A step is linear in each of these settings, or in its reciprocal. So two evaluations of the rule give the
    value; whether it explains all values of all steps is decided by the bounds of the rule.

    Parameters
    ----------
    seen : Seen
        The steps.

    Returns
    -------
    tuple of OtherSetting
        Those that explain all of the steps, or, if there are none, those that explain the first violation.
    """
    violation = fit(seen.case, (), seen.trajectory, basis=seen.basis).violation
    if violation is None:
        return ()
    found = list(_found(seen, violation.call))
    complete = [setting for setting in found if setting.calls is None]
    return tuple(complete or found)


def _found(seen: Seen, call: int) -> Iterator[OtherSetting]:
    for name in NAMES:
        if seen.case.config[name] is None and name.startswith(("clip", "global")):
            continue
        given, with_number = _setting(seen.case, name)
        with np.errstate(all="ignore"):
            number = _number(seen, call, given, with_number)
        if number is None:
            continue
        # The shortest of the values that explain most was meant.
        numbers = (0.0, *(float(f"{number:.{digits}g}") for digits in range(1, DIGITS)), number)
        best = call
        for shorter in numbers:
            explained = _calls(seen, with_number, shorter)
            if explained > best:
                number, best = shorter, explained
            if best == len(seen.trajectory):
                break
        if best <= call:
            continue
        calls = None if best == len(seen.trajectory) else best
        if name == "learning_rate" and seen.case.learning_rate_calls is not None:
            yield OtherSetting(name, None, number, calls)
        elif name != "loss_scale_factor":
            yield OtherSetting(name, seen.case.config[name], number, calls)
        elif number:
            yield OtherSetting(name, seen.case.config[name], _inverse(number), calls)


def _setting(case: Case, name: str) -> tuple[float, Callable[[float], Case]]:
    """Return the number in which a step is linear, and a function to the case with another number."""
    given = case.config[name]
    if name == "learning_rate" and case.learning_rate_calls is not None:
        rates = case.learning_rate_calls
        return 1.0, lambda factor: replace(case, learning_rate_calls=tuple(factor * rate for rate in rates))
    if name == "loss_scale_factor":
        return 1.0 if given is None else 1 / given, lambda number: _with(case, name, _inverse(number))
    return given or 0.0, lambda number: _with(case, name, number)


def _with(case: Case, name: str, number: float) -> Case:
    return replace(case, config={**case.config, name: number})


def _inverse(number: float) -> float:
    return float(f"{1 / number:.{DIGITS}g}") if number else float("inf")


def _number(seen: Seen, call: int, given: float, with_number: Callable[[float], Case]) -> float | None:
    """Return the number that fits a call best, by least squares in units in the last place, or None."""
    number, other = given, 0.5 * given or 0.01
    first = _record(seen, call, with_number(given) if given else seen.case)
    for attempt in range(3):
        second = _record(seen, call, with_number(other))
        if first is None or second is None:
            return number if attempt else None
        # A state is there only if its feature is on.
        records = seen.trajectory[call], first, second
        kept = tuple(quantity for quantity in LISTS if all(record.get(quantity) for record in records))
        observed, before, after = (_flat(record, kept) for record in records)
        largest = np.maximum(np.maximum(np.abs(observed), np.abs(before)), np.abs(after))
        units = largest * _flat(seen.trajectory[call], kept, _precision) + SMALLEST
        slope = (after - before) / (other - number) / units
        error = (observed - after) / units
        counts = np.isfinite(slope) & np.isfinite(error) & (slope != 0)
        if np.count_nonzero(counts) < FEWEST_ELEMENTS:
            return other if attempt else None
        moved = float(slope[counts] @ error[counts] / (slope[counts] @ slope[counts]))
        if abs(moved) <= 1e-6 * abs(other):
            return other + moved
        number, first, other = other, second, other + moved
    return other


def _record(seen: Seen, call: int, case: Case) -> Record | None:
    """Return what the rule gives after a call, in float64; None if no optimizer has such settings."""

    def wide(arrays: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(None if array is None else array.astype(FLOAT64) for array in arrays)

    state = case.state
    case = replace(
        case,
        variables=wide(case.variables),
        gradients=tuple(wide(gradients) for gradients in case.gradients[: call + 1]),
        state=None
        if state is None
        else replace(
            state,
            velocities=wide(state.velocities),
            averages=wide(state.averages),
            accumulators=wide(state.accumulators),
        ),
    )
    try:
        return seen.basis.run(case)[call]
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def _flat(
    record: Record, quantities: Sequence[str], of: Callable[[Array], Array] = lambda array: array
) -> Array:
    arrays = (array for quantity in quantities for array in record[quantity])
    return np.concatenate([of(array.reshape(-1)).astype(FLOAT64) for array in arrays])


def _precision(array: Array) -> Array:
    return np.full(array.shape, 2.0 ** -FORMATS[array.dtype].precision)


def _calls(seen: Seen, with_number: Callable[[float], Case], number: float) -> int:
    """Return how many calls the rule with a number explains."""
    try:
        return fit(with_number(number), (), seen.trajectory, basis=seen.basis).calls
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return 0
