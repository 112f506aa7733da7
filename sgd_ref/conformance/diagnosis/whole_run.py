"""The diagnoses of all divergences of one run, with as few known deviations as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.protection import protected
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.exposing import cases_that_expose
from sgd_ref.conformance.diagnosis.matching import (
    Diagnosis,
    as_diagnosis,
    at_least,
    diagnose,
    of_window,
    without_velocities,
)
from sgd_ref.conformance.diagnosis.names import Explained, Names, supported
from sgd_ref.conformance.diagnosis.parting import parting
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.diagnosis.window import around_violation
from sgd_ref.conformance.diagnosis.work import Work

LEAST_SHARE = 0.75
"""The least share, among the graded cases that expose a deviation, in which it must be seen to be
believed."""

MOST_LOOKED_AT = 8
"""The largest number of passing cases in which a name is checked before it is believed."""

MOST_FREQUENT = 6
"""How many frequent names of the run are tried together on a case that no single name explains."""

MOST_TOGETHER = 3
"""The largest number of frequent names in one choice."""

MOST_KNOWN = 24
"""How many choices of several names that explain some cases are tried on the others."""

WORK_FOR_RUN = 150_000
"""The work of a run, in the unit of `work_of`, after which a case is only asked for names that explain other
cases, and for the most frequent names together; about half a minute."""


def diagnoses(
    diverging: Mapping[str, tuple[Case, Trajectory]],
    right: Mapping[str, tuple[Case, Trajectory]],
    is_state_hidden: bool = False,
    basis: Basis = DEFINITION,
    known: Collection[str] = (),
) -> dict[str, Diagnosis]:
    """Return the diagnosis of each divergence of a run.

    A deviation that should show in many cases of the run, but does not, is not named. Of the names for a
    case, the name that explains most cases of the run is chosen.

    Parameters
    ----------
    diverging : mapping of str to (Case, trajectory)
        By the id of the case, the cases that diverge, with the answers.
    right : mapping of str to (Case, trajectory)
        The same for the graded cases that do not diverge.
    is_state_hidden : bool, default False
        Whether the state may be wider than the reported one.
    basis : Basis, optional
        The rule that all cases diverge from; its own deviations are not named.
    known : collection of str, optional
        Names that are tried first, and believed also where they do not show in other cases: the source of
        the implementation says why.

    Returns
    -------
    dict of str to Diagnosis
        By the id of the case.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.diagnosis.replay import replayed
    >>> case = conformance.cases("smoke")[0]
    >>> found = diagnoses({case.id: (case, replayed(case, ["ascends"]))}, {})
    >>> print(found[case.id])
    it equals ascends
    """
    return _Run(diverging, right, is_state_hidden, basis, frozenset(known)).diagnoses()


class _Run:
    def __init__(
        self,
        diverging: Mapping[str, tuple[Case, Trajectory]],
        right: Mapping[str, tuple[Case, Trajectory]],
        is_state_hidden: bool,
        basis: Basis,
        known: frozenset[str],
        work: Work | None = None,
    ) -> None:
        self._diverging = diverging
        self._right = {case_id: one for case_id, one in right.items() if one[0].made is None}
        self._is_state_hidden, self._basis, self._known = is_state_hidden, basis, known
        self._share_of = cache(self._share_of_one)
        self._work = Work() if work is None else work
        self._cuts = {
            case_id: around_violation(protected(case), observed, is_state_hidden, basis)
            for case_id, (case, observed) in diverging.items()
            if case.made is None
        }
        self._searches = {
            case_id: Search(
                cut.case, cut.observed, cut.candidates(None, basis), is_state_hidden, basis, self._work
            )
            for case_id, cut in self._cuts.items()
        }
        self._found: dict[str, Sequence[Explained]] = {}
        self._partly: dict[str, tuple[Names, Fit]] = {}

    def diagnoses(self) -> dict[str, Diagnosis]:
        """Return the diagnoses; single deviations are tried before several together."""
        for case_id, search in self._searches.items():
            self._keep(case_id, self._by_known(search) or self._alone(search))
        self._together()
        self._any_pairs()
        chosen = self._chosen()
        found = {case_id: self._diagnosis(case_id, chosen) for case_id in self._diverging}
        return found | self._with_other_velocities()

    def _with_other_velocities(self) -> dict[str, Diagnosis]:
        """Return the diagnoses of cases that are explained only if the velocities are left out."""
        left = {
            case_id: self._diverging[case_id]
            for case_id in self._unexplained()
            if self._searches[case_id].may_have_other_velocities
        }
        shown = _Run(
            _without_velocities(left),
            _without_velocities(self._right),
            self._is_state_hidden,
            self._basis,
            self._known,
            self._work,
        )
        for case_id, search in shown._searches.items():
            shown._keep(case_id, search.alone())
        shown._together()
        chosen = shown._chosen()
        right = {case_id for case_id, search in shown._searches.items() if search.violation is None}
        return {
            case_id: replace(
                shown._diagnosis(case_id, chosen) if case_id in chosen else Diagnosis(),
                parting=parting(*self._diverging[case_id], self._basis),
                has_other_velocities=True,
            )
            for case_id in right | chosen.keys()
        }

    def _by_known(self, search: Search) -> Sequence[Explained]:
        """Return what the fewest known names explain together, if they do."""
        for size in range(1, MOST_TOGETHER + 1):
            found = search.among(combinations(sorted(self._known), size))
            if found:
                return found
        return []

    def _alone(self, search: Search) -> Sequence[Explained]:
        """Return the deviations that alone explain a case, and with another one if they hardly do."""
        found = search.alone()
        return supported([*search.with_support(found), *found]) if found and self._has_work_left() else found

    def _keep(self, case_id: str, found: Sequence[Explained]) -> None:
        believed = [one for one in found if self._share(one.names) >= LEAST_SHARE]
        cut = self._cuts[case_id]
        if believed and not cut.is_all and cut.is_compared:
            hidden, basis = self._is_state_hidden, self._basis
            fits = [(one.names, cut.fit_of_all(one.names, hidden, basis)) for one in believed]
            believed = [Explained(names, found.differing) for names, found in fits if found.fits]
            self._partly[case_id] = max(fits, key=lambda one: one[1].calls)
        if believed:
            self._found[case_id] = believed

    def _share(self, names: Names) -> float:
        return min(map(self._share_of, names), default=0.0)

    def _share_of_one(self, name: str) -> float:
        """Return the share of the graded cases exposing a deviation in which it may be at work."""
        if name in self._known:
            return 1.0
        exposing = cases_that_expose(name)
        seen = len(exposing & self._diverging.keys())
        others = sorted(exposing & self._right.keys())
        looked_at = others[:: -(-len(others) // MOST_LOOKED_AT) or 1]
        absent = sum(not self._fits(case_id, name) for case_id in looked_at)
        missing = len(others) * absent / max(len(looked_at), 1)
        return 1 - missing / (seen + len(others)) if missing else 1.0

    def _fits(self, case_id: str, name: str) -> bool:
        case, observed = self._right[case_id]
        return fit(case, (name,), observed, self._is_state_hidden, self._basis).fits

    def _unexplained(self) -> list[str]:
        explained = self._found.keys() | self._partly.keys()
        return [case_id for case_id in self._searches if case_id not in explained]

    def _frequent(self) -> list[str]:
        """Return the names that explain, or partly explain, the most cases."""
        counts = Counter(name for found in self._found.values() for one in found for name in one.names)
        partly = Counter(
            name
            for case_id in self._unexplained()
            if (farthest := self._searches[case_id].farthest) is not None
            for name in farthest[0]
        )
        names = [name for name, _ in (counts + partly).most_common()]
        return [name for name in names if self._share((name,)) >= LEAST_SHARE][:MOST_FREQUENT]

    def _together(self) -> None:
        """Try the most frequent names together, and more names beside those that explain first calls."""
        frequent = self._frequent()
        choices = [some for size in range(2, MOST_TOGETHER + 1) for some in combinations(frequent, size)]
        for case_id in self._unexplained():
            search = self._searches[case_id]
            self._keep(case_id, search.among_likely(self._found_together(search)))
            if case_id not in self._found and self._has_work_left():
                self._keep(case_id, search.extended())
            if case_id not in self._found:
                self._keep(case_id, search.among_likely(choices)[:1])

    def _any_pairs(self) -> None:
        """Try any pairs until the work of a run is done, and what is found for one case on the others."""
        for case_id in self._unexplained():
            search = self._searches[case_id]
            self._keep(case_id, search.among_likely(self._found_together(search)))
            if case_id not in self._found and self._has_work_left():
                self._keep(case_id, search.pairs(frozenset(self._frequent())))
            if case_id not in self._found and self._has_work_left():
                self._keep(case_id, search.extended_again())
        for case_id in self._unexplained():
            search = self._searches[case_id]
            self._keep(case_id, search.among_likely(self._found_together(search)))

    def _found_together(self, search: Search) -> list[Names]:
        """Return the choices of several names that explain a case, those that explain most cases first.

        Names that change nothing in the case of the search are left out of the choices.
        """
        explained = [one.names for found in self._found.values() for one in found if len(one.names) > 1]
        acting = [search.those_that_may_act(names) for names, _ in Counter(explained).most_common(MOST_KNOWN)]
        return [names for names in dict.fromkeys(acting) if names]

    def _has_work_left(self) -> bool:
        return self._work.done < WORK_FOR_RUN

    def _chosen(self) -> dict[str, Names]:
        """Return for each explained case the explanation that explains most cases."""
        left = dict(self._found)
        chosen: dict[str, Names] = {}
        while left:
            counts = Counter(one.names for found in left.values() for one in found)
            exact = Counter(one.names for found in left.values() for one in found if one.is_exact)
            best = max(counts, key=lambda one: (counts[one], self._share(one), exact[one], -len(one)))
            covered = [case_id for case_id, found in left.items() if any(one.names == best for one in found)]
            chosen |= dict.fromkeys(covered, best)
            left = {case_id: found for case_id, found in left.items() if case_id not in chosen}
        return chosen

    def _diagnosis(self, case_id: str, chosen: Mapping[str, Names]) -> Diagnosis:
        case, observed = self._diverging[case_id]
        if case_id not in self._searches:
            return diagnose(case, observed, basis=self._basis)
        where = parting(case, observed, self._basis)
        if case_id in chosen:
            found = [one for one in self._found[case_id] if one.names == chosen[case_id]]
            cut = self._cuts[case_id]
            looked_at = (None, None) if cut.is_compared else (cut.calls, cut.elements)
            return replace(as_diagnosis(found, where), calls=looked_at[0], elements=looked_at[1])
        search = self._searches[case_id]
        if case_id in self._partly:
            names, found_of_all = self._partly[case_id]
            return Diagnosis((names,), found_of_all.is_exact, where, found_of_all.calls)
        found_at_least = at_least(search, where)
        if found_at_least.names and self._share(found_at_least.names[0]) < LEAST_SHARE:
            return Diagnosis(parting=where, pairs_tried=search.pairs_tried)
        return of_window(found_at_least, self._cuts[case_id], self._is_state_hidden, self._basis)


def _without_velocities(
    answers: Mapping[str, tuple[Case, Trajectory]],
) -> dict[str, tuple[Case, Trajectory]]:
    """Return the answers that report velocities, without them."""
    shown = {case_id: (case, without_velocities(observed)) for case_id, (case, observed) in answers.items()}
    return {case_id: (case, observed) for case_id, (case, observed) in shown.items() if observed is not None}
