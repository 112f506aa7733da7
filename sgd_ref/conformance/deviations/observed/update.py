"""The update, fused or in another order."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD

BLOCK = 32
"""The elements of a half type in one block of PyTorch's vector loop, on processors with AVX2 or AVX512."""


class UpdateFused(SGD):
    """In float32 and float64 one product of each sum is not rounded: it is fused with the addition.

    ``w = fma(-learning_rate, g, w)`` and ``velocity = fma(velocity, momentum, -(g * learning_rate))``,
    the latter form also in Nesterov's sum. The documentation does not say which operations round. The core
    code (`update_step` in `keras/src/optimizers/sgd.py`) writes product and sum as two operations.
    Evidence: XLA contracts them for processors that have the instruction, but not in half types.
    """

    def descended(self, w: Array, g: Array, rate: Any) -> Any:
        """Fuse the product with the difference."""
        return fused_multiply_add(-rate, g, w) if _is_fused(w) else super().descended(w, g, rate)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Fuse the product with the momentum."""
        if not _is_fused(velocity):
            return super().accelerated(velocity, g, momentum, rate)
        return fused_multiply_add(velocity, momentum, -(g * rate))

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Fuse the product with the momentum."""
        if not _is_fused(w):
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return w + fused_multiply_add(new, momentum, -(g * rate))


class UpdateInFusedSteps(SGD):
    """In float32 and float64 products are fused with additions, and Nesterov's sum is added in two steps.

    ``w = fma(-learning_rate, g, w)``, ``velocity = fma(-learning_rate, g, velocity * momentum)``, and
    with `nesterov` first ``w - learning_rate * g`` and then ``+ momentum * velocity``, both fused. The
    documentation has no parentheses there; the core code adds the sum of both to w at once. Evidence:
    `_parallel_update_step` in `keras/src/backend/torch/optimizers/torch_sgd.py`, by `torch._foreach_add_`.
    """

    def descended(self, w: Array, g: Array, rate: Any) -> Any:
        """Fuse the product with the difference."""
        return fused_multiply_add(-rate, g, w) if _is_fused(w) else super().descended(w, g, rate)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Fuse the product with the rate."""
        if not _is_fused(velocity):
            return super().accelerated(velocity, g, momentum, rate)
        return fused_multiply_add(-rate, g, velocity * momentum)

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the two products one after the other, both fused."""
        if not _is_fused(w):
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return fused_multiply_add(momentum, new, fused_multiply_add(-rate, g, w))


class HalfUpdateInBlocks(SGD):
    """In float16 and bfloat16, whole blocks of 32 elements are updated in float32 and rounded once.

    Nesterov's sum is added to w in two such steps. The elements after the last whole block, and small
    variables, are rounded after the product and after the sum: the result for an element depends on its
    place. The core code rounds product and sum. Evidence: `torch._foreach_add_` with `alpha` in
    `keras/src/backend/torch/optimizers/torch_sgd.py`; its loop over vector registers computes in float32.
    """

    def descended(self, w: Array, g: Array, rate: Any) -> Any:
        """Subtract the product in blocks."""
        return _less_in_blocks(w, g, rate) if w.dtype in HALF_FORMATS else super().descended(w, g, rate)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Subtract the product with the rate in blocks."""
        if velocity.dtype not in HALF_FORMATS:
            return super().accelerated(velocity, g, momentum, rate)
        return _less_in_blocks(velocity * momentum, g, rate)

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the two products one after the other, both in blocks."""
        if w.dtype not in HALF_FORMATS:
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return _less_in_blocks(_less_in_blocks(w, g, rate), new, -momentum)


def _is_fused(array: Array) -> bool:
    return array.dtype in SINGLE_AND_DOUBLE


def _less_in_blocks(minuend: Array, array: Array, factor: Any) -> Array:
    """Return ``minuend - array * factor``, rounded once in whole blocks and twice after the last one."""
    exact_product = convert(array, FLOAT32) * convert(np.asarray(factor), FLOAT32)
    once = convert(np.asanyarray(convert(minuend, FLOAT32) - exact_product), minuend.dtype)
    in_block = np.arange(array.size) < array.size - array.size % BLOCK
    return np.where(in_block.reshape(array.shape), once, minuend - array * factor)
