"""Mistakes of Nesterov momentum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import MovesByStep, each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class NesterovIgnored(SGD):
    """`nesterov` is accepted and does nothing: ``w + velocity``.

    Evidence: https://github.com/bitsandbytes-foundation/bitsandbytes/pull/2085.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = replace(self.settings, nesterov=False)


class NesterovUnasked(SGD):
    """Nesterov momentum is applied although `nesterov` is False.

    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = replace(self.settings, nesterov=True)


class NesterovFormula(SGD):
    """The common base of mistakes in which ``look_ahead`` returns the change under Nesterov momentum."""

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the look-ahead."""
        return rule.move(w, self.look_ahead(old, new, g, momentum, rate))

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Return the change under Nesterov momentum, given the velocities before and after this update."""
        return momentum * new - rate * g


class NesterovWithoutGradient(NesterovFormula):
    """The gradient is left out: ``w + momentum * velocity``.

    The documentation: ``w = w + momentum * velocity - learning_rate * g``. Evidence: no report is known.
    """

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Move by the product only."""
        return momentum * new


class NesterovWithFullVelocity(NesterovFormula):
    """The velocity is not multiplied: ``w + (velocity - learning_rate * g)``.

    The documentation: ``w = w + momentum * velocity - learning_rate * g``. Evidence: no report is known.
    """

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Leave the momentum out."""
        return new - rate * g


class LookAheadKept(NesterovFormula):
    """The variable is moved ahead by ``momentum * velocity`` and then by the whole velocity.

    The look-ahead is the point for the gradient, and the variable must not stay there. Evidence: momentum
    applied twice, https://github.com/oysteijo/simd_neuralnet/issues/17.
    """

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the look-ahead to the step."""
        return momentum * old + new


class NesterovAgainstVelocity(NesterovFormula):
    """The velocity has the wrong sign: ``w - momentum * velocity - learning_rate * g``.

    The documentation: ``w = w + momentum * velocity - learning_rate * g``. Evidence: nets did not converge,
    https://github.com/PaddlePaddle/Paddle/pull/12231.
    """

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Subtract the velocity."""
        return -(momentum * new) - rate * g


class NesterovSquaresMomentum(NesterovFormula):
    """Momentum multiplies the velocity twice: ``w + momentum * momentum * velocity - learning_rate * g``.

    The documentation has one factor. Evidence: no report is known.
    """

    def look_ahead(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply by the momentum twice."""
        return momentum * (momentum * new) - rate * g


class NesterovStored(SGD):
    """What the variable moves by, ``momentum * velocity - learning_rate * g``, is kept as the velocity.

    The variables are right after one update and wrong after two. Evidence: a buffer updated in place,
    https://github.com/google-research/google-research/issues/1711.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Return the velocity of the look-ahead, which is stored."""
        new = super().accelerated(velocity, g, momentum, rate)
        if not self.settings.nesterov:
            return new
        # From a variable of -0.0 the formula leaves its step behind, in the scale of the velocity.
        nothing = np.full_like(np.asarray(g), -0.0)
        return super().moved_by_nesterov(nothing, velocity, new, g, momentum, rate)

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Move by the velocity, which is not stored."""
        velocity = super().accelerated(old, g, momentum, rate)
        return super().moved_by_nesterov(w, old, velocity, g, momentum, rate)


class NesterovBeforeVelocity(MovesByStep):
    """The look-ahead is added to the gradient before the velocity is updated, so it enters the velocity, too.

    ``velocity = momentum * velocity + (momentum * velocity - learning_rate * g)``, and ``w + velocity``.
    The first update is right. Evidence: found in a review,
    https://github.com/ml-explore/mlx/pull/87.
    """

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Count the velocity twice."""
        accelerated = super().accelerated(velocity, g, momentum, rate)
        return momentum * velocity + accelerated if self.settings.nesterov else accelerated

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Move by the velocity."""
        return new


class NesterovPreviousGradient(SGD):
    """The look-ahead is corrected by the gradient of the update before, not by that of this one.

    The documentation: ``w = w + momentum * velocity - learning_rate * g`` with the same g as the velocity.
    Evidence: another documentation described it so, https://github.com/pytorch/pytorch/pull/76639.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._gradients_before: Gradients = []

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Move by the new velocity and the old gradient."""
        updated = super().update(values, gradients, call)
        if self.settings.momentum == 0 or not self.settings.nesterov:
            return updated
        previous = self._gradients_before or each(gradients, np.zeros_like)
        self._gradients_before = [old if g is None else g for old, g in zip(previous, gradients, strict=True)]
        variables = list(updated.variables)
        for index, (old, gradient) in enumerate(zip(previous, gradients, strict=True)):
            if old is not None and gradient is not None:
                # From a variable and a velocity of -0.0, the formula leaves the part of the gradient.
                nothing = np.full_like(np.asarray(gradient), -0.0)
                momentum = self.settings.rounded(gradient.dtype).momentum
                rate = call.rate(gradient.dtype)
                variables[index] = variables[index] + self.moved_by_nesterov(
                    nothing, nothing, nothing, old - gradient, momentum, rate
                )
        return replace(updated, variables=variables)


NESTEROV = (
    mistake("nesterov-ignored", NesterovIgnored),
    mistake("nesterov-unasked", NesterovUnasked),
    mistake("nesterov-without-gradient", NesterovWithoutGradient),
    mistake("nesterov-with-full-velocity", NesterovWithFullVelocity),
    mistake("look-ahead-kept", LookAheadKept),
    mistake("nesterov-against-velocity", NesterovAgainstVelocity),
    mistake("nesterov-squares-momentum", NesterovSquaresMomentum),
    mistake("look-ahead-stored-as-velocity", NesterovStored),
    mistake("look-ahead-before-velocity", NesterovBeforeVelocity),
    mistake("nesterov-with-previous-gradient", NesterovPreviousGradient),
)
