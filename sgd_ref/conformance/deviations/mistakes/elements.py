"""Mistakes that update only some elements or variables, or pair elements wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import HALF_FORMATS, Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values

HALF_BLOCK = 16
"""Numbers of 16 bits in a vector register of 256 bits."""

BLOCK = 8
"""Numbers of 32 bits in a vector register of 256 bits."""


class ElementsSkipped(SGD):
    """The common base of mistakes that leave some elements of variables and velocities unchanged."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the other elements."""
        return self.kept(values, super().update(values, gradients, call), call)

    def kept(self, before: Values, after: Values, call: Call) -> Values:
        """Return the values after a stage, with the skipped elements as before the stage."""

        def mixed(old_arrays: list[Array], new_arrays: list[Array]) -> list[Array]:
            # Within a step, arrays may have a wider dtype than the variables.
            return [
                np.where(self.skipped(np.arange(w.size), w).reshape(w.shape), old, new)
                for w, old, new in zip(call.state.variables, old_arrays, new_arrays, strict=False)
            ]

        return replace(
            after,
            variables=mixed(before.variables, after.variables),
            velocities=mixed(before.velocities, after.velocities),
        )

    def skipped(self, position: Array, w: Array) -> Any:
        """Return for each position in the flat variable whether it is skipped."""
        return np.zeros(w.size, bool)


class VectorBodySkipped(ElementsSkipped):
    """In float16 and bfloat16 whole vector registers are not updated, only the elements after the last one.

    They are not decayed either. Variables smaller than a register are right. Evidence:
    https://github.com/pytorch/pytorch/issues/191763.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay the other elements."""
        return self.kept(values, super().decay(values, gradients, call), call)

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip whole blocks."""
        whole = w.size - w.size % HALF_BLOCK
        return position < (whole if w.dtype in HALF_FORMATS else 0)


class TailSkipped(ElementsSkipped):
    """Only whole vector registers are updated, and not the elements after the last one.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the elements after the last whole block."""
        return position >= w.size - w.size % BLOCK


class LastElementSkipped(ElementsSkipped):
    """The last element of each variable is not updated.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the last one."""
        return position == w.size - 1


class ScalarsSkipped(ElementsSkipped):
    """Variables without axes are not updated.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip all of a scalar."""
        return np.full(w.size, w.ndim == 0)


class SecondHalfSkipped(ElementsSkipped):
    """The second half of the elements of each variable is not updated, as if these were twice as wide.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Any:
        """Skip the second half."""
        return position >= (w.size + 1) // 2


class FirstVariableOnly(SGD):
    """Only the first variable that has a gradient is updated.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with one gradient."""
        first = next((index for index, gradient in enumerate(gradients) if gradient is not None), 0)
        alone: Gradients = [g if index == first else None for index, g in enumerate(gradients)]
        return super().update(values, alone, call)


class GradientInOtherLayout(SGD):
    """Gradients of matrices are read column by column, and variables row by row.

    Evidence: a gradient and a parameter of different memory formats,
    https://github.com/ROCm/apex/pull/97.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the elements in another order."""
        permuted = each(gradients, lambda g: np.ravel(g, order="F").reshape(np.shape(g)))
        return super().update(values, permuted, call)


class FirstElementForAll(SGD):
    """The first element of a gradient is used for all elements of its variable.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with one element."""
        return super().update(
            values, each(gradients, lambda g: np.full_like(g, g.flat[0]) if np.size(g) else g), call
        )


ELEMENTS = (
    mistake("vector-body-skipped", VectorBodySkipped),
    mistake("tail-skipped", TailSkipped),
    mistake("last-element-skipped", LastElementSkipped),
    mistake("scalars-skipped", ScalarsSkipped),
    mistake("second-half-skipped", SecondHalfSkipped),
    mistake("first-variable-only", FirstVariableOnly),
    mistake("gradient-in-other-layout", GradientInOtherLayout),
    mistake("first-element-for-all", FirstElementForAll),
)
