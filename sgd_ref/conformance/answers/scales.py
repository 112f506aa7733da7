"""A loss scale with an upper limit and no lower limit."""

from __future__ import annotations

from sgd_ref.conformance.deviations.observed.scaling import ScaleWithoutLimits
from sgd_ref.loss_scale import LossScaleOptimizer


class LimitedAbove(ScaleWithoutLimits):
    """The loss scale grows only to a finite number, and halves without a limit.

    `_amp_update_scale_` of PyTorch, which `torch.amp.GradScaler` calls, does so.
    """

    def grow(self) -> None:
        """Double the scale if the result is finite."""
        LossScaleOptimizer.grow(self)
