"""Schedules that give other learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.base.learning_rate import LearningRate, checked
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import (
    CosineDecayRestarts,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
    deserialize,
)

Quotient = Callable[[int, float], np.float32]


class Replaced(LearningRateSchedule):
    """A schedule whose value is a function of the step; unlike the definition's, it may return NaN."""

    def __init__(self, value: Callable[[int], float]) -> None:
        self._value = value

    def __call__(self, step: int) -> np.float32:
        """Return the value rounded to float32."""
        rounded: np.float32 = setting(self._value(step), FLOAT32)
        return rounded


class WithReplacedSchedule(SGD):
    """The common base: unlike the definition, it accepts rates from a schedule that are not finite."""

    @property
    def learning_rate(self) -> np.float32:
        """The learning rate at the present count of calls."""
        schedule = self.rate_source
        return schedule(self.calls) if isinstance(schedule, Replaced) else super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self.rate_source = checked(value)

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Use the rate of the replaced schedule without a check."""
        schedule = self.rate_source
        if not isinstance(schedule, Replaced):
            return super().validated(gradients, variables)
        self.rate_source = np.float32(0)
        try:
            return super().validated(gradients, variables)._replace(learning_rate=schedule(self.calls))
        finally:
            self.rate_source = schedule


class RestartMissed(WithReplacedSchedule):
    """The step at which a cosine restarts still has the value at the end of the period before it.

    So a step in between has the lowest rate, often 0, instead of the highest. The documentation: "the
    learning rate multiplier first decays from 1 to `alpha` for `first_decay_steps` steps. Then, a warm
    restart is performed." Evidence: the quotient of two logarithms in float32 that is rounded down, in
    `CosineDecayRestarts` of `keras/src/optimizers/schedules/learning_rate_schedule.py`; which restarts
    are missed depends on the logarithm of the backend. Here every restart is.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a cosine with restarts."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, CosineDecayRestarts):
            settings = schedule.get_config()

            def missed(step: int) -> float:
                restarts, fraction = _period(
                    Fraction(step) / Fraction(settings["first_decay_steps"]), settings
                )
                missed = restarts > 0 and fraction == 0
                return _restarted(settings, restarts - 1, 1.0) if missed else float(schedule(step))

            optimizer.rate_source = Replaced(missed)
        return optimizer


class QuotientInFloat32(WithReplacedSchedule):
    """The step, and its quotient with the length of a period, are rounded to float32.

    After 2**24 steps the fraction of the period that is over has lost most of its digits, and the rate is
    wrong by some percent. The documentation has no such limit. Evidence: the casts of `step` in
    `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a cosine with restarts and a polynomial."""
        optimizer = super().from_config(config, learning_rate)
        _replace_quotient(optimizer, lambda step, length: np.float32(step) / np.float32(length))
        return optimizer


class QuotientByReciprocal(WithReplacedSchedule):
    """Steps are multiplied by the rounded reciprocal of the length of a period.

    21 times the float32 nearest to 1/7 is above 3, so that a cyclic polynomial of 7 steps begins anew at
    step 21, and does not at step 14. Evidence: XLA and Grappler replace the division by a constant in
    `keras/src/optimizers/schedules/learning_rate_schedule.py` by a multiplication.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a cosine with restarts and a polynomial."""
        optimizer = super().from_config(config, learning_rate)
        _replace_quotient(optimizer, lambda step, length: np.float32(step) * _reciprocal(length))
        return optimizer


class PolynomialRemainderFused(WithReplacedSchedule):
    """A polynomial takes ``fma(-step, 1 / decay_steps, 1)`` to a power, with a rounded reciprocal.

    At its end, the result is not 0 but the error of the reciprocal. So the rate can be below
    `end_learning_rate`, or even negative. If the power is not an integer, the rate is NaN, and all weights
    become NaN. The documentation: "the minimal end learning rate". Evidence: XLA multiplies by the reciprocal
    and contracts ``1 - p`` in `PolynomialDecay` of
    `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a polynomial without cycles."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, PolynomialDecay) and not schedule.get_config()["cycle"]:
            settings = schedule.get_config()
            length = settings["decay_steps"]

            def value(step: int) -> float:
                decayed = np.float32(min(step, length))
                remainder = fused_multiply_add(-decayed, _reciprocal(length), np.float32(1))
                return _polynomial(settings, float(remainder))

            optimizer.rate_source = Replaced(value)
        return optimizer


class BoundaryWraps(WithReplacedSchedule):
    """Boundaries of a piecewise constant rate above 2**31 become negative, so that they count as passed.

    Evidence: the cast of the boundaries to the type of the step, a 32-bit integer, in
    `PiecewiseConstantDecay` of `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a piecewise constant rate."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, PiecewiseConstantDecay):
            settings = schedule.get_config()
            boundaries = [int(np.array(b).astype(np.int32)) for b in settings["boundaries"]]

            def value(step: int) -> float:
                # As the code has it, the pieces are selected by inequalities and added up.
                lower, upper = [-math.inf, *boundaries], [*boundaries, math.inf]
                pieces = zip(lower, upper, settings["values"], strict=True)
                return math.fsum(rate for low, high, rate in pieces if low < step <= high)

            optimizer.rate_source = Replaced(value)
        return optimizer


class SettingsBecomeIntegers(WithReplacedSchedule):
    """If the initial rate of a schedule is an integer, its other settings are truncated to integers.

    An ExponentialDecay from 1 with a rate of 0.5 is 0 from step 1 on. The warmup from 0 to 0.1, in an example
    of the documentation, stays at 0. Evidence: the casts to the dtype of `initial_learning_rate` in
    `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a schedule with an integer as its initial learning rate."""
        optimizer = super().from_config(config, learning_rate)
        given = config.get("learning_rate")
        if isinstance(given, Mapping) and isinstance(given["config"].get("initial_learning_rate"), int):
            settings = dict(given["config"])
            for name in ("decay_rate", "end_learning_rate", "warmup_target", "power", "t_mul", "m_mul"):
                if settings.get(name) is not None:
                    settings[name] = int(settings[name])
            truncated = deserialize({**given, "config": settings})
            optimizer.rate_source = Replaced(lambda step: float(truncated(step)))
        return optimizer


class RateInFloat32(WithReplacedSchedule):
    """The rate of a schedule is some units in the last place away from the correctly rounded one.

    Schedules are evaluated in float32, with the powers and cosines of a mathematical library; the
    definition rounds the formula once. Evidence: the casts to float32 in
    `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    """

    rate_units = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Move the rate of a schedule with a formula."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, LearningRateSchedule) and not isinstance(schedule, PiecewiseConstantDecay):
            optimizer.rate_source = Replaced(lambda step: float(_moved(schedule(step), cls.rate_units)))
        return optimizer


class RateFrozen(SGD):
    """A callable learning rate is called in the first call only, and its value kept for ever.

    It is called again only when other gradients are missing than in any call before. The documentation:
    "a callable that takes no arguments and returns the actual value to use". Evidence: `tf.function` and
    `jax.jit`, in which `model.fit` runs the step, call it while they trace.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._traced: dict[tuple[bool, ...], np.float32] = {}

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Keep the first rate for each pattern of missing gradients."""
        call = super().validated(gradients, variables)
        if isinstance(self.rate_source, (np.float32, LearningRateSchedule)):
            return call
        missing = tuple(gradient is None for gradient in call.gradients)
        return call._replace(learning_rate=self._traced.setdefault(missing, call.learning_rate))


def _replace_quotient(optimizer: SGD, quotient: Quotient) -> None:
    schedule = optimizer.rate_source
    if isinstance(schedule, CosineDecayRestarts):
        settings = schedule.get_config()

        def restarted(step: int) -> float:
            restarts, fraction = _period(
                Fraction(float(quotient(step, settings["first_decay_steps"]))), settings
            )
            return _restarted(settings, restarts, float(fraction))

        optimizer.rate_source = Replaced(restarted)
    elif isinstance(schedule, PolynomialDecay):
        settings = schedule.get_config()
        length = settings["decay_steps"]

        def decayed(step: int) -> float:
            if not settings["cycle"]:
                return _polynomial(settings, 1 - float(quotient(min(step, length), length)))
            periods = max(1, math.ceil(quotient(step, length)))
            return _polynomial(settings, 1 - step / (length * periods))

        optimizer.rate_source = Replaced(decayed)


def _period(completed: Fraction, settings: Mapping[str, Any]) -> tuple[int, Fraction]:
    """Return the number of restarts before a time, and the time since, in lengths of the first period."""
    restarts, length = 0, Fraction(1)
    factor = Fraction(float(np.float32(settings["t_mul"])))
    if factor == 1:
        return math.floor(completed), completed % 1
    while completed >= length:
        restarts, completed, length = restarts + 1, completed - length, length * factor
    return restarts, completed / length


def _restarted(settings: Mapping[str, Any], restarts: int, fraction: float) -> float:
    initial, m_mul, alpha = (
        float(np.float32(settings[name])) for name in ("initial_learning_rate", "m_mul", "alpha")
    )
    cosine = 0.5 * m_mul**restarts * (1 + math.cos(math.pi * fraction))
    return initial * ((1 - alpha) * cosine + alpha)


def _polynomial(settings: Mapping[str, Any], remainder: float) -> float:
    initial, end, power = (
        float(np.float32(settings[name])) for name in ("initial_learning_rate", "end_learning_rate", "power")
    )
    if remainder < 0 and not power.is_integer():
        return math.nan
    return (initial - end) * math.pow(remainder, power) + end


def _reciprocal(length: float) -> np.float32:
    return np.float32(1) / np.float32(length)


def _moved(rate: np.float32, units: int) -> np.float32:
    for _ in range(abs(units)):
        rate = np.nextafter(rate, np.float32(math.copysign(math.inf, units)))
    return rate
