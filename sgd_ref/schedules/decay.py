"""Schedules that decay by a power, a polynomial, a reciprocal, or in given pieces."""

from __future__ import annotations

import bisect
import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.schedules.base import (
    Arithmetic,
    FormulaSchedule,
    LearningRateSchedule,
    length_or_zero_setting,
    length_setting,
    real_setting,
)
from sgd_ref.validation import boolean, integer_at_least, non_negative_real, reject_type, reject_value, text


class StaircaseDecay(FormulaSchedule):
    """A decay by the number of elapsed periods of `decay_steps`, with or without the fraction of a period."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool, name: str
    ) -> None:
        super().__init__(
            {
                "initial_learning_rate": real_setting("initial_learning_rate", initial_learning_rate),
                "decay_steps": length_setting("decay_steps", decay_steps),
                "decay_rate": real_setting("decay_rate", decay_rate, non_negative_real),
                "staircase": boolean("staircase", staircase),
                "name": text("name", name),
            }
        )

    def periods(self, step: int) -> Fraction | int:
        """Return how many periods are over; with `staircase` only whole periods count."""
        periods: Fraction = step / self.exact_settings.decay_steps
        return math.floor(periods) if self.config["staircase"] else periods


class ExponentialDecay(StaircaseDecay):
    """The rate is multiplied by `decay_rate` every `decay_steps` steps.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0, finite.
    decay_steps : int or float
        Steps after which the rate is multiplied by `decay_rate`, greater than 0.
    decay_rate : float
        Factor, finite and 0 or more.
    staircase : bool
        Whether only whole multiples of `decay_steps` count.
    name : str
        Part of the config only.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    ``initial_learning_rate * decay_rate ** (step / decay_steps)``, with the floor of the quotient if
    `staircase`. Source: documentation of ``keras.optimizers.schedules.ExponentialDecay``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)
    >>> schedule(5), schedule(10)
    (np.float32(0.25), np.float32(0.125))
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value; see the notes of the class."""
        p = arithmetic.number(self.periods(step))
        return settings.initial_learning_rate * arithmetic.power(settings.decay_rate, p)


class PiecewiseConstantDecay(LearningRateSchedule):
    """The rate is constant between given steps.

    Parameters
    ----------
    boundaries : sequence of int or float
        Last step of every piece but the last: 0 or more, strictly increasing, at least one.
    values : sequence of float
        The rate in every piece, finite, one more than `boundaries`.
    name : str
        Part of the config only.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    ``values[i]`` for the first i with ``step <= boundaries[i]``, ``values[-1]`` if there is none.
    Source: documentation of ``keras.optimizers.schedules.PiecewiseConstantDecay``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = PiecewiseConstantDecay([100, 110], [1.0, 0.5, 0.25])
    >>> schedule(100), schedule(101), schedule(111)
    (np.float32(1.0), np.float32(0.5), np.float32(0.25))
    """

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant") -> None:
        self._boundaries = [
            length_or_zero_setting("boundaries", b) for b in _sequence("boundaries", boundaries)
        ]
        if not self._boundaries or sorted(set(self._boundaries)) != self._boundaries:
            reject_value("boundaries", boundaries, "strictly increasing numbers of at least 0, at least one")
        self._values = [real_setting("values", value) for value in _sequence("values", values)]
        if len(self._values) != len(self._boundaries) + 1:
            reject_value("values", values, f"{len(self._boundaries) + 1} numbers, one more than boundaries")
        self._name = text("name", name)
        self._rounded = [nearest(Fraction(value), np.float32) for value in self._values]

    def __call__(self, step: int) -> np.float32:
        """Return the value of a piece, rounded to float32; see ``LearningRateSchedule.__call__``.

        Raises
        ------
        TypeError
            If `step` is not an integer.
        ValueError
            If `step` is negative.

        Examples
        --------
        >>> PiecewiseConstantDecay([100], [1.0, 0.5])(101)
        np.float32(0.5)
        """
        piece = bisect.bisect_left(self._boundaries, integer_at_least("step", step, 0))
        value: np.float32 = self._rounded[piece]
        return value

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain data, under the keys of Keras."""
        return {"boundaries": list(self._boundaries), "values": list(self._values), "name": self._name}


class PolynomialDecay(FormulaSchedule):
    """The rate falls to `end_learning_rate` in `decay_steps` steps, along a polynomial.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0, finite.
    decay_steps : int or float
        Steps until the end is reached, greater than 0.
    end_learning_rate : float
        Learning rate at the end, finite.
    power : float
        Power of the polynomial, finite and 0 or more; with 0 the rate is constant.
    cycle : bool
        Whether the decay, once at its end, starts again, now over twice, then over three times `decay_steps`
        and so on; otherwise the rate stays at its end value.
    name : str
        Part of the config only.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    ``(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps) ** power + end_learning_rate``
    with ``min(step, decay_steps)`` for the step or, if `cycle`, ``decay_steps * ceil(step / decay_steps)``
    for the decay steps (``decay_steps`` at step 0). At a multiple of `decay_steps` the quotient is thus 1.
    Source: documentation of ``keras.optimizers.schedules.PolynomialDecay``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = PolynomialDecay(0.75, decay_steps=10, end_learning_rate=0.25)
    >>> schedule(5), schedule(10), schedule(11)
    (np.float32(0.5), np.float32(0.25), np.float32(0.25))
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        super().__init__(
            {
                "initial_learning_rate": real_setting("initial_learning_rate", initial_learning_rate),
                "decay_steps": length_setting("decay_steps", decay_steps),
                "end_learning_rate": real_setting("end_learning_rate", end_learning_rate),
                "power": real_setting("power", power, non_negative_real),
                "cycle": boolean("cycle", cycle),
                "name": text("name", name),
            }
        )

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value; see the notes of the class."""
        decay_steps = self.exact_settings.decay_steps
        if self.config["cycle"]:
            decay_steps = decay_steps * max(1, math.ceil(step / decay_steps))
        p = arithmetic.number(min(step, decay_steps) / decay_steps)
        difference = settings.initial_learning_rate - settings.end_learning_rate
        return difference * arithmetic.power(1 - p, settings.power) + settings.end_learning_rate


class InverseTimeDecay(StaircaseDecay):
    """The rate is divided by a number that grows by `decay_rate` every `decay_steps` steps.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0, finite.
    decay_steps : int or float
        Steps after which the divisor is larger by `decay_rate`, greater than 0.
    decay_rate : float
        Finite and 0 or more.
    staircase : bool
        Whether only whole multiples of `decay_steps` count.
    name : str
        Part of the config only.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    ``initial_learning_rate / (1 + decay_rate * step / decay_steps)``, with the floor of ``step /
    decay_steps`` if `staircase`. Source: documentation of
    ``keras.optimizers.schedules.InverseTimeDecay``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)
    >>> schedule(10), schedule(30)
    (np.float32(0.25), np.float32(0.125))
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value; see the notes of the class."""
        p = arithmetic.number(self.periods(step))
        return settings.initial_learning_rate / (1 + settings.decay_rate * p)


def _sequence(name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        reject_type(name, value, "a list, a tuple or an array")
    return list(value)
