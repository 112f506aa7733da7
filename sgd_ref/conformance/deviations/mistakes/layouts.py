"""Mistakes about the layout of arrays: other elements are read or written than the indices say."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.reach import VariablesSkipped
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD, Gradients, Values


class GradientReadOtherwise(SGD):
    """The common base of mistakes that read dense gradients wrongly, by the method ``read``."""

    def accepted(self, gradient: Gradient, variable: Array) -> Any:
        """Accept the gradients that ``read`` returns."""
        if isinstance(gradient, np.ndarray) and gradient.size:
            gradient = self.read(gradient, variable)
        return super().accepted(gradient, variable)

    def read(self, gradient: Array, variable: Array) -> Array:
        """Return the elements that are read for a gradient that is not empty, in its shape."""
        return gradient


class StridesOfGradientIgnored(GradientReadOtherwise):
    """As many elements are read as a gradient has, one after the other from its first one on.

    Elements past the end of the gradient's memory count as 0. Evidence: the same gradient with other strides
    gave another update, https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1185.
    """

    def read(self, gradient: Array, variable: Array) -> Array:
        """Read on from the first element."""
        memory, start = _memory(gradient)
        read = np.zeros(gradient.size, gradient.dtype)
        there = memory[start : start + gradient.size]
        read[: there.size] = there
        return read.reshape(gradient.shape)


class StartIgnored(GradientReadOtherwise):
    """A gradient that is a part of larger memory is read from the beginning of that memory on.

    Evidence: no report is known.
    """

    def read(self, gradient: Array, variable: Array) -> Array:
        """Read as many elements from the beginning, if the gradient is contiguous."""
        if not gradient.flags.c_contiguous:
            return gradient
        memory, _ = _memory(gradient)
        return memory[: gradient.size].reshape(gradient.shape)


class SignsOfStridesIgnored(GradientReadOtherwise):
    """An axis that runs backwards in memory is read forwards.

    Evidence: no report is known.
    """

    def read(self, gradient: Array, variable: Array) -> Array:
        """Reverse the axes with negative strides."""
        return gradient[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in gradient.strides)]


class FirstOfBroadcast(GradientReadOtherwise):
    """Along an axis of stride 0 only the first element of a gradient is read, and the others are 0.

    Evidence: no report is known.
    """

    def read(self, gradient: Array, variable: Array) -> Array:
        """Keep the first element along axes of stride 0, and set the others to 0."""
        first = tuple(slice(0, 1 if stride == 0 else None) for stride in gradient.strides)
        read = np.zeros_like(gradient)
        read[first] = gradient[first]
        return read


class LayoutsTakenForAlike(GradientReadOtherwise):
    """Elements of a variable and its gradient are paired by their order in memory, not by index.

    Evidence: a gradient and a parameter of different memory formats,
    https://github.com/ROCm/apex/pull/97.
    """

    def read(self, gradient: Array, variable: Array) -> Array:
        """Reorder the elements to the order of the variable's elements in memory."""
        by_columns = variable.flags.f_contiguous and not variable.flags.c_contiguous
        # A copy of a broadcast gradient keeps the order of its strides, while `ravel` reads another order.
        elements = np.array(gradient).ravel(order="K")
        return elements.reshape(gradient.shape, order="F" if by_columns else "C")


class CopyUpdated(VariablesSkipped):
    """A variable that is not contiguous is copied, and the copy is updated.

    Evidence: found in a review, https://github.com/axolotl-ai-cloud/axolotl/pull/3785.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the contiguous variables."""
        contiguous = [variable.flags.c_contiguous for variable in call.state.variables]
        chosen: Gradients = [g if mine else None for g, mine in zip(gradients, contiguous, strict=True)]
        return super().update(values, chosen, call)


def _memory(array: Array) -> tuple[Array, int]:
    """Return the memory that contains an array, as a flat array, and the index of the first element in it."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    addresses = [part.__array_interface__["data"][0] for part in (owner, array)]
    return owner.ravel(order="K"), (addresses[1] - addresses[0]) // array.itemsize


LAYOUTS = (
    mistake("strides-of-gradient-ignored", StridesOfGradientIgnored),
    mistake("start-within-memory-ignored", StartIgnored),
    mistake("signs-of-strides-ignored", SignsOfStridesIgnored),
    mistake("first-of-broadcast-only", FirstOfBroadcast),
    mistake("layouts-taken-for-alike", LayoutsTakenForAlike),
    mistake("copy-of-variable-updated", CopyUpdated),
)
