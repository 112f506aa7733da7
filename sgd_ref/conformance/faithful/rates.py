"""Learning rates that are kept in float64, and schedules evaluated in floating point."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import PiecewiseConstantDecay
from sgd_ref.schedules.base import FormulaSchedule


class OwnRate(SGD):
    """The common base of variants that read and report the learning rate in another way."""

    def __init__(self, learning_rate: LearningRate = 0.01, *arguments: Any, **settings: Any) -> None:
        super().__init__(learning_rate, *arguments, **settings)
        self._given = learning_rate

    def rate(self, given: LearningRate, calls: int) -> Any:
        """Return the learning rate at a count of calls, as float32 or float64."""
        raise NotImplementedError

    @property
    def learning_rate(self) -> Any:
        """The learning rate at the present count of calls."""
        return self.rate(self._given, self.calls)

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self._given = value
        SGD.learning_rate.fset(self, value)  # type: ignore[attr-defined]

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Use the rate that ``rate`` returns."""
        call = super().validated(gradients, variables)
        return call._replace(learning_rate=self.rate(self._given, call.state.calls))


class RateInDouble(OwnRate):
    """The learning rate stays the float64 that was given, returned or computed; it is never a float32.

    A schedule is evaluated in float64, with its settings as given. Variables of float64 are updated with 0.1,
    not with 0.10000000149. For variables of a half type, the rate is rounded once instead of twice.
    Implementations in Python or C that keep their settings in double do this, such as ``torch.optim``.
    """

    def rate(self, given: LearningRate, calls: int) -> Any:
        """Return the rate in float64."""
        if isinstance(given, PiecewiseConstantDecay):
            config = given.get_config()
            return np.float64(config["values"][bisect.bisect_left(config["boundaries"], calls)])
        if isinstance(given, FormulaSchedule):
            return evaluated(given, calls, np.float64)
        return np.float64(given() if callable(given) else given)  # type: ignore[call-arg]


class ScheduleInSingle(OwnRate):
    """A schedule is evaluated in float32: settings, quotient, power, cosine, products and sums are rounded.

    The definition rounds the formula once. Here, only the beginnings and ends of periods are computed
    exactly. NumPy's float32 power and cosine represent those of any mathematical library.
    """

    def rate(self, given: LearningRate, calls: int) -> Any:
        """Return the rate of a schedule as computed in float32."""
        if isinstance(given, FormulaSchedule):
            return evaluated(given, calls, np.float32)
        return SGD.learning_rate.fget(self)  # type: ignore[attr-defined]


class ScheduleInDouble(OwnRate):
    """A schedule is evaluated in float64, with its settings as given, and rounded once to float32.

    The definition rounds the settings to float32 first.
    """

    def rate(self, given: LearningRate, calls: int) -> Any:
        """Return the rate of a schedule as computed in float64."""
        if isinstance(given, FormulaSchedule):
            return np.float32(evaluated(given, calls, np.float64))
        return SGD.learning_rate.fget(self)  # type: ignore[attr-defined]


def evaluated(
    schedule: FormulaSchedule, calls: int, dtype: type[np.float32 | np.float64]
) -> np.floating[Any]:
    """Return the value of a schedule's formula, computed in a dtype with every operation rounded.

    >>> from sgd_ref.schedules import InverseTimeDecay
    >>> evaluated(InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0), 30, np.float32)
    np.float32(0.125)
    """
    settings = SimpleNamespace(
        **{name: dtype(v) for name, v in schedule.get_config().items() if type(v) in (int, float)}
    )
    arithmetic = SimpleNamespace(
        number=dtype,
        power=lambda base, exponent: dtype(base**exponent),
        cosine_of_pi_times=lambda x: np.cos(dtype(math.pi) * x),
    )
    with np.errstate(all="ignore"):
        return dtype(schedule.formula(calls, settings, arithmetic))
