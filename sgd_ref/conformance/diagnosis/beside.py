"""A second deviation that explains the remaining bits of a trajectory within the bounds of a first one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, takewhile
from typing import Any

import numpy as np

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import fit, go_on_from
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, DEVIATIONS, Basis
from sgd_ref.conformance.diagnosis.names import Names
from sgd_ref.conformance.diagnosis.work import Work, work_of
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal, arrays_of_both, compare, equal_bits
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD

LEAST_DIFFERING = 4
"""How many elements must differ before another deviation is sought beside one that explains all but
roundings."""

PART_LOOKED_AT = 0.1
"""The share of the elements with other bits, from the first call on, that another deviation must explain."""

MUCH_LESS = 0.6
"""The share of other bits that another deviation may leave; harmless roundings alone leave them all."""

MOST_BETTER = 6
"""The largest number of other bits that another deviation may leave."""

WORK_BESIDE = 2500
"""The work on second deviations, where a first one explains everything but roundings."""


@dataclass(frozen=True)
class Rule:
    """A rule to run: the optimizer, the wrapper, and the quantities that it does not report as documented."""

    optimizer: type[SGD]
    wrapper: type[LossScaleOptimizer]
    unreported: frozenset[str] = frozenset()

    def records(self, case: Case) -> Iterator[tuple[Any, list[Any], Record]]:
        """Yield what ``reference.records`` does."""
        for optimizer, variables, record in reference.records(case, self.optimizer, self.wrapper):
            kept = {key: value for key, value in record.items() if key not in self.unreported}
            yield optimizer, variables, kept

    def gives_bits(self, case: Case, observed: Trajectory, work: Work) -> bool:
        """Whether the rule gives every bit of some calls; after the first call that differs, none is made.

        Examples
        --------
        >>> from sgd_ref import conformance
        >>> case = conformance.cases("smoke")[0]
        >>> Rule(SGD, LossScaleOptimizer).gives_bits(case, reference.run(case), Work())
        True
        """
        made = 0
        try:
            for (_, _, wanted), given in zip(self.records(case), observed, strict=True):
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

    def to_the_bit(self, mistakes: Sequence[str], roundings: Sequence[str]) -> list[str]:
        """Return the mistakes with each of which every bit is explained, if no rounding explains it, too."""
        comparison = compare(self._case, self._basis.run(self._case, self._names), self._observed)
        difference = comparison.first
        # A few bits, or signs of zeros, could be explained by chance.
        if difference is None or comparison.differing < LEAST_DIFFERING or comparison.units < 1:
            return []
        begun = self._work.done
        tried = (name for name in mistakes if name not in self._names)
        affordable = takewhile(lambda _: self._work.done - begun <= WORK_BESIDE, tried)
        found = [name for name in affordable if self._is_equal(self._with(name))]
        is_rounded = found and any(map(self._is_equal, self._rounded(roundings)))
        return [] if is_rounded else [name for name in found if not self._is_rounding_here(name)]

    def _is_equal(self, rule: Rule) -> bool:
        return rule.gives_bits(self._case, self._observed, self._work)

    def better(self, mistakes: Sequence[str], roundings: Sequence[str]) -> list[str]:
        """Return the mistakes that leave far fewer other bits in the first calls, the best first.

        A rounding that leaves as few bits is likelier.
        """
        left = self._left
        calls = self.begins() + 1
        if not left or calls > len(left):
            return []
        limit, begun = MUCH_LESS * left[calls - 1], self._work.done
        found: dict[str, int] = {}
        for name in mistakes:
            if self._work.done - begun > WORK_BESIDE:
                break
            many = None if name in self._names else self._within(self._with(name), calls, limit)
            if many is not None:
                found[name] = many
        for rule in self._rounded(roundings) if found else ():
            many = self._within(rule, calls, limit)
            limit = limit if many is None else many - 1
        ordered = sorted((name for name in found if found[name] <= limit), key=lambda name: found[name])
        return [name for name in ordered[:MOST_BETTER] if not self._is_rounding_here(name)]

    def begins(self) -> int:
        """Return the call up to which many of the elements with other bits are."""
        left = self._left
        return next((call for call, many in enumerate(left) if many > PART_LOOKED_AT * left[-1]), len(left))

    @cached_property
    def _left(self) -> list[int]:
        """How many elements have other bits up to each call."""
        return self._differing(Rule(*self._basis.composed(self._names)))

    def _is_rounding_here(self, name: str) -> bool:
        """Whether a mistake only rounds otherwise in this case, as a rate outside does that never changes."""
        case, expected = self._case, self._basis.run(self._case)
        alone = self._with_alone(name)
        if alone is None or are_equal(case, expected, alone):
            return False
        if self._basis == DEFINITION:
            return judge(case, expected, alone, self._is_state_hidden).is_faithful
        return fit(case, (), alone, self._is_state_hidden, self._basis).fits

    def _with_alone(self, name: str) -> Trajectory | None:
        try:
            return self._basis.run(self._case, (name,))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None

    def _with(self, name: str) -> Rule:
        return Rule(*self._basis.composed((*self._names, name)))

    def _rounded(self, roundings: Sequence[str]) -> Iterator[Rule]:
        """Yield the rule that is there with each rounding, and with each evaluation that is faithful."""
        yield from map(self._with, roundings)
        # Another basis has an evaluation of its own.
        if self._basis.optimizer is SGD:
            for variant in FAITHFUL.values():
                if variant.name not in DEVIATIONS:
                    basis = replace(self._basis, optimizer=variant.optimizer)
                    yield Rule(*basis.composed(self._names), variant.unreported)

    def _within(self, rule: Rule, calls: int, limit: float) -> int | None:
        counts = self._differing(rule, calls, limit)
        return counts[-1] if len(counts) == calls and counts[-1] <= limit else None

    def _differing(self, rule: Rule, calls: int | None = None, limit: float = math.inf) -> list[int]:
        """Return how many elements have other bits up to each call, each made from the state seen before.

        No call is made after the limit is passed.
        """
        counts: list[int] = []
        most = len(self._observed) if calls is None else calls
        try:
            for optimizer, variables, wanted in islice(rule.records(self._case), most):
                given = self._observed[len(counts)]
                many = sum(
                    int(np.count_nonzero(~equal_bits(want, np.asarray(got))))
                    for want, got in arrays_of_both(self._case, wanted, given)
                )
                counts.append(many + (counts[-1] if counts else 0))
                if counts[-1] > limit:
                    break
                if not self._is_state_hidden:
                    known = {key: of for key, of in given.items() if key not in rule.unreported}
                    go_on_from(optimizer, variables, known)
        # Together, deviations may be unable to make a step.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return []
        finally:
            self._work.add(work_of(self._case, len(counts)))
        return counts
