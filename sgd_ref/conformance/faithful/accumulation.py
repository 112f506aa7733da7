"""Means over a window of calls: divided earlier or later, multiplied instead, or added in another order."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.special_values import where_finite
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number, Numbers


class MeanOfQuotients(SGD):
    """``g / N + accumulator / N``: both divided, each operation rounded."""

    def mean_of(self, g: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
        """Divide both addends."""
        return g / steps + accumulator / steps


class MeanOfProducts(SGD):
    """``g * (1 / N) + accumulator * (1 / N)``: both multiplied, each operation rounded."""

    def mean_of(self, g: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
        """Multiply both addends by the reciprocal."""
        reciprocal = 1 / steps
        return g * reciprocal + accumulator * reciprocal


class MeanFused(SGD):
    """``fma(g, 1 / N, accumulator * (1 / N))``: the product with the last gradient is not rounded."""

    def mean_of(self, g: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
        """Fuse the product with the sum."""
        reciprocal = 1 / steps
        return fused_multiply_add(g, reciprocal, accumulator * reciprocal)


class MeanWithRate(SGD):
    """``(g + accumulator) * (learning_rate / N)``: the sum is divided together with the rate.

    This holds without clipping, since nothing comes between mean and update then. With clipping, the variant
    is the definition.
    """

    def mean_of(self, g: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
        """Leave the sum undivided if the update divides it."""
        if self._divides_late():
            return g + accumulator
        return super().mean_of(g, accumulator, steps)

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the sums by one number, which contains the rate, and update with a rate of 1."""
        if not self._divides_late():
            return super().update(values, gradients, call)
        steps = self.settings.gradient_accumulation_steps or 1

        def step(total: Array) -> Array:
            rate = setting(float(call.learning_rate), total.dtype)
            return np.asarray(total * (rate / setting(steps, total.dtype)))

        multiplied = [None if total is None else step(total) for total in gradients]
        return super().update(values, multiplied, call._replace(learning_rate=np.float32(1)))

    def _divides_late(self) -> bool:
        settings = self.settings
        return settings.gradient_accumulation_steps is not None and not settings.clips


class OwnAccumulators(SGD):
    """The base of variants that keep other values than the sums of a window, and cannot report the sums.

    The first call computes these values from the accumulators that the case starts from.
    """

    _kept: list[Any] | None = None
    _position = 0

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Begin with the sums of the case, and note the position of this call in its window, from 1."""
        steps = self.settings.gradient_accumulation_steps
        if steps is not None:
            self._position = call.state.calls % steps + 1
            if self._kept is None:
                self._kept = [self.begun(total, self._position - 1) for total in values.accumulators]
        return super().advance(values, call, loss_scale)

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Add to the kept values."""
        self._kept = [
            self.added(kept, gradient) for kept, gradient in zip(self._kept or [], gradients, strict=True)
        ]
        return values

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the means of the kept values, and begin a new window."""
        if self.settings.gradient_accumulation_steps is None:
            return super().mean(values, gradients)
        means = [
            None if gradient is None else self.mean_of_kept(self.added(kept, gradient))
            for kept, gradient in zip(self._kept or [], gradients, strict=True)
        ]
        zeros = [np.zeros_like(total) for total in values.accumulators]
        self._kept = [self.begun(zero, 0) for zero in zeros]
        return means, replace(values, accumulators=zeros)

    @abstractmethod
    def begun(self, total: Array, calls: int) -> Any:
        """Return the kept values for the total of the first calls of a window."""

    @abstractmethod
    def added(self, kept: Any, gradient: Array | None) -> Any:
        """Return the kept values after one more call."""

    @abstractmethod
    def mean_of_kept(self, kept: Any) -> Array:
        """Return the mean over the window at its end."""

    def steps(self, dtype: np.dtype[Any]) -> Any:
        """Return the number of calls of a window in a dtype."""
        return setting(self.settings.gradient_accumulation_steps or 1, dtype)


class QuotientsAccumulated(OwnAccumulators):
    """``accumulator + g / N`` in every call, also in the last one: the sum is the mean already.

    This is the usual loop of PyTorch, which divides the loss by the number of accumulated steps.
    """

    def begun(self, total: Array, calls: int) -> Array:
        """Divide the total."""
        return np.asarray(total / self.steps(total.dtype))

    def added(self, kept: Array, gradient: Array | None) -> Array:
        """Add a quotient."""
        return kept if gradient is None else kept + gradient / self.steps(gradient.dtype)

    def mean_of_kept(self, kept: Array) -> Array:
        """Return the sum."""
        return kept


class ProductsAccumulated(QuotientsAccumulated):
    """``accumulator + g * (1 / N)`` in every call, also in the last one: no array is divided."""

    def added(self, kept: Array, gradient: Array | None) -> Array:
        """Add a product."""
        return kept if gradient is None else np.asarray(kept + gradient * (1 / self.steps(gradient.dtype)))


class RunningMean(OwnAccumulators):
    """``mean + (g - mean) / k`` in the k-th call of a window; a missing gradient counts as 0.

    ``optax.MultiSteps`` keeps such a mean.
    """

    def begun(self, total: Array, calls: int) -> Array:
        """Divide the total by the number of calls so far."""
        return np.asarray(total / setting(max(calls, 1), total.dtype))

    def added(self, kept: Array, gradient: Array | None) -> Array:
        """Move the mean."""
        position = setting(self._position, kept.dtype)
        if gradient is None:
            return where_finite(kept - kept / position, kept, kept)
        return where_finite(kept + (gradient - kept) / position, kept + gradient, kept, gradient)

    def mean_of_kept(self, kept: Array) -> Array:
        """Return the mean."""
        return kept


class AddedBackwards(OwnAccumulators):
    """``((gN + ...) + g2) + g1``, then divided by N: the gradients of a window are kept and added at its end.

    The definition adds each gradient when it comes. Every sum is rounded.
    """

    def begun(self, total: Array, calls: int) -> list[Array]:
        """Keep the total as the first gradient."""
        return [np.array(total)] if total.any() else []

    def added(self, kept: list[Array], gradient: Array | None) -> list[Array]:
        """Keep the gradient."""
        return kept if gradient is None else [*kept, gradient]

    def mean_of_kept(self, kept: list[Array]) -> Array:
        """Add the gradients, beginning with the last one, and divide."""
        return np.asarray(sum(reversed(kept[:-1]), start=kept[-1]) / self.steps(kept[-1].dtype))


class AddedSmallestFirst(AddedBackwards):
    """The gradients of a window are kept, sorted by absolute value, and added from the smallest one on.

    This is done for each element. Every sum is rounded, and the total is divided by N. It is a usual way to
    reduce the rounding error.
    """

    def mean_of_kept(self, kept: list[Array]) -> Array:
        """Sort, add and divide."""
        stacked = np.stack(kept)
        order = np.argsort(np.abs(stacked).astype(FLOAT64), axis=0, kind="stable")
        ordered = list(np.take_along_axis(stacked, order, axis=0))
        return np.asarray(sum(ordered[1:], start=ordered[0]) / self.steps(stacked.dtype))


class WideAccumulators(OwnAccumulators):
    """Sums of half gradients are kept in float32, and others in float64; their mean is rounded once.

    Megatron-LM accumulates bfloat16 gradients in float32.
    """

    def begun(self, total: Array, calls: int) -> Array:
        """Widen the total."""
        return convert(total, _wider(total.dtype))

    def added(self, kept: Array, gradient: Array | None) -> Array:
        """Add in the wider dtype."""
        return kept if gradient is None else kept + convert(gradient, kept.dtype)

    def mean_of_kept(self, kept: Array) -> Array:
        """Divide in the wider dtype."""
        return np.asarray(kept / self.steps(kept.dtype))

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Round the means to the dtypes of the gradients."""
        means, reset = super().mean(values, gradients)
        narrow = [
            mean if mean is None else convert(mean, old.dtype)
            for mean, old in zip(means, values.variables, strict=True)
        ]
        return narrow, reset


class UnscaledAtTheEnd(WideAccumulators):
    """``(sum of scaled gradients) / (N * loss_scale_factor)``: one division for both, at the end.

    The sums are kept wide, in float32 for half gradients and in float64 for others, since scaled gradients
    are large. With a scale that changes, under LossScaleOptimizer, gradients are unscaled at once.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave gradients that are accumulated scaled."""
        return gradients if self._scale() is not None else super().unscale(gradients, loss_scale)

    def begun(self, total: Array, calls: int) -> Array:
        """Scale the total."""
        wide = super().begun(total, calls)
        return wide if self._scale() is None else wide * setting(self._scale() or 1.0, wide.dtype)

    def mean_of_kept(self, kept: Array) -> Array:
        """Divide by both numbers at once."""
        scale = setting(self._scale() or 1.0, kept.dtype)
        return np.asarray(kept / (self.steps(kept.dtype) * scale))

    def _scale(self) -> float | None:
        settings = self.settings
        return None if settings.gradient_accumulation_steps is None else settings.loss_scale_factor


def _wider(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return FLOAT64 if dtype in (FLOAT32, FLOAT64) else promoted([dtype, FLOAT32])
