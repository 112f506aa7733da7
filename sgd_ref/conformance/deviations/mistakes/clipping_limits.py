"""Mistakes of the limits of clipping: their order, their extent, and their place in the formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients


class LimitsExchanged(SGD):
    """The limits of `clipvalue` are exchanged, so that every element becomes ``-clipvalue``.

    The definition: at least ``-clipvalue`` and at most ``clipvalue``. Evidence:
    https://github.com/keras-team/keras/pull/729.
    """

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip from below by the upper limit, and then from above by the lower one."""

        def exchanged(g: Array) -> Any:
            limit = setting(clipvalue, g.dtype)
            return np.minimum(np.maximum(g, limit), -limit)

        return each(gradients, exchanged)


class ClipnormByColumns(SGD):
    """`clipnorm` clips each column of a matrix by the norm of that column.

    The documentation: "the gradient of each weight is individually clipped". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip along the first axis."""
        clip_by_norm = super().clip_by_norm

        def by_columns(gradient: Array) -> Any:
            if gradient.ndim < 2 or gradient.size == 0:
                return clip_by_norm([gradient], clipnorm)[0]
            columns = gradient.reshape(gradient.shape[0], -1).T
            clipped = np.array(clip_by_norm(list(columns), clipnorm), gradient.dtype)
            return clipped.T.reshape(gradient.shape)

        return each(gradients, by_columns)


class LimitAddedToNorm(SGD):
    """A gradient is multiplied by ``limit / (norm + limit)``, so that even small ones shrink.

    The definition leaves gradients below the limit as they are. Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Multiply each gradient by its factor."""

        def multiplied(g: Array) -> Any:
            norm = self.norm([g])
            limit = setting(clipnorm, norm.dtype)
            return g * (limit / (norm + limit))

        return each(gradients, multiplied)


CLIPPING_LIMITS = (
    mistake("clipvalue-limits-exchanged", LimitsExchanged),
    mistake("clipnorm-by-columns", ClipnormByColumns),
    mistake("limit-added-to-norm", LimitAddedToNorm),
)
