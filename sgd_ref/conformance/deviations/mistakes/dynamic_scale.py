"""Mistakes of dynamic loss scaling: when the scale changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer

LARGEST = np.float32(2.0**24)
"""The largest scale that is doubled to, if there is one."""


class ScaleGrownBeforeUnscaling(LossScaleOptimizer):
    """The scale doubles before the gradients are divided by it, so that this update is halved.

    The core code unscales with the scale that the loss was multiplied by. Evidence:
    https://github.com/deepspeedai/DeepSpeed/pull/8588.
    """

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make the call with the scale that is right after a finite call."""
        scale, counter = self._scale, self._growth_counter
        self.grow()
        grown = self._scale, self._growth_counter
        inner = self.inner_optimizer
        calls = inner.calls
        super().apply(gradients, variables)
        if inner.calls > calls:
            self._scale, self._growth_counter = grown
        else:
            self._scale, self._growth_counter = scale, counter
            self.shrink()


class NormWithNextScale(LossScaleOptimizer):
    """In the call in which the loss scale doubles, norms are taken of gradients divided by the doubled scale.

    So the norms are half of the right ones, and some large gradients are not clipped. The core code clips the
    gradients that it has unscaled. Evidence: no report is known.
    """

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make the call, with half of the norms if the scale grows."""
        inner: Any = self.inner_optimizer
        norm = inner.norm

        def halved(of: list[Array]) -> Any:
            found = norm(of)
            return found * setting(0.5, found.dtype)

        if self._growth_counter + 1 >= self.settings.dynamic_growth_steps:
            vars(inner)["norm"] = halved
        try:
            super().apply(gradients, variables)
        finally:
            vars(inner).pop("norm", None)


class UnscaledWithPreviousScale(LossScaleOptimizer):
    """Gradients are divided by the scale of the call before.

    If the scale has changed, the update is twice or half of the right one. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._scale_before: np.float32 | None = None

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make the call with the scale of the call before."""
        scale, previous = self._scale, self._scale_before
        self._scale_before = scale
        if previous is None or previous == scale:
            super().apply(gradients, variables)
            return
        self._scale = previous
        super().apply(gradients, variables)
        # If the call changes the scale, the change applies to the present scale.
        self._scale = scale * (self._scale / previous)


class GrowthOneLate(LossScaleOptimizer):
    """The scale doubles after one finite call more than `dynamic_growth_steps`.

    The documentation of the wrapper: "after every `dynamic_growth_steps` steps with finite gradients".
    Evidence: no report is known.
    """

    def grow(self) -> None:
        """Grow one call too late."""
        if self._growth_counter < self.dynamic_growth_steps:
            self._growth_counter += 1
        else:
            super().grow()


class GrowthCounterKeptAfterGrowth(LossScaleOptimizer):
    """The counter is not reset when the scale doubles, so that it doubles in every call from then on.

    Evidence: no report is known.
    """

    def grow(self) -> None:
        """Go on counting."""
        counter = self._growth_counter + 1
        super().grow()
        self._growth_counter = counter


class GrowthCounterKeptAfterOverflow(LossScaleOptimizer):
    """The counter is not reset by a call that is skipped.

    The definition counts finite calls without interruption. Evidence: no report is known.
    """

    def shrink(self) -> None:
        """Keep the counter."""
        counter = self._growth_counter
        super().shrink()
        self._growth_counter = counter


class GrowthCountsUpdates(LossScaleOptimizer):
    """Under accumulation only calls that update count towards the growth of the scale.

    The core code counts calls. Evidence: no report is known.
    """

    def grow(self) -> None:
        """Count after an update only."""
        steps = self.inner_optimizer.settings.gradient_accumulation_steps or 1
        if self.inner_optimizer.calls % steps == 0:
            super().grow()


class GrowthCountsSkipped(LossScaleOptimizer):
    """Skipped calls, too, count towards the growth of the scale.

    The definition counts finite calls without interruption. Evidence: no report is known.
    """

    def shrink(self) -> None:
        """Count the call."""
        counter = self._growth_counter
        super().shrink()
        self._growth_counter = counter + 1


class ScaleNeverGrows(LossScaleOptimizer):
    """The scale is halved and never doubles.

    Evidence: no report is known.
    """

    def grow(self) -> None:
        """Count only."""
        self._growth_counter += 1


class ScaleNeverShrinks(LossScaleOptimizer):
    """A call that is not finite is skipped, and the scale stays what it is.

    Evidence: no report is known.
    """

    def shrink(self) -> None:
        """Reset the counter only."""
        self._growth_counter = 0


class ScaleAtLeastOne(LossScaleOptimizer):
    """The scale is not halved below 1.

    The definition goes down to the smallest normal number. Evidence:
    https://github.com/keras-team/tf-keras/issues/644.
    """

    def shrink(self) -> None:
        """Stop at 1."""
        scale = self._scale
        super().shrink()
        self._scale = max(self._scale, min(scale, np.float32(1)))


class ScaleStartsAnew(LossScaleOptimizer):
    """A call that is not finite sets the scale back to half of `initial_scale`.

    The documentation of the wrapper: it is halved. Evidence: no report is known.
    """

    def shrink(self) -> None:
        """Halve the first scale."""
        super().shrink()
        self._scale = np.float32(self.initial_scale) * np.float32(0.5)


class ScaleHasMaximum(LossScaleOptimizer):
    """The scale does not double above 2**24.

    The definition goes on to the largest number. Evidence: a wish for such a maximum,
    https://github.com/google/flax/issues/2547.
    """

    def grow(self) -> None:
        """Stop at the maximum."""
        scale = self._scale
        super().grow()
        if scale < self._scale and self._scale > LARGEST:
            self._scale = scale


class HalvedBySecondOverflow(LossScaleOptimizer):
    """The scale is not halved by the first of several skipped calls in a row.

    The documentation of the wrapper: if a gradient is not finite, the scale is halved. Evidence: a default
    "hysteresis" of 2, https://github.com/deepspeedai/DeepSpeed/issues/5779.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._was_skipped = False

    def grow(self) -> None:
        """Begin anew after a finite call."""
        self._was_skipped = False
        super().grow()

    def shrink(self) -> None:
        """Halve from the second one on."""
        scale = self._scale
        super().shrink()
        if not self._was_skipped:
            self._scale = scale
        self._was_skipped = True


class FirstOverflowAloneHalves(LossScaleOptimizer):
    """Of several skipped calls in a row only the first one halves the scale.

    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._has_halved = False

    def grow(self) -> None:
        """Begin anew after a finite call."""
        self._has_halved = False
        super().grow()

    def shrink(self) -> None:
        """Halve once."""
        scale = self._scale
        super().shrink()
        if self._has_halved:
            self._scale = scale
        self._has_halved = True


DYNAMIC_SCALE = (
    mistake("scale-grown-before-unscaling", wrapper=ScaleGrownBeforeUnscaling),
    mistake("norm-with-next-scale", wrapper=NormWithNextScale),
    mistake("unscaled-with-previous-scale", wrapper=UnscaledWithPreviousScale),
    mistake("growth-one-late", wrapper=GrowthOneLate),
    mistake("growth-counter-kept-after-growth", wrapper=GrowthCounterKeptAfterGrowth),
    mistake("growth-counter-kept-after-overflow", wrapper=GrowthCounterKeptAfterOverflow),
    mistake("growth-counts-updates", wrapper=GrowthCountsUpdates),
    mistake("growth-counts-skipped-calls", wrapper=GrowthCountsSkipped),
    mistake("scale-never-grows", wrapper=ScaleNeverGrows),
    mistake("scale-never-shrinks", wrapper=ScaleNeverShrinks),
    mistake("scale-at-least-one", wrapper=ScaleAtLeastOne),
    mistake("scale-starts-anew", wrapper=ScaleStartsAnew),
    mistake("scale-has-a-maximum", wrapper=ScaleHasMaximum),
    mistake("halved-by-second-overflow", wrapper=HalvedBySecondOverflow),
    mistake("first-overflow-alone-halves", wrapper=FirstOverflowAloneHalves),
)
