"""Mistakes about axes of equal length or of length 1, which are read in another order or broadcast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class SquareGradientTransposed(SGD):
    """The gradient of a square matrix is read column by column.

    The documentation has an element of the gradient for each element of the variable. Evidence: no report is
    known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the other order."""
        return super().update(values, each(gradients, _square_transposed), call)


class SquareVelocityTransposed(SGD):
    """The velocity of a square matrix is stored column by column and read row by row.

    The documentation has an element of the velocity for each element of the variable. Evidence: no report is
    known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, and store the velocity with its axes swapped."""
        updated = super().update(values, gradients, call)
        stored = [
            velocity if g is None else _square_transposed(velocity)
            for velocity, g in zip(updated.velocities, gradients, strict=False)
        ]
        return replace(updated, velocities=stored)


class CubeReversed(SGD):
    """A gradient of three or more axes, all of one length, is read with its axes in reverse order.

    The documentation has an element of the gradient for each element of the variable. Evidence: no report is
    known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the other order."""

        def read(g: Array) -> Array:
            return np.transpose(g) if g.ndim > 2 and len(set(g.shape)) == 1 else g

        return super().update(values, each(gradients, read), call)


class AxisOfOneBroadcast(SGD):
    """A gradient with an axis of length 1 beside others is taken for one that is to be broadcast.

    The first element is read for all elements. The documentation broadcasts no gradient. Evidence: no report
    is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the first element."""

        def read(g: Array) -> Array:
            is_broadcast = g.ndim > 1 and 1 in g.shape and g.size > 0
            return np.full_like(g, g.reshape(-1)[0]) if is_broadcast else g

        return super().update(values, each(gradients, read), call)


def _square_transposed(array: Array) -> Any:
    return array.T if array.ndim == 2 and array.shape[0] == array.shape[1] else array


TRANSPOSED = (
    mistake("square-gradient-transposed", SquareGradientTransposed),
    mistake("square-velocity-transposed", SquareVelocityTransposed),
    mistake("cube-gradient-reversed", CubeReversed),
    mistake("axis-of-one-taken-for-broadcast", AxisOfOneBroadcast),
)
