"""Judging the steps of a training loop one by one, while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.bounds.running_error.judging import compared, go_on_from, with_given_rates
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.trajectories import reference


class Follower:
    """The rule, which makes each step from the state that was seen before it.

    Parameters
    ----------
    case : Case
        The settings, names and first values, without a gradient. Its rates are given call by call.
    basis : Basis
        The rule.

    Attributes
    ----------
    optimizer : SGD
        What makes the steps.

    Examples
    --------
    >>> import numpy as np
    >>> from sgd_ref import SGD
    >>> w, g = np.array([1.0], "f4"), np.array([0.5], "f4")
    >>> config = SGD(0.5).get_config()
    >>> follower = Follower(Case("a", config, ("w",), (w,), ()), Basis())
    >>> seen = {"variables": [np.array([0.5], "f4")]}
    >>> violation, _ = follower.follow({"variables": [w]}, [g], 0.5, seen)
    >>> print(violation)
    call 0, variables of w[0]: 0.5 is outside of [0.749999255, 0.750000745]
    """

    def __init__(self, case: Case, basis: Basis) -> None:
        self._case = case
        self.optimizer, self._variables = reference.started(case, *with_given_rates(frozenset(), basis))
        self._calls = 0

    def follow(
        self, before: Record, gradients: Sequence[Array | None], rate: float, after: Record
    ) -> tuple[Violation | None, bool]:
        """Make one step, and compare it with what was seen.

        Parameters
        ----------
        before : dict
            What was seen before it: "variables", and whatever is seen of the state. The rest is carried on.
        gradients : sequence of ndarray or None
            One for each variable.
        rate : float
            The learning rate.
        after : dict
            What was seen after it.

        Returns
        -------
        Violation or None
            The first value that no evaluation of the rule gives.
        bool
            Whether all bits are those of the rule.
        """
        go_on_from(self.optimizer, self._variables, before)
        wanted = reference.called(self.optimizer, self._variables, gradients, rate)
        wanted.pop("learning_rate")
        call, self._calls = self._calls, self._calls + 1
        differing = 0
        for violation, unequal in compared(self._case, call, self.optimizer, wanted, after):
            if violation is not None:
                return violation, False
            differing += unequal
        return None, differing == 0
