"""A loss scale without a lower limit, or one that only an exact count of finite calls doubles."""

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


class GrowsAtTheNumberAlone(LossScaleOptimizer):
    """The scale doubles only where the growth counter equals `dynamic_growth_steps`, not beyond.

    `_stateful_handle_finite_grads` of Keras' wrapper and `_amp_update_scale_` of PyTorch do so.
    """

    def grow(self) -> None:
        """Only count if the counter is already beyond `dynamic_growth_steps`."""
        if self._growth_counter >= self.settings.dynamic_growth_steps:
            self._growth_counter += 1
        else:
            super().grow()
