"""Mistakes of the velocity: its factors, its sign, its first step, and where the learning rate goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import MovesByStep, WithSums, each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class RateOutsideVelocity(WithSums):
    """The velocity adds up gradients, and the learning rate of the moment multiplies the sum.

    ``t = momentum * t + g`` and ``w = w - learning_rate * t``, reported as ``-learning_rate * t``. The
    documentation has the rate inside: ``velocity = momentum * velocity - learning_rate * g``. The two differ
    after the rate changes. Evidence: https://github.com/pytorch/pytorch/issues/1099.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._sums: list[Array] = []
        self._with_rate: list[Array] = []
        self._call_of_rate: list[Call] = []

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Replace the velocity by a sum of gradients for the update, and report this sum times the rate."""
        if self.settings.momentum == 0:
            return super().update(values, gradients, call)
        self.outside = call
        sums = [self._sum(index, velocity, call) for index, velocity in enumerate(values.velocities)]
        updated = super().update(replace(values, velocities=sums), gradients, call)
        self._sums = updated.velocities
        is_kept = [
            g is None and total is before
            for g, before, total in zip(gradients, sums, self._sums, strict=True)
        ]
        self._with_rate = [
            velocity if kept else -(call.rate(total.dtype) * total)
            for velocity, kept, total in zip(values.velocities, is_kept, self._sums, strict=True)
        ]
        earlier = self._call_of_rate or [call] * len(sums)
        self._call_of_rate = [old if kept else call for old, kept in zip(earlier, is_kept, strict=True)]
        return replace(updated, velocities=self._with_rate)

    def _sum(self, index: int, velocity: Array, call: Call) -> Array:
        """Return the sum behind a velocity: the one that is kept, but where another mistake changed it."""
        if not self._sums:
            return _sum_behind(velocity, call)
        kept, last = self._sums[index], self._call_of_rate[index]
        changed = _is_other(velocity, self._with_rate[index])
        if last.rate(velocity.dtype) == 0 or not changed.any():
            return kept
        return np.where(changed, _sum_behind(velocity, last), kept)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Leave the rate out."""
        # With a rate of -1 and variables of -0.0, the result has the bits of the formula, which may be a
        # mistake.
        return super().accelerated(velocity, g, momentum, setting(-1.0, g.dtype))

    def moved(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum by the rate."""
        return w - rate * super().moved(_nothing(w), old, new, g, momentum, setting(-1.0, g.dtype))

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum that looks ahead by the rate."""
        minus_one = setting(-1.0, g.dtype)
        return w - rate * super().moved_by_nesterov(_nothing(w), old, new, g, momentum, minus_one)


class ScalarGradientLost(SGD):
    """The velocity of a float64 variable without axes gets no gradient but its first one.

    Nesterov momentum still adds the gradient itself. The documentation:
    ``velocity = momentum * velocity - learning_rate * g``. Evidence: when PyTorch 2.13.0 compiles the step,
    `torch/fx/passes/_tensorify_python_scalars.py` erases an in-place `add_`; no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._started: set[int] | None = None

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with zeros in place of these gradients, and add the gradient's part of Nesterov momentum."""
        if self.settings.momentum == 0:
            return super().update(values, gradients, call)
        if self._started is None:
            resumed = self.updates_before(call) > 0
            self._started = set(range(len(gradients))) if resumed else set()
        lost = {
            index: gradient
            for index, gradient in enumerate(gradients)
            if gradient is not None
            and gradient.ndim == 0
            and gradient.dtype == FLOAT64
            and index in self._started
        }
        self._started |= {index for index, gradient in enumerate(gradients) if gradient is not None}
        left = [np.zeros_like(g) if index in lost else g for index, g in enumerate(gradients)]
        updated = super().update(values, left, call)
        if not self.settings.nesterov:
            return updated
        variables = list(updated.variables)
        for index, gradient in lost.items():
            nothing = np.full_like(np.asarray(gradient), -0.0)
            momentum, rate = self.settings.rounded(gradient.dtype).momentum, call.rate(gradient.dtype)
            variables[index] = self.moved_by_nesterov(
                variables[index], nothing, nothing, gradient, momentum, rate
            )
        return replace(updated, variables=variables)


class RateInsideAndOutside(MovesByStep, WithSums):
    """The learning rate is in the velocity and multiplies it once more: ``w + learning_rate * velocity``.

    The documentation: ``w = w + velocity``. Where the rule has the rate outside, it is inside, too. Evidence:
    a factor that was inside and outside of the state in turns, https://github.com/apache/mxnet/pull/16053.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the gradient by the rate, where the rule does not."""
        return super().accelerated(velocity, self._inside(g), momentum, rate)

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply by the rate again."""
        moved = super().step(old, new, self._inside(g), momentum, rate)
        return rate * moved if self.outside is None else moved

    def _inside(self, g: Array) -> Array:
        return g if self.outside is None else self.outside.rate(g.dtype) * g


class Dampened(SGD):
    """Gradients enter the velocity with the factor ``1 - momentum``, as in a moving average.

    The documentation: ``velocity = momentum * velocity - learning_rate * g``. Evidence:
    https://github.com/HIPS/autograd/issues/289.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the gradient by the complement of the momentum."""
        return super().accelerated(velocity, g * (1 - momentum), momentum, rate)


class DampenedAfterFirst(SGD):
    """Gradients enter the velocity with the factor ``1 - momentum``, but the first one without it.

    The documentation has no such factor. Evidence: the buffer that is a copy of the first gradient, with
    dampening left out there, https://github.com/pytorch/pytorch/pull/91108.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Dampen the gradients of all updates but the first."""
        if self.settings.momentum != 0 and self.updates_before(call) > 0:
            gradients = each(gradients, lambda g: g * (1 - setting(self.settings.momentum, g.dtype)))
        return super().update(values, gradients, call)


class VelocityStartsAtGradient(SGD):
    """Before the first update the velocity is ``-learning_rate * g``, so that the first step counts twice.

    The documentation begins with a velocity of 0. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Start from the first gradient."""
        if self.settings.momentum != 0 and self.updates_before(call) == 0:
            velocities = [
                velocity if g is None else self._first(g, call)
                for velocity, g in zip(values.velocities, gradients, strict=True)
            ]
            values = replace(values, velocities=velocities)
        return super().update(values, gradients, call)

    def _first(self, g: Array, call: Call) -> Any:
        # A velocity of -0.0 changes nothing.
        nothing = np.full_like(np.asarray(g), -0.0)
        momentum = self.settings.rounded(g.dtype).momentum
        return self.accelerated(nothing, g, momentum, call.rate(g.dtype))


class MomentumScalesGradient(SGD):
    """Momentum multiplies the gradient, too: ``momentum * (velocity - learning_rate * g)``.

    The documentation: ``velocity = momentum * velocity - learning_rate * g``. Evidence: no report is known.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum by momentum."""
        return momentum * (velocity - rate * g)


class MomentumOnGradientAlone(SGD):
    """Momentum multiplies the gradient in place of the velocity: ``velocity - momentum * learning_rate * g``.

    The documentation: ``velocity = momentum * velocity - learning_rate * g``. Evidence: no report is known.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the gradient by the momentum, not the velocity."""
        return velocity - momentum * (rate * g)


class VelocityNeverDecays(SGD):
    """The velocity loses nothing: ``velocity - learning_rate * g``, without the factor `momentum`.

    The documentation: ``velocity = momentum * velocity - learning_rate * g``. Evidence: no report is known.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Leave the momentum out."""
        return velocity - rate * g


class VelocityNotKept(SGD):
    """The velocity begins at 0 in every update, so that momentum has no effect.

    The documentation multiplies the velocity of the update before. Evidence: a buffer that was zeroed in
    every step, https://github.com/kozistr/pytorch_optimizer/pull/516.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Forget the velocities first."""
        forgotten = [np.zeros_like(velocity) for velocity in values.velocities]
        return super().update(replace(values, velocities=forgotten), gradients, call)


class MovesByOldVelocity(MovesByStep):
    """The variable moves by the velocity of the update before.

    The documentation updates the velocity first. Evidence: no report is known.
    """

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Move by the velocity from before."""
        return super().step(old, old, g, momentum, rate)


class MovesAgainstVelocity(MovesByStep):
    """The variable moves by ``-velocity``, though the velocity has the sign of the step.

    The documentation: ``w = w + velocity``. Evidence: no report is known.
    """

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Reverse the step."""
        return -super().step(old, new, g, momentum, rate)


class VelocityIsDifference(SGD):
    """The velocity is the difference of the last two values of the variable.

    So it also contains the weight decay, and the change when an average overwrote the variable. The
    documentation: the velocity is made of gradients. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._before: list[Array] = []

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Use the change of the variables since before the last update as the velocity."""
        now = [np.array(w) for w in call.state.variables]
        if self._before and self.settings.momentum != 0:
            differences = [
                velocity if gradient is None else w - before
                for velocity, gradient, w, before in zip(
                    values.velocities, gradients, now, self._before, strict=True
                )
            ]
            values = replace(values, velocities=differences)
        self._before = [
            w if gradient is not None or not self._before else self._before[index]
            for index, (w, gradient) in enumerate(zip(now, gradients, strict=True))
        ]
        return super().update(values, gradients, call)


class MomentumAndDecaySwapped(SGD):
    """`momentum` and `weight_decay` are taken for each other where both are set and not 0.

    Evidence: arguments in another order than the signature, https://github.com/NVIDIA/warp/issues/1143.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        given = self.settings
        if given.momentum and given.weight_decay:
            self.settings = replace(given, momentum=given.weight_decay, weight_decay=given.momentum)


def _nothing(w: Array) -> Array:
    """Return an array that changes no number when it is added, not even -0.0."""
    return np.full_like(np.asarray(w), -0.0)


def _sum_behind(velocity: Array, call: Call) -> Array:
    """Return the sum of gradients of a velocity: the sum times ``-rate`` is the velocity."""
    return np.where(velocity == 0, np.zeros_like(velocity), -velocity / call.rate(velocity.dtype))


def _is_other(velocity: Array, before: Array) -> Array:
    """Return where a velocity was changed by more than the roundings of whoever reported it."""
    form = FORMATS[np.asarray(velocity).dtype]
    with np.errstate(all="ignore"):
        new, old = (np.asarray(array).astype(FLOAT64) for array in (velocity, before))
        margin = 2.0 ** -(form.precision // 2) * np.abs(old) + float(form.smallest_normal)
        is_equal = (new == old) | (np.isnan(new) & np.isnan(old))
        return np.asarray(~is_equal & ~(np.abs(new - old) <= margin))


VELOCITY = (
    mistake("scalar-gradient-lost", ScalarGradientLost),
    mistake("rate-outside-velocity", RateOutsideVelocity),
    mistake("rate-inside-and-outside-velocity", RateInsideAndOutside),
    mistake("dampened", Dampened),
    mistake("dampened-after-the-first-update", DampenedAfterFirst),
    mistake("velocity-starts-at-gradient", VelocityStartsAtGradient),
    mistake("momentum-scales-gradient", MomentumScalesGradient),
    mistake("momentum-on-gradient-alone", MomentumOnGradientAlone),
    mistake("velocity-never-decays", VelocityNeverDecays),
    mistake("velocity-not-kept", VelocityNotKept),
    mistake("moves-by-old-velocity", MovesByOldVelocity),
    mistake("moves-against-velocity", MovesAgainstVelocity),
    mistake("velocity-is-difference-of-weights", VelocityIsDifference),
    mistake("momentum-and-decay-swapped", MomentumAndDecaySwapped),
)
