"""What the mistakes share: how one is entered, and the update with a method for each of its formulas."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values

ADDRESS = re.compile(r"https://[^\s.]+(?:\.[^\s.]+)*")


def mistake(
    name: str,
    optimizer: type[SGD] = SGD,
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> Deviation:
    """Return a contradiction whose address is the one in its docstring, if there is one.

    >>> class Idle(SGD):
    ...     '''It does nothing. Evidence: https://example.org/issues/1.'''
    >>> mistake("idle", Idle).address
    'https://example.org/issues/1'
    """
    entered = Deviation(name, "contradiction", optimizer, wrapper)
    found = ADDRESS.search(entered.description)
    return replace(entered, address=found.group() if found else "")


def each(gradients: Gradients, formula: Callable[[Array], Any]) -> Gradients:
    """Return the results of a formula for all gradients that are there.

    >>> each([None, 2.0], lambda gradient: gradient + 1)
    [None, 3.0]
    """
    return [None if gradient is None else formula(gradient) for gradient in gradients]


class UpdateByVariable(SGD):
    """The update of the definition, with one method for each of its formulas.

    Arguments of the formulas are those of ``rule.py``, in the dtype of the variable.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update each variable that has a gradient, and its velocity."""
        variables, velocities = list(values.variables), list(values.velocities)
        for index, gradient in enumerate(gradients):
            if gradient is None:
                continue
            w = variables[index]
            rate = setting(float(call.learning_rate), gradient.dtype)
            if self.settings.momentum == 0:
                variables[index] = self.descend(w, gradient, rate)
                continue
            momentum = setting(self.settings.momentum, gradient.dtype)
            old = velocities[index]
            velocities[index] = self.accelerate(old, gradient, momentum, rate)
            step = self.step(old, velocities[index], gradient, momentum, rate)
            variables[index] = rule.move(w, step)
        return replace(values, variables=variables, velocities=velocities)

    def descend(self, w: Array, g: Array, rate: Any) -> Any:
        """Return the variable without momentum."""
        return rule.descend(w, g, rate)

    def accelerate(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Return the velocity of this update."""
        return rule.accelerate(velocity, g, momentum, rate)

    def step(self, old: Array, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Return what is added to the variable, given the velocities before and of this update."""
        return momentum * velocity - rate * g if self.settings.nesterov else velocity
