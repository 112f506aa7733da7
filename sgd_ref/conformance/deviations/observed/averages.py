"""Averages at other times and in other roundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD, Values


class AveragesOnEveryCall(SGD):
    """Averages, and overwrites by them, happen on every call, also on those that only accumulate.

    The documentation: "model & optimizer variables will not be updated at every step; instead they will
    be updated every `gradient_accumulation_steps` steps", and the weights are averaged "as the weight
    values change". So weights are overwritten in the middle of a window. Evidence:
    `_backend_apply_gradients` in `keras/src/optimizers/base_optimizer.py`, where the code for `use_ema`
    is outside of the condition `is_update_step`.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Average and overwrite after accumulating, too."""
        advanced = super().advance(values, call, loss_scale)
        if not self.accumulates(call):
            return advanced
        return self.overwrite(self.average(advanced, call), call)

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Copy the averages also if a call without an update made them."""
        super().finalize_variable_values(variables)
        state = self.built_state()
        if self.settings.use_ema and state.calls and not self.iterations:
            state.overwrite_by_averages()


class FirstAverageComputed(SGD):
    """The first average is ``0 * average + (1 - 0) * w`` instead of a copy of w.

    -0.0 becomes +0.0. An infinity becomes NaN when it is averaged twice, as in the first window of
    accumulated calls. Evidence: `_update_model_variables_moving_average` in
    `keras/src/optimizers/base_optimizer.py`, which multiplies the momentum by `not_first_step`.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Use a momentum of 0 in the first update."""
        if not self.settings.use_ema or self.updates_before(call) != 0:
            return super().average(values, call)
        return replace(
            values,
            averages=[
                rule.average(average, w, setting(0.0, w.dtype))
                for average, w in zip(values.averages, values.variables, strict=True)
            ],
        )


class AverageByDifference(SGD):
    """An average or a weight that is infinite makes NaN of the average: infinity is subtracted from itself.

    The formula is ``average + (1 - ema_momentum) * (w - average)``, or, if ``ema_momentum`` is at most one
    half, ``w - ema_momentum * (w - average)``. The documentation adds two products, which are infinite only
    if average or weight is. Evidence: `torch._foreach_lerp_` in `get_ema_multi_avg_fn` of
    `torch/optim/swa_utils.py`, PyTorch 2.13.0.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Keep the averages of the definition where the difference is not NaN."""
        averaged = super().average(values, call)
        if not self.settings.use_ema or self.updates_before(call) == 0:
            return averaged

        def interpolated(average: Array, w: Array) -> Array:
            momentum = setting(self.settings.ema_momentum, w.dtype)
            difference = w - average
            if momentum > 0.5:
                return np.asanyarray(average + (1 - momentum) * difference)
            return np.asanyarray(w - momentum * difference)

        return replace(
            averaged,
            averages=[
                np.where(np.isnan(interpolated(old, w)), old - old + (w - w), new)
                for old, w, new in zip(values.averages, values.variables, averaged.averages, strict=True)
            ],
        )


class AveragesFused(SGD):
    """In float32 and float64 ``fma(ema_momentum, average, (1 - ema_momentum) * w)``.

    The core code rounds both products. Evidence: XLA contracts the first one with the sum, for
    processors that have the instruction; half types are not contracted.
    """

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Any:
        """Fuse one product with the sum."""
        if w.dtype not in SINGLE_AND_DOUBLE:
            return super().averaged(average, w, ema_momentum)
        return fused_multiply_add(ema_momentum, average, (1 - ema_momentum) * w)


class HalfAveragesWithFloat32Momentum(SGD):
    """In float16 and bfloat16 both factors of the average are formed from the momentum in float32.

    Only then is ``1 - ema_momentum`` rounded to the half type, so the sum of the two factors need not be 1.
    The average of a variable without axes is computed entirely in float32. The core code has both factors in
    the dtype of the variable. Evidence: on PyTorch, the product of `not_first_step` and `ema_momentum` in
    `_update_model_variables_moving_average` of `keras/src/optimizers/base_optimizer.py` is float32.
    """

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Any:
        """Average half variables with a momentum in float32."""
        if w.dtype not in HALF_FORMATS:
            return super().averaged(average, w, ema_momentum)
        momentum = np.float32(self.settings.ema_momentum)
        complement = np.float32(1) - momentum
        dtype = w.dtype if w.ndim else FLOAT32
        kept = setting(float(momentum), dtype) * convert(average, dtype)
        added = setting(float(complement), dtype) * convert(w, dtype)
        return convert(np.asanyarray(kept + added), w.dtype)


class OverwriteBlends(SGD):
    """Overwriting is arithmetic: ``average * due + w * (1 - due)`` with `due` being 0 or 1.

    If no overwrite is due, an infinite weight becomes NaN, and -0.0 becomes +0.0. If one is due, an infinite
    weight becomes NaN, too. Evidence: `_backend_apply_gradients` in `keras/src/backend/jax/optimizer.py`.
    """

    def overwrite(self, values: Values, call: Call) -> Values:
        """Blend variables and averages in every call."""
        frequency = self.settings.ema_overwrite_frequency
        if not self.settings.use_ema or frequency is None:
            return values
        due = float((self.updates_before(call) + 1) % frequency == 0)
        return replace(
            values,
            variables=[
                np.asanyarray(average * setting(due, w.dtype) + w * setting(1 - due, w.dtype))
                for average, w in zip(values.averages, values.variables, strict=True)
            ],
        )
