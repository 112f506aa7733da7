"""The search for known deviations that explain one divergence: one alone, one more, and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.beside import MUCH_LESS, Beside, Rule
from sgd_ref.conformance.diagnosis.candidates import Acting, beginning, suiting
from sgd_ref.conformance.diagnosis.names import Explained, Names, are_roundings
from sgd_ref.conformance.diagnosis.other_settings import OtherSetting, other_settings
from sgd_ref.conformance.diagnosis.pairing import promising
from sgd_ref.conformance.diagnosis.work import FIT, Work, work_of
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS, compare

MOST_ALIKE, MOST_EXTENDED = 6, 12
"""The largest number of choices that leave the same bits, and of those that are extended by one deviation."""

WEAK = 0.05
"""The share of elements with other bits from which an explanation within bounds is weak."""

WORK_FOR_CASE = 5500
"""The work on one case after which nothing more is tried; about a second."""

WORK_FOR_PAIRS = 3000
"""The work on pairs if no deviation alone explains a divergence; about half a second."""

MOST_TO_THE_BIT = 2
"""How many explanations within bounds are tried with one more deviation that gives every bit."""

WORK_FOR_OTHER_PAIRS = 300
"""The work on further pairs after one that gives every bit; there may be several."""

WORK_FOR_MORE = 2000
"""The work on deviations that are added to those that explain the first calls, or all but roundings."""


class Search:
    """The search for deviations that explain one divergence.

    Parameters
    ----------
    case, observed, candidates, is_state_hidden, basis
        As for `diagnose`.
    work : Work, optional
        The work that the work of this search is a part of.

    Attributes
    ----------
    is_state_hidden : bool
        Whether the state may be wider than the reported one.
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
        self._case, self._observed, self.is_state_hidden = case, observed, is_state_hidden
        self._basis = basis
        names = suiting(case, candidates, basis)
        self._roundings = [name for name in names if are_roundings((name,))]
        # The bounds allow for roundings already.
        self._mistakes = [name for name in names if not are_roundings((name,))]
        self.work = Work(work)
        self.pairs_tried = 0
        self._reference = fit(case, (), observed, is_state_hidden, basis)
        self._fits: dict[frozenset[str], Fit] = {}
        self._partly: list[tuple[Names, Fit]] = []
        self._extended: set[Names] = set()
        self.violation = self._reference.violation or _violation(case, observed, is_state_hidden)
        self._acting = None if self.violation is None else self._acting_at(self.violation, self._mistakes)

    def _acting_at(self, violation: Violation, names: Iterable[str], beside: Names = ()) -> Acting:
        hidden, work = self.is_state_hidden, self.work
        return Acting(self._case, self._observed, violation, names, beside, self._basis, hidden, work)

    @property
    def may_have_other_velocities(self) -> bool:
        """Whether the velocities are multiples of those of the rule where the violation is.

        Not if known deviations explain them there.
        """
        return self._acting is None or (self._acting.has_other_velocities and not self._partly)

    @property
    def has_work_left(self) -> bool:
        """Whether more may be tried on this case."""
        return self.work.done < WORK_FOR_CASE

    @property
    def farthest(self) -> tuple[Names, Fit] | None:
        """The deviations that explain the first violation and the most calls, but not everything."""
        return next(iter(self._all_farthest()), None)

    def _all_farthest(self) -> list[tuple[Names, Fit]]:
        return sorted(self._partly, key=_by_support)[:MOST_ALIKE]

    def alone(self) -> list[Explained]:
        """Return the deviations that alone explain the divergence."""
        if self._acting is None or self.violation is None:
            return []
        found = self.among((name,) for name in self._acting.agreeing())
        return found or self.among(
            (name,) for name in self._acting_at(self.violation, self._roundings).agreeing()
        )

    def extended(self) -> list[Explained]:
        """Return explanations that add one deviation to those that explain the first violation."""
        return self._with_one_more([one for one in self._partly if one[0] not in self._extended])

    def extended_again(self) -> list[Explained]:
        """Return explanations that add one deviation to two or more that explain the most calls."""
        return self._with_one_more(
            [one for one in self._all_farthest() if len(one[0]) > 1 and one[0] not in self._extended]
        )

    def _with_one_more(self, choices: Sequence[tuple[Names, Fit]]) -> list[Explained]:
        """Return what explains everything with one more deviation, beside those that explain most calls."""
        explained: list[Explained] = []
        farther: list[str] = []
        begun, most = self.work.done, -1
        for names, found in sorted(choices, key=_by_support)[:MOST_EXTENDED]:
            violation = found.violation
            if violation is None or violation.call >= len(self._observed):
                continue
            # What goes on with one choice is likely to go on with another one that gives the same calls.
            more = [one.names[-1] for one in explained] or (farther if found.calls == most else [])
            is_enough = self.work.done - begun > WORK_FOR_MORE or not self.has_work_left
            is_over = self.work.done > WORK_FOR_CASE + WORK_FOR_MORE
            if (is_enough and not more) or is_over or (explained and found.calls < most):
                break
            most, tried = found.calls, len(self._partly)
            # Before the first violation the deviations do nothing, so that what is refuted there stays out.
            refuted = () if self._acting is None else self._acting.refuted
            others = [name for name in self._mistakes if name not in refuted]
            likely = more or self._acting_at(violation, others, names).agreeing()
            explained += self.among((*names, name) for name in likely)
            farther += [more[-1] for more, fitted in self._partly[tried:] if fitted.calls > most]
            self._extended.add(names)
        return explained

    def to_the_bit(self, found: Sequence[Explained]) -> list[Explained]:
        """Return explanations of all bits that add one deviation to those that leave only roundings."""
        if any(one.is_exact for one in found):
            return []
        explained: list[Explained] = []
        exact = {one.names: self._exact_calls(one.names) for one in found}
        # Where another deviation begins late, the right one gives every bit before.
        for one in sorted(found, key=lambda one: (-exact[one.names], one.differing))[:MOST_TO_THE_BIT]:
            if not self.has_work_left:
                break
            mistakes = self._those_beginning_at(exact[one.names])
            equal = self._beside(one.names).to_the_bit(mistakes, self._roundings)
            explained += [Explained((*one.names, name)) for name in equal]
        return explained

    def _exact_calls(self, names: Names) -> int:
        """Return in how many of the first calls deviations give every bit."""
        self.work.add(work_of(self._case, len(self._observed)))
        try:
            first = compare(self._case, self._basis.run(self._case, names), self._observed).first
        # From some states, deviations may be unable to make a step.
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return 0
        return len(self._observed) if first is None else first.call

    def with_support(self, found: Sequence[Explained], with_pairs: bool = False) -> list[Explained]:
        """Return explanations by two deviations that leave far fewer bits to roundings than one alone.

        A bound may be so wide that it hides a second deviation, or that a wrong one explains everything.
        """
        best = min(found, key=lambda one: one.differing)
        if not self.is_weak(best):
            return []
        beside = self._beside(best.names)
        better = beside.better(self._those_beginning_at(beside.begins()), self._roundings)
        alike = [one.names for one in found if one.differing == best.differing][:MOST_EXTENDED]
        others = self.among((*names, name) for name in better[:MOST_ALIKE] for names in alike)
        if all(map(self.is_weak, others)):
            more = self.extended() or (self.pairs() if with_pairs else [])
            # What may stand beside those that explain everything was tried already, also against roundings.
            others += [one for one in more if not any(set(names) <= set(one.names) for names in alike)]
        return [one for one in others if one.differing <= MUCH_LESS * best.differing]

    def is_weak(self, one: Explained) -> bool:
        """Whether an explanation leaves so many bits to roundings that it may be due to wide bounds alone."""
        return one.differing > WEAK * self._elements

    @property
    def _elements(self) -> float:
        """How many numbers were seen."""
        lists = sum(bool(record.get(quantity)) for quantity in LISTS for record in self._observed)
        return lists * sum(variable.size for variable in self._case.variables)

    def _those_beginning_at(self, call: int) -> list[str]:
        """Return the mistakes, those first that may act from a call on, but not before the violation."""
        if self._acting is None or self.violation is None:
            return self._mistakes
        acting, refuted = frozenset(self._acting.names), frozenset(self._acting.refuted)
        begins_early = call <= self.violation.call
        return sorted(
            self._mistakes, key=lambda name: 2 if name in refuted else (name in acting) is not begins_early
        )

    def _beside(self, names: Names) -> Beside:
        return Beside(self._case, self._observed, names, self._basis, self.is_state_hidden, self.work)

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
        for pair in promising(acting, alike, preferred):
            if self.work.done - begun > WORK_FOR_PAIRS or not self.has_work_left:
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
        found += self.among(other for other in others if other not in explaining)
        return found + self._with_another([one.names for one in found if one.is_exact])

    def _with_another(self, exact: Sequence[Names]) -> list[Explained]:
        """Return the pairs that give every bit, too, and share a deviation with one that does."""
        assert self._acting is not None
        known, begun = {frozenset(names) for names in exact}, self.work.done
        found: list[Explained] = []
        shared = dict.fromkeys(name for names in exact for name in names)
        for pair in product(shared, self._acting.names):
            if self.work.done - begun > WORK_FOR_MORE:
                break
            if len(set(pair)) == 2 and frozenset(pair) not in known and self._gives_bits(pair):
                known.add(frozenset(pair))
                found.append(Explained(pair))
        return found

    def _gives_bits(self, names: Names) -> bool:
        return Rule(*self._basis.composed(names)).gives_bits(self._case, self._observed, self.work)

    def other_setting(self) -> OtherSetting | None:
        """Return a setting of which another value explains the whole divergence, if there is one."""
        hidden = self.is_state_hidden
        found = other_settings(self._case, self._observed, hidden, self._basis, self.work)
        return next((setting for setting in found if setting.calls is None), None)

    def those_that_may_act(self, names: Names) -> Names:
        """Return those among some deviations that may change something in this case."""
        return tuple(name for name in names if name in self._mistakes or name in self._roundings)

    def among(self, choices: Iterable[Names]) -> list[Explained]:
        """Return those among some choices of deviations that explain the divergence."""
        explained = (self.explained(names) for names in dict.fromkeys(choices))
        return [one for one in explained if one is not None]

    def among_likely(self, choices: Iterable[Names]) -> list[Explained]:
        """Return the same, but compute bounds only for deviations that come near to what was seen."""
        acting = self._acting
        return [] if acting is None else self.among(filter(acting.are_likely, choices))

    def explained(self, names: Names) -> Explained | None:
        """Return how deviations explain the divergence; None if they do not."""
        if self.violation is None:
            return None
        until = self.violation.call + 1
        # If the answer is within the bounds of the reference as well, only bits count.
        has_bits = self._reference.violation is not None or self._begins_with(names, until)
        if not has_bits and not self._may_leave_fewer_bits(names):
            return None
        is_tried = frozenset(names) in self._fits
        found = self._fit(names)
        if found.calls < min(until, len(self._observed)):
            return None
        if found.fits and (has_bits or found.differing <= MUCH_LESS * self._reference.differing):
            return Explained(names, found.differing)
        if not found.fits and has_bits and not is_tried:
            self._partly.append((names, found))
        return None

    def _may_leave_fewer_bits(self, names: Names) -> bool:
        is_alone = len(names) == 1 and not are_roundings(names)
        return is_alone and self.is_weak(Explained((), self._reference.differing))

    def _fit(self, names: Names) -> Fit:
        """Return how well the answer fits some deviations, in whatever order; the same are tried once."""
        chosen = frozenset(names)
        if chosen not in self._fits:
            found = fit(self._case, names, self._observed, self.is_state_hidden, self._basis)
            self.work.add(FIT * work_of(self._case, found.calls + 1))
            self._fits[chosen] = found
        return self._fits[chosen]

    def _begins_with(self, names: Names, calls: int) -> bool:
        """Whether deviations give the bits of the first calls."""
        start, seen = beginning(self._case, calls), self._observed[:calls]
        # The rate of a schedule may be off by units; the bounds allow for it.
        rateless = [{key: of for key, of in record.items() if key != "learning_rate"} for record in seen]
        return Rule(*self._basis.composed(names)).gives_bits(start, rateless, self.work)

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
        return self._fit(names).fits


def _by_support(partly: tuple[Names, Fit]) -> tuple[int, int]:
    """Order by the calls that are explained, and among equal ones by the elements that have other bits."""
    _, found = partly
    return -found.calls, found.differing


def _violation(case: Case, observed: Trajectory, is_state_hidden: bool) -> Violation | None:
    return judge(case, reference.run(case), observed, is_state_hidden).violation
