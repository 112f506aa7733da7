"""State that is kept in a wider dtype than the dtype in which it is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, HALF_FORMATS
from sgd_ref.base.call import Call
from sgd_ref.conformance.faithful.precision import Wider, rounded_like
from sgd_ref.optimizer import Values


class HiddenFloat64(Wider):
    """Weights, velocities, averages and accumulators are kept in float64, and reported after rounding.

    Everything is computed in float64 with the settings as given. A step starts from the kept values, not from
    the reported ones. An implementation does this if it converts the parameters when it takes them over and
    when it gives them back.
    """

    kept: tuple[str, ...] = ("variables", "velocities", "averages", "accumulators")
    _own: Values | None = None

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float64."""
        return FLOAT64

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Advance the kept values, and return them rounded."""
        wide = self.widened_values(values)
        if self._own is not None:
            wide = replace(wide, **{quantity: getattr(self._own, quantity) for quantity in self.kept})
        wide_call = call._replace(gradients=self.widened(call.gradients))
        self._own = super().advance(wide, wide_call, loss_scale)
        return rounded_like(self._own, values)


class HiddenFloat32(HiddenFloat64):
    """Weights and all state of half variables are kept in float32, and reported after rounding.

    This is mixed precision training with float32 "master weights". After each step, they are rounded to give
    the half variables. Source: Micikevicius et al., "Mixed Precision Training", 2018.
    """

    def wide_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float32 for half types."""
        return FLOAT32 if dtype in HALF_FORMATS else dtype


class HiddenMasterWeights(HiddenFloat32):
    """Only the weights of half variables are kept in float32; the other state is kept in the dtype reported.

    Each step is computed in float32 and rounded once where it is stored.
    """

    kept = ("variables",)


class HiddenVelocities(HiddenFloat32):
    """For half variables, only the velocities are kept in float32: the weights stay in the half type.

    Each step is computed in float32 and rounded once where it is stored.
    """

    kept = ("velocities",)


class HiddenAverages(HiddenFloat32):
    """For half variables, only the averages are kept in float32, since they move by small steps.

    Each step is computed in float32 and rounded once where it is stored.
    """

    kept = ("averages",)
