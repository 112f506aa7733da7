"""The update of the weights: with fused operations, or with its terms added in another order."""

from __future__ import annotations

from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.special_values import where_finite
from sgd_ref.optimizer import SGD
from sgd_ref.rule import Number, Numbers


class DescentFused(SGD):
    """``fma(-learning_rate, g, w)`` without momentum: one rounding instead of two.

    Compilers contract ``w -= lr * g`` to this by default: NVCC, and GCC for processors with the instruction.
    """

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """Fuse the product with the difference."""
        return fused_multiply_add(-rate, g, w)


class VelocityFusedWithMomentum(SGD):
    """``fma(momentum, velocity, -(learning_rate * g))``: the product with the momentum is not rounded."""

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Fuse the first product with the difference."""
        return fused_multiply_add(momentum, velocity, -(rate * g))


class VelocityFusedWithRate(SGD):
    """``fma(-learning_rate, g, momentum * velocity)``: the product with the rate is not rounded.

    PyTorch does this in ``velocity.mul_(momentum).add_(g, alpha=-lr)``.
    """

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Fuse the second product with the difference."""
        return fused_multiply_add(-rate, g, momentum * velocity)


class NesterovFusedWithMomentum(SGD):
    """``w + fma(momentum, velocity, -(learning_rate * g))``: three roundings instead of four."""

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Fuse the first product of the inner sum."""
        return w + fused_multiply_add(momentum, new, -(rate * g))


class NesterovFusedWithRate(SGD):
    """``w + fma(-learning_rate, g, momentum * velocity)``: three roundings instead of four."""

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Fuse the second product of the inner sum."""
        return w + fused_multiply_add(-rate, g, momentum * new)


class NesterovGradientFirst(SGD):
    """``(w - learning_rate * g) + momentum * velocity``: each operation rounded, w first."""

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Subtract the gradient, then add the velocity."""
        return w - rate * g + momentum * new


class NesterovVelocityFirst(SGD):
    """``(w + momentum * velocity) - learning_rate * g``: read from left to right, each operation rounded.

    The documentation writes it without parentheses, and a naive loop in C adds in this order.
    """

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Add the velocity, then subtract the gradient."""
        return w + momentum * new - rate * g


class NesterovVelocityFirstFused(SGD):
    """``fma(-learning_rate, g, fma(momentum, velocity, w))``: two roundings instead of four."""

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Fuse both products."""
        return fused_multiply_add(-rate, g, fused_multiply_add(momentum, new, w))


class NesterovFromBothVelocities(SGD):
    """``(w - momentum * old) + (1 + momentum) * new``, from the velocities before and after the update.

    With ``-learning_rate * g = new - momentum * old``, this is the documented sum. Every operation is
    rounded, also ``1 + momentum``. The lecture notes of Stanford's course CS231n, "Neural Networks Part 3",
    have
    ``x += -mu * v_prev + (1 + mu) * v``.
    """

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Compute the sum without the gradient."""
        definition = super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return where_finite(w - momentum * old + (1 + momentum) * new, definition, old, new, g)


class NesterovIncrementFromBothVelocities(SGD):
    """``w + ((1 + momentum) * new - momentum * old)``, from the velocities before and after the update.

    The lecture notes of CS231n have ``x += -mu * v_prev + (1 + mu) * v``, where Python evaluates the
    right-hand side first. Every operation is rounded.
    """

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Compute the sum without the gradient, and add it to w at the end."""
        definition = super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return where_finite(w + ((1 + momentum) * new - momentum * old), definition, old, new, g)


class VelocityNegated(SGD):
    """The velocity has the other sign: ``u = momentum * u + learning_rate * g``, then ``w - u``.

    With `nesterov`, it is ``w - (momentum * u + learning_rate * g)``. Every rounding is the documented one,
    but signs of zeros differ. The reported velocity is ``-u``.
    """

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Add the step instead of subtracting it."""
        return -(momentum * -velocity + rate * g)

    def moved(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Subtract the negated velocity."""
        return w - -new

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Subtract the negated sum."""
        return w - (momentum * -new + rate * g)


class EveryProductFused(SGD):
    """Every product that is an addend is fused with the addition, in all dtypes.

    ``fma(-learning_rate, g, w)``; ``fma(momentum, velocity, -(learning_rate * g))`` and, with `nesterov`,
    ``fma(-learning_rate, g, fma(momentum, velocity, w))``; ``fma(-(w * weight_decay), learning_rate, w)``;
    ``fma(ema_momentum, average, (1 - ema_momentum) * w)``. Compilers that contract every expression they can,
    such as NVCC and the fast mode of Clang, may do this.
    """

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """Fuse the last product."""
        return fused_multiply_add(-(w * weight_decay), rate, w)

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """Fuse the only product."""
        return fused_multiply_add(-rate, g, w)

    def accelerated(self, velocity: Numbers, g: Numbers, momentum: Number, rate: Number) -> Numbers:
        """Fuse one product, since a fused operation cannot take a second one."""
        return fused_multiply_add(momentum, velocity, -(rate * g))

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Fuse both products."""
        return fused_multiply_add(-rate, g, fused_multiply_add(momentum, new, w))

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Fuse one product."""
        return fused_multiply_add(ema_momentum, average, (1 - ema_momentum) * w)
