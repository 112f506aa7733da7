"""Counts of calls that are not integers of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from sgd_ref.base.call import Call
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.conformance.deviations.observed.schedules import Replaced, WithReplacedSchedule
from sgd_ref.schedules import LearningRateSchedule


class CountWraps(WithReplacedSchedule):
    """The count of calls is a 32-bit integer: after 2**31 - 1 comes -2**31, and schedules begin anew.

    The definition counts with integers of any size. Evidence: `iterations` in
    `keras/src/optimizers/base_optimizer.py` has the dtype "int", which JAX and PyTorch take for int32.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Let a schedule begin anew."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, LearningRateSchedule):
            optimizer.rate_source = Replaced(lambda step: float(schedule(max(step, 0))))
        return optimizer

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Count in 32 bits."""
        super().perform(call, loss_scale)
        call.state.calls = int(np.array(call.state.calls).astype(np.int32))

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Accept any count, since counting itself can reach it."""
        rate = super().assign_weights([np.array(0, np.int64), *values[1:]])
        self.built_state().calls = int(np.asarray(values[0]))
        return rate
