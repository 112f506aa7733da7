"""Code that the mistakes share: their entry in the registry, and the step of a variable."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients

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
    """Return the results of a formula for all gradients, with None for missing gradients.

    >>> each([None, 2.0], lambda gradient: gradient + 1)
    [None, 3.0]
    """
    return [None if gradient is None else formula(gradient) for gradient in gradients]


class WithSums(SGD):
    """The common base of classes whose velocities may be sums of gradients, without the rate.

    Attributes
    ----------
    outside : Call or None
        The call with the documented rate, where the velocities are sums; None where the rate is in them.
    """

    outside: Call | None = None


def documented(optimizer: SGD, call: Call) -> Call:
    """Return a call with the documented rate, also where the velocities are sums, made at a rate of -1."""
    outside: Call | None = getattr(optimizer, "outside", None)
    return call if outside is None else outside


class MovesByStep(SGD):
    """The common base of mistakes in which ``step`` returns the change of the variable."""

    def moved(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the step."""
        return rule.move(w, self.step(old, new, g, momentum, rate))

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the step."""
        return rule.move(w, self.step(old, new, g, momentum, rate))

    def step(self, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Return the change of the variable, given the velocities before and after this update."""
        return momentum * new - rate * g if self.settings.nesterov else new
