"""Averages in other forms of ``ema_momentum * average + (1 - ema_momentum) * w``."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.special_values import where_finite
from sgd_ref.optimizer import SGD
from sgd_ref.rule import Number, Numbers


class AverageFusedWithWeights(SGD):
    """``fma(1 - ema_momentum, w, ema_momentum * average)``: the product with w is not rounded.

    PyTorch does this in ``average.mul_(decay).add_(w, alpha=1 - decay)``.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Fuse the second product with the sum."""
        return fused_multiply_add(1 - ema_momentum, w, ema_momentum * average)


class AverageTowardsWeights(SGD):
    """``average + (1 - ema_momentum) * (w - average)``: a step from the average, each operation rounded.

    ``torch.optim.swa_utils`` averages lists of tensors by such a linear interpolation.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Interpolate from the average."""
        definition = super().averaged(average, w, ema_momentum)
        return where_finite(average + (1 - ema_momentum) * (w - average), definition, average, w)


class AverageTowardsWeightsFused(SGD):
    """``fma(1 - ema_momentum, w - average, average)``: an interpolation with one rounding less."""

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Interpolate from the average, fused."""
        definition = super().averaged(average, w, ema_momentum)
        fused = fused_multiply_add(1 - ema_momentum, w - average, average)
        return where_finite(fused, definition, average, w)


class AverageFromWeights(SGD):
    """``w - ema_momentum * (w - average)``: a step back from the weights, each operation rounded.

    PyTorch's linear interpolation has this form if the interpolation weight is at least one half.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Interpolate from the weights."""
        definition = super().averaged(average, w, ema_momentum)
        return where_finite(w - ema_momentum * (w - average), definition, average, w)


class AverageByComplements(SGD):
    """``(1 - c) * average + c * w`` with ``c = 1 - ema_momentum``, each operation rounded.

    ``optax.incremental_update`` does this. Its step size is the complement.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Take the complement of the complement."""
        complement = 1 - ema_momentum
        return (1 - complement) * average + complement * w


class AverageFromWeightsByComplement(SGD):
    """``w - (1 - c) * (w - average)`` with ``c = 1 - ema_momentum``, each operation rounded.

    PyTorch does this in ``torch._foreach_lerp_(averages, variables, 1 - decay)`` if the interpolation weight
    is at least one half. The weight is the complement, and the interpolation takes the complement of the
    weight.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Interpolate from the weights by the complement of the complement."""
        definition = super().averaged(average, w, ema_momentum)
        return where_finite(w - (1 - (1 - ema_momentum)) * (w - average), definition, average, w)


class AverageFromWeightsFused(SGD):
    """``fma(-ema_momentum, w - average, w)``: a step back from the weights, with one rounding less."""

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Interpolate from the weights, fused."""
        definition = super().averaged(average, w, ema_momentum)
        fused = fused_multiply_add(-ema_momentum, w - average, w)
        return where_finite(fused, definition, average, w)


class AverageLessDifference(SGD):
    """``average - (1 - ema_momentum) * (average - w)``: differs from the interpolation in signs of zeros.

    The documentation of ``tf.train.ExponentialMovingAverage`` has
    ``shadow_variable -= (1 - decay) * (shadow_variable - variable)``.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Subtract a part of the difference."""
        definition = super().averaged(average, w, ema_momentum)
        return where_finite(average - (1 - ema_momentum) * (average - w), definition, average, w)


class AverageWithComplementOfDouble(SGD):
    """``ema_momentum * average + complement * w``, where ``1 - ema_momentum`` is formed in double.

    Each of the two factors is rounded to the dtype, so their sum need not be 1. A setting is a Python number,
    and implementations in Python compute ``1 - decay`` from it before an array is involved.
    """

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Round each factor separately."""
        complement = setting(1 - self.settings.ema_momentum, w.dtype)
        return np.asarray(ema_momentum * average + complement * w)
