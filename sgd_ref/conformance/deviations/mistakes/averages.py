"""Mistakes of the averages: in their beginning, their operands, and their time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Values


class AveragesFromZero(SGD):
    """The first update averages with the zeros of a fresh state: ``(1 - ema_momentum) * w``.

    The core code begins with a copy of the weights. Evidence: weights near 0 after training,
    https://github.com/keras-team/keras/pull/18972.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average in the first update as in all others."""
        if not self.settings.use_ema:
            return values
        return _averaged(values, self.settings.ema_momentum)


class AveragesDebiased(SGD):
    """Averages begin at 0 and are divided by ``1 - ema_momentum ** updates``, as in Adam.

    So in update t, the old average has the factor ``m * (1 - m ** (t - 1)) / (1 - m ** t)``, less than m. The
    documentation: "ema_momentum * old_average + (1 - ema_momentum) * current_variable_value". Evidence: no
    report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average with the factor that results from the divisions."""
        before, m = self.updates_before(call), self.settings.ema_momentum
        if not self.settings.use_ema or before == 0 or m == 1:
            return super().average(values, call)
        share = m * (1 - m**before) / (1 - m ** (before + 1))
        return _averaged(values, share)


class AveragesDebiasedLate(SGD):
    """Averages begin at 0 and are divided by ``1 - ema_momentum ** (updates + 1)``.

    Even the first average is not the weights. Evidence: a count that was one ahead,
    https://github.com/karpathy/nanochat/pull/818.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Undo the last division, average, and divide."""
        t, m = self.updates_before(call) + 1, self.settings.ema_momentum
        if not self.settings.use_ema or m == 1:
            return super().average(values, call)
        return replace(
            values,
            averages=[
                rule.average(average * setting(1 - m**t, w.dtype), w, setting(m, w.dtype))
                / setting(1 - m ** (t + 1), w.dtype)
                for average, w in zip(values.averages, values.variables, strict=True)
            ],
        )


class AveragesWarmUp(SGD):
    """The momentum of the averages is at most ``(1 + t) / (10 + t)`` in update t, counted from 0.

    The documentation has a constant momentum. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average with less momentum."""
        before = self.updates_before(call)
        if not self.settings.use_ema or before == 0:
            return super().average(values, call)
        momentum = min(self.settings.ema_momentum, (1 + before) / (10 + before))
        return _averaged(values, momentum)


class AveragesOneLate(SGD):
    """Averages take the variables as they were before the update.

    The core code averages last. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average the values that the variables had before the call."""
        # Without the copy, averages and variables could be the same arrays, and the step writes the variables
        # first.
        before = [np.array(w) for w in call.state.variables]
        averaged = super().average(replace(values, variables=before), call)
        return replace(averaged, variables=values.variables)


class AveragesOfVelocities(SGD):
    """With momentum the velocities are averaged, not the variables.

    The documentation: "exponential moving average of the weights of the model". Evidence: no report is
    known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average the velocities."""
        averaged = super().average(replace(values, variables=values.velocities or values.variables), call)
        return replace(averaged, variables=values.variables)


class ComplementSwapped(SGD):
    """The factors are exchanged: ``(1 - ema_momentum) * average + ema_momentum * w``.

    The documentation: "ema_momentum * old_average + (1 - ema_momentum) * current_variable_value". Evidence:
    no report is known.
    """

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Any:
        """Exchange average and variable."""
        return super().averaged(w, average, ema_momentum)


class AveragesAdded(SGD):
    """The old average is not multiplied: ``average + (1 - ema_momentum) * w``.

    The documentation multiplies it by `ema_momentum`. Evidence: no report is known.
    """

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Any:
        """Add without decay."""
        return average + setting(1 - self.settings.ema_momentum, w.dtype) * w


class AveragesOnlyWithGradient(SGD):
    """A variable without a gradient in the call is not averaged.

    The core code averages all trainable variables. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Keep the averages of the others."""
        averaged = super().average(values, call)
        return replace(
            averaged,
            averages=[
                old if gradient is None else new
                for old, new, gradient in zip(
                    values.averages, averaged.averages, call.gradients, strict=False
                )
            ],
        )


class FirstAverageByCalls(SGD):
    """Only the first call stores the variables as averages, even if it accumulates and does not average.

    Under accumulation, averages then begin at 0. The core code stores the variables in the first update.
    Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Store in the first call."""
        if not self.settings.use_ema or call.state.calls == 0:
            return super().average(values, call)
        return _averaged(values, self.settings.ema_momentum)


class AveragesAreCopies(SGD):
    """Averages are copies of the variables, with no memory: ``average = w`` in every update.

    Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Store the variables."""
        if not self.settings.use_ema:
            return values
        return replace(values, averages=[np.array(w) for w in values.variables])


class AveragesFromInitial(SGD):
    """Averages begin as copies of the weights before the first update.

    The core code begins with a copy of the weights after the first update. Evidence: averages of PyTorch
    that begin with the model, https://github.com/pytorch/pytorch/pull/164960.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Begin with the values that the variables had before the call."""
        if not self.settings.use_ema or self.updates_before(call) > 0:
            return super().average(values, call)
        initial = [np.array(w) for w in call.state.variables]
        return _averaged(replace(values, averages=initial), self.settings.ema_momentum)


def _averaged(values: Values, momentum: float) -> Values:
    """Return the values with averages formed by another momentum, also in the first update."""
    return replace(
        values,
        averages=[
            rule.average(average, w, setting(momentum, w.dtype))
            for average, w in zip(values.averages, values.variables, strict=True)
        ],
    )


class ZeroAverageStartsAnew(SGD):
    """An average whose elements are all 0 counts as not yet stored, and becomes a copy of the variable.

    The core code begins by the count of updates. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average, and copy where there were only zeros."""
        averaged = super().average(values, call)
        if not self.settings.use_ema:
            return averaged
        averages = [
            result if old.any() else w
            for old, result, w in zip(values.averages, averaged.averages, values.variables, strict=True)
        ]
        return replace(averaged, averages=averages)


AVERAGES = (
    mistake("averages-from-zero", AveragesFromZero),
    mistake("averages-debiased", AveragesDebiased),
    mistake("averages-debiased-late", AveragesDebiasedLate),
    mistake("averages-warm-up", AveragesWarmUp),
    mistake("averages-one-update-late", AveragesOneLate),
    mistake("averages-of-velocities", AveragesOfVelocities),
    mistake("averages-with-factors-exchanged", ComplementSwapped),
    mistake("averages-added", AveragesAdded),
    mistake("averages-only-with-gradient", AveragesOnlyWithGradient),
    mistake("first-average-by-calls", FirstAverageByCalls),
    mistake("averages-are-copies", AveragesAreCopies),
    mistake("averages-from-initial-weights", AveragesFromInitial),
    mistake("zero-average-starts-anew", ZeroAverageStartsAnew),
)
