"""Mistakes about launches for many variables whose last one is exactly full."""

from __future__ import annotations

from collections.abc import Sequence

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.reach import VariablesSkipped
from sgd_ref.optimizer import SGD, Gradients, Values

LAUNCH = 32
"""The number of variables of a launch."""


class LastFullLaunchLost(VariablesSkipped):
    """Where the variables fill whole launches of 32, those of the last one are not updated.

    The code takes the variables left over after whole launches for the last launch, even if there are none.
    Evidence: no report is known.
    """

    def reached(self, variables: list[Array], gradients: Gradients) -> Sequence[bool]:
        """Stop one launch too early."""
        count = len(variables)
        end = count - LAUNCH if count % LAUNCH == 0 else count
        return [position < end for position in range(count)]


class FullLaunchMadeTwice(SGD):
    """A launch is made when 32 variables are there, and again at the end if none came after them.

    The core code updates each variable once. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the last launch twice, if it is full."""
        once = super().update(values, gradients, call)
        count = len(gradients)
        if count % LAUNCH:
            return once
        again: Gradients = [g if position >= count - LAUNCH else None for position, g in enumerate(gradients)]
        return super().update(once, again, call)


FULL_LAUNCHES = (
    mistake("last-full-launch-lost", LastFullLaunchLost),
    mistake("full-launch-made-twice", FullLaunchMadeTwice),
)
