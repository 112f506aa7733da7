"""A global norm over mixed dtypes, rounded to the dtype of each gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.conformance.bounds.settings import Held
from sgd_ref.conformance.bounds.step import Prepared, clipped
from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.optimizer import SGD, Gradients


class NormInOwnDtype(SGD):
    """The common norm is rounded to the dtype of each gradient, which is clipped in that dtype.

    `clip_by_global_norm` of Optax does so: ``(t / g_norm.astype(t.dtype)) * max_norm``.
    """

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip each gradient by the rounded norm."""
        norm = self.norm([g for g in gradients if g is not None])
        return [
            None
            if g is None
            else np.asarray(
                self.globally_clipped(
                    g,
                    convert(np.asarray(norm), g.dtype)[()],
                    setting(clipnorm, g.dtype),
                    setting(1 / clipnorm, g.dtype),
                )
            )
            for g in gradients
        ]


class NormInOwnDtypes(Walk):
    """The same on enclosures."""

    has_bounds_of_its_own = True

    def clipped(
        self, gradients: Sequence[Prepared | None], settings: Sequence[Held]
    ) -> list[Prepared | None]:
        """Clip by the norm in the dtype of each gradient."""
        return clipped(gradients, self._indices, settings, self._held_in, is_norm_in_own_dtype=True)
