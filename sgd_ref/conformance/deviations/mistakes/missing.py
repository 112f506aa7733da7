"""Mistakes about gradients that are missing or zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class MissingAsZeros(SGD):
    """A missing gradient counts as zeros: the velocity goes on, and so does weight decay.

    The core code leaves the variable out. Evidence: a default that changed from one to the other,
    https://github.com/pytorch/pytorch/issues/83769.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Replace missing gradients by zeros."""
        filled: Gradients = [
            np.zeros_like(w) if g is None else g
            for g, w in zip(call.gradients, values.variables, strict=True)
        ]
        return super().advance(values, call._replace(gradients=filled), loss_scale)


class MissingAsBefore(SGD):
    """A missing gradient is replaced by the last one that the variable had.

    The core code leaves the variable out. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._last_given: dict[int, Array] = {}

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Replace missing gradients by the kept ones."""
        self._last_given |= {index: g for index, g in enumerate(call.gradients) if g is not None}
        filled: Gradients = [self._last_given.get(index) for index in range(len(call.gradients))]
        return super().advance(values, call._replace(gradients=filled), loss_scale)


class OneMissingSkipsAll(SGD):
    """A call in which one gradient is missing changes nothing, though it is counted.

    The core code updates the other variables. Evidence: no report is known.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Update if every gradient is present."""
        if any(gradient is None for gradient in call.gradients):
            return values
        return super().advance(values, call, loss_scale)


class MissingResetsVelocity(SGD):
    """A variable without a gradient in an update loses its velocity.

    The core code leaves it as it is. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Reset the velocities of the others."""
        updated = super().update(values, gradients, call)
        kept = [
            np.zeros_like(velocity) if gradient is None else velocity
            for velocity, gradient in zip(updated.velocities, gradients, strict=False)
        ]
        return replace(updated, velocities=kept)


class MissingDecaysVelocity(SGD):
    """The velocity of a variable without a gradient is multiplied by the momentum.

    The core code leaves it as it is. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the velocities of the others."""
        updated = super().update(values, gradients, call)
        kept = [
            velocity * setting(self.settings.momentum, velocity.dtype) if gradient is None else velocity
            for velocity, gradient in zip(updated.velocities, gradients, strict=False)
        ]
        return replace(updated, velocities=kept)


class ZeroAsMissing(SGD):
    """A gradient of zeros counts as missing: the velocity does not go on, and nothing decays.

    The documentation makes no exception for zeros. Evidence: the same two behaviours as for missing
    gradients, https://github.com/pytorch/pytorch/pull/44423.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Drop gradients of zeros."""
        others: Gradients = [
            None if gradient is None or (gradient.size and not gradient.any()) else gradient
            for gradient in call.gradients
        ]
        return super().advance(values, call._replace(gradients=others), loss_scale)


class ZeroElementsSkipped(SGD):
    """Where an element of the gradient is 0, the element of the variable and its velocity stay as they are.

    The documentation makes no exception for it. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Keep the elements whose gradient is 0."""
        updated = super().update(values, gradients, call)

        def kept(before: list[Array], after: list[Array]) -> list[Array]:
            return [
                new if gradient is None else np.where(gradient == 0, old, new)
                for old, new, gradient in zip(before, after, gradients, strict=False)
            ]

        return replace(
            updated,
            variables=kept(values.variables, updated.variables),
            velocities=kept(values.velocities, updated.velocities),
        )


MISSING = (
    mistake("missing-as-zeros", MissingAsZeros),
    mistake("missing-as-before", MissingAsBefore),
    mistake("one-missing-skips-all", OneMissingSkipsAll),
    mistake("missing-resets-velocity", MissingResetsVelocity),
    mistake("missing-decays-velocity", MissingDecaysVelocity),
    mistake("zero-as-missing", ZeroAsMissing),
    mistake("zero-elements-skipped", ZeroElementsSkipped),
)
