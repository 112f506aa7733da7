"""Gradients without axes that do not stay in their half dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.conformance.deviations.deviation import apart
from sgd_ref.optimizer import SGD, Gradients, Values


class ScalarGradientsInFloat32(SGD):
    """Gradients without axes become float32 in float16 and bfloat16, once unscaled or clipped by a norm.

    In bfloat16, clipping by value has this effect, too. All later operations, up to the rounding of the
    result, are then computed in float32. An array of one element stays in the half type. The definition stays
    in the dtype of the variable. Evidence: PyTorch promotes two operands without axes, such as the gradient
    and a setting that Keras has converted to a float32 tensor (`convert_to_tensor` in
    `keras/src/backend/torch/core.py`). It does not promote an array and an operand without axes.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Keep the quotient by a dynamic loss scale in float32."""
        if self.settings.loss_scale_factor is not None or loss_scale is None:
            return super().unscale(gradients, loss_scale)
        mine, _ = apart(gradients, _is_half_scalar)
        wide = [g if own is None else convert(own, FLOAT32) for g, own in zip(gradients, mine, strict=True)]
        return super().unscale(wide, loss_scale)

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Round sums to the dtype of the accumulator."""
        accumulated = super().accumulate(values, gradients)
        return replace(
            accumulated,
            accumulators=[
                convert(np.asanyarray(new), old.dtype)
                for new, old in zip(accumulated.accumulators, values.accumulators, strict=True)
            ],
        )

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply and divide in float32; the limit for the norm stays in the half type."""
        mine, others = apart(gradients, _is_half_scalar)

        def clipped(gradient: Array) -> Array:
            larger = np.maximum(self.norm([gradient]), setting(clipnorm, gradient.dtype))
            return np.asanyarray(convert(gradient, FLOAT32) * np.float32(clipnorm) / np.float32(larger))

        return [
            other if gradient is None else clipped(gradient)
            for gradient, other in zip(mine, super().clip_by_norm(others, clipnorm), strict=True)
        ]

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip in float32."""
        mine, others = apart(gradients, lambda g: g.ndim == 0 and g.dtype == BFLOAT16)
        return [
            other
            if gradient is None
            else rule.clip_by_value(convert(gradient, FLOAT32), np.float32(clipvalue))
            for gradient, other in zip(mine, super().clip_by_value(others, clipvalue), strict=True)
        ]

    def descended(self, w: Array, g: Array, rate: Any) -> Any:
        """Subtract the rate times a float32 gradient in float32, and round the difference once."""
        return _less(w, g * rate) if _is_wide(g, w) else super().descended(w, g, rate)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Subtract the rate times a float32 gradient in float32, and round the difference once."""
        if not _is_wide(g, velocity):
            return super().accelerated(velocity, g, momentum, rate)
        return _less(velocity * self.settings.rounded(velocity.dtype).momentum, g * rate)

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Subtract the rate times a float32 gradient in float32, round, and add the velocity."""
        if not _is_wide(g, w):
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return _less(w, g * rate) + new * self.settings.rounded(w.dtype).momentum


def _is_wide(g: Array, w: Array) -> bool:
    return w.dtype in HALF_FORMATS and g.dtype == FLOAT32


def _is_half_scalar(gradient: Array) -> bool:
    return gradient.ndim == 0 and gradient.dtype in HALF_FORMATS


def _less(minuend: Any, subtrahend: Any) -> Array:
    wide = convert(np.asanyarray(minuend), FLOAT32) - subtrahend
    return convert(np.asanyarray(wide), minuend.dtype)
