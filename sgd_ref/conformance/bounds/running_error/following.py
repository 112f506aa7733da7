"""Judging the steps of a training loop one by one, while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.conformance.bounds.running_error.judging import (
    compared,
    go_on_from,
    norm_overflowed,
    with_given_rates,
)
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
    optimizers : tuple of SGD
        The optimizers that make the steps: the rule and, if a norm that clips may be kept wider, the
        rule with such a norm.

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
        self._calls = 0
        clips = any(case.config.get(name) is not None for name in ("clipnorm", "global_clipnorm"))
        may_keep_norm = clips and any(variable.dtype != FLOAT64 for variable in case.variables)
        # Both make each step, since state that is not seen is carried on.
        self._started = [
            reference.started(case, *with_given_rates(frozenset(), basis, keeps_norm))
            for keeps_norm in (False, True)[: 1 + may_keep_norm]
        ]
        self.optimizers = tuple(optimizer for optimizer, _ in self._started)

    def follow(
        self, before: Record, gradients: Sequence[Array | None], rate: float, after: Record
    ) -> tuple[Violation | None, bool]:
        """Make one step, and compare its result with the values that were seen.

        Parameters
        ----------
        before : dict
            The values before the step: "variables", and the visible state. Other state is carried on.
        gradients : sequence of ndarray or None
            One for each variable.
        rate : float
            The learning rate.
        after : dict
            The values that were seen after the step.

        Returns
        -------
        Violation or None
            The first value that no evaluation of the rule gives.
        bool
            Whether all bits are those of the rule.
        """
        (violation, is_exact), *kept = [
            self._step(*started, before, gradients, rate, after) for started in self._started
        ]
        self._calls += 1
        if norm_overflowed(self.optimizers[0]) and any(other is None for other, _ in kept):
            violation = None
        return violation, is_exact

    def _step(
        self,
        optimizer: Any,
        variables: list[Any],
        before: Record,
        gradients: Sequence[Array | None],
        rate: float,
        after: Record,
    ) -> tuple[Violation | None, bool]:
        go_on_from(optimizer, variables, before)
        wanted = reference.called(optimizer, variables, gradients, rate)
        wanted.pop("learning_rate")
        differing = 0
        for violation, unequal in compared(self._case, self._calls, optimizer, wanted, after):
            if violation is not None:
                return violation, False
            differing += unequal
        return None, differing == 0
