"""The reference with every formula as a method of its own, for variants that evaluate one otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number, Numbers


class Formulas(SGD):
    """The reference itself: its stages, on formulas that subclasses override one at a time.

    Arrays and numbers of one formula share a dtype; settings were rounded to it.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Evaluate ``unscaled`` in float32 at least and round once."""
        if loss_scale is None:
            return gradients

        def rounded(gradient: Array) -> Array:
            wide = promoted([gradient.dtype, FLOAT32])
            result = self.unscaled(convert(gradient, wide), setting(float(loss_scale), wide))
            return convert(np.asarray(result), gradient.dtype)

        return [None if gradient is None else rounded(gradient) for gradient in gradients]

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Evaluate ``mean_of`` and reset the accumulators."""
        means, reset = super().mean(values, gradients)
        steps = self.settings.gradient_accumulation_steps
        if steps is None:
            return means, reset
        means = [
            None if gradient is None else self.mean_of(gradient, accumulator, setting(steps, gradient.dtype))
            for gradient, accumulator in zip(gradients, values.accumulators, strict=True)
        ]
        return means, reset

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Evaluate ``clipped``."""
        return [
            None
            if gradient is None
            else self.clipped(gradient, self.norm([gradient]), setting(clipnorm, gradient.dtype))
            for gradient in gradients
        ]

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Evaluate ``globally_clipped`` in the narrowest dtype that holds all gradients."""
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])
        norm, limit = self.norm(present), setting(clipnorm, wide)
        reciprocal = setting(1 / clipnorm, wide)
        return [
            None
            if gradient is None
            else convert(
                np.asarray(self.globally_clipped(convert(gradient, wide), norm, limit, reciprocal)),
                gradient.dtype,
            )
            for gradient in gradients
        ]

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Evaluate ``decayed``."""
        weight_decay = self.settings.weight_decay
        if weight_decay is None:
            return values
        variables = list(values.variables)
        for index, gradient in enumerate(gradients):
            if gradient is not None and call.state.decayed[index]:
                w = variables[index]
                rate = setting(float(call.learning_rate), w.dtype)
                variables[index] = self.decayed(w, setting(weight_decay, w.dtype), rate)
        return replace(values, variables=variables)

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Evaluate ``descended``, or ``accelerated`` and then one of the two that move."""
        variables, velocities = list(values.variables), list(values.velocities)
        for index, g in enumerate(gradients):
            if g is None:
                continue
            w = variables[index]
            rate = setting(float(call.learning_rate), g.dtype)
            if self.settings.momentum == 0:
                variables[index] = self.descended(w, g, rate)
                continue
            momentum = setting(self.settings.momentum, g.dtype)
            old = velocities[index]
            new = velocities[index] = self.accelerated(old, g, momentum, rate)
            if self.settings.nesterov:
                variables[index] = self.moved_by_nesterov(w, old, new, g, momentum, rate)
            else:
                variables[index] = self.moved(w, new)
        return replace(values, variables=variables, velocities=velocities)

    def average(self, values: Values, call: Call) -> Values:
        """Evaluate ``averaged``; the first update stores the variables."""
        if not self.settings.use_ema or self.updates_before(call) == 0:
            return super().average(values, call)
        averages = [
            self.averaged(average, w, setting(self.settings.ema_momentum, w.dtype))
            for average, w in zip(values.averages, values.variables, strict=True)
        ]
        return replace(values, averages=averages)

    def unscaled(self, gradient: Numbers, loss_scale: Number) -> Numbers:
        """``gradient / loss_scale``."""
        return rule.unscale(gradient, loss_scale)

    def mean_of(self, gradient: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
        """``(gradient + accumulator) / steps``."""
        return rule.mean_of_accumulated(gradient, accumulator, steps)

    def clipped(self, gradient: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """``gradient * clipnorm / max(norm, clipnorm)``."""
        return rule.clip_by_norm(gradient, norm, clipnorm)

    def globally_clipped(
        self, gradient: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """``gradient * (clipnorm * min(1 / norm, 1 / clipnorm))``; NaN unless the norm is finite."""
        factor = rule.global_clip_factor(norm, clipnorm, reciprocal_of_clipnorm)
        return rule.clip_by_global_norm(gradient, factor)

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """``w - (w * weight_decay) * rate``."""
        return rule.decay_weights(w, weight_decay, rate)

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """``w - rate * g``."""
        return rule.descend(w, g, rate)

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """``momentum * velocity - rate * g``."""
        return rule.accelerate(velocity, g, momentum, rate)

    def moved(self, w: Numbers, velocity: Numbers) -> Numbers:
        """``w + velocity``."""
        return rule.move(w, velocity)

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """``w + (momentum * new - rate * g)``, where `old` and `new` are the velocities."""
        return rule.move_nesterov(w, new, g, momentum, rate)

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """``ema_momentum * average + (1 - ema_momentum) * w``."""
        return rule.average(average, w, ema_momentum)


def where_finite(result: Any, definition: Any, *operands: Array) -> Array:
    """Return the result where all operands are finite, and elsewhere what the definition gives.

    Formulas that are equal for real numbers need not be equal for infinities: ``w - w * d`` is NaN for an
    infinite w, while ``w * (1 - d)`` is infinite.

    >>> infinite = np.array([2.0, np.inf])
    >>> where_finite(infinite * 0.75, np.array([1.5, np.nan]), infinite)
    array([1.5, nan])
    """
    finite = np.isfinite(operands[0])
    for operand in operands[1:]:
        finite = finite & np.isfinite(operand)
    return np.asarray(np.where(finite, result, definition))
