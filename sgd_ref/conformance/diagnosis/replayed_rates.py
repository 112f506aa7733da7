"""The possible learning rates of a call, for a set of deviations."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.deviations.observed.schedules import WithReplacedSchedule
from sgd_ref.conformance.deviations.registry import (
    DEVIATIONS,
    RATE_FROZEN,
    RATE_NOT_ROUNDED,
    SCHEDULE_IN_FLOAT32,
)
from sgd_ref.conformance.trajectories.comparison import equal_bits, units_apart
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import CosineDecayRestarts, LearningRateSchedule
from sgd_ref.schedules.base import FormulaSchedule

Rate = np.floating[Any]

COSINE_UNITS = 2
"""The largest error of a cosine in float32, in units in the last place of float32; 1 has been seen."""

FLOAT64_UNITS = 4
"""The largest error of a schedule in float64, in units in the last place of float64; 1 has been seen."""


class Schedules:
    """The learning rates of a case, with every deviation that replaces its schedule."""

    def __init__(self, case: Case) -> None:
        self.units = case.learning_rate_units
        self._case = case
        self._made: dict[type[SGD], Any] = {}

    def deviating(self, names: Collection[str], calls: int) -> list[Rate]:
        """Return the rates of some deviations at a count of calls, without the documented rate."""
        if not isinstance(self._learning_rate(SGD), LearningRateSchedule):
            return []
        classes = (DEVIATIONS[name].optimizer for name in names if name != SCHEDULE_IN_FLOAT32)
        rates = [
            self.value(deviating, calls)
            for deviating in classes
            if issubclass(deviating, WithReplacedSchedule)
        ]
        documented = np.asarray(self.value(SGD, calls))
        return [rate for rate in rates if not equal_bits(np.asarray(rate), documented)]

    def value(self, optimizer_class: type[SGD], calls: int) -> Rate:
        """Return the rate at a count of calls; NaN if the definition has none, as for negative counts."""
        learning_rate = self._learning_rate(optimizer_class)
        if not isinstance(learning_rate, LearningRateSchedule):
            return np.float32(learning_rate)
        try:
            return learning_rate(calls)
        except ValueError:
            return np.float32(math.nan)

    def in_float64(self, calls: int) -> list[Rate]:
        """Return the schedule for unrounded settings, rounded to float64, if the deviations use it.

        The result may also contain a cosine that was rounded to float32 and is off by some units.
        """
        schedule = self._learning_rate(SGD)
        in_use = any(variable.dtype == FLOAT64 for variable in self._case.variables)
        if not in_use or not isinstance(schedule, FormulaSchedule):
            return []
        given = schedule.get_config()
        settings = SimpleNamespace(
            **{name: Fraction(value) for name, value in given.items() if type(value) in (int, float)}
        )
        values = [schedule.formula(calls, settings, exact)]
        if isinstance(schedule, CosineDecayRestarts):
            units = range(-COSINE_UNITS, COSINE_UNITS + 1)
            values += [schedule.formula(calls, settings, _with_cosine_in_float32(off)) for off in units]
        return [nearest(value, FLOAT64) for value in dict.fromkeys(values)]

    def _learning_rate(self, optimizer_class: type[SGD]) -> Any:
        if optimizer_class not in self._made:
            self._made[optimizer_class] = optimizer_class.from_config(self._case.config).rate_source
        return self._made[optimizer_class]


class Rates:
    """The learning rate of one call: the reported rate, or any rate that the deviations give.

    Parameters
    ----------
    schedules : Schedules
        The schedules of the case.
    calls : int
        The count of calls that the implementation reported before this call.
    reported : float or None
        The rate that it reported.
    given, traced : float or None
        For a callable, its value in this call, and in the first call in which the same gradients were
        missing.
    """

    def __init__(
        self,
        schedules: Schedules,
        calls: int,
        reported: float | None,
        given: float | None = None,
        traced: float | None = None,
    ) -> None:
        self.reported = reported
        self._schedules = schedules
        self._calls = calls
        self._given = given
        self._traced = traced

    def possible(self, names: Collection[str]) -> Iterator[tuple[Rate, float]]:
        """Yield the rates that the call may have used, float32 or float64, each with its error in units.

        If a rate was reported, only that one.
        """
        if self._given is not None:
            if self.reported is None or np.float32(self.reported) == self.documented:
                rate = self._traced if self._traced is not None and RATE_FROZEN in names else self._given
                yield (np.float64(rate) if RATE_NOT_ROUNDED in names else np.float32(rate)), 0.0
            return
        units = self._schedules.units if SCHEDULE_IN_FLOAT32 in names else 0
        rates = [self.documented, *self._schedules.deviating(names, self._calls)]
        if self.reported is None:
            yield from _around(rates, units)
            if RATE_NOT_ROUNDED in names:
                yield from _around(self._schedules.in_float64(self._calls), min(units, FLOAT64_UNITS))
        else:
            distance = min(_distance(rate, self.reported) for rate in rates)
            if distance <= units:
                is_wide = RATE_NOT_ROUNDED in names and _is_wide(self.reported)
                yield (np.float64 if is_wide else np.float32)(self.reported), distance

    @property
    def documented(self) -> Rate:
        """The rate of the definition; NaN if it has none."""
        return np.float32(self._given) if self._given is not None else self._schedules.value(SGD, self._calls)


def _around(rates: list[Rate], units: int) -> Iterator[tuple[Rate, float]]:
    """Yield the rates, then the numbers one unit away from them, and so on."""
    yield from ((rate, 0.0) for rate in rates)
    above, below = list(rates), list(rates)
    for distance in range(1, units + 1):
        above = [np.nextafter(rate, rate.dtype.type(math.inf)) for rate in above]
        below = [np.nextafter(rate, rate.dtype.type(-math.inf)) for rate in below]
        yield from ((rate, float(distance)) for rate in (*above, *below))


def _with_cosine_in_float32(units: int) -> Any:
    """Return exact arithmetic in which only the cosine is rounded, to float32, before 1 is added."""

    def cosine_of_pi_times(x: Fraction) -> Fraction:
        cosine = nearest(exact.cosine_of_pi_times(x), FLOAT32)
        for _ in range(abs(units)):
            cosine = np.nextafter(cosine, np.float32(math.copysign(math.inf, units)))
        return Fraction(float(np.float32(1) + cosine)) - 1

    return SimpleNamespace(number=exact.number, power=exact.power, cosine_of_pi_times=cosine_of_pi_times)


def _distance(rate: Rate, reported: float) -> float:
    expected, observed = np.asarray(rate), np.asarray(np.float32(reported))
    return 0.0 if equal_bits(expected, observed) else max(float(units_apart(expected, observed)), 1.0)


def _is_wide(rate: float) -> bool:
    return float(np.float32(rate)) != rate and not math.isnan(rate)
