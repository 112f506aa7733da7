"""Whether some evaluation of a deviating rule gives a trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.bounds import rate
from sgd_ref.conformance.bounds.off import state_of_nothing
from sgd_ref.conformance.bounds.running_error.array import TermedArray, allowance
from sgd_ref.conformance.bounds.running_error.optimizer import composed, known
from sgd_ref.conformance.bounds.violation import DIGITS, DIGITS_OF_SINGLE, Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.deviations.moments import earlier_velocity, go_on
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, equal_bits
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD

Rule = tuple[type[SGD], type[LossScaleOptimizer]]
"""An optimizer and its wrapper, as ``running_error.optimizer.composed`` returns them."""


@dataclass(frozen=True)
class Fit:
    """How well a trajectory fits a rule.

    Attributes
    ----------
    violation : Violation or None
        The first value that no evaluation of the rule gives; None if all values fit.
    is_exact : bool
        Whether all values before the violation have the very bits of the rule.
    calls : int
        Number of records before the violation.
    differing : int
        Number of elements before the violation that have other bits than the rule: the fewer, the better the
        rule is supported, since bounds may be wide.
    """

    violation: Violation | None
    is_exact: bool
    calls: int
    differing: int = 0

    @property
    def fits(self) -> bool:
        """Whether every value is possible."""
        return self.violation is None


def fit(
    case: Case,
    names: Collection[str],
    observed: Trajectory,
    is_state_hidden: bool = False,
    basis: Basis = DEFINITION,
) -> Fit:
    """Return how well a trajectory fits the reference with some deviations.

    Each call starts from the values that were reported after the call before, unless the state is hidden.
    State that is not reported, and the internal state of a deviation, are carried on. A norm that is rounded
    to infinity may have been kept in a wider dtype, in all calls. If the reported rates
    are not those of the rule, the reported ones may have been used unchanged; if none are reported, so may
    the float64 that a callable returns or that the formula of a schedule gives.

    Parameters
    ----------
    case : Case
        The case; it must not be one whose arrays are compared by digests.
    names : collection of str
        Names of deviations; none for the reference itself, with bounds wider than those of ``judge``.
    observed : trajectory
        Of the form that ``check_form`` checks.
    is_state_hidden : bool, default False
        Whether the state may be wider than the reported one.
    basis : Basis, optional
        The rule that the deviations are added to.

    Raises
    ------
    ValueError
        If there is no deviation of one of the names.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> fit(case, [], reference.run(case))
    Fit(violation=None, is_exact=True, calls=9, differing=0)
    """
    chosen = frozenset(names)
    used: list[Any] = []
    best = _fit(case, partial(composed, chosen, basis), observed, is_state_hidden, used=used)
    others = [] if best.fits else list(_other_rates(case, observed, used))
    if not others:
        return best
    # The rates of the rule itself, if the reported rates are near them.
    own = _rates(case, chosen, basis)
    for other in others:
        if best.violation is None or best.violation.quantity == "learning_rate":
            break
        found = _fit(other, partial(with_given_rates, chosen, basis), observed, is_state_hidden, own)
        if found.calls > best.calls:
            best = found
    return best


def _other_rates(case: Case, observed: Trajectory, used: Sequence[Any]) -> Iterator[Case]:
    """Yield the case with other rates than those used: the reported ones, and those of float64."""
    reported: Any = tuple(record.get("learning_rate") for record in observed[: len(case.gradients)])
    # With equal rates in every call up to the violation, there would be the same violation.
    if None not in reported and any(map(_are_unequal, reported, used)):
        yield replace(case, learning_rate_calls=tuple(float(rate) for rate in reported))
    has_double = any(variable.dtype == FLOAT64 for variable in case.variables)
    if not has_double or (case.learning_rate_calls is None and case.config["learning_rate"] is None):
        return
    # A rate that was reported says how it was rounded.
    if isinstance(case.config["learning_rate"], dict) and reported[:1] != (None,):
        return
    given = rate.Rates(case).in_double
    if any(one != float(np.float32(one)) for one in given):
        yield replace(case, learning_rate_calls=given)


def _rates(case: Case, names: frozenset[str], basis: Basis) -> list[Any]:
    try:
        return [record.get("learning_rate") for record in basis.run(case, names)]
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return []


def _fit(
    case: Case,
    rule: Callable[[bool], Rule],
    observed: Trajectory,
    is_state_hidden: bool,
    own_rates: Sequence[Any] | None = None,
    used: list[Any] | None = None,
) -> Fit:
    """Return how well a trajectory fits a rule, and add the rates that it uses to `used`.

    `rule` is called with whether a norm is kept in a wider dtype where its own has infinity.
    """
    found, norm_overflowed = _fit_of(case, rule(False), observed, is_state_hidden, own_rates, used)
    if found.fits or not norm_overflowed:
        return found
    kept, _ = _fit_of(case, rule(True), observed, is_state_hidden, own_rates, None)
    return replace(kept, is_exact=False) if kept.calls > found.calls else found


def _fit_of(
    case: Case,
    rule: Rule,
    observed: Trajectory,
    is_state_hidden: bool,
    own_rates: Sequence[Any] | None,
    used: list[Any] | None,
) -> tuple[Fit, bool]:
    """Return the same for one way to keep the norm, and whether a norm overflowed."""
    differing = 0
    call = -1
    optimizer: Any = None
    try:
        for call, (optimizer, variables, wanted) in enumerate(reference.records(case, *rule)):
            given = observed[call]
            if used is not None:
                used.append(wanted.get("learning_rate"))
            if own_rates is not None:
                wanted["learning_rate"] = own_rates[call] if call < len(own_rates) else None
            of_nothing = next(state_of_nothing(call, case, given), None)
            if of_nothing is not None:
                return Fit(of_nothing, differing == 0, call, differing), norm_overflowed(optimizer)
            for violation, unequal in compared(case, call, optimizer, wanted, given):
                if violation is not None:
                    return Fit(violation, differing == 0, call, differing), norm_overflowed(optimizer)
                differing += unequal
            if not is_state_hidden:
                go_on_from(optimizer, variables, given)
    # With these deviations, such a state or such a rate may be impossible.
    except (ArithmeticError, LookupError, TypeError, ValueError):
        call += 1
        stopped = Violation(call, "calls", "", (), math.nan, math.nan, math.nan)
        return Fit(stopped, differing == 0, call, differing), norm_overflowed(optimizer)
    return Fit(None, differing == 0, len(observed), differing), norm_overflowed(optimizer)


def _are_unequal(reported: Any, used: Any) -> bool:
    return used is None or float(reported) != float(used)


def allowances(
    case: Case,
    names: Collection[str],
    observed: Trajectory,
    is_state_hidden: bool = False,
    basis: Basis = DEFINITION,
) -> Iterator[dict[str, list[Array]]]:
    """Yield for each record how far another evaluation of a rule may be from its first one.

    Each call starts from the values that were reported, as for `fit`. Where terms may overflow, the distance
    is infinite.

    Parameters
    ----------
    case, names, observed, is_state_hidden, basis
        As for `fit`.

    Yields
    ------
    dict of str to list of ndarray of float64
        For each quantity that the record has, the distance for each element of each variable.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> distances = next(allowances(case, [], reference.run(case)))["variables"][0]
    >>> distances.shape == case.variables[0].shape
    True
    """
    rule = composed(frozenset(names), basis)
    for (optimizer, variables, wanted), given in zip(reference.records(case, *rule), observed, strict=False):
        inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
        yield {
            quantity: [
                _distance(_termed(inner, quantity, position, array))
                for position, array in enumerate(wanted[quantity])
            ]
            for quantity in LISTS
            if wanted[quantity]
        }
        if not is_state_hidden:
            go_on_from(optimizer, variables, given)


def _distance(array: TermedArray) -> Array:
    with np.errstate(all="ignore"):
        may_overflow = ~(array.terms <= float(FORMATS[array.dtype].largest))
        return np.asarray(np.where(may_overflow, math.inf, allowance(array)))


def compared(
    case: Case, call: int, optimizer: Any, wanted: Record, given: Record
) -> Iterator[tuple[Violation | None, int]]:
    """Yield for each reported quantity the first impossible value, and how many elements have other bits.

    Parameters
    ----------
    case : Case
        The case.
    call : int
        The call that was made.
    optimizer : SGD or LossScaleOptimizer
        The optimizer from ``running_error.optimizer.composed``, after this call.
    wanted, given : dict
        Its record, and the one that was observed.
    """
    for quantity in (*COUNTERS, "loss_scale"):
        want, got = wanted.get(quantity), given.get(quantity)
        if want is not None and got is not None and float(want) != float(got):
            yield Violation(call, quantity, "", (), float(got), float(want), float(want)), 1
    rate, reported = wanted.get("learning_rate"), given.get("learning_rate")
    if rate is not None and reported is not None and not _is_near_rate(case, float(rate), float(reported)):
        yield Violation(call, "learning_rate", "", (), float(reported), float(rate), float(rate)), 1
    inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
    for quantity in LISTS:
        if not (wanted[quantity] and given.get(quantity)):
            continue
        for position, (want, got) in enumerate(zip(wanted[quantity], given[quantity], strict=True)):
            place = call, quantity, position
            found = _of_array(case, place, _termed(inner, quantity, position, want), got)
            early = earlier_velocity(inner, position) if quantity == "velocities" else None
            if found[1] and early is not None:
                sooner = _of_array(case, place, known(np.asarray(early), early), got)
                found = min(found, sooner, key=lambda one: (one[0] is not None, one[1]))
            yield found


def _is_near_rate(case: Case, rate: float, reported: float) -> bool:
    with np.errstate(all="ignore"):
        single, seen = np.float32(rate), np.float32(reported)
        if single == seen or (np.isnan(single) and np.isnan(seen)):
            return True
        return bool(abs(rate - reported) <= case.learning_rate_units * np.spacing(np.abs(single)))


def _termed(optimizer: Any, quantity: str, position: int, array: Array) -> TermedArray:
    values = optimizer.termed
    if values is None:
        return known(array, None)
    kept = getattr(values, quantity)
    found = known(array, kept[position] if kept else None)
    # These averages were written over the variables.
    if quantity == "variables" and found.roundings == 0 and values.averages:
        return known(array, values.averages[position])
    return found


def norm_overflowed(optimizer: Any) -> bool:
    """Whether a norm was rounded to infinity in some call of an optimizer that ``composed`` returns."""
    inner: Any = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
    return inner is not None and bool(inner.norm_overflowed)


def _of_array(
    case: Case, place: tuple[int, str, int], want: TermedArray, got: Any
) -> tuple[Violation | None, int]:
    call, quantity, position = place
    plain, observed = np.asarray(want), np.asarray(got)
    equal = equal_bits(plain, observed)
    if equal.all():
        return None, 0
    unequal = int(np.count_nonzero(~equal))
    with np.errstate(all="ignore"):
        center, value = plain.astype(FLOAT64), observed.astype(FLOAT64)
        margin = allowance(want)
        near = np.isfinite(center) & np.isfinite(value) & (np.abs(value - center) <= margin)
        # Terms whose sum exceeds the largest number may or may not have overflowed on the way.
        largest = float(FORMATS[plain.dtype].largest)
        may_overflow = np.isfinite(want.terms) & ((want.terms > largest) | ~np.isfinite(center))
        possible = equal | (near & (margin > 0)) | may_overflow
    wrong = np.argwhere(~possible)
    if not len(wrong):
        return None, unequal
    element = tuple(int(index) for index in wrong[0])
    middle, side = float(center[element]), float(margin[element])
    violation = Violation(
        call,
        quantity,
        case.names[position],
        element,
        float(value[element]),
        # Then only an infinity is possible.
        middle - side if math.isfinite(middle) else middle,
        middle + side if math.isfinite(middle) else middle,
        bool(np.isnan(center[element])),
        DIGITS if plain.dtype == FLOAT64 else DIGITS_OF_SINGLE,
    )
    return violation, unequal


def go_on_from(optimizer: Any, variables: Sequence[Array], given: Record) -> None:
    """Start the next call of an optimizer from the reported values."""
    held = {"variables": variables, **{name: getattr(optimizer, name) for name in LISTS[1:]}}
    for quantity, arrays in held.items():
        for array, reported in zip(arrays, given.get(quantity) or (), strict=False):
            array[...] = reported
    go_on(optimizer)


class _GivenRate(SGD):
    """An optimizer that uses the value of its callable learning rate unrounded and unchecked, even NaN."""

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        given: Any = self.rate_source
        self.rate_source = np.float32(0)
        try:
            rate: Any = np.float64(given())
            return super().validated(gradients, variables)._replace(learning_rate=rate)
        finally:
            self.rate_source = given


@cache
def with_given_rates(names: frozenset[str], basis: Basis, keeps_norm: bool = False) -> Rule:
    """Return what ``running_error.optimizer.composed`` does, with rates used as the float64 that they are.

    >>> with_given_rates(frozenset(["ascends"]), DEFINITION)[0].__name__
    'TermedRule'
    """
    optimizer, wrapper = composed(names, basis, keeps_norm)
    return type("TermedRule", (_GivenRate, optimizer), {}), wrapper
