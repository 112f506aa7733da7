"""Settings and learning rates that are rounded more, or less, than the definition does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.base.settings import Settings
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import LearningRateSchedule


class MomentumThroughFloat32(SGD):
    """`momentum` and `weight_decay` pass through float32 on their way to float64 variables.

    0.9 becomes 0.89999998. The core code casts the setting, a Python number, to the dtype of the
    variable (`update_step` in `keras/src/optimizers/sgd.py`). Evidence: `ops.cast` on TensorFlow makes a
    float32 tensor of it before it casts.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _through_float32(self.settings, "momentum", "weight_decay")


class AveragingThroughFloat32(SGD):
    """`ema_momentum` passes through float32 on its way to float64 variables.

    Evidence: on PyTorch the product of `not_first_step` and `ema_momentum` in
    `_update_model_variables_moving_average` of `keras/src/optimizers/base_optimizer.py` is float32.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _through_float32(self.settings, "ema_momentum")


class RateNotRounded(SGD):
    """What a callable learning rate returns is used as the float64 that it is.

    The definition rounds every learning rate to float32, as Keras does with a constant one and with that
    of a schedule. Evidence: `_get_current_learning_rate` in `keras/src/optimizers/base_optimizer.py`
    returns the Python number, which PyTorch, and JAX with float64 enabled, do not round before use.
    """

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Use what the callable returns."""
        call = super().validated(gradients, variables)
        if not callable(self.rate_source) or isinstance(self.rate_source, LearningRateSchedule):
            return call
        return call._replace(learning_rate=np.float64(self.rate_source()))  # type: ignore[arg-type]


def _through_float32(settings: Settings, *names: str) -> Settings:
    values = {name: getattr(settings, name) for name in names}
    rounded: dict[str, Any] = {
        name: float(np.float32(value)) for name, value in values.items() if value is not None
    }
    return replace(settings, **rounded)
