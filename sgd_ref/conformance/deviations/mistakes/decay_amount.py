"""Mistakes of the amount of weight decay: factors that the documentation does not have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Values


class TimesDecay(SGD):
    """The common base of mistakes that multiply `weight_decay` by ``factor``."""

    factor = 1.0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.settings.weight_decay is not None:
            product = self.factor * self.settings.weight_decay
            self.settings = replace(self.settings, weight_decay=product)


class DecayDoubled(TimesDecay):
    """The weights decay by ``2 * weight_decay``, which is the derivative of ``weight_decay * w ** 2``.

    The definition: ``w * weight_decay * learning_rate``. Evidence: a penalty without the factor 1/2,
    https://github.com/titu1994/DenseNet/issues/57.
    """

    factor = 2.0


class DecayHalved(TimesDecay):
    """The weights decay by half of `weight_decay`.

    The definition: ``w * weight_decay * learning_rate``. Evidence: no report is known.
    """

    factor = 0.5


class DecayTimesScale(SGD):
    """The decay is multiplied by the loss scale, as a part of a loss that is scaled and never unscaled.

    The definition: ``w * weight_decay * learning_rate``. Evidence:
    https://github.com/chainer/chainer/issues/7597.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Make the call with another decay."""
        settings = self.settings
        if loss_scale is None or settings.weight_decay is None:
            return super().advance(values, call, loss_scale)
        self.settings = replace(settings, weight_decay=settings.weight_decay * float(loss_scale))
        try:
            return super().advance(values, call, loss_scale)
        finally:
            self.settings = settings


DECAY_AMOUNT = (
    mistake("decay-doubled", DecayDoubled),
    mistake("decay-halved", DecayHalved),
    mistake("decay-times-loss-scale", DecayTimesScale),
)
