"""The diagnosis of one divergence: the known deviations within whose bounds the trajectory lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.protection import protected
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.deviations.mistakes import STRUCTURAL
from sgd_ref.conformance.diagnosis.candidates import beginning, suiting
from sgd_ref.conformance.diagnosis.names import Explained, Names, are_roundings, supported
from sgd_ref.conformance.diagnosis.other_settings import OtherSetting
from sgd_ref.conformance.diagnosis.parting import Parting, parting
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.diagnosis.window import Window, around_violation
from sgd_ref.conformance.diagnosis.work import work_of
from sgd_ref.conformance.trajectories.comparison import are_equal

WORK_ON_STRUCTURE = 20_000
"""The work on structural deviations in a large case that a part of it does not explain; a few seconds."""

THEIR_FORM = "the documented ones (Velocities declares another form)"
ALL_BUT_VELOCITIES = f"all is as defined, but the velocities that it reports are not {THEIR_FORM}"


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a divergence.

    Attributes
    ----------
    names : tuple of tuple of str
        Sets of one or more known deviations that explain the trajectory: it lies within the derived bounds of
        the rule with these deviations. There are several sets if this case does not tell them apart.
    is_exact : bool
        Whether the trajectory has the very bits of these deviations.
    parting : Parting or None
        Where the trajectory departs from the reference: call, stage, variable, element and bits.
    up_to : int or None
        If `names` explain the first violation, but not the whole trajectory: the first call that they do not
        explain.
    has_other_velocities : bool
        Whether `names`, or the rule itself if there are no names, explain everything but the reported
        velocities. The velocities may have another form, for example without the learning rate.
        ``Velocities`` declares such a form.
    calls : tuple of int or None
        If the case is too long for all of its calls: the first and the last call that were looked at.
    pairs_tried : int
        How many pairs of deviations were tried, the likeliest first. If there is no name, none of them is the
        reason; other pairs may not have been tried.
    setting : OtherSetting or None
        If there are no names: a setting of which another value explains the whole trajectory.
    elements : tuple of int or None
        If the case is too large for all of its elements: how many were looked at, and of how many.
    """

    names: tuple[Names, ...] = ()
    is_exact: bool = True
    parting: Parting | None = None
    up_to: int | None = None
    has_other_velocities: bool = False
    calls: tuple[int, int] | None = None
    pairs_tried: int = field(default=0, compare=False)
    setting: OtherSetting | None = None
    elements: tuple[int, int] | None = None

    def __str__(self) -> str:
        parts = [self._explained()]
        if self.calls is not None:
            first, last = self.calls
            parts.append(f"of this long case, calls {first} to {last} were looked at")
        if self.elements is not None:
            some, of = self.elements
            parts.append(f"of this large case, {some:,} of {of:,} elements were looked at")
        return "; ".join(parts)

    def _explained(self) -> str:
        if self.setting is not None:
            return f"it equals no known deviation, but the rule with {self.setting}"
        if not self.names:
            nothing = f"it equals no known deviation{self._tried()}"
            return ALL_BUT_VELOCITIES if self.has_other_velocities else nothing
        alternatives = ", or ".join(" with ".join(names) for names in self.names)
        rounding = "" if self.is_exact else ", but for rounding"
        if self.up_to is not None:
            equals = f"it equals {alternatives} up to call {self.up_to - 1}{rounding}"
            return f"{equals}; no known deviation explains call {self.up_to}{self._tried()}"
        equals = f"it equals {alternatives}{rounding}"
        if self.has_other_velocities:
            return f"{equals}; but the velocities that it reports are not {THEIR_FORM}"
        return equals

    def _tried(self) -> str:
        return f" ({self.pairs_tried} pairs of them were tried)" if self.pairs_tried else ""


def diagnose(
    case: Case,
    observed: Trajectory,
    candidates: Iterable[str] | None = None,
    is_state_hidden: bool = False,
    with_pairs: bool = True,
    basis: Basis = DEFINITION,
) -> Diagnosis:
    """Find the known deviations that explain a trajectory.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    candidates : iterable of str, optional
        Names of deviations; all by default.
    is_state_hidden : bool, default False
        Whether the state may be wider than the reported one.
    with_pairs : bool, default True
        Whether pairs are tried if no deviation alone explains the trajectory.
    basis : Basis, optional
        The rule that the trajectory diverges from, by default that of the reference; its own deviations are
        not named.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> print(diagnose(case, replayed(case, ["ascends"])))
    it equals ascends
    """
    # Some mistakes that are tried write over the gradients that they are given.
    case = protected(case)
    where = parting(case, observed, basis)
    if where is None:
        return Diagnosis()
    if case.made is not None:
        return _by_digests(case, observed, where, candidates, basis)
    cut = around_violation(case, observed, is_state_hidden, basis)
    candidates = cut.candidates(candidates, basis)
    search = Search(cut.case, cut.observed, candidates, is_state_hidden, basis)
    found = of_window(_found(search, cut, where, with_pairs, candidates, basis), cut, is_state_hidden, basis)
    if found.names or cut.elements is None:
        return found
    return _by_structure(cut, found, candidates, is_state_hidden, basis)


def _found(
    search: Search,
    cut: Window,
    where: Parting,
    with_pairs: bool,
    candidates: Iterable[str] | None,
    basis: Basis,
) -> Diagnosis:
    found = search.alone()
    if found and with_pairs:
        found = search.to_the_bit(found) or [*search.with_support(found, with_pairs), *found]
    if found:
        return as_diagnosis(found, where)
    shown = without_velocities(cut.observed) if search.may_have_other_velocities else None
    if shown is not None:
        search_without = Search(cut.case, shown, candidates, search.is_state_hidden, basis, search.work)
        found = [one for one in search_without.alone() if not search_without.is_weak(one)]
        if found or search_without.violation is None:
            return replace(as_diagnosis(found, where), has_other_velocities=True)
    if with_pairs:
        found = search.extended()
        if all(map(search.is_weak, found)):
            found += search.pairs()
        found = found or search.extended_again()
    return as_diagnosis(found, where) if found else at_least(search, where)


def of_window(diagnosis: Diagnosis, cut: Window, is_state_hidden: bool, basis: Basis) -> Diagnosis:
    """Return the diagnosis of a case from that of a part of it.

    What explains this part is compared with the whole answer, unless that takes too long. Then the
    diagnosis says what was looked at.
    """
    if cut.is_all:
        return diagnosis
    if diagnosis.up_to is not None:
        diagnosis = replace(diagnosis, up_to=cut.first + diagnosis.up_to)
    seen = replace(diagnosis, calls=cut.calls, elements=cut.elements)
    is_partly = diagnosis.has_other_velocities or diagnosis.up_to is not None
    if is_partly or not diagnosis.names or not cut.is_compared:
        return seen
    fits = [(names, cut.fit_of_all(names, is_state_hidden, basis)) for names in diagnosis.names]
    whole = [Explained(names, found.differing) for names, found in fits if found.fits]
    if whole:
        return as_diagnosis(whole, diagnosis.parting)
    names, best = max(fits, key=lambda one: one[1].calls)
    return replace(seen, names=(names,), is_exact=best.is_exact, up_to=best.calls)


def as_diagnosis(found: Sequence[Explained], where: Parting | None) -> Diagnosis:
    """Return a diagnosis from the explanations of a divergence; those with the very same bits come first.

    Deviations that only round differently are named only if nothing else explains the divergence.
    """
    contradicting = supported([one for one in found if not are_roundings(one.names)] or found)
    exact = [one for one in contradicting if one.is_exact]
    return Diagnosis(tuple(one.names for one in exact or contradicting), bool(exact), where)


def at_least(search: Search, where: Parting | None) -> Diagnosis:
    """Return the diagnosis where no names explain all: another setting, or what explains most calls."""
    setting = search.other_setting()
    if setting is not None:
        return Diagnosis(parting=where, pairs_tried=search.pairs_tried, setting=setting)
    if search.farthest is None:
        return Diagnosis(parting=where, pairs_tried=search.pairs_tried)
    names, found = search.farthest
    return Diagnosis((names,), found.is_exact, where, found.calls, pairs_tried=search.pairs_tried)


def without_velocities(observed: Trajectory) -> Trajectory | None:
    """Return a trajectory as if it did not report velocities; None if it reports none.

    >>> without_velocities([{"variables": [], "velocities": []}]), without_velocities([{"variables": []}])
    ([{'variables': []}], None)
    """
    if not any("velocities" in record for record in observed):
        return None
    return [{key: value for key, value in record.items() if key != "velocities"} for record in observed]


def equal_alone(case: Case, observed: Trajectory) -> Names:
    """Return the names of the known deviations that alone give every observed bit, from the beginning.

    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> equal_alone(case, replayed(case, ["ascends"]))
    ('ascends',)
    """
    names = suiting(case)
    return tuple(name for name in names if are_equal(case, replayed(case, [name]), observed))


def count(diagnoses: Iterable[Diagnosis]) -> Counter[Names]:
    """Count, over several divergences, how often each deviation or pair was found."""
    return Counter(names for diagnosis in diagnoses for names in diagnosis.names)


def _by_structure(
    cut: Window, found: Diagnosis, candidates: Iterable[str] | None, is_state_hidden: bool, basis: Basis
) -> Diagnosis:
    """Return structural deviations that explain a large case: some show in elements that were left out."""
    case = cut.whole
    names = [name for name in suiting(case, candidates, basis) if name in STRUCTURAL]
    affordable = names[: WORK_ON_STRUCTURE // work_of(case, len(case.gradients))]
    explained = Search(case, cut.answer, affordable, is_state_hidden, basis).alone()
    return as_diagnosis(explained, found.parting) if explained else found


def _by_digests(
    case: Case, observed: Trajectory, where: Parting, candidates: Iterable[str] | None, basis: Basis
) -> Diagnosis:
    """Return the deviations that give the digests of a big case, in which nothing is rounded."""
    start = beginning(case, where.difference.call + 1)
    seen = observed[: len(start.gradients)]
    names = suiting(case, candidates, basis)
    likely = [name for name in names if are_equal(start, basis.run(start, [name]), seen)]
    found = [(name,) for name in likely if are_equal(case, basis.run(case, [name]), observed)]
    return Diagnosis(tuple(found), True, where)
