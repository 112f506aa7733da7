"""Mistakes that begin with the first variable whose index has more than 8 bits."""

from __future__ import annotations

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.structure_of_state import VelocityOfAnother, form
from sgd_ref.optimizer import SGD, Gradients, Values

INDICES = 256
"""The number of indices of 8 bits."""


class GradientIndexOf8Bits(SGD):
    """The index of a gradient has 8 bits, so that variable 256 gets the gradient of variable 0.

    A gradient of another shape or dtype is not taken. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Cut indices off."""
        taken = [gradients[position % INDICES] for position in range(len(gradients))]
        fitting: Gradients = [
            other if g is not None and other is not None and form(other) == form(g) else g
            for g, other in zip(gradients, taken, strict=True)
        ]
        return super().update(values, fitting, call)


class VelocityIndexOf8Bits(VelocityOfAnother):
    """The index of a velocity has 8 bits, so that variables 0 and 256 have the same one.

    A velocity of another shape or dtype is not used. Evidence: no report is known.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Cut indices off."""
        places = [position % INDICES for position in range(len(velocities))]
        return [
            place if form(velocities[place]) == form(velocities[position]) else position
            for position, place in enumerate(places)
        ]


MANY_VARIABLES = (
    mistake("gradient-index-of-8-bits", GradientIndexOf8Bits),
    mistake("velocity-index-of-8-bits", VelocityIndexOf8Bits),
)
