"""Settings that have another value in an implementation than in its rule, and the value that it uses.

Most mistakes that nobody has listed are a factor: a setting that is squared or halved, gradients that are
divided once more. The rule has the same form with another value, and this value can be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.work import FIT, Work, work_of
from sgd_ref.conformance.trajectories.comparison import LISTS, compare
from sgd_ref.gradients import SparseRows

NAMES = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "ema_momentum",
    "loss_scale_factor",
)
"""The settings that are looked at, the likeliest first."""

FEWEST_ELEMENTS = 8
"""The fewest elements that have to agree on a value, since one element agrees with some value of each."""

MUCH_LESS = 0.6
"""The largest share of the elements with other bits that a value may leave, since bounds may be wide."""

SMALLEST = 1e-300
"""Added to the units, so that none is 0."""

NEAR = 0.9
"""The share of elements that must be near for a value to be tried: to half of the digits of their dtype."""

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
        The value of the case; None if it is off, or if there is another rate in each call.
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


def other_settings(
    case: Case,
    observed: Trajectory,
    is_state_hidden: bool = False,
    basis: Basis = DEFINITION,
    work: Work | None = None,
    share_left: float = MUCH_LESS,
) -> tuple[OtherSetting, ...]:
    """Return each setting whose value explains a divergence by itself.

    A call is linear in each of these settings, or in its reciprocal. So two evaluations of the rule give the
    value; whether it explains all values of all calls is decided by the bounds of the rule.

    Parameters
    ----------
    case, observed, is_state_hidden, basis
        As for ``diagnose``.
    work : Work, optional
        Counts the calls that are made.
    share_left : float, optional
        The largest share of the elements with other bits than the rule gives that a value may leave with
        other bits than its own.

    Returns
    -------
    tuple of OtherSetting
        Those that explain all calls, or, if there are none, those that explain the first violation.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "axes/momentum/decay")
    >>> wrong = DEFINITION.run(replace(case, config={**case.config, "weight_decay": 0.25}))
    >>> [str(setting) for setting in other_settings(case, wrong)]
    ['weight_decay=0.25 in place of 0.0625']
    """
    if case.made is not None:
        return ()
    search = _Search(case, observed, is_state_hidden, basis, work, share_left)
    violation = search.fitted(case).violation
    if violation is None:
        return ()
    found = list(search.found(violation.call))
    complete = [setting for setting in found if setting.calls is None]
    return tuple(complete or found)


@dataclass(frozen=True)
class _Search:
    case: Case
    observed: Trajectory
    is_state_hidden: bool
    basis: Basis
    work: Work | None
    share_left: float

    def found(self, call: int) -> Iterator[OtherSetting]:
        """Yield the settings with another value that explains the violation of a call."""
        differing = compare(self.case, self.basis.run(self.case), self.observed).differing
        for name in NAMES:
            if not self.case.config[name] and name.startswith(("clip", "global", "ema")):
                continue
            # With dynamic loss scaling, a schedule does not count the calls that are skipped.
            if name == "learning_rate" and _has_rates(self.case) and self.case.loss_scaling is not None:
                continue
            given, with_number = _setting(self.case, name)
            with np.errstate(all="ignore"):
                number = self._number(call, given, with_number)
            found = None if number is None else self._shortest(name, with_number, number, call)
            if found is None:
                continue
            number, best = found
            if best.fits and best.differing > self.share_left * differing:
                continue
            calls = None if best.fits else best.calls
            if name == "learning_rate" and _has_rates(self.case):
                yield OtherSetting(name, None, number, calls)
            elif name != "loss_scale_factor":
                yield OtherSetting(name, self.case.config[name], number, calls)
            elif number:
                yield OtherSetting(name, self.case.config[name], _inverse(number), calls)

    def _shortest(
        self, name: str, with_number: Callable[[float], Case], number: float, call: int
    ) -> tuple[float, Fit] | None:
        """Return the shortest of the numbers near to one that explain most; None if none explains a call."""
        rounded = [float(f"{number:.{digits}g}") for digits in range(1, DIGITS)]
        fits: dict[float, Fit | None] = {}

        def explained(candidate: float) -> int:
            if candidate not in fits:
                fits[candidate] = self._fit(name, with_number, candidate)
            found = fits[candidate]
            return 0 if found is None else found.calls

        if not any(explained(candidate) > call for candidate in (number, 0.0, *rounded[:3])):
            return None
        shortest, most = number, -1
        for candidate in (0.0, *rounded, number):
            if explained(candidate) > most:
                shortest, most = candidate, explained(candidate)
            # Nothing can explain more.
            if most == len(self.observed):
                break
        best = fits[shortest]
        return None if best is None else (shortest, best)

    def fitted(self, case: Case, observed: Trajectory | None = None) -> Fit:
        """Return how well what was observed fits the rule in a case with another setting."""
        shown = self.observed if observed is None else observed
        fitted = fit(case, (), shown, self.is_state_hidden, self.basis)
        if self.work is not None:
            self.work.add(FIT * work_of(case, fitted.calls + 1))
        return fitted

    def _fit(self, name: str, with_number: Callable[[float], Case], number: float) -> Fit | None:
        # Who uses another rate may still report the given one.
        shown = _without_rates(self.observed) if name == "learning_rate" else self.observed
        try:
            return self.fitted(with_number(number), shown)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None

    def _number(self, call: int, given: float, with_number: Callable[[float], Case]) -> float | None:
        """Return the number that fits a call best, by least squares in units in the last place, or None."""
        number, other = given, 0.5 * given or 0.01
        first = self._record(call, with_number(given) if given else self.case)
        for attempt in range(3):
            second = self._record(call, with_number(other))
            if first is None or second is None:
                return number if attempt else None
            # A state is there only if its feature is on.
            records = self.observed[call], first, second
            kept = tuple(quantity for quantity in LISTS if all(record.get(quantity) for record in records))
            observed, before, after = (_flat(record, kept) for record in records)
            largest = np.maximum(np.maximum(np.abs(observed), np.abs(before)), np.abs(after))
            precision = _flat(self.observed[call], kept, _precision)
            units = largest * precision + SMALLEST
            slope = (after - before) / (other - number) / units
            error = (observed - after) / units
            counts = np.isfinite(slope) & np.isfinite(error) & (slope != 0)
            if np.count_nonzero(counts) < FEWEST_ELEMENTS:
                return other if attempt else None
            moved = float(slope[counts] @ error[counts] / (slope[counts] @ slope[counts]))
            if abs(moved) <= 1e-6 * abs(other):
                left = np.abs(error - np.where(counts, slope, 0.0) * moved)[np.isfinite(error)]
                half = 2.0 ** np.ceil(-np.log2(precision) / 2)[np.isfinite(error)]
                return other + moved if np.mean(left <= half) >= NEAR else None
            number, first, other = other, second, other + moved
        return other

    def _record(self, call: int, case: Case) -> Record | None:
        """Return what the rule gives after a call, in float64; None if no optimizer has such settings."""
        if self.work is not None:
            self.work.add(work_of(case, call + 1))
        try:
            return self.basis.run(_in_float64(case, call + 1))[call]
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None


def _in_float64(case: Case, calls: int) -> Case:
    """Return the beginning of a case, with all arrays in float64."""

    def wide(arrays: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            SparseRows(array.indices, array.values.astype(FLOAT64), array.shape)
            if isinstance(array, SparseRows)
            else None
            if array is None
            else array.astype(FLOAT64)
            for array in arrays
        )

    state = case.state
    return replace(
        case,
        variables=wide(case.variables),
        gradients=tuple(wide(gradients) for gradients in case.gradients[:calls]),
        state=None
        if state is None
        else replace(
            state,
            velocities=wide(state.velocities),
            averages=wide(state.averages),
            accumulators=wide(state.accumulators),
        ),
    )


def _has_rates(case: Case) -> bool:
    """Whether the rate of a case is not one number."""
    return case.learning_rate_calls is not None or isinstance(case.config["learning_rate"], dict)


def _setting(case: Case, name: str) -> tuple[float, Callable[[float], Case]]:
    """Return the number in which a call is linear, and a function to the case with another number."""
    given = case.config[name]
    if name == "learning_rate" and _has_rates(case):
        rates = case.learning_rate_calls or tuple(case.rate(call) for call in range(len(case.gradients)))
        plain = {**case.config, "learning_rate": None}
        return 1.0, lambda factor: replace(
            case, config=plain, learning_rate_calls=tuple(factor * rate for rate in rates)
        )
    if name == "loss_scale_factor":
        return 1.0 if given is None else 1 / given, lambda number: _with(case, name, _inverse(number))
    return given or 0.0, lambda number: _with(case, name, number)


def _with(case: Case, name: str, number: float) -> Case:
    return replace(case, config={**case.config, name: number})


def _inverse(number: float) -> float:
    return float(f"{1 / number:.{DIGITS}g}") if number else float("inf")


def _flat(
    record: Record, quantities: Sequence[str], of: Callable[[Array], Array] = lambda array: array
) -> Array:
    arrays = [of(np.ravel(array)).astype(FLOAT64) for quantity in quantities for array in record[quantity]]
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _precision(array: Array) -> Array:
    return np.full(array.shape, 2.0 ** -FORMATS[array.dtype].precision)


def _without_rates(observed: Trajectory) -> Trajectory:
    return [{key: value for key, value in record.items() if key != "learning_rate"} for record in observed]
