"""Loss scaling undone by multiplication, or together with the next operation."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number, Numbers


class UnscaleByReciprocal(SGD):
    """``g * (1 / loss_scale)`` in float32 or wider, rounded to the dtype of g.

    ``torch.amp.GradScaler`` forms the reciprocal in float64 and multiplies by it in float32; the
    documentation of `loss_scale_factor` says that "the inverse of the scale factor will be multiplied".
    """

    def unscaled(self, g: Numbers, loss_scale: Number) -> Numbers:
        """Multiply by the reciprocal."""
        return g * (1 / loss_scale)


class UnscaleWithRate(SGD):
    """``g * (learning_rate / loss_scale)``, computed in float32 or wider and rounded to the dtype of g.

    This holds without accumulation and clipping, since nothing comes between unscaling and update then.
    Otherwise the variant is the definition. XLA multiplies factors that are single numbers first.
    """

    _scale: float | None = None

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled if the update unscales them."""
        settings = self.settings
        is_next = settings.gradient_accumulation_steps is None and not settings.clips
        self._scale = float(loss_scale) if is_next and loss_scale is not None else None
        return super().unscale(gradients, loss_scale) if self._scale is None else gradients

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the gradients by one number, which contains the rate, and update with a rate of 1."""
        if self._scale is None:
            return super().update(values, gradients, call)
        scale = self._scale

        def step(gradient: Array) -> Array:
            wide = promoted([gradient.dtype, FLOAT32])
            rate = setting(float(call.learning_rate), wide) / setting(scale, wide)
            return convert(np.asarray(convert(gradient, wide) * rate), gradient.dtype)

        multiplied = [None if gradient is None else step(gradient) for gradient in gradients]
        return super().update(values, multiplied, call._replace(learning_rate=np.float32(1)))


class UnscaleWithClip(SGD):
    """``g * ((clipnorm / max(norm / loss_scale, clipnorm)) / loss_scale)``, of scaled gradients.

    This holds for `clipnorm` and `global_clipnorm` without accumulation. Otherwise the variant is the
    definition. The product is computed in float32 or wider and rounded to the dtype of g. It saves one pass
    over the gradients.
    """

    _scale: float | None = None

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled if clipping unscales them."""
        settings = self.settings
        late = settings.clips_by_norm and settings.gradient_accumulation_steps is None
        self._scale = float(loss_scale) if late and loss_scale is not None else None
        return super().unscale(gradients, loss_scale) if self._scale is None else gradients

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply each gradient by its factor."""
        if self._scale is None:
            return super().clip_by_norm(gradients, clipnorm)
        return [None if g is None else self._clipped(g, [g], clipnorm) for g in gradients]

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply all gradients by one factor, which is NaN unless their norm is finite."""
        if self._scale is None:
            return super().clip_by_global_norm(gradients, clipnorm)
        present = [gradient for gradient in gradients if gradient is not None]
        return [None if g is None else self._clipped(g, present, clipnorm) for g in gradients]

    def _clipped(self, gradient: Array, together: list[Array], clipnorm: float) -> Array:
        wide = promoted([FLOAT32, *(other.dtype for other in together)])
        norm = self.norm([convert(other, wide) for other in together])
        if self.settings.global_clipnorm is not None:
            norm = norm + (norm - norm)
        limit, scale = setting(clipnorm, wide), setting(self._scale or 1.0, wide)
        factor = limit / np.maximum(norm / scale, limit) / scale
        return convert(np.asarray(convert(gradient, wide) * factor), gradient.dtype)
