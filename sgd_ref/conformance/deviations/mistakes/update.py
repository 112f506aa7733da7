"""Mistakes of the update that do not concern momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class Ascends(SGD):
    """The gradient is followed instead of descended: ``w + learning_rate * g``.

    The documentation: ``w = w - learning_rate * g``. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the negative gradient."""
        return super().update(values, each(gradients, np.negative), call)


class UpdatedTwice(SGD):
    """Every variable is updated twice in a call, as one that is listed twice.

    The documentation has one update for each gradient. Evidence: a parameter that was given twice,
    https://github.com/pytorch/pytorch/issues/40967.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, and update again."""
        return super().update(super().update(values, gradients, call), gradients, call)


class PreviousGradient(SGD):
    """The gradients of the update before are applied; in the first update, zeros.

    The documentation: "parameter w with gradient g", that of this call. Evidence: the gradient of the step
    before in a formula, https://github.com/pytorch/pytorch/pull/76639.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._gradients_of_last_update: Gradients = []

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the gradients kept from before."""
        previous = self._gradients_of_last_update or each(gradients, np.zeros_like)
        self._gradients_of_last_update = gradients
        return super().update(values, previous, call)


class RateLeftOut(SGD):
    """Without momentum the learning rate is left out: ``w - g``.

    The documentation: ``w = w - learning_rate * g``. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update without momentum at a rate of 1."""
        if self.settings.momentum == 0:
            call = call._replace(learning_rate=np.float32(1))
        return super().update(values, gradients, call)


UPDATE = (
    mistake("ascends", Ascends),
    mistake("updated-twice", UpdatedTwice),
    mistake("previous-gradient", PreviousGradient),
    mistake("rate-left-out-without-momentum", RateLeftOut),
)
