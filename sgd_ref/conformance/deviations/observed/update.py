"""The update, fused or in another order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.base.settings import Settings
from sgd_ref.conformance.deviations.deviation import HALF, SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD, Gradients, Values

BLOCK = 32
"""Elements of a half type for which PyTorch has a vector loop, on processors with AVX2 or AVX512."""


class Formulas(NamedTuple):
    """The three formulas of the update that can be rounded otherwise; arguments as in ``rule.py``."""

    descend: Callable[[Array, Array, Any], Array]
    accelerate: Callable[[Array, Array, Any, Any], Array]
    move_nesterov: Callable[[Array, Array, Array, Any, Any], Array]


class UpdateFused(SGD):
    """In float32 and float64 one product of each sum is not rounded: it is fused with the addition.

    ``w = fma(-learning_rate, g, w)`` and ``velocity = fma(velocity, momentum, -(g * learning_rate))``,
    the latter form also in Nesterov's sum. The documentation does not say how often is rounded; the core
    code (`update_step` in `keras/src/optimizers/sgd.py`) writes product and sum as two operations.
    Evidence: XLA contracts them for processors that have the instruction, but not in half types.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update float32 and float64 variables by fused formulas."""
        formulas = Formulas(
            descend=lambda w, g, rate: fused_multiply_add(-rate, g, w),
            accelerate=lambda velocity, g, momentum, rate: fused_multiply_add(
                velocity, momentum, -(g * rate)
            ),
            move_nesterov=lambda w, velocity, g, momentum, rate: (
                w + fused_multiply_add(velocity, momentum, -(g * rate))
            ),
        )
        mine, others = apart(gradients, has_dtype(*SINGLE_AND_DOUBLE))
        return _updated(super().update(values, others, call), mine, call, self.settings, formulas)


class UpdateInFusedSteps(SGD):
    """In float32 and float64 products are fused with additions, and Nesterov's sum is added in two steps.

    ``w = fma(-learning_rate, g, w)``, ``velocity = fma(-learning_rate, g, velocity * momentum)``, and
    with `nesterov` first ``w - learning_rate * g`` and then ``+ momentum * velocity``, both fused. The
    documentation has no parentheses there; the core code adds the sum of both to w at once. Evidence:
    `_parallel_update_step` in `keras/src/backend/torch/optimizers/torch_sgd.py`, by `torch._foreach_add_`.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update float32 and float64 variables step by step."""
        formulas = Formulas(
            descend=lambda w, g, rate: fused_multiply_add(-rate, g, w),
            accelerate=lambda velocity, g, momentum, rate: fused_multiply_add(-rate, g, velocity * momentum),
            move_nesterov=lambda w, velocity, g, momentum, rate: fused_multiply_add(
                momentum, velocity, fused_multiply_add(-rate, g, w)
            ),
        )
        mine, others = apart(gradients, has_dtype(*SINGLE_AND_DOUBLE))
        return _updated(super().update(values, others, call), mine, call, self.settings, formulas)


class HalfUpdateInBlocks(SGD):
    """In float16 and bfloat16, whole blocks of 32 elements are updated in float32 and rounded once.

    Nesterov's sum is added to w in two such steps. The elements after the last whole block, and small
    variables, are rounded after the product and after the sum: the result for an element depends on its
    place. The core code rounds both. Evidence: `torch._foreach_add_` with `alpha` in
    `keras/src/backend/torch/optimizers/torch_sgd.py`; its loop over vector registers computes in float32.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update half variables in float32, block by block."""
        formulas = Formulas(
            descend=_less_in_blocks,
            accelerate=lambda velocity, g, momentum, rate: _less_in_blocks(velocity * momentum, g, rate),
            move_nesterov=lambda w, velocity, g, momentum, rate: _less_in_blocks(
                _less_in_blocks(w, g, rate), velocity, -momentum
            ),
        )
        mine, others = apart(gradients, has_dtype(*HALF))
        return _updated(super().update(values, others, call), mine, call, self.settings, formulas)


def _updated(
    values: Values, gradients: Gradients, call: Call, settings: Settings, formulas: Formulas
) -> Values:
    variables, velocities = list(values.variables), list(values.velocities)
    for index, gradient in enumerate(gradients):
        if gradient is None:
            continue
        w = variables[index]
        rate = setting(float(call.learning_rate), w.dtype)
        if settings.momentum == 0:
            variables[index] = formulas.descend(w, gradient, rate)
            continue
        momentum = setting(settings.momentum, w.dtype)
        velocity = velocities[index] = formulas.accelerate(velocities[index], gradient, momentum, rate)
        if settings.nesterov:
            variables[index] = formulas.move_nesterov(w, velocity, gradient, momentum, rate)
        else:
            variables[index] = rule.move(w, velocity)
    return replace(values, variables=variables, velocities=velocities)


def _less_in_blocks(minuend: Array, array: Array, factor: Any) -> Array:
    """Return ``minuend - array * factor``, rounded once in whole blocks and twice after the last one."""
    exact_product = convert(array, FLOAT32) * convert(np.asarray(factor), FLOAT32)
    once = convert(np.asanyarray(convert(minuend, FLOAT32) - exact_product), minuend.dtype)
    in_block = np.arange(array.size) < array.size - array.size % BLOCK
    return np.where(in_block.reshape(array.shape), once, minuend - array * factor)
