"""Mistakes of clipping: what is compared with the limit, and what happens to values beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients


class ClippingIgnored(SGD):
    """Gradients are not clipped, whatever is set.

    Evidence: an iterator that had been used up before,
    https://github.com/pytorch/pytorch/issues/148259.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip nothing."""
        return gradients


class ClippingWithMomentumOnly(SGD):
    """Without momentum gradients are not clipped.

    Evidence: https://github.com/apache/mxnet/pull/393.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip with momentum only."""
        return gradients if self.settings.momentum == 0 else super().clip(gradients)


class BfloatNotClipped(SGD):
    """Gradients of bfloat16 variables are not clipped.

    Evidence: clipping that was lost for one dtype, https://github.com/deepspeedai/DeepSpeed/pull/3790.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the others."""
        return [
            gradient if gradient is not None and gradient.dtype.name == "bfloat16" else clipped
            for gradient, clipped in zip(gradients, super().clip(gradients), strict=True)
        ]


class ScalarsNotClipped(SGD):
    """Gradients without axes are not clipped.

    The documentation: "the gradient of each weight". Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the others."""
        return [
            gradient if gradient is not None and gradient.ndim == 0 else clipped
            for gradient, clipped in zip(gradients, super().clip(gradients), strict=True)
        ]


class ScalesUpToClipnorm(SGD):
    """Gradients are scaled to the norm that is set also where theirs is lower.

    The documentation: "so that its norm is no higher than this value". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Divide by the norm even if it is below the limit."""
        return each(gradients, lambda g: g * setting(clipnorm, g.dtype) / self.norm([g]))

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply by the quotient even if the norm is below the limit."""
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])
        factor = setting(clipnorm, wide) / self.norm(present)
        return each(gradients, lambda g: convert(np.asarray(convert(g, wide) * factor), g.dtype))


class ClipsToOne(SGD):
    """A gradient whose norm is above the limit is divided by its norm, and has the norm 1 then.

    The documentation: "its norm is no higher than this value". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Leave the factor clipnorm out."""
        return each(gradients, lambda g: g / self.norm([g]) if self.norm([g]) > clipnorm else g)


class LimitSquared(SGD):
    """Norms are clipped to the square of the limit.

    The documentation: "no higher than this value". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip by the square."""
        return super().clip_by_norm(gradients, clipnorm * clipnorm)

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip by the square."""
        return super().clip_by_global_norm(gradients, clipnorm * clipnorm)


class ClipnormByRows(SGD):
    """`clipnorm` clips each row of a matrix by the norm of that row.

    The documentation: "the gradient of each weight is individually clipped". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip row by row."""
        clip_by_norm = super().clip_by_norm

        def by_rows(gradient: Array) -> Any:
            if gradient.ndim < 2 or gradient.size == 0:
                return clip_by_norm([gradient], clipnorm)[0]
            return np.array(clip_by_norm(list(gradient), clipnorm), gradient.dtype)

        return each(gradients, by_rows)


class ClipnormIsGlobal(SGD):
    """`clipnorm` clips all gradients by their common norm.

    This is the purpose of `global_clipnorm`. Evidence: the same argument in two versions of one framework,
    https://github.com/keras-team/keras/issues/13575.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip by the common norm."""
        return self.clip_by_global_norm(gradients, clipnorm)


class GlobalClipnormByVariable(SGD):
    """`global_clipnorm` clips each gradient by its own norm.

    The documentation: "the gradient of all weights is clipped so that their global norm is no higher than
    this value". Evidence: https://github.com/tensorflow/tensorflow/issues/29108.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip by the norm of each."""
        return self.clip_by_norm(gradients, clipnorm)


class ClipvalueIsNorm(SGD):
    """`clipvalue` limits the common norm of the gradients.

    The documentation: "the gradient of each weight is clipped to be no higher than this value". Evidence:
    a setting of one name with two meanings, https://github.com/huangzehao/caffe-vdsr/issues/27.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip by the common norm."""
        return self.clip_by_global_norm(gradients, clipvalue)


class ClipvalueFromAbove(SGD):
    """`clipvalue` limits positive elements only.

    The definition limits the absolute value. Evidence: no report is known.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip elements above the limit, and not those below its negative."""
        return each(
            gradients, lambda g: np.where(g > setting(clipvalue, g.dtype), setting(clipvalue, g.dtype), g)
        )


class ClipvalueToZero(SGD):
    """Elements beyond `clipvalue` become 0.

    The definition gives them the limit. Evidence: no report is known.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Replace elements beyond the limit by zeros."""
        return each(
            gradients, lambda g: np.where(np.abs(g) > setting(clipvalue, g.dtype), np.zeros_like(g), g)
        )


class ClipvalueDropsSign(SGD):
    """Elements beyond `clipvalue`, of either sign, become ``+clipvalue``.

    The definition keeps the sign. Evidence: no report is known.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Replace elements beyond the limit by the limit."""
        return each(
            gradients,
            lambda g: np.where(np.abs(g) > setting(clipvalue, g.dtype), setting(clipvalue, g.dtype), g),
        )


class ClipsVelocity(SGD):
    """With momentum the velocity of each variable is clipped, and the gradient is not.

    The documentation: "the gradient of each weight is clipped". Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip gradients without momentum only."""
        return super().clip(gradients) if self.settings.momentum == 0 else gradients

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Clip the velocity that results from the update."""
        accelerated = np.asarray(super().accelerated(velocity, g, momentum, rate))
        return super().clip([accelerated])[0]


class NonFiniteNormIsMinusOne(SGD):
    """A norm that is not finite counts as -1.

    So a global norm changes the signs of all gradients, and the norm of a single gradient leaves it
    unchanged. Evidence: https://github.com/deepspeedai/DeepSpeed/pull/8614.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return -1 instead of NaN and infinity."""
        norm = super().norm(gradients)
        return norm if np.isfinite(norm) else setting(-1.0, norm.dtype)


class InfiniteNormHidesGradients(SGD):
    """An infinite global norm makes finite gradients 0, and only the infinite elements NaN.

    The core code makes all elements NaN, so that nobody overlooks the infinity. Evidence:
    https://github.com/pytorch/pytorch/issues/46849.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply by 0, the reciprocal of infinity."""
        if np.isinf(self.norm([gradient for gradient in gradients if gradient is not None])):
            return each(gradients, lambda g: g * setting(0.0, g.dtype))
        return super().clip_by_global_norm(gradients, clipnorm)


class ClipnormOfLargeElements(SGD):
    """Gradients are clipped only if one element of them is above the limit.

    A gradient of many small elements is not clipped, whatever its norm. The documentation limits the norm.
    Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip gradients that have such an element."""
        return [
            clipped if gradient is not None and (np.abs(gradient) > clipnorm).any() else gradient
            for gradient, clipped in zip(gradients, super().clip_by_norm(gradients, clipnorm), strict=True)
        ]


class FirstAloneClipped(SGD):
    """Only the first gradient of a call is clipped by its norm.

    The documentation: "the gradient of each weight". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip the first gradient that is there."""
        first = next((index for index, gradient in enumerate(gradients) if gradient is not None), 0)
        clipped = super().clip_by_norm(gradients, clipnorm)
        return [clipped[index] if index == first else g for index, g in enumerate(gradients)]


class NaNClippedToLimit(SGD):
    """`clipvalue` takes NaN to the limit, as a minimum and maximum that ignore NaN do.

    In the core code, NaN stays NaN. Evidence: https://github.com/tensorflow/tensorflow/issues/43433.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip, and replace NaN."""
        clipped = super().clip_by_value(gradients, clipvalue)
        return each(clipped, lambda g: np.where(np.isnan(g), setting(clipvalue, g.dtype), g))


class ZeroNormMakesNaN(SGD):
    """A gradient of zeros is divided by its norm and becomes NaN.

    The definition leaves zeros as they are. Evidence:
    https://github.com/PaddlePaddle/Paddle/issues/26282.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip, and divide zeros by zero."""
        return each(super().clip_by_norm(gradients, clipnorm), lambda g: g if g.any() else g / np.abs(g))

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip, and divide by zero if all gradients are zeros."""
        clipped = super().clip_by_global_norm(gradients, clipnorm)
        if any(g is not None and g.any() for g in gradients):
            return clipped
        return each(clipped, lambda g: g / np.abs(g))


CLIPPING = (
    mistake("clipping-ignored", ClippingIgnored),
    mistake("clipping-with-momentum-only", ClippingWithMomentumOnly),
    mistake("bfloat16-not-clipped", BfloatNotClipped),
    mistake("scalars-not-clipped", ScalarsNotClipped),
    mistake("nan-clipped-to-the-limit", NaNClippedToLimit),
    mistake("zero-norm-makes-nan", ZeroNormMakesNaN),
    mistake("scales-up-to-clipnorm", ScalesUpToClipnorm),
    mistake("clips-to-one", ClipsToOne),
    mistake("limit-squared", LimitSquared),
    mistake("clipnorm-by-rows", ClipnormByRows),
    mistake("clipnorm-is-global", ClipnormIsGlobal),
    mistake("global-clipnorm-by-variable", GlobalClipnormByVariable),
    mistake("clipvalue-is-norm", ClipvalueIsNorm),
    mistake("clipvalue-from-above-only", ClipvalueFromAbove),
    mistake("clipvalue-to-zero", ClipvalueToZero),
    mistake("clipvalue-drops-sign", ClipvalueDropsSign),
    mistake("clips-the-velocity", ClipsVelocity),
    mistake("non-finite-norm-is-minus-one", NonFiniteNormIsMinusOne),
    mistake("infinite-norm-hides-gradients", InfiniteNormHidesGradients),
    mistake("clipnorm-of-large-elements-only", ClipnormOfLargeElements),
    mistake("first-gradient-alone-clipped", FirstAloneClipped),
)
