"""Mistakes of features that are off: a factor of 0 is still multiplied, and 0 times infinity is NaN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class ZeroMomentumMultiplied(SGD):
    """A `momentum` of 0 multiplies a velocity: ``velocity = 0 * velocity - learning_rate * g``.

    After an infinite step, the velocity is NaN, and a weight of -0.0 becomes 0.0. The documentation has
    another formula "when `momentum` is 0"; small libraries have one for all cases. Evidence: no report is
    known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._velocities_of_zero: list[Array] = []

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update by hidden velocities."""
        if self.settings.momentum != 0:
            return super().update(values, gradients, call)
        velocities = self._velocities_of_zero or [np.zeros_like(np.asarray(w)) for w in values.variables]
        variables = list(values.variables)
        for index, g in enumerate(gradients):
            if g is not None:
                zero = setting(0.0, g.dtype)
                velocities[index] = rule.accelerate(velocities[index], g, zero, call.rate(g.dtype))
                variables[index] = rule.move(variables[index], velocities[index])
        self._velocities_of_zero = velocities
        return replace(values, variables=variables)


class UnsetDecayMultiplied(SGD):
    """Without a `weight_decay` the weights decay by 0.0: ``w - w * 0.0 * learning_rate``.

    An infinite weight becomes NaN, and -0.0 becomes 0.0. The documentation: "If set, weight decay is
    applied"; small libraries have one formula for all cases. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self.settings.weight_decay is None:
            self.settings = replace(self.settings, weight_decay=0.0)


ZERO_FACTORS = (
    mistake("zero-momentum-multiplied", ZeroMomentumMultiplied),
    mistake("unset-decay-multiplied", UnsetDecayMultiplied),
)
