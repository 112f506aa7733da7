"""Mistakes of averages in the course of updates: how often they are formed, and what else they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Values


class AveragedTwice(SGD):
    """Each update averages twice, as a hook that is registered twice does.

    The documentation has one average for each update. Evidence: no report is known.
    """

    def averaged(self, average: Array, w: Array, ema_momentum: Any) -> Any:
        """Average, and average again."""
        return super().averaged(super().averaged(average, w, ema_momentum), w, ema_momentum)


class AveragesOnlyWhenDue(SGD):
    """Averages are formed only in updates in which they overwrite the variables.

    The documentation: `ema_overwrite_frequency` is about overwriting alone. Evidence: an interval of updates
    of averages, https://github.com/Nerogar/OneTrainer/issues/543.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average when overwriting is due."""
        frequency, before = self.settings.ema_overwrite_frequency, self.updates_before(call)
        is_due = frequency is None or (before + 1) % frequency == 0
        return super().average(values, call) if is_due or before == 0 else values


class AverageMomentumFedBack(SGD):
    """The momentum of an update is made from that of the update before, and falls from update to update.

    In update t it is ``1 - min(before, (1 + t) / (10 + t))``. The documentation has a constant momentum.
    Evidence: https://github.com/huggingface/diffusers/issues/1864.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._momentum = self.settings.ema_momentum

    def average(self, values: Values, call: Call) -> Values:
        """Average with a momentum that is kept."""
        t = self.updates_before(call)
        if not self.settings.use_ema or t == 0:
            return super().average(values, call)
        self._momentum = 1 - min(self._momentum, (1 + t) / (10 + t))
        averages = [
            rule.average(average, w, setting(self._momentum, w.dtype))
            for average, w in zip(values.averages, values.variables, strict=True)
        ]
        return replace(values, averages=averages)


class OnlyAveragesMove(SGD):
    """With averages the variables stay as they are, and only the averages see the updates.

    The documentation updates the variables. Evidence: https://github.com/tensorflow/addons/issues/741.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average, and undo the update."""
        averaged = super().average(values, call)
        if not self.settings.use_ema:
            return averaged
        return replace(averaged, variables=[np.array(w) for w in call.state.variables])


AVERAGES_IN_UPDATES = (
    mistake("averaged-twice", AveragedTwice),
    mistake("averages-only-when-overwriting", AveragesOnlyWhenDue),
    mistake("average-momentum-fed-back", AverageMomentumFedBack),
    mistake("only-averages-move", OnlyAveragesMove),
)
