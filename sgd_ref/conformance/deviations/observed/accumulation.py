"""Gradient accumulation with other means and other resets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values


class MeanByReciprocal(SGD):
    """The mean is the sum times the rounded ``1 / steps``, except in bfloat16.

    The core code divides. Evidence: XLA and Grappler turn a division by a constant into a
    multiplication. XLA does so even where JAX runs one operation at a time (eagerly).
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Multiply instead of dividing."""
        if g.dtype == BFLOAT16:
            return super().mean_of(g, accumulator, steps)
        return _times_reciprocal(g, accumulator, steps)


class BfloatMeanByReciprocal(SGD):
    """In bfloat16 the mean is the sum times the rounded ``1 / steps``.

    The core code divides. Evidence: Grappler, the graph optimizer that `tf.function` runs.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Multiply instead of dividing."""
        if g.dtype != BFLOAT16:
            return super().mean_of(g, accumulator, steps)
        return _times_reciprocal(g, accumulator, steps)


class AccumulatorKeptWithoutGradient(SGD):
    """A variable without a gradient in the call that updates keeps what it has accumulated.

    It is then added to the next window. On other backends, and here, every accumulator is reset at the
    end of its window: "using the average value of the gradients since the last update". Evidence:
    `_backend_apply_gradients` in `keras/src/backend/jax/optimizer.py` assigns the accumulators of the
    variables that have a gradient.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Reset the accumulators of variables that have a gradient, and no others."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None:
            return means, reset
        accumulators = [
            old if gradient is None else new
            for gradient, old, new in zip(gradients, values.accumulators, reset.accumulators, strict=True)
        ]
        return means, replace(reset, accumulators=accumulators)


class AccumulatorUsedWithoutGradient(SGD):
    """A variable without a gradient in the call that updates is updated by what it has accumulated.

    The definition does not update it, and resets what it has accumulated. Evidence: automatic differentiation
    in PyTorch adds gradients to `p.grad`, which exists at the end of a window even if the last batch added
    nothing to it.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._present: set[int] | None = None

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Note which variables had a gradient in the window."""
        position = call.state.calls % (self.settings.gradient_accumulation_steps or 1)
        if position == 0:
            self._present = set()
        elif self._present is None:
            # If a window was resumed, all of its accumulators count as gradients, whether or not they are 0.
            self._present = set(range(len(values.accumulators)))
        self._present |= {index for index, gradient in enumerate(call.gradients) if gradient is not None}
        return super().advance(values, call, loss_scale)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Use -0.0, which changes no sum, for gradients that are missing only in this call."""
        present = self._present or set()
        filled = [
            -np.zeros_like(values.variables[index]) if gradient is None and index in present else gradient
            for index, gradient in enumerate(gradients)
        ]
        return super().mean(values, filled)


class ResetByMultiplication(SGD):
    """Accumulators are reset by a multiplication by 0.

    One NaN or infinite gradient makes every later mean NaN, and negative sums leave -0.0 behind. The core
    code (`_backend_reset_gradient_accumulators` in `keras/src/optimizers/base_optimizer.py`) stores
    zeros. Evidence: the override in `keras/src/backend/torch/optimizers/torch_parallel_optimizer.py`.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Multiply every accumulator by 0."""
        means, reset = super().mean(values, gradients)
        zeros = [array * setting(0.0, array.dtype) for array in values.accumulators]
        return means, replace(reset, accumulators=zeros)


def _times_reciprocal(g: Array, accumulator: Array, steps: Any) -> Array:
    return np.asanyarray(rule.accumulate(g, accumulator) * (setting(1.0, g.dtype) / steps))
