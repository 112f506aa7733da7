"""Gradient accumulation with other means and other resets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.rounded import BFLOAT16, FLOAT32, FLOAT64, Array, setting
from sgd_ref.optimizer import SGD, Gradients, Values


class MeanByReciprocal(SGD):
    """The mean is the sum times the rounded ``1 / steps``, except in bfloat16.

    The core code divides. Evidence: XLA, also one operation at a time as JAX runs it eagerly, and
    Grappler replace the division by a constant by a multiplication.
    """

    dtypes: tuple[np.dtype[Any], ...] = (np.dtype(np.float16), FLOAT32, FLOAT64)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Multiply instead of dividing."""
        means, reset = super().mean(values, gradients)
        steps = self.settings.gradient_accumulation_steps
        if steps is None:
            return means, reset

        def product(gradient: Array, accumulator: Array) -> Array:
            one = setting(1.0, gradient.dtype)
            total = rule.accumulate(gradient, accumulator)
            return np.asanyarray(total * (one / setting(float(steps), gradient.dtype)))

        mine = [
            product(gradient, accumulator)
            if gradient is not None and gradient.dtype in self.dtypes
            else mean
            for gradient, accumulator, mean in zip(gradients, values.accumulators, means, strict=True)
        ]
        return mine, reset


class BfloatMeanByReciprocal(MeanByReciprocal):
    """In bfloat16 too, the mean is the sum times the rounded ``1 / steps``.

    The core code divides. Evidence: Grappler, the graph optimizer that `tf.function` runs.
    """

    dtypes = (BFLOAT16,)


class AccumulatorKeptWithoutGradient(SGD):
    """A variable without a gradient in the call that updates keeps what it has accumulated.

    It is then added to the next window. On other backends, and here, every accumulator is reset at the
    end of its window: "using the average value of the gradients since the last update". Evidence:
    `_backend_apply_gradients` in `keras/src/backend/jax/optimizer.py` assigns the accumulators of the
    variables that have a gradient.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Reset only the accumulators of variables that have a gradient."""
        means, reset = super().mean(values, gradients)
        accumulators = [
            old if gradient is None else new
            for gradient, old, new in zip(gradients, values.accumulators, reset.accumulators)
        ]
        return means, replace(reset, accumulators=accumulators)


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
