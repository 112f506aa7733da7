"""The diagnosis of a divergence: which known deviation it equals, and where the two part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis.closeness import leaves_rounding_only
from sgd_ref.conformance.diagnosis.parting import Parting, parting
from sgd_ref.conformance.diagnosis.replay import equals, equals_call_by_call, replayed, steps
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a divergence.

    Attributes
    ----------
    names : tuple of tuple of str
        Known deviations, alone or in pairs, that the trajectory equals; several where this case does not
        tell them apart.
    is_exact : bool
        Whether the trajectory equals them to the bit; otherwise they explain it except for rounding.
    parting : Parting or None
        Where the trajectory parts from that of the reference: call, stage, variable, element and bits.
    """

    names: tuple[tuple[str, ...], ...] = ()
    is_exact: bool = True
    parting: Parting | None = None

    def __str__(self) -> str:
        if not self.names:
            return "it equals no known deviation"
        alternatives = ", or ".join(" with ".join(names) for names in self.names)
        return f"it equals {alternatives}" + ("" if self.is_exact else ", but for rounding")


def diagnose(
    case: Case,
    observed: Trajectory,
    with_pairs: bool = False,
    candidates: Iterable[str] | None = None,
) -> Diagnosis:
    """Find the known deviations with the same trajectory as the observed one.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    with_pairs : bool, default False
        Whether pairs are tried where no deviation alone does it, which takes seconds.
    candidates : iterable of str, optional
        Names of deviations; all by default.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> wrong = replayed(case, ["ascends"])
    >>> diagnose(case, wrong).names
    (('ascends',),)
    """
    where = parting(case, observed)
    if where is None:
        return Diagnosis()
    start = _beginning(case, where.difference.call + 1)
    names: list[tuple[str, ...]] = [(name,) for name in (DEVIATIONS if candidates is None else candidates)]
    expected = reference.run(start)
    # One that does nothing explains nothing.
    alone = [name for name in names if not compare(start, expected, replayed(start, name)).equal]
    likely = [name for name in alone if _explains(start, observed, name)]
    exact = tuple(name for name in likely if equals(case, observed, name))
    if not exact and with_pairs:
        right = reference.run(case)
        acting = [name for name in names if not compare(case, right, replayed(case, name)).equal]
        pairs = [(*first, *second) for first, second in combinations(acting, 2)]
        likely_pairs = [pair for pair in pairs if equals(start, observed, pair)]
        exact = tuple(pair for pair in likely_pairs if equals(case, observed, pair))
    if exact:
        return Diagnosis(exact, True, where)
    return Diagnosis(tuple(name for name in likely if _explains(case, observed, name)), False, where)


def equal_alone(case: Case, observed: Trajectory) -> tuple[str, ...]:
    """Return the names of the known deviations that alone give every observed bit.

    A deviation may give the bits from the beginning of the case, or in each call from the state observed
    before it. The first way finds deviations in the state between calls. The second finds those in
    implementations that also round differently in each call.

    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "named/exclusion-is-a-substring")
    >>> "exclusion-by-pattern" in equal_alone(case, replayed(case, ["exclusion-by-pattern"]))
    True
    """
    made = steps(case, observed)
    return tuple(
        name for name in DEVIATIONS if equals(case, observed, (name,)) or equals_call_by_call(made, (name,))
    )


def count(diagnoses: Iterable[Diagnosis]) -> Counter[tuple[str, ...]]:
    """Return in how many of several divergences each deviation, or pair, was found."""
    return Counter(names for diagnosis in diagnoses for names in diagnosis.names)


def _beginning(case: Case, calls: int) -> Case:
    """Return the first calls of a case, in which most deviations can be ruled out."""
    if calls >= len(case.gradients):
        return case
    rates = case.learning_rate_calls
    return replace(
        case,
        gradients=case.gradients[:calls],
        learning_rate_calls=None if rates is None else rates[:calls],
        finalize=False,
    )


def _explains(case: Case, observed: Trajectory, names: tuple[str, ...]) -> bool:
    """Whether deviations equal the observed trajectory, or leave next to nothing of the differences."""
    wrong = replayed(case, names)
    given = observed[: len(wrong)]
    return compare(case, wrong, given).equal or leaves_rounding_only(reference.run(case), wrong, given)
