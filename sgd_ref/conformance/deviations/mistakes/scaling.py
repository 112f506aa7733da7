"""Mistakes of undoing the scaling of the loss, with a fixed factor or a dynamic one."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import apart, has_dtype
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values

USUAL_SCALE = 128.0


class LossScaleKept(SGD):
    """Gradients are not divided by the loss scale.

    The documentation: "the inverse of the scale factor will be multiplied by the gradients". Evidence: no
    report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled."""
        return gradients


class BfloatUnscaledUnasked(SGD):
    """Gradients of bfloat16 are divided by a scale where there is none.

    The documentation divides by `loss_scale_factor` if it is set. Evidence: bfloat16 gradients that nothing
    had scaled, https://github.com/deepspeedai/DeepSpeed/pull/7839.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide the bfloat16 gradients by a usual scale."""
        if loss_scale is not None:
            return super().unscale(gradients, loss_scale)
        narrow, others = apart(gradients, has_dtype(BFLOAT16))
        unscaled = super().unscale(narrow, USUAL_SCALE)
        return [g if other is None else other for g, other in zip(unscaled, others, strict=True)]


class UnscaledUnasked(SGD):
    """Gradients are divided by a scale where there is none.

    The documentation divides by `loss_scale_factor` if it is set. Evidence: gradients that nothing had
    scaled, https://github.com/deepspeedai/DeepSpeed/pull/7839.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide by a usual scale."""
        return super().unscale(gradients, USUAL_SCALE if loss_scale is None else loss_scale)


class UnscaledTwice(SGD):
    """Gradients are divided by the loss scale twice.

    The documentation: "the inverse of the scale factor will be multiplied by the gradients". Evidence: no
    report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide, and divide again."""
        return super().unscale(super().unscale(gradients, loss_scale), loss_scale)


class ScaledAgain(SGD):
    """Gradients are multiplied by the loss scale.

    The documentation: "the inverse of the scale factor will be multiplied by the gradients". Evidence: no
    report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide by the inverse."""
        return super().unscale(gradients, None if loss_scale is None else 1 / float(loss_scale))


class UnscaledAfterAccumulation(SGD):
    """Scaled gradients are accumulated, and their mean is divided by the loss scale of the last call.

    Under dynamic loss scaling the scale may have changed since the first one. The core code unscales the
    gradients of each call. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._loss_scale: float | np.float32 | None = None

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled before they are accumulated."""
        self._loss_scale = loss_scale
        if self.settings.gradient_accumulation_steps is not None:
            return gradients
        return super().unscale(gradients, loss_scale)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Unscale the mean."""
        means, reset = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is None:
            return means, reset
        return super().unscale(means, self._loss_scale), reset


class LastOfWindowUnscaled(SGD):
    """Under accumulation only the last gradient of a window is divided by the loss scale.

    The core code unscales the gradients of each call. Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the gradients scaled in calls that only accumulate."""
        steps = self.settings.gradient_accumulation_steps
        if steps is not None and (self.calls + 1) % steps:
            return gradients
        return super().unscale(gradients, loss_scale)


class FirstGradientUnscaled(SGD):
    """Only the first gradient of a call is divided by the loss scale.

    Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Leave the others scaled."""
        return [*super().unscale(gradients[:1], loss_scale), *gradients[1:]]


class ScaledGradientsInHalf(SGD):
    """Scaled gradients are rounded to float16 before they are divided by the loss scale.

    Above 65504 they are infinite. The definition divides in the dtype of the variable, or in float32.
    Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Round, then unscale."""
        if loss_scale is not None:
            gradients = each(gradients, lambda g: convert(convert(g, FLOAT16), g.dtype))
        return super().unscale(gradients, loss_scale)


class ScaleBelowOneIgnored(SGD):
    """Gradients are divided by the loss scale only where it is above 1.

    The documentation has one formula for all scales. Evidence: a scale that was to be at least 1,
    https://github.com/pytorch/pytorch/issues/99640.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale by larger scales only."""
        return super().unscale(gradients, loss_scale if loss_scale is None or loss_scale > 1 else None)


class ScalarsNotUnscaled(SGD):
    """Gradients without axes are not divided by the loss scale.

    Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale the others."""
        return [
            g if g is not None and g.ndim == 0 else unscaled
            for g, unscaled in zip(gradients, super().unscale(gradients, loss_scale), strict=True)
        ]


class RateUnscaled(SGD):
    """The learning rate is divided by the loss scale, and the gradients are not.

    With weight decay or clipping, the result differs. The documentation: "the inverse of the scale factor
    will be multiplied by the gradients". Evidence: no report is known.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Advance with another rate, and no loss scale."""
        if loss_scale is not None:
            call = call._replace(learning_rate=call.learning_rate / np.float32(loss_scale))
        return super().advance(values, call, None)


SCALING = (
    mistake("loss-scale-kept", LossScaleKept),
    mistake("bfloat16-unscaled-unasked", BfloatUnscaledUnasked),
    mistake("unscaled-unasked", UnscaledUnasked),
    mistake("unscaled-twice", UnscaledTwice),
    mistake("scaled-again", ScaledAgain),
    mistake("unscaled-after-accumulation", UnscaledAfterAccumulation),
    mistake("last-of-window-unscaled", LastOfWindowUnscaled),
    mistake("first-gradient-alone-unscaled", FirstGradientUnscaled),
    mistake("scaled-gradients-in-float16", ScaledGradientsInHalf),
    mistake("scale-below-one-ignored", ScaleBelowOneIgnored),
    mistake("scalars-not-unscaled", ScalarsNotUnscaled),
    mistake("rate-unscaled-instead-of-gradients", RateUnscaled),
)
