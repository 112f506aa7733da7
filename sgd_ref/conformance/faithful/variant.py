"""A faithful variant: an evaluation of the documented formulas that the judge must never reject."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np

from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.trajectories import reference
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


@dataclass(frozen=True)
class Faithful:
    """One way to evaluate the documented formulas, equal to the reference in real arithmetic.

    Attributes
    ----------
    name : str
        The way of evaluation, in a few words.
    optimizer : subclass of SGD
        The reference with one stage, or a few, evaluated in another way.
    wrapper : subclass of LossScaleOptimizer
        The wrapper for dynamic loss scaling. Its operations are exact, so few variants have their own.
    hidden_wider_state : bool
        Whether the true state is wider than the reported arrays, which are the rounded state.
    flushes_subnormals : bool
        Whether subnormal numbers become zero, which is faithful only for implementations that declare it.
    double_rates : bool
        Whether the value of a callable learning rate is used, and reported, as a float64.
    unreported : frozenset of str
        Quantities that the records leave out, since the variant keeps another state in their place.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> "velocities" in Faithful("reference", SGD, unreported=frozenset({"velocities"})).run(case)[0]
    False
    """

    name: str
    optimizer: type[SGD]
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
    hidden_wider_state: bool = False
    flushes_subnormals: bool = False
    double_rates: bool = False
    unreported: frozenset[str] = frozenset()

    @property
    def description(self) -> str:
        """The docstring of the optimizer: the formula, its roundings, and who evaluates it in this way."""
        return inspect.getdoc(self.optimizer) or ""

    def run(self, case: Case) -> list[Record]:
        """Return the trajectory of this variant, without the quantities that it cannot report.

        Parameters
        ----------
        case : Case
            The case, which is not changed.

        Returns
        -------
        list of dict
            One record for each call and one more after finalisation if ``case.finalize``.
        """
        trajectory = [
            {quantity: value for quantity, value in record.items() if quantity not in self.unreported}
            for record in reference.run(case, self.optimizer, self.wrapper)
        ]
        if self.double_rates and case.learning_rate_calls is not None:
            for record, rate in zip(trajectory, case.learning_rate_calls, strict=False):
                record["learning_rate"] = np.float64(rate)
        return trajectory
