"""Learning rates of schedules at other steps, with other settings and roundings; and of frozen callables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT32, Array, setting
from sgd_ref.base import Call
from sgd_ref.gradients import Gradient
from sgd_ref.learning_rate import LearningRate
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import (
    CosineDecayRestarts,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
    deserialize,
)


class Replaced(LearningRateSchedule):
    """A schedule whose values are given by a function of the step, in place of another schedule."""

    def __init__(self, value: Callable[[int], float]) -> None:
        self._value = value

    def __call__(self, step: int) -> np.float32:
        """Return the value rounded to float32."""
        rounded: np.float32 = setting(self._value(step), FLOAT32)
        return rounded


class WithReplacedSchedule(SGD):
    """Reads learning rates that are not finite, too, and has its schedule replaced when it is constructed."""

    def _validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        schedule = self._learning_rate
        if not isinstance(schedule, Replaced) or self._state is None:
            return super()._validated(gradients, variables)
        rate = schedule(self._state.calls)
        self._learning_rate = np.float32(0)
        try:
            return super()._validated(gradients, variables)._replace(learning_rate=rate)
        finally:
            self._learning_rate = schedule
