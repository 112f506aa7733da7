"""Mistakes of the factors that momentum makes: of the old velocity, and of the velocity in a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import MovesByStep, WithSums, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class RateTimesOldVelocity(WithSums):
    """The learning rate multiplies the old velocity, too: ``rate * (momentum * velocity - g)``.

    The documentation: ``velocity = momentum * velocity - learning_rate * g``. Evidence: a weight increment
    that got both factors, https://github.com/dfdx/Boltzmann.jl/issues/14.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the momentum by the rate."""
        factor = rate if self.outside is None else self.outside.rate(g.dtype)
        return super().accelerated(velocity, g, momentum * factor, rate)


class MomentumIsComplement(SGD):
    """`momentum` is what the velocity loses: ``(1 - momentum) * velocity - learning_rate * g``.

    The documentation multiplies by `momentum` itself. Evidence: decay rates counted from the other end,
    https://github.com/mila-iqia/blocks/issues/1159.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the velocity by the complement."""
        return super().accelerated(velocity, g, 1 - momentum, rate)


class MomentumSquared(SGD):
    """The old velocity is multiplied by the momentum twice: ``momentum * momentum * velocity``.

    The documentation has one factor. Evidence: no report is known.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Square the momentum."""
        return super().accelerated(velocity, g, momentum * momentum, rate)


class VelocityDebiased(MovesByStep):
    """The velocity is divided by ``1 - momentum ** updates`` where it moves the variable, as in Adam.

    The documentation: ``w = w + velocity``. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Remember the number of updates."""
        self._divisor = 1 - self.settings.momentum ** (self.updates_before(call) + 1)
        return super().update(values, gradients, call)

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Divide the velocity."""
        if self._divisor == 0:
            return super().step(old, new, g, momentum, rate)
        return super().step(old, new / setting(self._divisor, np.asarray(new).dtype), g, momentum, rate)


class StepDampened(MovesByStep):
    """The variable moves by ``(1 - momentum) * velocity``.

    The documentation: ``w = w + velocity``. Evidence: a factor that was in the step and in the velocity,
    https://github.com/mdenil/dropout/issues/4.
    """

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the step by the complement of the momentum."""
        return (1 - momentum) * super().step(old, new, g, momentum, rate)


MOMENTUM_FACTORS = (
    mistake("rate-multiplies-old-velocity", RateTimesOldVelocity),
    mistake("momentum-is-its-complement", MomentumIsComplement),
    mistake("momentum-squared", MomentumSquared),
    mistake("velocity-debiased", VelocityDebiased),
    mistake("step-dampened", StepDampened),
)
