"""Loss scaling: other roundings of the unscaled gradients, and a scale without limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values


class GivenDtypes(SGD):
    """The common base of deviations that depend on the dtypes in which gradients were given."""

    given_dtypes: list[np.dtype[Any] | None]

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Remember the dtypes of the gradients."""
        call = super().validated(gradients, variables)
        self.given_dtypes = [None if gradient is None else gradient.dtype for gradient in gradients]
        return call


class UnscaleInDtypeOfGradient(GivenDtypes):
    """Half gradients are divided in their own dtype, to which the loss scale is rounded.

    A scale of 1e6 is infinite in float16, so that every gradient becomes 0: the documentation has
    `loss_scale_factor` "for preventing underflow during mixed precision training". Evidence: ``g / scale``
    in `apply` of `keras/src/optimizers/base_optimizer.py`.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide half gradients in the dtype in which they were given."""
        unscaled = super().unscale(gradients, loss_scale)
        return _unscaled(
            self, gradients, unscaled, HALF_FORMATS, lambda g, scale: g / setting(scale, g.dtype)
        )


class QuotientInDtypeOfGradient(GivenDtypes):
    """The quotient of a half gradient and the loss scale is rounded to the dtype of the gradient.

    This is so even if the variable is wider. So the underflow happens that the scaling of the loss should
    prevent. Evidence: ``g / scale`` in `apply` of `keras/src/optimizers/base_optimizer.py` comes before any
    cast.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide half gradients in float32 and round to the dtype in which they were given."""
        unscaled = super().unscale(gradients, loss_scale)
        return _unscaled(
            self,
            gradients,
            unscaled,
            HALF_FORMATS,
            lambda g, scale: convert(np.asanyarray(convert(g, FLOAT32) / setting(scale, FLOAT32)), g.dtype),
        )


class UnscaleByReciprocal(GivenDtypes):
    """Float32 and float64 gradients are multiplied by the rounded ``1 / loss_scale_factor``.

    Those of several elements. The core code (`apply` in `keras/src/optimizers/base_optimizer.py`)
    divides; the documentation says that "the inverse of the scale factor will be multiplied". Evidence:
    XLA, also one operation at a time as JAX runs it eagerly, and Grappler replace the division by a
    constant by a multiplication.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply instead of dividing."""
        unscaled = super().unscale(gradients, loss_scale)
        mine, _ = apart(gradients, lambda gradient: gradient.size != 1)
        return _unscaled(self, mine, unscaled, SINGLE_AND_DOUBLE, _times_reciprocal)


class Float16UnscaleByReciprocal(GivenDtypes):
    """Float16 gradients are multiplied by ``1 / loss_scale_factor``, rounded to float16.

    Those of several elements. The reciprocal of a scale above 65504 is 0, and so is every gradient.
    Evidence: as for float32.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply float16 gradients in float16."""
        unscaled = super().unscale(gradients, loss_scale)
        mine, _ = apart(gradients, lambda gradient: gradient.size != 1)
        return _unscaled(self, mine, unscaled, (FLOAT16,), _times_reciprocal)


class SingleUnscaleByReciprocal(GivenDtypes):
    """Gradients of one element, too, are multiplied by the rounded ``1 / loss_scale_factor``.

    In bfloat16, they are not. The core code divides. Evidence: XLA and Grappler do this, but not JAX when it
    runs eagerly, where XLA sees the division of one number by another.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply gradients of one element."""
        unscaled = super().unscale(gradients, loss_scale)
        mine, _ = apart(gradients, lambda gradient: gradient.size == 1)
        return _unscaled(self, mine, unscaled, (FLOAT16, *SINGLE_AND_DOUBLE), _times_reciprocal)


class ReciprocalOfScaleInSingle(SGD):
    """Float64 gradients are multiplied by the reciprocal of the loss scale, rounded to float32.

    They lose half of their digits unless the scale is a power of two. The core code divides in the dtype of
    the variable. Evidence: `_scale.double().reciprocal().float()` in `torch/amp/grad_scaler.py`, PyTorch
    2.13.0.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply float64 gradients by a number of float32."""
        doubles, others = apart(gradients, has_dtype(FLOAT64))
        unscaled = super().unscale(others, loss_scale)
        if loss_scale is None:
            return gradients
        reciprocal = float(setting(1 / float(loss_scale), FLOAT32))
        return [
            other if g is None else g * setting(reciprocal, g.dtype)
            for g, other in zip(doubles, unscaled, strict=True)
        ]


class BfloatUnscaleByReciprocal(GivenDtypes):
    """Bfloat16 gradients are multiplied by ``1 / loss_scale_factor``, both rounded to bfloat16.

    Evidence: as for float32, but by Grappler only, the graph optimizer that `tf.function` runs.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply bfloat16 gradients in bfloat16."""
        unscaled = super().unscale(gradients, loss_scale)
        return _unscaled(self, gradients, unscaled, (BFLOAT16,), _times_reciprocal)


class UnscaleWithRate(GivenDtypes):
    """Gradients are multiplied by the product of ``1 / loss_scale_factor`` and the learning rate.

    Where nothing comes between the two: without accumulation and clipping. The core code divides first.
    Evidence: XLA moves factors that are single numbers together.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled where they are to be unscaled in the update."""
        unscaled = super().unscale(gradients, loss_scale)
        return [
            gradient if gradient is not None and self._unscales_late(gradient) else other
            for gradient, other in zip(gradients, unscaled, strict=True)
        ]

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the product of reciprocal and learning rate."""
        scaled, others = apart(gradients, self._unscales_late)
        values = super().update(values, others, call)
        for dtype in {gradient.dtype for gradient in scaled if gradient is not None}:
            mine, _ = apart(scaled, has_dtype(dtype))
            reciprocal = setting(1.0, dtype) / setting(self.settings.loss_scale_factor or 1.0, dtype)
            rate = reciprocal * setting(float(call.learning_rate), dtype)
            values = super().update(values, mine, call._replace(learning_rate=rate))
        return values

    def _unscales_late(self, gradient: Array) -> bool:
        settings = self.settings
        is_next = settings.gradient_accumulation_steps is None and not settings.clips
        return gradient.size > 1 and settings.loss_scale_factor is not None and is_next


class ScaleWithoutLimits(LossScaleOptimizer):
    """The loss scale doubles to infinity, from which it never returns, and halves below the normal numbers.

    The documentation of the wrapper says that the scale is halved if a gradient is not finite, and what the
    scale is for. With a scale of infinity, gradients are 0 and count as finite. With a scale of 0, they are
    infinite and are applied. Evidence: `_stateful_handle_finite_grads` in
    `keras/src/optimizers/loss_scale_optimizer.py`.
    """

    def grow(self) -> None:
        """Double the scale without a check of the result."""
        self._growth_counter += 1
        if self._growth_counter == self.dynamic_growth_steps:
            self._growth_counter = 0
            with np.errstate(over="ignore"):
                self._scale = self._scale * np.float32(2)

    def shrink(self) -> None:
        """Halve the scale without a check of the result."""
        self._growth_counter = 0
        self._scale = self._scale * np.float32(0.5)

    def set_weights(self, values: Sequence[Any]) -> None:
        """Accept any scale, since doubling and halving can reach it."""
        self._scale = np.float32(1)
        super().set_weights([*values[:3], np.array(1, np.float32), *values[4:]])
        self._scale = np.float32(np.asanyarray(values[3]).item())


class WideUnscaledGradients(SGD):
    """Under LossScaleOptimizer gradients of half variables stay float32 until they meet the variable.

    So they are clipped in float32. The documentation does not say in which dtype. The definition rounds an
    unscaled gradient to the dtype of the variable at once. Evidence: `ops.divide(g, scale)` in
    `keras/src/optimizers/loss_scale_optimizer.py`, where the scale is a float32 variable, and the cast in
    `SGD.update_step` of `keras/src/optimizers/sgd.py`.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Keep the quotient in float32."""
        if self.settings.loss_scale_factor is not None or loss_scale is None:
            return super().unscale(gradients, loss_scale)
        return super().unscale(
            [None if g is None else convert(g, promoted([g.dtype, FLOAT32])) for g in gradients], loss_scale
        )

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Round the gradients to the dtypes of the variables."""
        narrow = [
            None if gradient is None else convert(gradient, w.dtype)
            for gradient, w in zip(gradients, values.variables, strict=True)
        ]
        return super().update(values, narrow, call)


def _times_reciprocal(gradient: Array, scale: float) -> Array:
    return np.asanyarray(gradient * (setting(1.0, gradient.dtype) / setting(scale, gradient.dtype)))


def _unscaled(
    optimizer: GivenDtypes,
    gradients: Gradients,
    others: Gradients,
    dtypes: Sequence[np.dtype[Any]],
    formula: Callable[[Array, float], Array],
) -> Gradients:
    """Return the gradients given in some dtypes, unscaled in these dtypes, and the other gradients."""
    scale = optimizer.settings.loss_scale_factor
    if scale is None:
        return others
    return [
        other
        if gradient is None or given is None or given not in dtypes
        else convert(formula(convert(gradient, given), scale), gradient.dtype)
        for gradient, other, given in zip(gradients, others, optimizer.given_dtypes, strict=True)
    ]
