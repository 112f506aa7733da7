"""Bounds for an accumulator whose variable has no gradient when the window ends."""

from __future__ import annotations

from sgd_ref.conformance.bounds.step import Prepared
from sgd_ref.conformance.bounds.walk import Slot, Walk


class KeptWithoutGradient(Walk):
    """The accumulator is kept and joins the next window."""

    def reset(self, call: int, position: int) -> Slot:
        """Leave the window of a variable without a gradient as it is."""
        if self._case.gradients[call][position] is None and self._window.has_some(position):
            return self._slots["accumulators"][position]
        return super().reset(call, position)


class UsedWithoutGradient(Walk):
    """The variable is updated by the mean, in which the missing gradient counts as zero."""

    def mean_of_window(self, position: int, gradient: Prepared | None) -> Prepared | None:
        """Return the mean wherever anything was accumulated."""
        if gradient is None and not self._window.has_some(position):
            return None
        return self._mean(position, gradient)
