"""Velocities that do not contain the learning rate, if it is constant: v = -learning_rate * t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.decay import DecayInUpdate
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.rule import Number, Numbers


class RateFactoredVelocity(SGD):
    """``t = momentum * t + g`` and ``w - learning_rate * t``.

    Nesterov: ``w - learning_rate * (g + momentum * t)``.

    For a constant learning rate, ``velocity = -learning_rate * t``; each operation is rounded. If the rate
    changes or is 0, the variant is the definition. The same holds if a case resumes with velocities, since
    dividing them by the rate would round them. ``torch.optim.SGD`` and ``optax.trace`` keep such a velocity.
    """

    _factored = False

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Numbers] | None = None) -> Call:
        """Decide before the first call whether the velocity can be kept without the rate."""
        call = super().validated(gradients, variables)
        rates = [call.rate(w.dtype) for w in call.state.variables]
        if not self._factored and self.constant_rate() is not None and all(rate != 0 for rate in rates):
            self._factored = not any(velocity.any() for velocity in call.state.velocities)
        return call

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Compute the velocity without the rate."""
        if not self._factored:
            return super().accelerated(velocity, g, momentum, rate)
        return momentum * velocity + g

    def moved(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Multiply the velocity by the rate to move the weights."""
        if not self._factored:
            return super().moved(w, old, new, g, momentum, rate)
        return self.stepped(w, new, rate)

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Look ahead, then multiply by the rate."""
        if not self._factored:
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return self.stepped(w, self.looked_ahead(new, g, momentum), rate)

    def looked_ahead(self, t: Numbers, g: Numbers, momentum: Number) -> Numbers:
        """``g + momentum * t``, which replaces the velocity under Nesterov momentum."""
        return g + momentum * t

    def stepped(self, w: Numbers, t: Numbers, rate: Number) -> Numbers:
        """``w - rate * t``."""
        return w - rate * t


class RateFactoredVelocityFused(RateFactoredVelocity):
    """``t = fma(momentum, t, g)``, ``fma(-learning_rate, t, w)``; Nesterov: ``fma(momentum, t, g)`` for t.

    This is the velocity without the rate, with every product fused. If the rate changes or is 0, or if a case
    resumes with velocities, the variant is the definition. ``torch.optim.SGD`` passes ``alpha`` to its sums.
    """

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Fuse the product with the momentum."""
        if not self._factored:
            return super().accelerated(velocity, g, momentum, rate)
        return fused_multiply_add(momentum, velocity, g)

    def looked_ahead(self, t: Numbers, g: Numbers, momentum: Number) -> Numbers:
        """Fuse the product with the momentum."""
        return fused_multiply_add(momentum, t, g)

    def stepped(self, w: Numbers, t: Numbers, rate: Number) -> Numbers:
        """Fuse the product with the rate."""
        return fused_multiply_add(-rate, t, w)


class RateFactoredDecay(DecayInUpdate, RateFactoredVelocity):
    """``w - learning_rate * (t + weight_decay * w)``: decay is added to the velocity after the momentum.

    Each operation is rounded; under Nesterov momentum, t is ``g + momentum * t``. If the rate changes or is
    0, or if a case resumes with velocities, the variant is the definition. Optax has it as
    ``chain(trace(momentum), add_decayed_weights(weight_decay), scale_by_learning_rate(rate))``.
    """

    def is_left_to_update(self) -> bool:
        """Whether the velocity is kept without the rate."""
        return self._factored and self.settings.momentum != 0

    def stepped(self, w: Numbers, t: Numbers, rate: Number) -> Numbers:
        """Decay by the same product with the rate."""
        if not self.decays:
            return super().stepped(w, t, rate)
        return np.asarray(w - rate * (t + self.settings.rounded(w.dtype).weight_decay * w))
