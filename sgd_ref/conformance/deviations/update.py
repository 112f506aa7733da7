"""The update, fused or in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.rounded import BFLOAT16, FLOAT32, Array, convert, setting
from sgd_ref.base import Call
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD, Gradients, Values

HALF = (np.dtype(np.float16), BFLOAT16)


class _UpdateOfSomeDtypes(SGD):
    """Update the variables of some dtypes by formulas of its own, the others by those of the definition."""

    dtypes: tuple[np.dtype[Any], ...]

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        mine, others = apart(gradients, has_dtype(*self.dtypes))
        values = super().update(values, others, call)
        variables, velocities = list(values.variables), list(values.velocities)
        for index, gradient in enumerate(mine):
            if gradient is None:
                continue
            w = variables[index]
            rate = setting(float(call.learning_rate), w.dtype)
            if self.settings.momentum == 0:
                variables[index] = self.descend(w, gradient, rate)
                continue
            momentum = setting(self.settings.momentum, w.dtype)
            velocities[index] = self.accelerate(velocities[index], gradient, momentum, rate)
            if self.settings.nesterov:
                variables[index] = self.move_nesterov(w, velocities[index], gradient, momentum, rate)
            else:
                variables[index] = rule.move(w, velocities[index])
        return replace(values, variables=variables, velocities=velocities)

    def descend(self, w: Array, g: Array, learning_rate: Any) -> Array:
        raise NotImplementedError

    def accelerate(self, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        raise NotImplementedError

    def move_nesterov(self, w: Array, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        raise NotImplementedError


class UpdateFused(_UpdateOfSomeDtypes):
    """In float32 and float64 one product of each sum is not rounded: it is fused with the addition.

    ``w = fma(-learning_rate, g, w)`` and ``velocity = fma(velocity, momentum, -(g * learning_rate))``,
    the latter form also in Nesterov's sum. XLA contracts them for processors that have the instruction;
    half types are not contracted. The documentation does not say how often is rounded; the core code
    (`SGD.update_step` in `sgd.py`) writes product and sum as two operations.
    """

    dtypes = SINGLE_AND_DOUBLE

    def descend(self, w: Array, g: Array, learning_rate: Any) -> Array:
        return fused_multiply_add(-learning_rate, g, w)

    def accelerate(self, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return fused_multiply_add(velocity, momentum, -(g * learning_rate))

    def move_nesterov(self, w: Array, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return w + fused_multiply_add(velocity, momentum, -(g * learning_rate))


class UpdateInFusedSteps(_UpdateOfSomeDtypes):
    """In float32 and float64 a product is fused with each addition, and Nesterov's sum is added in two steps.

    ``w = fma(-learning_rate, g, w)``, ``velocity = fma(-learning_rate, g, velocity * momentum)``, and
    with `nesterov` first ``w - learning_rate * g`` and then ``+ momentum * velocity``, both fused. The
    documentation has no parentheses there; the core code adds the sum of both to w at once. Evidence:
    `_parallel_update_step` in `keras/src/backend/torch/optimizers/torch_sgd.py`, by `torch._foreach_add_`.
    """

    dtypes = SINGLE_AND_DOUBLE

    def descend(self, w: Array, g: Array, learning_rate: Any) -> Array:
        return fused_multiply_add(-learning_rate, g, w)

    def accelerate(self, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return fused_multiply_add(-learning_rate, g, velocity * momentum)

    def move_nesterov(self, w: Array, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return fused_multiply_add(momentum, velocity, fused_multiply_add(-learning_rate, g, w))


class HalfUpdateRoundedOnce(_UpdateOfSomeDtypes):
    """In float16 and bfloat16 product and sum are computed in float32 and rounded once.

    Nesterov's sum is added to w in two such steps. The core code rounds the product and the sum to the
    dtype of the variable. Evidence: as for float32, `torch._foreach_add_` with `alpha`, which computes
    half types in float32.
    """

    dtypes = HALF

    def descend(self, w: Array, g: Array, learning_rate: Any) -> Array:
        return _less_in_float32(w, g, learning_rate)

    def accelerate(self, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return _less_in_float32(velocity * momentum, g, learning_rate)

    def move_nesterov(self, w: Array, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
        return _less_in_float32(_less_in_float32(w, g, learning_rate), velocity, -momentum)


def _less_in_float32(minuend: Array, array: Array, factor: Any) -> Array:
    wide = convert(minuend, FLOAT32) - convert(array, FLOAT32) * convert(np.asanyarray(factor), FLOAT32)
    return convert(np.asanyarray(wide), minuend.dtype)
