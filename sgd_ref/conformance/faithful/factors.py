"""The factors of several stages, multiplied to one number: loss scale, mean, clipping, learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number


class MeanClipAndRate(SGD):
    """``(g + accumulator) * (clipnorm / max(norm / N, clipnorm) / N * learning_rate)``, norm of the sum.

    Without accumulation, it is ``g * (clipnorm / max(norm, clipnorm) * learning_rate)``. This holds for
    `clipnorm` and `global_clipnorm`; without them, the variant is the definition. Each operation is rounded
    to the dtype of g, or of the common norm. TensorFlow's Grappler multiplies single numbers before arrays,
    which saves one pass over the gradients.
    """

    _factors: list[Number | None] | None = None

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Leave the sums undivided if the update divides them."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None or not self.settings.clips_by_norm:
            return means, reset
        sums = [
            None if gradient is None else gradient + accumulator
            for gradient, accumulator in zip(gradients, values.accumulators, strict=True)
        ]
        return sums, reset

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Compute the factor of each gradient, and leave the product to the update."""
        self._factors = [None if g is None else self.factor([g], clipnorm) for g in gradients]
        return gradients

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Compute the common factor, which is NaN unless the norm is finite."""
        factor = self.factor([gradient for gradient in gradients if gradient is not None], clipnorm)
        self._factors = [factor] * len(gradients)
        return gradients

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the gradients by one number, which contains the rate, and update with a rate of 1."""
        if self._factors is None:
            return super().update(values, gradients, call)

        def step(gradient: Array, factor: Number, dtype: np.dtype[Any]) -> Array:
            number = factor * setting(float(call.learning_rate), factor.dtype)
            wide = promoted([gradient.dtype, number.dtype])
            return convert(np.asarray(convert(gradient, wide) * number.astype(wide)), dtype)

        steps = [
            None if g is None else step(g, factor, w.dtype)
            for g, factor, w in zip(gradients, self._factors, values.variables, strict=True)
        ]
        self._factors = None
        return super().update(values, steps, call._replace(learning_rate=np.float32(1)))

    def factor(self, gradients: list[Array], clipnorm: float) -> Number:
        """Return the factor of gradients that are still to be divided, from their norm."""
        wide = self.dtype_of_factor(gradients)
        norm = self.norm([convert(gradient, wide) for gradient in gradients])
        if self.settings.global_clipnorm is not None:
            norm = norm + (norm - norm)
        limit, divisor = setting(clipnorm, wide), setting(self.divisor(), wide)
        return limit / np.maximum(norm / divisor, limit) / divisor

    def divisor(self) -> float:
        """Return the number by which the clipped gradients still have to be divided."""
        return float(self.settings.gradient_accumulation_steps or 1)

    def dtype_of_factor(self, gradients: list[Array]) -> np.dtype[Any]:
        """Return the dtype in which factors are computed."""
        return promoted([gradient.dtype for gradient in gradients])


class ScaleClipAndRate(MeanClipAndRate):
    """``g * (clipnorm / max(norm / loss_scale, clipnorm) / loss_scale * learning_rate)``, where g is scaled.

    The factor is computed in float32 or wider, and the product is rounded once to the dtype of the variable.
    With accumulation, gradients are unscaled first, and the number of calls takes the place of the scale.
    Without clipping by one of the two norms, the variant is the definition.
    """

    _scale = 1.0

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled if the update unscales them."""
        accumulates = self.settings.gradient_accumulation_steps is not None
        if loss_scale is None or accumulates or not self.settings.clips_by_norm:
            return super().unscale(gradients, loss_scale)
        self._scale = float(loss_scale)
        return gradients

    def divisor(self) -> float:
        """Return the scale, or the number of calls."""
        return super().divisor() * self._scale

    def dtype_of_factor(self, gradients: list[Array]) -> np.dtype[Any]:
        """Return a dtype that holds every scale."""
        return promoted([FLOAT32, super().dtype_of_factor(gradients)])
