"""Velocities without the learning rate, as long as it is constant: v = -learning_rate * t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.formulas import Formulas
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import Gradients, Values
from sgd_ref.rule import Number, Numbers


class RateFactoredVelocity(Formulas):
    """``t = momentum * t + g`` and ``w - learning_rate * t``.

    Nesterov: ``w - learning_rate * (g + momentum * t)``.

    For a constant learning rate ``velocity = -learning_rate * t``; each operation is rounded. With a rate
    that changes, or is 0, and where a case resumes with velocities, whose quotients by the rate would be
    rounded, this is the definition. ``torch.optim.SGD`` and ``optax.trace`` keep such a velocity.
    """

    _factored = False

    def _validated(self, gradients: Sequence[Gradient], variables: Sequence[Numbers] | None = None) -> Call:
        call = super()._validated(gradients, variables)
        rates = [setting(float(call.learning_rate), w.dtype) for w in call.state.variables]
        if not self._factored and self._constant_rate() is not None and all(rate != 0 for rate in rates):
            self._factored = not any(velocity.any() for velocity in call.state.velocities)
        return call

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Leave the rate out."""
        if not self._factored:
            return super().accelerated(velocity, g, momentum, rate)
        return momentum * velocity + g

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the velocity by the rate where it moves the weights."""
        if not self._factored or self.settings.momentum == 0:
            return super().update(values, gradients, call)
        variables, velocities = list(values.variables), list(values.velocities)
        for index, g in enumerate(gradients):
            if g is None:
                continue
            rate = setting(float(call.learning_rate), g.dtype)
            momentum = setting(self.settings.momentum, g.dtype)
            t = velocities[index] = self.accelerated(velocities[index], g, momentum, rate)
            if self.settings.nesterov:
                t = self.looked_ahead(t, g, momentum)
            variables[index] = self.stepped(variables[index], t, rate, index, call)
        return replace(values, variables=variables, velocities=velocities)

    def looked_ahead(self, t: Numbers, g: Numbers, momentum: Number) -> Numbers:
        """``g + momentum * t``, what Nesterov momentum takes for the velocity."""
        return g + momentum * t

    def stepped(self, w: Numbers, t: Numbers, rate: Number, index: int, call: Call) -> Numbers:
        """``w - rate * t`` for the variable of some index."""
        return w - rate * t


class RateFactoredVelocityFused(RateFactoredVelocity):
    """``t = fma(momentum, t, g)``, ``fma(-learning_rate, t, w)``; Nesterov: ``fma(momentum, t, g)`` for t.

    As the velocity without the rate, with every product fused. With a rate that changes, or is 0, and where
    a case resumes with velocities, this is the definition. ``torch.optim.SGD`` has ``alpha`` in its sums.
    """

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Fuse the product with the momentum."""
        if not self._factored:
            return super().accelerated(velocity, g, momentum, rate)
        return fused_multiply_add(momentum, velocity, g)

    def looked_ahead(self, t: Numbers, g: Numbers, momentum: Number) -> Numbers:
        """Fuse the product with the momentum."""
        return fused_multiply_add(momentum, t, g)

    def stepped(self, w: Numbers, t: Numbers, rate: Number, index: int, call: Call) -> Numbers:
        """Fuse the product with the rate."""
        return fused_multiply_add(-rate, t, w)


class RateFactoredDecay(RateFactoredVelocity):
    """``w - learning_rate * (t + weight_decay * w)``: decay joins the velocity behind the momentum.

    Each operation is rounded; Nesterov has ``g + momentum * t`` for t. With a rate that changes, or is 0, and
    where a case resumes with velocities, this is the definition. In Optax,
    ``chain(trace(momentum), add_decayed_weights(weight_decay), scale_by_learning_rate(rate))``.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave it to the update where the velocity has no rate."""
        if self._factored and self.settings.momentum != 0:
            return values
        return super().decay(values, gradients, call)

    def stepped(self, w: Numbers, t: Numbers, rate: Number, index: int, call: Call) -> Numbers:
        """Decay by the same product with the rate."""
        if self.settings.weight_decay is None or not call.state.decayed[index]:
            return w - rate * t
        return np.asarray(w - rate * (t + setting(self.settings.weight_decay, w.dtype) * w))
