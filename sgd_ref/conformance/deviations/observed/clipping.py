"""Clipping with other norms, roundings and gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import apart, has_dtype
from sgd_ref.optimizer import SGD, Gradients, Values


class NormOfRoundedSquares(SGD):
    """The norm is the root of a sum of squares that are rounded, and overflow and underflow, in the dtype.

    In float32, gradients of 1e20 are clipped to 0, or all become NaN under a global norm. The norm of 1e-25
    is 0. The documentation: "clipped so that its norm is no higher than this value". Here, each square and
    their sum are rounded once. Evidence: `_clip_by_norm` and `global_norm` in
    `keras/src/optimizers/base_optimizer.py`.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Square, add and take the root in the dtype."""
        wide = promoted([gradient.dtype for gradient in gradients])
        squares = [np.asanyarray(gradient * gradient) for gradient in gradients]
        return np.sqrt(_sum(squares, wide))


class NormOfHalfNorms(SGD):
    """A common norm is made of the norms of the gradients, each of which is rounded to its dtype.

    So the rounding error of a half type enters the wider common norm, and shifts gradients of float32 by up
    to 2**-9. The definition rounds only the common norm. Evidence: `_get_total_norm` in
    `torch/nn/utils/clip_grad.py`, PyTorch 2.13.0.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Compute the norm of the rounded norms."""
        if len(gradients) < 2:
            return super().norm(gradients)
        return super().norm([super(NormOfHalfNorms, self).norm([g]) for g in gradients])


class NormInAnotherOrder(SGD):
    """The norm is some units in the last place away from the correctly rounded one.

    A sum in floating point depends on the order of the additions, and this order depends on the vector
    registers and threads of a machine. The definition rounds the norm correctly, and no order always does.
    Evidence: `ops.sum` in `keras/src/optimizers/base_optimizer.py`.
    """

    norm_units = 1

    def norm(self, gradients: list[Array]) -> Any:
        """Move the norm by some units in the last place."""
        norm = super().norm(gradients)
        towards = np.array(np.inf if self.norm_units > 0 else -np.inf, norm.dtype)
        for _ in range(abs(self.norm_units)):
            norm = np.nextafter(norm, towards) if norm != 0 and np.isfinite(norm) else norm
        return norm


class ClipnormByReciprocal(SGD):
    """``(g * clipnorm) * (1 / max(norm, clipnorm))``, except in bfloat16 and for a single element.

    The core code (`_clip_by_norm` in `keras/src/optimizers/base_optimizer.py`) divides. Evidence: XLA
    replaces the division of an array by one number by a multiplication, also where JAX runs eagerly.
    """

    def clipped(self, g: Array, norm: Any, clipnorm: Any) -> Any:
        """Multiply by the reciprocal."""
        if not _is_divided_by_multiplying(g):
            return super().clipped(g, norm, clipnorm)
        return np.asanyarray(g * clipnorm * (setting(1.0, g.dtype) / np.maximum(norm, clipnorm)))


class ClipnormByOneFactor(SGD):
    """``g * (clipnorm * (1 / max(norm, clipnorm)))``, except in bfloat16 and for a single element.

    The core code multiplies by clipnorm first. Evidence: XLA replaces the division and then moves the two
    factors that are single numbers together.
    """

    def clipped(self, g: Array, norm: Any, clipnorm: Any) -> Any:
        """Multiply by one number."""
        if not _is_divided_by_multiplying(g):
            return super().clipped(g, norm, clipnorm)
        return np.asanyarray(g * (clipnorm * (setting(1.0, g.dtype) / np.maximum(norm, clipnorm))))


class ClipnormNotRounded(SGD):
    """In float16 and bfloat16 gradients are multiplied by clipnorm in float32, but divided by it rounded.

    So a gradient that needs no clipping is scaled by the relative error of clipnorm in the half type.
    Evidence: PyTorch keeps in float32 what `ops.multiply(values, self.clipnorm)` multiplies by, but not
    what `ops.maximum` returns; see `_clip_by_norm` in `keras/src/optimizers/base_optimizer.py`.
    """

    def clipped(self, g: Array, norm: Any, clipnorm: Any) -> Any:
        """Multiply half gradients by the setting in float32."""
        if g.dtype not in HALF_FORMATS or self.settings.clipnorm is None:
            return super().clipped(g, norm, clipnorm)
        product = convert(convert(g, FLOAT32) * np.float32(self.settings.clipnorm), g.dtype)
        return np.asanyarray(product / np.maximum(norm, clipnorm))


class GlobalClipnormNotRounded(SGD):
    """In float16 and bfloat16 the common factor is formed with global_clipnorm in float32.

    Its reciprocal, with which that of the norm is compared, is rounded to the half type. Evidence: PyTorch
    keeps `clip_norm` in float32 in `clip_by_global_norm` of `keras/src/optimizers/base_optimizer.py`.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply by the setting in float32."""
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])
        if wide not in HALF_FORMATS:
            return super().clip_by_global_norm(gradients, clipnorm)
        norm = self.norm(present)
        smaller = np.minimum(setting(1.0, wide) / norm, setting(1 / clipnorm, wide))
        factor = setting(float(np.float32(clipnorm) * np.float32(smaller)), wide) + (norm - norm)
        return [None if gradient is None else np.asanyarray(gradient * factor) for gradient in gradients]


class GlobalClipWithRate(SGD):
    """A gradient that is the only one is multiplied by the common factor times the learning rate.

    ``g * (factor * learning_rate)``. A factor that several gradients share is not multiplied by the rate. The
    core code clips first. Evidence: Grappler, the graph optimizer that `tf.function` runs, multiplies single
    numbers before arrays. Here, these come from `clip_by_global_norm` in
    `keras/src/optimizers/base_optimizer.py` and from the update.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Leave the gradient to the update if it is the only one."""
        present = [gradient for gradient in gradients if gradient is not None]
        if len(present) != 1:
            return super().clip_by_global_norm(gradients, clipnorm)
        return gradients

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update by a rate that contains the factor."""
        clipnorm = self.settings.global_clipnorm
        present = [gradient for gradient in gradients if gradient is not None]
        if clipnorm is None or len(present) != 1:
            return super().update(values, gradients, call)
        dtype = present[0].dtype
        factor = rule.global_clip_factor(
            self.norm(present), setting(clipnorm, dtype), setting(1 / clipnorm, dtype)
        )
        rate = factor * setting(float(call.learning_rate), dtype)
        return super().update(values, gradients, call._replace(learning_rate=rate))


class ClippingThroughFloat32(SGD):
    """For float64, the settings of clipping and the limits of norms pass through float32.

    A clipvalue of 0.3 becomes 0.30000001, a norm loses half of its digits, and one above 3.4e38 is
    infinite. The core code stays in the dtype of the gradient. Evidence: on PyTorch `ops.maximum`,
    `ops.minimum` and `ops.clip` of a float64 tensor without axes and a Python number give float32; see
    `_clip_by_norm` and `clip_by_global_norm` in `keras/src/optimizers/base_optimizer.py`.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Divide by a float32."""
        mine, others = apart(gradients, has_dtype(FLOAT64))
        return [
            other if gradient is None else _divided_by_float32(gradient, self.norm([gradient]), clipnorm)
            for gradient, other in zip(mine, super().clip_by_norm(others, clipnorm), strict=True)
        ]

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip to a float32."""
        mine, others = apart(gradients, has_dtype(FLOAT64))
        return [
            other if gradient is None else rule.clip_by_value(gradient, np.float64(np.float32(clipvalue)))
            for gradient, other in zip(mine, super().clip_by_value(others, clipvalue), strict=True)
        ]

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply by a float32."""
        present = [gradient for gradient in gradients if gradient is not None]
        if promoted([gradient.dtype for gradient in present]) != FLOAT64:
            return super().clip_by_global_norm(gradients, clipnorm)
        norm = self.norm(present)
        smaller = np.minimum(np.float32(1 / norm), np.float32(1 / clipnorm))
        factor = np.float64(np.float32(clipnorm) * smaller) + (norm - norm)
        return [None if gradient is None else gradient * factor for gradient in gradients]


def _is_divided_by_multiplying(gradient: Array) -> bool:
    return gradient.size > 1 and gradient.dtype != BFLOAT16


def _divided_by_float32(gradient: Array, norm: Any, clipnorm: float) -> Array:
    limit = np.float32(clipnorm)
    return np.asanyarray(gradient * np.float64(limit) / np.float64(np.maximum(np.float32(norm), limit)))


def _sum(parts: list[Array], dtype: np.dtype[Any]) -> Any:
    """Return the sum of numbers, each part rounded once to its dtype and the total to the given one."""
    totals = [
        float(setting(_total(convert(part, FLOAT64).reshape(-1).tolist()), part.dtype)) for part in parts
    ]
    return setting(_total(totals), dtype)


def _total(numbers: list[float]) -> float:
    try:
        return math.fsum(numbers)
    except OverflowError:
        return math.inf
