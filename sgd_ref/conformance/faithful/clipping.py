"""Clipping by a norm: its three factors multiplied, divided and compared in other orders."""

from __future__ import annotations

import numpy as np

from sgd_ref.optimizer import SGD
from sgd_ref.rule import Number, Numbers


class ClipByQuotient(SGD):
    """``g * (clipnorm / max(norm, clipnorm))``: one factor, divided first.

    This equals ``g * min(1, clipnorm / norm)`` in every bit. ``torch.nn.utils.clip_grad_norm_`` clamps such a
    factor.
    """

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Divide the two numbers."""
        return g * (clipnorm / np.maximum(norm, clipnorm))


class ClipNormalised(SGD):
    """``(g / max(norm, clipnorm)) * clipnorm``: divided first, then multiplied."""

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Divide the gradient."""
        return g / np.maximum(norm, clipnorm) * clipnorm


class ClipByReciprocal(SGD):
    """``(g * clipnorm) * (1 / max(norm, clipnorm))``, in every dtype: no division of an array."""

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Multiply by the reciprocal of the norm last."""
        return g * clipnorm * (1 / np.maximum(norm, clipnorm))


class ClipByReciprocalFirst(SGD):
    """``(g * (1 / max(norm, clipnorm))) * clipnorm``: normalised by multiplication."""

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Multiply by the reciprocal of the norm first."""
        return g * (1 / np.maximum(norm, clipnorm)) * clipnorm


class ClipByProductOfNumbers(SGD):
    """``g * (clipnorm * (1 / max(norm, clipnorm)))``, in every dtype: one factor, without a division."""

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Multiply the two numbers."""
        return g * (clipnorm * (1 / np.maximum(norm, clipnorm)))


class ClipAboveOnly(SGD):
    """``(g * clipnorm) / norm`` where the norm is above clipnorm; elsewhere g itself, not computed.

    The definition multiplies and divides by clipnorm there, which need not give g again. The documentation:
    "clipped so that its norm is no higher than this value".
    """

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Leave gradients that need no clipping as they are."""
        return g if norm <= clipnorm else g * clipnorm / norm


class ClipByExcess(SGD):
    """``g / max(1, norm / clipnorm)``: divided by the factor by which the norm is too large."""

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Divide by the larger quotient."""
        return g / np.maximum(clipnorm.dtype.type(1), norm / clipnorm)


class GlobalClipByQuotient(SGD):
    """``g * (clipnorm / max(norm, clipnorm))`` under a global norm; NaN unless that is finite.

    The definition takes the minimum of two reciprocals, one of which is rounded from double. This variant
    equals ``g * min(1, clipnorm / norm)`` in every bit.
    """

    def globally_clipped(
        self, g: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """Divide the two numbers."""
        return g * (clipnorm / np.maximum(norm, clipnorm) + (norm - norm))


class GlobalClipDivided(SGD):
    """``(g * clipnorm) / max(norm, clipnorm)`` under a global norm; NaN unless that is finite.

    The documentation of ``tf.clip_by_global_norm`` has
    ``t_list[i] * clip_norm / max(global_norm, clip_norm)``.
    """

    def globally_clipped(
        self, g: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """Multiply first, then divide."""
        return g * clipnorm / (np.maximum(norm, clipnorm) + (norm - norm))


class GlobalClipNormalised(SGD):
    """``(g / norm) * clipnorm`` where the global norm is above clipnorm, elsewhere g itself.

    The result is NaN where the norm is not finite. ``optax.clip_by_global_norm`` makes the same choice.
    """

    def globally_clipped(
        self, g: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """Divide first, and only the gradients that need clipping."""
        return g if norm <= clipnorm else g / (norm + (norm - norm)) * clipnorm


class GlobalClipByReciprocal(SGD):
    """``(g * clipnorm) * min(1 / norm, 1 / clipnorm)`` with a global norm; NaN where the norm is not finite.

    These are the factors of the definition, multiplied from left to right.
    """

    def globally_clipped(
        self, g: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """Multiply by one number, then by the other."""
        return g * clipnorm * (np.minimum(1 / norm, reciprocal_of_clipnorm) + (norm - norm))
