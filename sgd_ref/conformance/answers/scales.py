"""A loss scale that is kept from infinity, and not from zero."""

from __future__ import annotations

from sgd_ref.conformance.deviations.observed.scaling import ScaleWithoutLimits
from sgd_ref.loss_scale import LossScaleOptimizer


class LimitedAbove(ScaleWithoutLimits):
    """The loss scale grows only to a finite number, and halves without a limit.

    So does `_amp_update_scale_` of PyTorch, which `torch.amp.GradScaler` calls.
    """

    def grow(self) -> None:
        """Double where the result is finite."""
        LossScaleOptimizer.grow(self)
