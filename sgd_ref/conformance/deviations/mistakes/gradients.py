"""Mistakes that change gradients before they are clipped, as a transformation that nobody asked for."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients


class SignsOfGradients(SGD):
    """Only the signs of gradients count, as in another algorithm.

    The documentation: ``w = w - learning_rate * g``. Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the signs."""
        return super().clip(each(gradients, np.sign))


class GradientsCentralized(SGD):
    """From a gradient of two or more axes the mean over all axes but the first is subtracted.

    The documentation: ``w = w - learning_rate * g``. Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip what is left."""
        return super().clip(each(gradients, _centralized))


class NonFiniteReplaced(SGD):
    """In gradients NaN becomes 0, and an infinity the largest number of its dtype.

    The definition keeps both. Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip finite gradients."""
        return super().clip(each(gradients, _finite))


def _centralized(g: Array) -> Array:
    if g.ndim < 2 or g.size == 0:
        return g
    axes = tuple(range(1, g.ndim))
    means = convert(np.asarray(g), FLOAT64).mean(axis=axes, keepdims=True)
    return g - convert(means, g.dtype)


def _finite(g: Array) -> Array:
    plain = np.asarray(g)
    if np.isfinite(plain).all():
        return g
    largest = np.full_like(plain, float(FORMATS[plain.dtype].largest))
    signed = np.where(np.signbit(plain), -largest, largest)
    return np.where(np.isnan(plain), np.zeros_like(plain), np.where(np.isinf(plain), signed, plain))


GRADIENTS = (
    mistake("signs-of-gradients", SignsOfGradients),
    mistake("gradients-centralized", GradientsCentralized),
    mistake("non-finite-gradients-replaced", NonFiniteReplaced),
)
