"""A second deviation beside one within whose bounds a trajectory lies, if it accounts for the other bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.conformance.bounds.running_error.judging import go_on_from
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.diagnosis.names import Names
from sgd_ref.conformance.diagnosis.work import Work, work_of
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal, arrays_of_both, compare, equal_bits

LEAST_DIFFERING = 4
"""How many elements must differ before another deviation is sought beside one that explains all but
roundings."""

PART_LOOKED_AT = 0.1
"""The share of the elements with other bits, from the first call on, that another deviation must explain."""

MUCH_LESS = 0.6
"""The share of other bits that another deviation may leave; harmless roundings alone leave them all."""

WORK_BESIDE = 2500
"""The work on deviations that are tried beside one that explains everything but roundings."""


def gives_bits(case: Case, names: Names, observed: Trajectory, basis: Basis, work: Work) -> bool:
    """Whether deviations give every bit of some calls; none is made after the first that differs.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.deviations import DEFINITION
    >>> case = conformance.cases("smoke")[0]
    >>> gives_bits(case, ("ascends",), DEFINITION.run(case, ["ascends"]), DEFINITION, Work())
    True
    """
    made = 0
    try:
        records = reference.records(case, *basis.composed(names))
        for (_, _, wanted), given in zip(records, observed, strict=True):
            made += 1
            if not are_equal(case, [wanted], [given]):
                return False
        return True
    # Together, deviations may be unable to make a step.
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False
    finally:
        work.add(work_of(case, made))


class Beside:
    """The search for a deviation beside others that explain everything but roundings.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        The answer of an implementation.
    names : tuple of str
        The deviations that explain it.
    basis : Basis
        The rule that the deviations are added to.
    is_state_hidden : bool
        Whether the state may be wider than the reported one.
    work : Work
        Counts the calls that are made.
    """

    def __init__(
        self,
        case: Case,
        observed: Trajectory,
        names: Names,
        basis: Basis,
        is_state_hidden: bool,
        work: Work,
    ) -> None:
        self._case, self._observed, self._names, self._basis = case, observed, names, basis
        self._is_state_hidden, self._work = is_state_hidden, work

    def to_the_bit(self, others: Sequence[str]) -> list[str]:
        """Return the names of deviations with each of which every bit is explained."""
        comparison = compare(self._case, self._basis.run(self._case, self._names), self._observed)
        difference = comparison.first
        # A few bits, or signs of zeros, could be explained by chance.
        if difference is None or comparison.differing < LEAST_DIFFERING or comparison.units < 1:
            return []
        return [
            name
            for name in others
            if name not in self._names
            and gives_bits(self._case, (*self._names, name), self._observed, self._basis, self._work)
        ]

    def better(self, mistakes: Sequence[str], roundings: Sequence[str]) -> list[str]:
        """Return the mistakes that leave far fewer other bits in the first calls, the best first.

        A rounding that leaves as few bits is likelier.
        """
        left = self._differing(self._names)
        total = left[-1] if left else 0
        calls = next((call for call, many in enumerate(left, 1) if many > PART_LOOKED_AT * total), 0)
        if not calls:
            return []
        limit, begun = MUCH_LESS * left[calls - 1], self._work.done
        found: dict[str, int] = {}
        for name in mistakes:
            if self._work.done - begun > WORK_BESIDE:
                break
            if name not in self._names:
                found |= self._within(name, calls, limit)
        for name in roundings if found else ():
            limit = min([limit, *(many - 1 for many in self._within(name, calls, limit).values())])
        return sorted((name for name in found if found[name] <= limit), key=lambda name: found[name])

    def _within(self, name: str, calls: int, limit: float) -> dict[str, int]:
        counts = self._differing((*self._names, name), calls, limit)
        return {name: counts[-1]} if len(counts) == calls and counts[-1] <= limit else {}

    def _differing(self, names: Names, calls: int | None = None, limit: float = math.inf) -> list[int]:
        """Return how many elements have other bits up to each call, each made from the state seen before.

        No call is made after the limit is passed.
        """
        counts: list[int] = []
        try:
            for optimizer, variables, wanted in self._records(names, calls):
                given = self._observed[len(counts)]
                many = sum(
                    int(np.count_nonzero(~equal_bits(want, np.asarray(got))))
                    for want, got in arrays_of_both(self._case, wanted, given)
                )
                counts.append(many + (counts[-1] if counts else 0))
                if counts[-1] > limit:
                    break
                if not self._is_state_hidden:
                    go_on_from(optimizer, variables, given)
        # Together, deviations may be unable to make a step.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return []
        finally:
            self._work.add(work_of(self._case, len(counts)))
        return counts

    def _records(self, names: Names, calls: int | None) -> Iterator[tuple[Any, list[Any], Record]]:
        records = reference.records(self._case, *self._basis.composed(names))
        for _, record in zip(range(len(self._observed) if calls is None else calls), records, strict=False):
            yield record
