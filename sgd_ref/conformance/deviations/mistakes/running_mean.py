"""Mistakes of accumulating a running mean in place of a sum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class AccumulatorInSingle(SGD):
    """Of float64 gradients, a running mean is accumulated that is rounded to float32 in every call.

    The definition accumulates in the dtype of the variable. Evidence: `accumulator_dtype` of
    `optax.MultiSteps` is float32 by default, https://github.com/google-deepmind/optax/pull/1122.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._has_means = False

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Note the number of gradients, and begin with the mean of the earlier ones."""
        self._so_far = call.state.calls % int(self.settings.gradient_accumulation_steps or 1)
        if not self._has_means and self._so_far:
            means = [
                array / setting(self._so_far, FLOAT64) if array.dtype == FLOAT64 else array
                for array in values.accumulators
            ]
            values = replace(values, accumulators=means)
        self._has_means = True
        return super().advance(values, call, loss_scale)

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Round the mean to float32."""
        accumulated = super().accumulate(values, gradients)
        return replace(
            accumulated,
            accumulators=[
                convert(convert(self._running_mean(gradient, old), FLOAT32), FLOAT64)
                if gradient is not None and gradient.dtype == FLOAT64
                else total
                for gradient, old, total in zip(
                    gradients, values.accumulators, accumulated.accumulators, strict=True
                )
            ],
        )

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Finish the running mean, which is not rounded here."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None:
            return means, reset
        finished = [
            self._running_mean(gradient, old) if gradient is not None and gradient.dtype == FLOAT64 else mean
            for gradient, old, mean in zip(gradients, values.accumulators, means, strict=True)
        ]
        return finished, reset

    def _running_mean(self, gradient: Array, mean: Array) -> Array:
        return np.asarray(mean + (gradient - mean) / (self._so_far + 1))


class UpdatesTimesZero(SGD):
    """A call that accumulates makes an update from what there is so far, times 0.

    Infinity times 0 is NaN, and -0.0 plus 0.0 is 0.0; the definition leaves the variables alone. Evidence:
    `emit * ga` in `optax.MultiSteps.update`, no report is known.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Add 0 times the update to variables with axes; for variables without axes, XLA uses a select."""
        advanced = super().advance(values, call, loss_scale)
        if not self.accumulates(call):
            return advanced
        present = call.state.calls % int(self.settings.gradient_accumulation_steps or 1) + 1
        means = [
            None if gradient is None else array / setting(present, array.dtype)
            for array, gradient in zip(advanced.accumulators, call.gradients, strict=True)
        ]
        steps = [
            None if gradient is None else self._direction(gradient, w, velocity, applies)
            for gradient, w, velocity, applies in zip(
                self.clip(means),
                values.variables,
                values.velocities or values.variables,
                call.state.decayed,
                strict=True,
            )
        ]
        return replace(
            advanced,
            variables=[
                w if step is None or not w.ndim else w + step * setting(0.0, w.dtype)
                for w, step in zip(values.variables, steps, strict=True)
            ],
        )

    def _direction(self, gradient: Array, w: Array, velocity: Array, applies: bool) -> Any:
        """Return an array that is finite where the update is finite, and has the sign of its zeros."""
        momentum, weight_decay = self.settings.momentum, self.settings.weight_decay
        direction = gradient
        if momentum != 0:
            direction = direction - velocity * setting(momentum, w.dtype)
        if weight_decay is not None and applies:
            direction = direction + w * setting(weight_decay, w.dtype)
        return direction


class InfinityInRunningMean(SGD):
    """The mean of a window is NaN from an infinite gradient on.

    `mean + (gradient - mean) / n` subtracts infinity from itself, which gives NaN. The right mean of
    infinity and finite numbers is infinity. Evidence: `_acc_update` in `optax.MultiSteps`, no report is
    known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Make an infinite accumulator NaN, and add the gradients."""
        return super().accumulate(self._poisoned(values), gradients)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Make an infinite accumulator NaN, and take the mean."""
        return super().mean(self._poisoned(values), gradients)

    def _poisoned(self, values: Values) -> Values:
        return replace(values, accumulators=[array + (array - array) for array in values.accumulators])


RUNNING_MEAN = (
    mistake("accumulator-in-single", AccumulatorInSingle),
    mistake("updates-times-zero", UpdatesTimesZero),
    mistake("infinity-in-running-mean", InfinityInRunningMean),
)
