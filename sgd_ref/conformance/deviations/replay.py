"""Replaying a trajectory call by call: each from the state that was observed before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import Array
from sgd_ref.base import Call
from sgd_ref.conformance import reference
from sgd_ref.conformance.case import Case, Record, State, Trajectory
from sgd_ref.conformance.comparison import COUNTERS, LISTS, Difference, compare, equal_bits
from sgd_ref.conformance.deviations.registry import (
    COUNT_WRAPS,
    NORM_IN_ANOTHER_ORDER,
    RATE_FROZEN,
    RATE_NOT_ROUNDED,
    SCALE_WITHOUT_LIMITS,
    compose,
)
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import SMALLEST_NORMAL, LossScaleOptimizer
from sgd_ref.optimizer import SGD

NORM_UNITS = 4
"""Units in the last place by which a norm that is summed in another order may be off.

A sum of n squares, rounded after each addition, can be off by n/2 units and its root by half of that. The
standard cases have n = 109 at most, and sums that are not contrived are off by some sqrt(n)/4."""


@dataclass(frozen=True)
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
    rate : float or None
        The learning rate observed in the call; None for that of the case.
    frozen_rate : float or None
        That of a callable in the first call in which the same gradients were missing.
    """

    first: int
    case: Case
    observed: Trajectory
    rate: float | None = None
    frozen_rate: float | None = None

    def residual_units(self, names: Sequence[str]) -> float | None:
        """Return by how many units norms must be off for these deviations to give the observed bits.

        Returns
        -------
        float or None
            0 where norms have no part in it; None where there is no such number up to `NORM_UNITS`.
        """
        differing = self._differing(self._replayed(names, 0))
        if not differing:
            return 0.0
        config = self.case.config
        has_norms = config["clipnorm"] is not None or config["global_clipnorm"] is not None
        if not has_norms or NORM_IN_ANOTHER_ORDER not in names:
            return None
        for units in range(1, NORM_UNITS + 1):
            for signed in (units, -units):
                still_differing = self._differing(self._replayed(names, signed))
                # Each variable has a norm of its own, unless all share one.
                differing = differing & still_differing if config["clipnorm"] else still_differing
                if not differing:
                    return float(units)
        return None

    def first_difference(self, names: Sequence[str]) -> Difference | None:
        """Return the first element that these deviations give otherwise, if they give anything."""
        expected = self._replayed(names, 0)
        if expected is None:
            return None
        observed = [{**record, "learning_rate": None} for record in self.observed]
        difference = compare(self.case, expected, observed).first
        return None if difference is None else replace(difference, call=self.first + difference.call)

    def _replayed(self, names: Sequence[str], norm_units: int) -> list[Record] | None:
        """Return the records that these deviations give; None where the definition refuses the state."""
        if self._is_refused(names):
            return None
        optimizer, wrapper = _replaying(frozenset(names), norm_units)
        case = self.case
        if self.rate is None:
            optimizer, wrapper = compose(names)
        else:
            case = replace(case, learning_rate_calls=(self._given_rate(names),))
        return reference.run(case, optimizer, wrapper)

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

    def _given_rate(self, names: Sequence[str]) -> Any:
        """Return the learning rate for the call: float32, or float64 where that is the deviation."""
        is_callable = self.frozen_rate is not None
        rate = self.frozen_rate if is_callable and RATE_FROZEN in names else self.rate
        assert rate is not None
        is_wide = is_callable or float(np.float32(rate)) != rate
        return np.float64(rate) if is_wide and RATE_NOT_ROUNDED in names else np.float32(rate)

    def _differing(self, expected: list[Record] | None) -> set[str]:
        """Return the names of the variables that differ, and of what differs besides."""
        if expected is None:
            return {"everything"}
        differing = set()
        for wanted, given in zip(expected, self.observed, strict=True):
            for quantity in LISTS:
                arrays = zip(self.case.names, wanted[quantity], given.get(quantity) or (), strict=False)
                differing |= {
                    name for name, want, got in arrays if not equal_bits(want, np.asarray(got)).all()
                }
            for quantity in (*COUNTERS, "loss_scale"):
                pair = wanted.get(quantity), given.get(quantity)
                if None not in pair and pair[0] != pair[1]:
                    differing.add(quantity)
        return differing


def steps(case: Case, observed: Trajectory) -> list[Step]:
    """Return a step for every record, or one for the whole case where the state is not reported."""
    if not all(_reports_state(case, record) for record in observed[: len(case.gradients)]):
        return [Step(0, case, observed)]
    made = []
    state, variables = case.state, case.variables
    traced: dict[tuple[bool, ...], float] = {}
    for call, record in enumerate(observed):
        single = replace(case, state=state, variables=variables, gradients=case.gradients[call : call + 1])
        if call == len(case.gradients):
            made.append(Step(call, _with_constant_rate(single), (record,)))
        else:
            rate, frozen_rate = float(record["learning_rate"]), None
            if case.learning_rate_calls is not None:
                rate = case.learning_rate_calls[call]
                missing = tuple(gradient is None for gradient in case.gradients[call])
                frozen_rate = traced.setdefault(missing, rate)
            single = replace(_with_constant_rate(single), finalize=False)
            made.append(Step(call, single, (record,), rate, frozen_rate))
        state, variables = _state(case, record), tuple(record["variables"])
    return made


def _reports_state(case: Case, record: Record) -> bool:
    needed = {
        "calls": True,
        "learning_rate": True,
        "velocities": case.config["momentum"] != 0,
        "averages": case.config["use_ema"],
        "accumulators": case.config["gradient_accumulation_steps"] is not None,
        "loss_scale": case.loss_scaling is not None,
        "growth_counter": case.loss_scaling is not None,
    }
    return all(record.get(key) is not None for key, is_needed in needed.items() if is_needed)


def _state(case: Case, record: Record) -> State:
    scaled = case.loss_scaling is not None
    return State(
        calls=int(record["calls"]),
        velocities=tuple(record.get("velocities") or ()),
        averages=tuple(record.get("averages") or ()),
        accumulators=tuple(record.get("accumulators") or ()),
        loss_scale=record["loss_scale"] if scaled else None,
        growth_counter=record["growth_counter"] if scaled else None,
    )


def _with_constant_rate(case: Case) -> Case:
    """Return the case with some learning rate, which the observed one takes the place of."""
    return replace(case, config={**case.config, "learning_rate": 0.5}, learning_rate_calls=None)


class _GivenRate(SGD):
    """Uses what its callable learning rate returns as it is: float64, or NaN, too."""

    def _validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        given: Any = self._learning_rate
        self._learning_rate = np.float32(0)
        try:
            return super()._validated(gradients, variables)._replace(learning_rate=given())
        finally:
            self._learning_rate = given


@cache
def _replaying(names: frozenset[str], norm_units: int) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    optimizer, wrapper = compose(names)
    return type("Replaying", (_GivenRate, optimizer), {"norm_units": norm_units}), wrapper
