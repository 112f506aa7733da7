"""What was seen up to a violation, as numbers, and how far a rule without mistakes may be from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.conformance.bounds.running_error.judging import allowances
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.trajectories.comparison import LISTS, before_first_call

SLACK = 4
"""How many times the allowances of all calls together a mistake must be away to be refuted by a call."""

MOST_WRONG, MOST_RIGHT = 32, 16
"""How many elements that are wrong, and how many that are right, a prediction of a pair looks at."""

SCALARS = ("iterations", "calls", "growth_counter", "loss_scale")


class Surroundings:
    """The records up to a violation, flattened.

    Parameters
    ----------
    start : Case
        The calls up to the one with the violation.
    observed : trajectory
        As many records.
    expected : trajectory
        Those of the rule.
    is_state_hidden, basis
        As for ``diagnose``.
    names : collection of str, optional
        Names of deviations that are assumed already.
    """

    def __init__(
        self,
        start: Case,
        observed: Trajectory,
        expected: Trajectory,
        is_state_hidden: bool,
        basis: Basis,
        names: Collection[str] = (),
    ) -> None:
        records = [*observed, expected[0]]
        self._quantities = tuple(
            quantity for quantity in LISTS if all(record.get(quantity) for record in records)
        )
        self._scalars = tuple(
            name for name in SCALARS if all(record.get(name) is not None for record in records)
        )
        self._observed = [self._flat(record) for record in observed]
        self._last = len(observed) - 1
        self._expected = self._flat(expected[-1])
        allowed = [
            self._flat_allowance(one) for one in allowances(start, names, observed, is_state_hidden, basis)
        ]
        with np.errstate(all="ignore"):
            # An error of a velocity moves the variable in every later call, too.
            self._tolerances = SLACK * np.cumsum(np.cumsum(allowed, axis=0), axis=0)
        before = self._observed[-2] if self._last else self._at_the_start(start)
        self._before = before
        precisions = [
            np.full(variable.size, FORMATS[variable.dtype].precision, FLOAT64) for variable in start.variables
        ]
        self._precisions = np.concatenate(
            [*precisions * len(self._quantities), np.full(len(self._scalars), 24.0)]
        )
        self._looked_at = self._chosen()

    def _flat(self, record: Record) -> Array:
        arrays = [
            np.ravel(np.asarray(array)).astype(FLOAT64)
            for quantity in self._quantities
            for array in record[quantity]
        ]
        with np.errstate(all="ignore"):
            numbers = np.array([float(record[name]) for name in self._scalars], FLOAT64)
        return np.concatenate([*arrays, numbers])

    def _flat_allowance(self, allowed: dict[str, list[Array]]) -> Array:
        arrays = [np.ravel(array) for quantity in self._quantities for array in allowed[quantity]]
        return np.concatenate([*arrays, np.zeros(len(self._scalars))])

    def _at_the_start(self, case: Case) -> Array:
        count = range(len(case.variables))
        lists: dict[str, Any] = {
            quantity: [before_first_call(case, quantity, position) for position in count]
            for quantity in self._quantities
        }
        return self._flat({**lists, **dict.fromkeys(self._scalars, 0.0)})

    @property
    def wrong(self) -> frozenset[str]:
        """The quantities of which the last record has a value that is wrong, or may be."""
        each = (len(self._expected) - len(self._scalars)) // max(len(self._quantities), 1)
        far = self._are_far(self._expected, self._observed[-1], self._tolerances[-1] / SLACK)
        return frozenset(
            quantity
            for index, quantity in enumerate(self._quantities)
            if far[index * each : (index + 1) * each].any()
        )

    def refute(self, call: int, record: Record) -> bool:
        """Whether a mistake that leads to a record cannot be at work, since that call is as it should be."""
        if call >= self._last:
            return False
        return bool(self._are_far(self._flat(record), self._observed[call], self._tolerances[call]).any())

    @staticmethod
    def _are_far(numbers: Array, others: Array, tolerance: Array) -> Array:
        with np.errstate(all="ignore"):
            equal = (numbers == others) | (np.isnan(numbers) & np.isnan(others))
            return np.asarray(~equal & ~(np.abs(numbers - others) <= tolerance) & np.isfinite(tolerance))

    def _chosen(self) -> Array:
        """Return the places of some wrong elements of the last record, and of some right ones."""
        wrong = self._are_far(self._expected, self._observed[-1], self._tolerances[-1] / SLACK)
        places = [np.flatnonzero(wrong), np.flatnonzero(~wrong)]
        shares = [
            found[:: max(len(found) // most, 1)][:most]
            for found, most in zip(places, (MOST_WRONG, MOST_RIGHT), strict=True)
        ]
        return np.concatenate(shares)

    def looked_at(self, record: Record) -> Array:
        """Return the numbers of a last record that a prediction looks at."""
        return np.asarray(self._flat(record)[self._looked_at])

    def agreement(self, one: Sequence[Array], other: Sequence[Array]) -> Array:
        """Return how well pairs of mistakes are likely to agree with the last record, from 0 to 1.

        In each element, the effects of two mistakes may add up, or multiply, or one may hide the other.

        Parameters
        ----------
        one, other : sequence of ndarray
            For each pair what `looked_at` returns for its two mistakes.
        """
        if not len(one):
            return np.zeros(0)
        places = self._looked_at
        if not len(places):
            return np.ones(len(one))
        seen, right, before = (
            numbers[places] for numbers in (self._observed[-1], self._expected, self._before)
        )
        with np.errstate(all="ignore"):
            needed = np.where(np.isfinite(seen - right), np.abs(seen - right), np.abs(seen))
            precision = self._precisions[places]
            tolerance = 2.0 ** -(precision // 2) * needed + self._tolerances[-1][places] / SLACK
            first, second = np.asarray(one), np.asarray(other)
            predictions = (
                first + (second - right),
                before + (first - before) * ((second - before) / (right - before)),
                first,
                second,
            )
            agreeing = [~self._are_far(predicted, seen, tolerance) for predicted in predictions]
        return np.asarray(np.logical_or.reduce(agreeing).mean(axis=1))
