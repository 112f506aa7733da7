"""Mistakes of resuming: a part of the restored state is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


class VelocitiesLost(SGD):
    """Velocities are 0 after a restore.

    Evidence: https://github.com/apache/mxnet/issues/4638.
    """

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state, then reset the velocities."""
        rate = super().assign_weights(values)
        for velocity in self.velocities:
            velocity[...] = 0
        return rate


class AveragesLost(SGD):
    """Averages are 0 after a restore, and go on from there.

    Evidence: no report is known.
    """

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state, then reset the averages."""
        rate = super().assign_weights(values)
        for average in self.averages:
            average[...] = 0
        return rate


class AccumulatorsLost(SGD):
    """A restore resets the accumulators of an unfinished window, but not its count of calls.

    Evidence: found in a review, https://github.com/mflux-community/mflux/pull/447.
    """

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state, then reset the accumulators."""
        rate = super().assign_weights(values)
        for accumulator in self.accumulators:
            accumulator[...] = 0
        return rate


class CallsLost(SGD):
    """The count of calls begins at 0 after a restore, and schedules with it.

    Evidence: https://github.com/keras-team/keras/issues/13027.
    """

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state, then reset the count."""
        return super().assign_weights([np.array(0, np.int64), *values[1:]])


class ScaleLost(LossScaleOptimizer):
    """The loss scale is `initial_scale` after a restore.

    Evidence: https://github.com/allenai/tango/issues/154.
    """

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then reset the scale."""
        super().set_weights(values)
        self._scale = np.float32(self.initial_scale)


class GrowthCounterLost(LossScaleOptimizer):
    """The growth counter is 0 after a restore.

    Evidence: https://github.com/facebookresearch/metaseq/issues/3.
    """

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then reset the counter."""
        super().set_weights(values)
        self._growth_counter = 0


RESTORING = (
    mistake("velocities-lost-on-restore", VelocitiesLost),
    mistake("averages-lost-on-restore", AveragesLost),
    mistake("accumulators-lost-on-restore", AccumulatorsLost),
    mistake("calls-lost-on-restore", CallsLost),
    mistake("scale-lost-on-restore", wrapper=ScaleLost),
    mistake("growth-counter-lost-on-restore", wrapper=GrowthCounterLost),
)
