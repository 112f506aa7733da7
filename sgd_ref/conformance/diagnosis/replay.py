"""Replaying a trajectory with known deviations: from the beginning, or each call from the observed state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.catalogue.case import Case, Record, State, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.deviations.registry import (
    COUNT_WRAPS,
    NORM_IN_ANOTHER_ORDER,
    SCALE_WITHOUT_LIMITS,
    compose,
)
from sgd_ref.conformance.diagnosis.replayed_rates import Rate, Rates, Schedules
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, Difference, compare, same_bits
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import SMALLEST_NORMAL, LossScaleOptimizer
from sgd_ref.optimizer import SGD

NORM_UNITS = 4
"""The largest error, in units in the last place, of a norm that is summed in another order.

The error of a sum of n squares, rounded after each addition, can be n/2 units, and that of its root half as
much. The standard cases have n = 109 at most. In practice such a sum is off by about sqrt(n)/4 units, and no
norm of Keras was off by more than 2."""


class Match(NamedTuple):
    """How a replay gives the observed bits: the learning rate, and the error of the rate or of norms."""

    rate: Rate | None
    units: float


@dataclass(frozen=True, eq=False)
class Step:
    """Calls to replay, and the records that were observed after them.

    Attributes
    ----------
    first : int
        The first call, counted from 0.
    case : Case
        One call that starts from the state observed before it, or a whole case.
    observed : sequence of dict
        A record for each call.
    rates : Rates or None
        The possible learning rates of the call; None for the rate of the case.
    basis : Basis
        The rule that deviations are added to.
    """

    first: int
    case: Case
    observed: Trajectory
    rates: Rates | None = None
    basis: Basis = DEFINITION

    def match(self, names: Sequence[str], known_rate: Rate | None = None) -> Match | None:
        """Return how these deviations give the observed bits; None if they do not.

        Parameters
        ----------
        names : sequence of str
            Names of deviations.
        known_rate : float32 or float64, optional
            If given, only this one of the possible rates is tried.
        """
        if self._is_refused(names):
            return None
        if self.rates is None:
            norm_units = self._norm_units(names, None)
            return None if norm_units is None else Match(None, norm_units)
        for rate, units in self.rates.possible((*self.basis.names, *names)):
            if units == 0 or known_rate is None or self.rates.reported is not None or rate == known_rate:
                norm_units = self._norm_units(names, rate)
                if norm_units is not None:
                    return Match(rate, max(units, norm_units))
        return None

    def difference(self, names: Sequence[str]) -> Difference | None:
        """Return the first element in which the result of these deviations differs, if there is a result."""
        if self._is_refused(names):
            return None
        rate = None
        if self.rates is not None:
            rate, _ = next(self.rates.possible((*self.basis.names, *names)), (None, 0.0))
            if rate is None:
                documented, reported = _only_rate(self.rates.documented), _only_rate(self.rates.reported)
                return self._moved(compare(self.case, documented, reported).first)
        expected = self._replayed(names, rate, 0)
        observed = [{**record, "learning_rate": None} for record in self.observed]
        return self._moved(compare(self.case, expected, observed).first)

    def _moved(self, difference: Difference | None) -> Difference | None:
        return None if difference is None else replace(difference, call=self.first + difference.call)

    def _norm_units(self, names: Sequence[str], rate: Rate | None) -> float | None:
        """Return the error of norms, in units, that gives the observed bits, if there is such an error."""
        differing = self._differing(self._replayed(names, rate, 0))
        if not differing:
            return 0.0
        config = self.case.config
        has_norms = config["clipnorm"] is not None or config["global_clipnorm"] is not None
        if not has_norms or NORM_IN_ANOTHER_ORDER not in names:
            return None
        for units in range(1, NORM_UNITS + 1):
            for signed in (units, -units):
                still_differing = self._differing(self._replayed(names, rate, signed))
                # Each variable has a norm of its own, unless all share one.
                differing = differing & still_differing if config["clipnorm"] else still_differing
                if not differing:
                    return float(units)
        return None

    def _replayed(self, names: Sequence[str], rate: Rate | None, norm_units: int) -> list[Record]:
        """Return the records that result from these deviations."""
        if rate is None:
            return self.basis.run(self.case, names)
        given: Any = (rate,)
        case = replace(self.case, learning_rate_calls=given)
        return reference.run(case, *_replaying(frozenset(names), norm_units, self.basis))

    def _is_refused(self, names: Sequence[str]) -> bool:
        """Whether no optimizer with these deviations can be in the state."""
        state = self.case.state
        if state is None:
            return False
        if state.calls < 0 and COUNT_WRAPS not in names:
            return True
        scale = state.loss_scale
        in_range = scale is None or SMALLEST_NORMAL <= scale < np.inf
        return (state.growth_counter or 0) < 0 or (not in_range and SCALE_WITHOUT_LIMITS not in names)

    def _differing(self, expected: list[Record]) -> set[str]:
        """Return the names of the variables that differ, and of other quantities that differ."""
        differing = set()
        for wanted, given in zip(expected, self.observed, strict=True):
            for quantity in LISTS:
                arrays = zip(self.case.names, wanted[quantity], given.get(quantity) or (), strict=False)
                differing |= {name for name, want, got in arrays if not same_bits(want, got)}
            for quantity in (*COUNTERS, "loss_scale"):
                pair = wanted.get(quantity), given.get(quantity)
                if None not in pair and pair[0] != pair[1]:
                    differing.add(quantity)
        return differing


def replayed(case: Case, names: Sequence[str], base: type[SGD] = SGD) -> Trajectory:
    """Return the trajectory that deviations give, from the beginning of a case.

    Parameters
    ----------
    case : Case
        The case.
    names : sequence of str
        Names of deviations.
    base : subclass of SGD, optional
        A faithful variant that the deviations are added to, in place of the reference.
    """
    return reference.run(case, *compose(names, base))


def steps(case: Case, observed: Trajectory, basis: Basis = DEFINITION) -> list[Step]:
    """Return a step for every record, or one step for the whole case if the state is not reported."""
    if not all(reports_state(case, record) for record in observed[: len(case.gradients)]):
        return [Step(0, case, observed, basis=basis)]
    made = []
    schedules = Schedules(case)
    state, variables = case.state, case.variables
    values_when_traced: dict[tuple[bool, ...], float] = {}
    for call, record in enumerate(observed):
        # The learning rate of the call replaces this one.
        single = replace(
            case,
            config={**case.config, "learning_rate": 0.5},
            learning_rate_calls=None,
            variables=variables,
            gradients=case.gradients[call : call + 1],
            state=state,
            finalize=call == len(case.gradients),
        )
        rates = None
        if call < len(case.gradients):
            given = traced = None
            if case.learning_rate_calls is not None:
                given = case.learning_rate_calls[call]
                missing = tuple(gradient is None for gradient in case.gradients[call])
                traced = values_when_traced.setdefault(missing, given)
            calls = 0 if state is None else state.calls
            rates = Rates(schedules, calls, record.get("learning_rate"), given, traced)
        made.append(Step(call, single, (record,), rates, basis))
        state, variables = state_after(case, record), tuple(record["variables"])
    return made


def reports_state(case: Case, record: Record) -> bool:
    """Whether a record has all of the state that a case needs to go on."""
    needed = {
        "calls": True,
        "velocities": case.config["momentum"] != 0,
        "averages": case.config["use_ema"],
        "accumulators": case.config["gradient_accumulation_steps"] is not None,
        "loss_scale": case.loss_scaling is not None,
        "growth_counter": case.loss_scaling is not None,
    }
    return all(record.get(key) is not None for key, is_needed in needed.items() if is_needed)


def state_after(case: Case, record: Record) -> State:
    """Return the state that a record reports."""
    scaled = case.loss_scaling is not None
    return State(
        calls=int(record["calls"]),
        velocities=tuple(record.get("velocities") or ()),
        averages=tuple(record.get("averages") or ()),
        accumulators=tuple(record.get("accumulators") or ()),
        loss_scale=record["loss_scale"] if scaled else None,
        growth_counter=record["growth_counter"] if scaled else None,
    )


def _only_rate(rate: Any) -> list[Record]:
    return [{**dict.fromkeys(LISTS, ()), "learning_rate": rate}]


class _GivenRate(SGD):
    """An optimizer that uses the value of its callable learning rate unrounded and unchecked, even NaN."""

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        given: Any = self.rate_source
        self.rate_source = np.float32(0)
        try:
            return super().validated(gradients, variables)._replace(learning_rate=given())
        finally:
            self.rate_source = given


@cache
def _replaying(
    names: frozenset[str], norm_units: int, basis: Basis
) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    optimizer, wrapper = basis.composed(names)
    return type("Replaying", (_GivenRate, optimizer), {"norm_units": norm_units}), wrapper
