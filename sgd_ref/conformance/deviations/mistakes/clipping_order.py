"""Clipping at another point of a call, such as before the mean is taken, or before unscaling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class ClipsEachOfWindow(SGD):
    """Under accumulation every gradient is clipped by itself, and the mean is not.

    The core code clips the mean. Evidence: https://github.com/Deci-AI/super-gradients/pull/653.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate clipped gradients."""
        return super().accumulate(values, super().clip(gradients))

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean of clipped gradients."""
        if self.settings.gradient_accumulation_steps is None:
            return super().mean(values, gradients)
        return super().mean(values, super().clip(gradients))

    def clip(self, gradients: Gradients) -> Gradients:
        """Leave the mean as it is."""
        return gradients if self.settings.gradient_accumulation_steps else super().clip(gradients)


class ClipsEachAndMean(SGD):
    """Under accumulation every gradient is clipped by itself, and then the mean, too.

    The core code clips the mean. Evidence: clipping in every step of a window,
    https://github.com/keras-team/keras/pull/19998.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate clipped gradients."""
        return super().accumulate(values, self.clip(gradients))

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean of clipped gradients."""
        if self.settings.gradient_accumulation_steps is None:
            return super().mean(values, gradients)
        return super().mean(values, self.clip(gradients))


class ClipsSumOfWindow(SGD):
    """Under accumulation the sum is clipped, and divided by the number of steps afterwards.

    So the effective limit depends on that number. The core code clips the mean. Evidence:
    https://github.com/BVLC/caffe/issues/6199.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Add, clip and divide."""
        means, reset = super().mean(values, gradients)
        steps = self.settings.gradient_accumulation_steps
        if steps is None:
            return means, reset
        sums = [
            None if gradient is None else rule.accumulate(gradient, accumulator)
            for gradient, accumulator in zip(gradients, values.accumulators, strict=True)
        ]
        return each(super().clip(sums), lambda total: total / setting(steps, total.dtype)), reset

    def clip(self, gradients: Gradients) -> Gradients:
        """Leave the mean as it is."""
        return gradients if self.settings.gradient_accumulation_steps else super().clip(gradients)


class ClipsRunningSum(SGD):
    """Under accumulation the sum so far is clipped in every call, and the mean in the update.

    The core code clips the mean. Evidence: clipping after every backward pass, which adds to the gradients,
    https://github.com/huggingface/transformers/issues/986.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate, then clip the sums."""
        accumulated = super().accumulate(values, gradients)
        clipped = self.clip(list(accumulated.accumulators))
        return replace(
            accumulated,
            accumulators=[
                old if new is None else new
                for old, new in zip(accumulated.accumulators, clipped, strict=True)
            ],
        )


class ClipsBeforeUnscaling(SGD):
    """Gradients are clipped while they are scaled, so that next to nothing is left once they are unscaled.

    Evidence: "very flat learning curve",
    https://github.com/Lightning-AI/pytorch-lightning/issues/9599.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._is_scaled = False

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Clip, then unscale."""
        self._is_scaled = loss_scale is not None
        return super().unscale(super().clip(gradients) if self._is_scaled else gradients, loss_scale)

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip gradients only if they were not scaled."""
        return gradients if self._is_scaled else super().clip(gradients)


class ClipsWeights(SGD):
    """The variables are limited to `clipvalue` after the update, and the gradients are not.

    The documentation: "the gradient of each weight is clipped". Evidence: no report is known.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Leave the gradients as they are."""
        return gradients

    def update(self, values: Values, gradients: Gradients, call: Any) -> Values:
        """Clip the variables after the update."""
        updated = super().update(values, gradients, call)
        limit = self.settings.clipvalue
        if limit is None:
            return updated
        variables = [rule.clip_by_value(w, setting(limit, w.dtype)) for w in updated.variables]
        return Values(variables, updated.velocities, updated.averages, updated.accumulators)


CLIPPING_ORDER = (
    mistake("each-gradient-clipped-not-the-mean", ClipsEachOfWindow),
    mistake("each-gradient-clipped-and-the-mean", ClipsEachAndMean),
    mistake("sum-clipped-before-the-mean", ClipsSumOfWindow),
    mistake("sum-clipped-in-every-call", ClipsRunningSum),
    mistake("clipped-before-unscaling", ClipsBeforeUnscaling),
    mistake("variables-clipped", ClipsWeights),
)
