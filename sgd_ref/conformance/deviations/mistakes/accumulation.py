"""Mistakes of gradient accumulation: in sums, divisions and resets, and in the end of a window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class SumInsteadOfMean(SGD):
    """The gradients of a window are added and not divided by their number.

    The documentation: "using the average value of the gradients since the last update". Evidence:
    `grad_accum.rs` of Burn adds and never divides; no report is known.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Return the sum."""
        return rule.accumulate(g, accumulator)


class MeanOverOneLess(SGD):
    """The sum of a window is divided by the number of its gradients less one.

    The documentation: "using the average value". Evidence: no report is known.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Divide by one less."""
        one_less = (self.settings.gradient_accumulation_steps or 1) - 1
        return super().mean_of(g, accumulator, setting(one_less, g.dtype))


class LastGradientOnly(SGD):
    """Only the last gradient of a window is applied.

    The documentation: "using the average value of the gradients since the last update". Evidence: no report
    is known.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Return the last gradient."""
        return g


class LastGradientDropped(SGD):
    """The last gradient of a window is left out of the mean.

    The documentation: "using the average value of the gradients since the last update". Evidence: no report
    is known.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Divide the sum of the earlier gradients."""
        return accumulator / steps


class LastGradientNotDivided(SGD):
    """Only what was accumulated is divided: ``accumulator / steps + g``.

    The documentation: "using the average value". Evidence: no report is known.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Divide the accumulator only."""
        return accumulator / steps + g


class MeanOfMeans(SGD):
    """Every gradient is averaged with the mean of those before, so that later ones count more.

    With two steps, the result is the mean; with three, it is not. The documentation: "using the average
    value". Evidence: no report is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Halve the sums."""
        accumulated = super().accumulate(values, gradients)
        halves = [
            new if gradient is None or not old.any() else new * setting(0.5, old.dtype)
            for new, old, gradient in zip(
                accumulated.accumulators, values.accumulators, gradients, strict=True
            )
        ]
        return replace(accumulated, accumulators=halves)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Average with the mean so far."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None:
            return means, reset
        halves = [
            None if gradient is None else (gradient + mean) * setting(0.5, gradient.dtype)
            for gradient, mean in zip(gradients, values.accumulators, strict=True)
        ]
        return halves, reset


class MeanOfPresent(SGD):
    """A variable that had no gradient in some calls of a window is updated with the mean of the others.

    The core code divides by the number of calls. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._missing: dict[int, int] = {}

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Count the gradients that are missing."""
        for index, gradient in enumerate(gradients):
            self._missing[index] = self._missing.get(index, 0) + (gradient is None)
        return super().accumulate(values, gradients)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Divide by the number of gradients that were present."""
        means, reset = super().mean(values, gradients)
        steps, missing = self.settings.gradient_accumulation_steps, self._missing
        self._missing = {}
        if steps is None:
            return means, reset
        others = [
            mean
            if gradient is None or not missing.get(index)
            else (gradient + accumulator) / setting(steps - missing[index], gradient.dtype)
            for index, (mean, gradient, accumulator) in enumerate(
                zip(means, gradients, values.accumulators, strict=True)
            )
        ]
        return others, reset


class AccumulatorNotReset(SGD):
    """Accumulators are never reset, so that all gradients ever seen are in every mean.

    The documentation: "the gradients since the last update". Evidence: no report is known.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Keep the accumulators."""
        means, _ = super().mean(values, gradients)
        return means, values


class AccumulatorKeepsMean(SGD):
    """The mean of a window stays in the accumulator and is in the sum of the next one.

    The documentation: "the gradients since the last update". Evidence: no report is known.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Store the means."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None:
            return means, reset
        kept = [
            zeros if mean is None else mean for zeros, mean in zip(reset.accumulators, means, strict=True)
        ]
        return means, replace(reset, accumulators=kept)


class FirstGradientDropped(SGD):
    """Accumulators are reset in the first call of a window, after its gradients were added.

    The documentation: "the gradients since the last update". Evidence: no report is known.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Reset the accumulators after the first call of a window."""
        advanced = super().advance(values, call, loss_scale)
        steps = self.settings.gradient_accumulation_steps
        if steps is None or call.state.calls % steps:
            return advanced
        return replace(advanced, accumulators=[np.zeros_like(array) for array in values.accumulators])


class AccumulatorOverwritten(SGD):
    """A gradient replaces what was accumulated instead of being added to it.

    With two steps, the result is the same; with three, it is not. Evidence: no report is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Store the gradients."""
        return replace(
            values,
            accumulators=[
                accumulator if gradient is None else gradient
                for accumulator, gradient in zip(values.accumulators, gradients, strict=True)
            ],
        )


class AccumulatorLostWhenMissing(SGD):
    """A call without a gradient for a variable resets what that variable has accumulated.

    The core code leaves it alone. Evidence: no report is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Reset the accumulators of variables whose gradient is missing."""
        accumulated = super().accumulate(values, gradients)
        kept = [
            np.zeros_like(accumulator) if gradient is None else accumulator
            for accumulator, gradient in zip(accumulated.accumulators, gradients, strict=True)
        ]
        return replace(accumulated, accumulators=kept)


class AccumulatorInBfloat(SGD):
    """Sums of gradients are rounded to bfloat16 as they are stored.

    The definition keeps them in the dtype of the variable. Evidence:
    https://github.com/deepspeedai/DeepSpeed/issues/2768.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Round the sums."""
        accumulated = super().accumulate(values, gradients)
        rounded = [
            convert(convert(np.asarray(array), BFLOAT16), array.dtype) for array in accumulated.accumulators
        ]
        return replace(accumulated, accumulators=rounded)


class DividedByPlace(SGD):
    """Every gradient of a window is divided by the number of gradients up to it, not by that of the window.

    A sum with the weights 1, 1/2, 1/3 is not a mean. Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Multiply by the number of steps, and divide by the place in the window."""
        unscaled = super().unscale(gradients, loss_scale)
        steps = self.settings.gradient_accumulation_steps
        if steps is None:
            return unscaled
        place = self.calls % steps + 1
        return each(unscaled, lambda g: g * setting(steps / place, g.dtype))


class UpdatesOnFirstOfWindow(SGD):
    """A window ends with its first call: updates happen in calls 1, N + 1, 2 N + 1, ...

    The documentation: "every `gradient_accumulation_steps` steps". Evidence: ``step % steps == 0`` with
    steps from 0, https://github.com/deepmodeling/deepmd-kit/pull/4920.
    """

    def accumulates(self, call: Call) -> bool:
        """Whether other calls of the window came before."""
        steps = self.settings.gradient_accumulation_steps
        return steps is not None and call.state.calls % steps != 0


class WindowOneLonger(SGD):
    """A window has one call more than was asked for; the sum is divided by the number asked for.

    The documentation: "every `gradient_accumulation_steps` steps". Evidence: no report is known.
    """

    def accumulates(self, call: Call) -> bool:
        """Whether this is not the last call of a longer window."""
        steps = self.settings.gradient_accumulation_steps
        return steps is not None and (call.state.calls + 1) % (steps + 1) != 0


class WindowInverted(SGD):
    """Every call of a window updates but the last one, which only accumulates.

    The documentation: "every `gradient_accumulation_steps` steps". Evidence: a condition that was inverted,
    https://github.com/huggingface/accelerate/issues/435.
    """

    def accumulates(self, call: Call) -> bool:
        """Whether this is the last call of a window."""
        steps = self.settings.gradient_accumulation_steps
        return steps is not None and (call.state.calls + 1) % steps == 0


class MeanDividedTwice(SGD):
    """The mean of a window is divided by the number of its gradients once more.

    The documentation: "using the average value". Evidence: a loss that two libraries divide,
    https://github.com/huggingface/transformers/issues/40052.
    """

    def mean_of(self, g: Array, accumulator: Array, steps: Any) -> Any:
        """Divide again."""
        return super().mean_of(g, accumulator, steps) / steps


class VelocityWhileAccumulating(SGD):
    """With momentum the velocity loses its share in every call, also in those that only accumulate.

    The documentation: "model & optimizer variables will not be updated at every step". Evidence: no report
    is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Multiply the velocities by the momentum."""
        accumulated = super().accumulate(values, gradients)
        return replace(
            accumulated,
            velocities=[v * setting(self.settings.momentum, v.dtype) for v in values.velocities],
        )


ACCUMULATION = (
    mistake("sum-instead-of-mean", SumInsteadOfMean),
    mistake("mean-over-one-less", MeanOverOneLess),
    mistake("last-gradient-only", LastGradientOnly),
    mistake("last-gradient-dropped", LastGradientDropped),
    mistake("last-gradient-not-divided", LastGradientNotDivided),
    mistake("mean-of-means", MeanOfMeans),
    mistake("mean-of-those-present", MeanOfPresent),
    mistake("accumulator-not-reset", AccumulatorNotReset),
    mistake("accumulator-keeps-mean", AccumulatorKeepsMean),
    mistake("first-gradient-dropped", FirstGradientDropped),
    mistake("accumulator-overwritten", AccumulatorOverwritten),
    mistake("accumulator-lost-when-missing", AccumulatorLostWhenMissing),
    mistake("accumulator-in-bfloat16", AccumulatorInBfloat),
    mistake("gradients-divided-by-place", DividedByPlace),
    mistake("update-on-first-of-window", UpdatesOnFirstOfWindow),
    mistake("window-one-longer", WindowOneLonger),
    mistake("window-inverted", WindowInverted),
    mistake("mean-divided-twice", MeanDividedTwice),
    mistake("velocity-decays-while-accumulating", VelocityWhileAccumulating),
)
