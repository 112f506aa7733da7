"""Loss scaling: other roundings of the unscaled gradients, and a scale without limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT32, Array, convert, promoted, setting
from sgd_ref.base import Call
from sgd_ref.conformance.deviations.deviation import HALF
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values


class UnscaleByReciprocal(SGD):
    """Gradients are multiplied by the rounded ``1 / loss_scale_factor``.

    The core code (`apply` in `keras/src/optimizers/base_optimizer.py`) divides; the documentation says
    that "the inverse of the scale factor will be multiplied". Evidence: XLA, also one operation at a time
    as JAX runs it eagerly, and Grappler replace the division by a constant by a multiplication.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply instead of dividing."""
        factor = self.settings.loss_scale_factor
        if factor is None:
            return super().unscale(gradients, loss_scale)

        def product(gradient: Array) -> Array:
            wide = promoted([gradient.dtype, FLOAT32])
            reciprocal = setting(1.0, wide) / setting(factor, wide)
            return convert(np.asanyarray(convert(gradient, wide) * reciprocal), gradient.dtype)

        return [None if gradient is None else product(gradient) for gradient in gradients]


class UnscaleInDtypeOfGradient(SGD):
    """Half gradients are divided in their own dtype, to which the loss scale is rounded.

    A scale of 1e6 is infinite in float16, so that every gradient becomes 0: the documentation has
    `loss_scale_factor` "for preventing underflow during mixed precision training". Evidence: ``g / scale``
    in `apply` of `keras/src/optimizers/base_optimizer.py`.
    """

    _dtypes: list[np.dtype[Any] | None]

    def _validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        call = super()._validated(gradients, variables)
        self._dtypes = [None if gradient is None else gradient.dtype for gradient in gradients]
        return call

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide in the dtype in which the gradient was given."""
        factor = self.settings.loss_scale_factor
        if factor is None:
            return super().unscale(gradients, loss_scale)
        unscaled = super().unscale(gradients, loss_scale)

        def quotient(gradient: Array, dtype: np.dtype[Any]) -> Array:
            narrow = convert(gradient, dtype)
            return convert(np.asanyarray(self.quotient(narrow, setting(factor, dtype))), gradient.dtype)

        return [
            quotient(gradient, dtype)
            if gradient is not None and dtype is not None and dtype in HALF
            else other
            for gradient, dtype, other in zip(gradients, self._dtypes, unscaled, strict=True)
        ]

    def quotient(self, gradient: Array, factor: Any) -> Array:
        """Divide in the dtype that both have."""
        return np.asanyarray(gradient / factor)


class ScaleWithoutLimits(LossScaleOptimizer):
    """The loss scale doubles to infinity, from which it never returns, and halves below the normal numbers.

    The documentation of the wrapper says that the scale is halved if a gradient is not finite, and what it
    is for; at infinity gradients are 0 and count as finite, at 0 they are infinite and are applied.
    Evidence: `_stateful_handle_finite_grads` in `keras/src/optimizers/loss_scale_optimizer.py`.
    """

    def _grow(self) -> None:
        self._growth_counter += 1
        if self._growth_counter == self.dynamic_growth_steps:
            self._growth_counter = 0
            with np.errstate(over="ignore"):
                self._scale = self._scale * np.float32(2)

    def _shrink(self) -> None:
        self._growth_counter = 0
        self._scale = self._scale * np.float32(0.5)

    def set_weights(self, values: Sequence[Any]) -> None:
        """Take any scale, as it may have got there by itself."""
        self._scale = np.float32(1)
        super().set_weights([*values[:3], np.array(1, np.float32), *values[4:]])
        self._scale = np.float32(np.asanyarray(values[3]).item())


class WideUnscaledGradients(SGD):
    """Under LossScaleOptimizer gradients of half variables stay float32 until they meet the variable.

    So they are clipped by norms and limits in float32. The documentation has no say in it; the definition
    rounds an unscaled gradient to the dtype of the variable at once. Evidence: `ops.divide(g, scale)` in
    `keras/src/optimizers/loss_scale_optimizer.py`, whose scale is a float32 variable, and the cast in
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
