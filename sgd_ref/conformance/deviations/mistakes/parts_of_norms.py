"""Mistakes about norms of many elements or several dtypes: only a part of the elements enters."""

from __future__ import annotations

from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients

BLOCK = 2**16
"""The number of elements whose squares are added."""


class NormOfFirstBlock(SGD):
    """Of each gradient the first 65,536 elements count in a norm.

    The documentation clips by the norm of the whole gradient. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Leave out the later elements."""
        return super().norm([g.reshape(-1)[:BLOCK] for g in gradients])


class GlobalNormOfEachDtype(SGD):
    """Under a global norm the gradients of each dtype are clipped by their own common norm.

    The documentation: "the gradient of all weights is clipped so that their global norm is no higher than
    this value". Evidence: no report is known.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip dtype by dtype."""
        clipped: Gradients = list(gradients)
        for dtype in dict.fromkeys(g.dtype for g in gradients if g is not None):
            alone: Gradients = [g if g is not None and g.dtype == dtype else None for g in gradients]
            for position, g in enumerate(super().clip_by_global_norm(alone, clipnorm)):
                if g is not None:
                    clipped[position] = convert(g, dtype)
        return clipped


PARTS_OF_NORMS = (
    mistake("norm-of-first-block", NormOfFirstBlock),
    mistake("global-norm-of-each-dtype", GlobalNormOfEachDtype),
)
