"""The numbers that were seen up to a violation, and how far a rule without mistakes may be from them."""

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
"""A call refutes a mistake whose distance is more than this many times the allowances of all calls."""

NEARBY = 2
"""A mistake agrees if its distance is at most this many times the allowances of all calls."""

MOST_WRONG, MOST_RIGHT = 32, 16
"""How many elements that are wrong, and how many that are right, a prediction of a pair looks at."""

DISTANCE = 1e-3
"""The weight of the distance from what was seen: it decides between predictions with equal shares."""

RATE = "learning_rate"

SCALARS = ("iterations", "calls", "growth_counter", "loss_scale", RATE)


class Surroundings:
    """The records up to a violation, flattened.

    Parameters
    ----------
    start : Case
        The calls up to the call with the violation.
    observed : trajectory
        The observed records of these calls.
    expected : trajectory
        The records of the rule.
    is_state_hidden, basis
        As for ``diagnose``.
    names : collection of str, optional
        Names of deviations that are assumed already.
    still : dict, optional
        The last record that the rule gives if the gradients of the last update are 0.
    """

    def __init__(
        self,
        start: Case,
        observed: Trajectory,
        expected: Trajectory,
        is_state_hidden: bool,
        basis: Basis,
        names: Collection[str] = (),
        still: Record | None = None,
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
            self._flat_allowance(start, record, one)
            for record, one in zip(
                observed, allowances(start, names, observed, is_state_hidden, basis), strict=False
            )
        ]
        with np.errstate(all="ignore"):
            # An error of a velocity moves the variable in every later call, too.
            self._tolerances = SLACK * np.cumsum(np.cumsum(allowed, axis=0), axis=0)
            self._nearby = NEARBY * np.sum(allowed, axis=0)
        before = self._observed[-2] if self._last else self._at_the_start(start)
        self._before = before
        self._still = before if still is None else self._flat(still)
        precisions = [
            np.full(variable.size, FORMATS[variable.dtype].precision, FLOAT64) for variable in start.variables
        ]
        self._precisions = np.concatenate(
            [*precisions * len(self._quantities), np.full(len(self._scalars), 24.0)]
        )
        self._are_wrong = self._are_far(self._expected, self._observed[-1], self._tolerances[-1] / SLACK)
        self._looked_at, self._wrong_ones = self._chosen()

    def _flat(self, record: Record) -> Array:
        arrays = [
            np.ravel(np.asarray(array)).astype(FLOAT64)
            for quantity in self._quantities
            for array in record[quantity]
        ]
        with np.errstate(all="ignore"):
            numbers = np.array([float(record[name]) for name in self._scalars], FLOAT64)
        return np.concatenate([*arrays, numbers])

    def _flat_allowance(self, case: Case, record: Record, allowed: dict[str, list[Array]]) -> Array:
        arrays = [np.ravel(array) for quantity in self._quantities for array in allowed[quantity]]
        scalars = np.zeros(len(self._scalars))
        if RATE in self._scalars:
            with np.errstate(all="ignore"):
                unit = np.spacing(np.abs(np.float32(record[RATE])))
            scalars[self._scalars.index(RATE)] = case.learning_rate_units * unit
        return np.concatenate([*arrays, scalars])

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
        return frozenset(
            quantity
            for index, quantity in enumerate(self._quantities)
            if self._are_wrong[index * each : (index + 1) * each].any()
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

    def _chosen(self) -> tuple[Array, int]:
        """Return the places of some wrong elements and some right ones of the last record; how many wrong."""
        places = [np.flatnonzero(self._are_wrong), np.flatnonzero(~self._are_wrong)]
        shares = [
            found[:: max(len(found) // most, 1)][:most]
            for found, most in zip(places, (MOST_WRONG, MOST_RIGHT), strict=True)
        ]
        return np.concatenate(shares), len(shares[0])

    def spoils(self, record: Record) -> bool:
        """Whether a last record is wrong in an element that was seen to be right."""
        far = self._are_far(self._flat(record), self._observed[-1], self._tolerances[-1])
        return bool((far & ~self._are_wrong).any())

    def looked_at(self, record: Record) -> Array:
        """Return the numbers of a last record that a prediction looks at."""
        return np.asarray(self._flat(record)[self._looked_at])

    def agreement(self, one: Sequence[Array], other: Sequence[Array]) -> Array:
        """Return how well pairs of mistakes are predicted to agree with the last record, from 0 to 1.

        In each element, the effects of two mistakes may add up, or multiply, or one may hide the other. What
        multiplies is the whole change of a call, or what the gradients make of it.

        Parameters
        ----------
        one, other : sequence of ndarray
            For each pair what `looked_at` returns for its two mistakes.
        """
        if not len(one):
            return np.zeros(0)
        places = self._looked_at
        right = self._expected[places]
        first, second = np.asarray(one), np.asarray(other)
        with np.errstate(all="ignore"):
            added = first + (second - right)
            multiplied = [
                origin + (first - origin) * ((second - origin) / (right - origin))
                for origin in (self._before[places], self._still[places])
            ]
        return self._shares(added, *multiplied, first, second)

    def agreement_of(self, record: Record) -> float:
        """Return how well a last record agrees, from 0 to 1."""
        return float(self._shares(self.looked_at(record)[np.newaxis])[0])

    def _shares(self, *predictions: Array) -> Array:
        """Return the share of wrong elements times that of right ones in which a prediction agrees."""
        places = self._looked_at
        seen, right = self._observed[-1][places], self._expected[places]
        with np.errstate(all="ignore"):
            needed = np.where(np.isfinite(seen - right), np.abs(seen - right), np.abs(seen))
            half_of_digits = 2.0 ** -(self._precisions[places] // 2)
            tolerance = half_of_digits * needed + self._nearby[places]
        agreeing = [~self._are_far(predicted, seen, tolerance) for predicted in predictions]
        agrees = np.logical_or.reduce(agreeing)
        parts = agrees[:, : self._wrong_ones], agrees[:, self._wrong_ones :]
        shares = [part.mean(axis=1) for part in parts if part.shape[1]]
        share = np.asarray(np.prod(shares, axis=0)) if shares else np.ones(len(agrees))
        return share - DISTANCE * self._distance(predictions, seen, needed)

    @staticmethod
    def _distance(predictions: Sequence[Array], seen: Array, needed: Array) -> Array:
        """Return how far the nearest of some predictions is from what was seen, from 0 to 1."""
        distances = []
        for predicted in predictions:
            with np.errstate(all="ignore"):
                equal = (predicted == seen) | (np.isnan(predicted) & np.isnan(seen))
                each = np.where(equal, 0.0, np.abs(predicted - seen) / needed)
            each = np.where(each < 1, each, 1.0)
            distances.append(each.mean(axis=1) if each.shape[1] else np.zeros(len(each)))
        return np.asarray(np.minimum.reduce(distances))

    def equal(self, call: int, record: Record) -> int:
        """Return how many numbers of a call are those that were seen."""
        numbers, seen = self._flat(record), self._observed[call]
        return int(np.count_nonzero((numbers == seen) | (np.isnan(numbers) & np.isnan(seen))))
