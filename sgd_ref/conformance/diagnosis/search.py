"""The search for known deviations that explain one divergence: one alone, one more, and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, DEVIATIONS, Basis
from sgd_ref.conformance.diagnosis.candidates import Acting, beginning, suiting
from sgd_ref.conformance.diagnosis.work import Work, interleaved, work_of
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal, compare

Names = tuple[str, ...]

MOST_MORE = 2
"""How many deviations are added at most to one that explains the first calls."""

MOST_ALIKE = 6
"""The largest number of choices that explain the same first calls and are extended by one deviation."""

LEAST_DIFFERING = 4
"""How many elements must differ before another deviation is sought beside one that explains all but
roundings."""

WORK_FOR_PAIRS = 3000
"""The work on pairs if no deviation alone explains a divergence; about half a second."""

PROMISING = 0.9
"""The share of elements, predicted to agree, from which the deviations that are alike are tried, too."""

WORK_FOR_OTHER_PAIRS = 300
"""The work on further pairs after one that gives every bit; there may be several."""

WORK_FOR_MORE = 4000
"""The work on deviations that are added to those that explain the first calls, or all but roundings."""

FIT = 5
"""The work of comparing an answer with the bounds of deviations, in that of running them."""


@dataclass(frozen=True)
class Explained:
    """Deviations that explain a divergence, and whether they give the very same bits."""

    names: Names
    is_exact: bool


def are_roundings(names: Names) -> bool:
    """Whether deviations only round differently.

    >>> are_roundings(("update-fused",)), are_roundings(("update-fused", "ascends"))
    (True, False)
    """
    return all(DEVIATIONS[name].kind == "rounding" for name in names)


class Search:
    """The search for deviations that explain one divergence.

    Parameters
    ----------
    case, observed, candidates, is_state_hidden, basis
        As for `diagnose`.
    work : Work, optional
        Where the work is counted.

    Attributes
    ----------
    pairs_tried : int
        How many pairs were tried.
    violation : Violation or None
        The first value that the definition does not allow, which is to be explained.
    work : Work
        The work done so far.
    """

    def __init__(
        self,
        case: Case,
        observed: Trajectory,
        candidates: Iterable[str] | None = None,
        is_state_hidden: bool = False,
        basis: Basis = DEFINITION,
        work: Work | None = None,
    ) -> None:
        self._case, self._observed, self._is_state_hidden = case, observed, is_state_hidden
        self._basis = basis
        names = suiting(case, candidates, basis)
        self._roundings = [name for name in names if are_roundings((name,))]
        # The bounds allow for roundings already.
        self._mistakes = [name for name in names if not are_roundings((name,))]
        self.work = Work() if work is None else work
        self.pairs_tried = 0
        self._reference = fit(case, (), observed, is_state_hidden, basis)
        self._partly: list[tuple[Names, Fit]] = []
        self._extended: set[Names] = set()
        self.violation = self._reference.violation or _violation(case, observed, is_state_hidden)
        self._acting = None if self.violation is None else self._acting_at(self.violation, self._mistakes)

    def _acting_at(self, violation: Violation, names: Iterable[str], beside: Names = ()) -> Acting:
        hidden, work = self._is_state_hidden, self.work
        return Acting(self._case, self._observed, violation, names, beside, self._basis, hidden, work)

    @property
    def may_have_other_velocities(self) -> bool:
        """Whether the velocities are wrong where the violation is, so that they may have another form."""
        return self._acting is None or "velocities" in self._acting.wrong

    @property
    def farthest(self) -> tuple[Names, Fit] | None:
        """The deviations that explain the first violation and the most calls, but not everything."""
        return next(iter(self._all_farthest()), None)

    def _all_farthest(self) -> list[tuple[Names, Fit]]:
        most = max((found.calls for _, found in self._partly), default=0)
        return [(names, found) for names, found in self._partly if found.calls == most][:MOST_ALIKE]

    def alone(self) -> list[Explained]:
        """Return the deviations that alone explain the divergence."""
        if self._acting is None or self.violation is None:
            return []
        found = self.among((name,) for name in self._acting.likely())
        return found or self.among(
            (name,) for name in self._acting_at(self.violation, self._roundings).likely()
        )

    def extended(self) -> list[Explained]:
        """Return explanations that add one deviation, or two, to those that explain the first violation."""
        explained = self._with_one_more(self._partly)
        for _ in range(1, MOST_MORE):
            farther = self._all_farthest()
            if explained or not farther or farther[0][0] in self._extended:
                break
            explained = self._with_one_more(farther)
        return explained

    def _with_one_more(self, choices: Sequence[tuple[Names, Fit]]) -> list[Explained]:
        """Return what explains everything with one more deviation, beside those that explain most calls."""
        explained: list[Explained] = []
        begun, most = self.work.done, -1
        for names, found in sorted(choices, key=lambda one: -one[1].calls):
            violation = found.violation
            if violation is None or violation.call >= len(self._observed):
                continue
            is_enough = self.work.done - begun > WORK_FOR_MORE * (2 if explained else 1)
            if is_enough or (explained and found.calls < most):
                break
            most = found.calls
            more = [one.names[-1] for one in explained]
            # Before the first violation the deviations do nothing, so that what is refuted there stays out.
            refuted = () if self._acting is None else self._acting.refuted
            others = [name for name in self._mistakes if name not in refuted]
            likely = more or self._acting_at(violation, others, names).likely()
            explained += self.among((*names, name) for name in likely)
            self._extended.add(names)
        return explained

    def to_the_bit(self, found: Sequence[Explained]) -> list[Explained]:
        """Return explanations of all bits that add one deviation to those that leave only roundings."""
        if any(one.is_exact for one in found):
            return []
        explained: list[Explained] = []
        for one in found[:MOST_ALIKE]:
            equal = [name for name in self._more_to_the_bit(one.names) if name not in one.names]
            if any(are_roundings((name,)) for name in equal):
                return []
            explained += [Explained((*one.names, name), True) for name in equal]
        return explained

    def _more_to_the_bit(self, names: Names) -> Iterator[str]:
        comparison = compare(self._case, self._basis.run(self._case, names), self._observed)
        difference = comparison.first
        # A few bits, or signs of zeros, could be explained by chance.
        if difference is None or comparison.differing < LEAST_DIFFERING or comparison.units < 1:
            return
        for name in (*self._roundings, *self._mistakes):
            if self._gives_all_bits((*names, name)):
                yield name

    def _gives_all_bits(self, names: Names) -> bool:
        """Whether deviations give every bit; no call is made after the first that differs."""
        try:
            records = reference.records(self._case, *self._basis.composed(names))
            return all(
                are_equal(self._case, [wanted], [given])
                for (_, _, wanted), given in zip(records, self._observed, strict=True)
            )
        # Together, deviations may be unable to make a step.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return False

    def pairs(self, preferred: frozenset[str] = frozenset()) -> list[Explained]:
        """Return the pairs that explain the divergence, pairs with preferred names first."""
        if self._acting is None:
            return []
        acting = self._acting
        # Of deviations that give the same bits, one is tried; the others follow only if it explains the
        # violation.
        alike = {group[0]: group for group in acting.alike()}
        # A deviation that shows in a right call would have to be hidden there by the other one.
        out = {*acting.names, *acting.refuted}
        alike |= {name: [name] for name in self._mistakes if name not in out}
        # Each deviation was tried already beside those that explain the violation alone.
        tried = {names[0] for names in self._extended if len(names) == 1}
        alike = {left[0]: left for group in alike.values() if (left := [n for n in group if n not in tried])}
        before, begun = len(self._partly), self.work.done
        found: list[Explained] = []
        for pair in self._promising(acting, alike, preferred):
            if self.work.done - begun > WORK_FOR_PAIRS:
                break
            self.pairs_tried += 1
            if not acting.are_likely(pair):
                continue
            explained = self.explained(pair)
            if explained is not None:
                found.append(explained)
                if explained.is_exact:
                    begun = min(begun, self.work.done - WORK_FOR_PAIRS + WORK_FOR_OTHER_PAIRS)
        explaining = [one.names for one in found] + [names for names, _ in self._partly[before:]]
        others = [
            other for names in explaining for other in product(*(alike.get(name, (name,)) for name in names))
        ]
        return found + self.among(other for other in others if other not in explaining)

    @staticmethod
    def _promising(
        acting: Acting, alike: Mapping[str, Sequence[str]], preferred: frozenset[str]
    ) -> list[Names]:
        """Return the pairs in the order in which they are tried.

        In turn these are the pairs that are predicted to agree best, those nearest to the wrong value, and
        those near in most elements.
        """
        gains = {name: acting.gain(name) for name in alike}
        likely = frozenset(acting.likely())
        pairs = list(combinations(alike, 2))
        promise = acting.promise(pairs)
        spoiling = {name for name in alike if acting.spoils(name)}

        def spoilt(pair: Names) -> int:
            return sum(name in spoiling for name in pair)

        by_promise = [
            one
            for pair in sorted(pairs, key=lambda pair: -promise[pair])
            # Alone, the deviations of a group give the same bits; beside another one they may not.
            for one in (product(*(alike[name] for name in pair)) if promise[pair] >= PROMISING else [pair])
        ]
        by_value = sorted(pairs, key=lambda pair: (spoilt(pair), -sum(name in likely for name in pair)))
        by_gain = sorted(pairs, key=lambda pair: (spoilt(pair), -sum(gains[name] for name in pair)))
        ordered = interleaved((by_promise, by_value, by_gain))
        if not preferred:
            return ordered

        def preference(pair: Names) -> int:
            return -sum(not preferred.isdisjoint(alike.get(name, (name,))) for name in pair)

        return sorted(ordered, key=preference)

    def among(self, choices: Iterable[Names]) -> list[Explained]:
        """Return those among some choices of deviations that explain the divergence."""
        explained = (self.explained(names) for names in dict.fromkeys(choices))
        return [one for one in explained if one is not None]

    def among_likely(self, choices: Iterable[Names]) -> list[Explained]:
        """Return the same, but ask only those for their bounds that come near to what was seen."""
        acting = self._acting
        return [] if acting is None else self.among(filter(acting.are_likely, choices))

    def explained(self, names: Names) -> Explained | None:
        """Return how deviations explain the divergence; None if they do not."""
        if self.violation is None:
            return None
        found = fit(self._case, names, self._observed, self._is_state_hidden, self._basis)
        self.work.add(FIT * work_of(self._case, found.calls + 1))
        until = self.violation.call + 1
        if found.calls < min(until, len(self._observed)):
            return None
        # If the answer is within the bounds of the reference as well, only equal bits count.
        if self._reference.violation is None:
            start = beginning(self._case, until)
            if not fit(start, names, self._observed[:until], self._is_state_hidden, self._basis).is_exact:
                return None
        if found.fits:
            return Explained(names, found.is_exact)
        self._partly.append((names, found))
        return None

    def holds(self, names: Names) -> bool:
        """Whether a trajectory lies within the bounds of deviations, not merely because they are wide.

        If it also lies within the bounds of the reference, contradictions must lead nearer to the wrong
        value.
        """
        if self.explained(names) is not None:
            return True
        if self._acting is None or self._reference.violation is not None:
            return False
        if not are_roundings(names) and not self._acting.are_likely(names):
            return False
        return fit(self._case, names, self._observed, self._is_state_hidden, self._basis).fits


def _violation(case: Case, observed: Trajectory, is_state_hidden: bool) -> Violation | None:
    return judge(case, reference.run(case), observed, is_state_hidden).violation
