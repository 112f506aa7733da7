"""Wider intermediates and settings: only the places differ at which results are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values

EXTENDED: np.dtype[Any] = np.dtype(np.longdouble)
"""The extended precision of x87 where the platform has it, and otherwise float64."""


class Wider(SGD):
    """The common base of variants that compute in a wider dtype."""

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype to compute in for arrays of a dtype."""
        raise NotImplementedError

    def widened(self, arrays: Sequence[Array | None]) -> list[Any]:
        """Return arrays in the dtypes to compute in."""
        return [
            None if array is None else convert(np.asarray(array), self.wide_dtype(array.dtype))
            for array in arrays
        ]

    def widened_values(self, values: Values) -> Values:
        """Return all values in the dtypes to compute in."""
        return Values(*(self.widened(getattr(values, field.name)) for field in fields(Values)))


class StepInFloat32(Wider):
    """A whole step of half variables is computed in float32, and its results are rounded once.

    Settings are rounded to float32. A fused kernel loads bfloat16, computes in float32 and stores bfloat16:
    the fused optimizers of PyTorch, and XLA within one fusion.
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float32 for half types."""
        return FLOAT32 if dtype in HALF_FORMATS else dtype

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Widen everything, make the step, and round."""
        wide_call = call._replace(gradients=self.widened(call.gradients))
        return rounded_like(super().advance(self.widened_values(values), wide_call, loss_scale), values)


class StepInFloat64(StepInFloat32):
    """A whole step is computed in float64, and its results are rounded once.

    Settings are used as doubles, without rounding. This variant is not for float64 variables. A naive loop in
    C with constants and temporaries of type double does this, and so does plain Python on ``tolist()``.
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float64."""
        return FLOAT64


class StepInExtended(StepInFloat32):
    """A step of float64 variables is computed in the extended precision of x87, and stored rounded once.

    This concerns decay, update, averages and accumulation. Gradients are unscaled and clipped in float64. C
    does this on x87 processors, where FLT_EVAL_METHOD is 2. Where ``long double`` is double, the variant is
    the definition.
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return extended precision for float64."""
        return EXTENDED if dtype == FLOAT64 else dtype

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale in float64."""
        return self.widened(super().unscale(_in_float64(gradients), loss_scale))

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip in float64."""
        return self.widened(super().clip(_in_float64(gradients)))


class StagesInFloat32(Wider):
    """Each stage of a step of half variables is computed in float32, and its result is rounded.

    Settings are rounded to float32. There is one kernel for each stage, which loads and stores half arrays.
    Each operation of PyTorch's foreach optimizers does this; PyTorch's term for the float32 is "opmath".
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float32 for half types."""
        return FLOAT32 if dtype in HALF_FORMATS else dtype

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale in the wider dtype."""
        return arrays_like(super().unscale(self.widened(gradients), loss_scale), gradients)

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate in the wider dtype."""
        return rounded_like(super().accumulate(self.widened_values(values), self.widened(gradients)), values)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean in the wider dtype."""
        means, reset = super().mean(self.widened_values(values), self.widened(gradients))
        return arrays_like(means, gradients), rounded_like(reset, values)

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip in the wider dtype."""
        return arrays_like(super().clip(self.widened(gradients)), gradients)

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay in the wider dtype."""
        return rounded_like(super().decay(self.widened_values(values), gradients, call), values)

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update in the wider dtype."""
        wide = self.widened_values(values)
        return rounded_like(super().update(wide, self.widened(gradients), call), values)

    def average(self, values: Values, call: Call) -> Values:
        """Average in the wider dtype."""
        return rounded_like(super().average(self.widened_values(values), call), values)


class StagesInFloat64(StagesInFloat32):
    """Each stage is computed in float64 with the settings as given, and its result is rounded.

    C does this in ``float w; double lr; w -= lr * g;``. An operation with a double is computed in double, and
    only the assignment rounds.
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float64."""
        return FLOAT64


class FormulasInFloat64(SGD):
    """Each formula is computed in float64 and rounded once, with settings rounded to the dtype first.

    This is for float32 and half types; in float64 the variant is the definition. Only the roundings inside a
    formula are left out: ``w - w * weight_decay * learning_rate`` has one rounding instead of three.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Array:
        """Round once."""
        return _once(rule.mean_of_accumulated, g, accumulator, steps)

    def clipped(self, g: Array, norm: Any, clipnorm: Any) -> Array:
        """Round once, except for the norm, which is rounded by itself."""
        return _once(rule.clip_by_norm, g, norm, clipnorm)

    def decayed(self, w: Array, weight_decay: Any, rate: Any) -> Array:
        """Round once."""
        return _once(rule.decay_weights, w, weight_decay, rate)

    def descended(self, w: Array, g: Array, rate: Any) -> Array:
        """Round once."""
        return _once(rule.descend, w, g, rate)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Array:
        """Round once."""
        return _once(rule.accelerate, velocity, g, momentum, rate)

    def moved_by_nesterov(
        self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any
    ) -> Array:
        """Round once."""
        return _once(rule.move_nesterov, w, new, g, momentum, rate)

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Array:
        """Round once."""
        return _once(rule.average, average, w, ema_momentum)


def arrays_like(arrays: Gradients, pattern: Gradients) -> Gradients:
    """Return arrays rounded to the dtypes of others.

    >>> arrays_like([np.array([0.1])], [np.zeros(1, "float32")])
    [array([0.1], dtype=float32)]
    """
    return [
        None if array is None or like is None else convert(np.asarray(array), like.dtype)
        for array, like in zip(arrays, pattern, strict=True)
    ]


def rounded_like(values: Values, pattern: Values) -> Values:
    """Return all values rounded to the dtypes of others."""
    return Values(
        *(
            [
                convert(np.asarray(array), like.dtype)
                for array, like in zip(getattr(values, field.name), getattr(pattern, field.name), strict=True)
            ]
            for field in fields(Values)
        )
    )


def _in_float64(gradients: Gradients) -> Gradients:
    return [
        convert(gradient, FLOAT64) if gradient is not None and gradient.dtype == EXTENDED else gradient
        for gradient in gradients
    ]


def _once(formula: Any, array: Array, *operands: Any) -> Array:
    wide = [convert(np.asarray(operand), FLOAT64) for operand in operands]
    return convert(np.asarray(formula(convert(array, FLOAT64), *wide)), array.dtype)
