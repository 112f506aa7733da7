"""``parametrize_with_cases``: a test function that is an implementation, with one test for each case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.tiers import TIERS
from sgd_ref.conformance.catalogue.tiers import cases as catalogue
from sgd_ref.conformance.grading.check import chosen
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.validation import reject_type, reject_value

ATTRIBUTE = "sgd_ref_asked"

ARGUMENT = "case"
"""The argument of the test function that takes the case."""

TIERS_OF_TESTS = tuple(tier for tier in TIERS if tier != "full")
"""The full tier has far too many cases to be collected as tests."""

NOTHING_DECLARED = Profile()

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Asked:
    """The cases for a test function, and how they are judged.

    Attributes
    ----------
    tier : str
        The tier of the cases, if no cases are given.
    given : tuple of Case or None
        The cases that are given.
    profile : Profile
        What the implementation declares of itself.
    ledger : Path or None
        The file with the expected results; relative to the folder of the test.
    """

    tier: str = "smoke"
    given: tuple[Case, ...] | None = None
    profile: Profile = NOTHING_DECLARED
    ledger: Path | None = None

    def cases(self) -> Sequence[Case]:
        """Return the cases in the form in which the function gets them.

        Raises
        ------
        ValueError
            If two have the same id.
        """
        found = list(chosen(catalogue(self.tier) if self.given is None else self.given, self.profile))
        seen: set[str] = set()
        for case in found:
            if case.id in seen:
                raise ValueError(f"cases must have distinct ids, got {case.id!r} twice")
            seen.add(case.id)
        return found


def asked_of(function: object) -> Asked | None:
    """Return the cases for a function that `parametrize_with_cases` decorated; None for any other function.

    >>> asked_of(parametrize_with_cases("first")(lambda case: [])).tier
    'first'
    >>> asked_of(print) is None
    True
    """
    asked = getattr(function, ATTRIBUTE, None)
    return asked if isinstance(asked, Asked) else None


def parametrize_with_cases(
    tier: str = "smoke",
    *,
    cases: Iterable[Case] | None = None,
    profile: Profile | None = None,
    ledger: str | PathLike[str] | None = None,
) -> Callable[[Function], Function]:
    """Make one test for each case from a test function that is an implementation of SGD.

    The function takes the argument `case` and returns a trajectory, as for `check`. It may take fixtures
    besides. It may raise `Unsupported`, which skips the test. The function itself stays as it is, so that
    ``sgd-ref conform test_module:test_function`` runs it, too.

    Parameters
    ----------
    tier : {"first", "smoke", "standard"}
        Which cases.
    cases : iterable of Case, optional
        The cases themselves, instead of a tier.
    profile : Profile, optional
        What the implementation declares of itself.
    ledger : path, optional
        The file of the expected results, which ``sgd-ref conform --ledger FILE --update`` writes; relative
        to the folder of the test. A test whose case it lists must fail as it says there.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> @conformance.parametrize_with_cases(tier="first")
    ... def test_sgd(case):
    ...     return reference.run(case)
    >>> test_sgd.profile.claims()
    []
    """
    if tier not in TIERS_OF_TESTS:
        reject_value("tier", tier, f"one of {', '.join(TIERS_OF_TESTS)}")
    if profile is not None and not isinstance(profile, Profile):
        reject_type("profile", profile, "a conformance.Profile")
    if ledger is not None and not isinstance(ledger, (str, PathLike)):
        reject_type("ledger", ledger, "the path of a file")
    given = None if cases is None else tuple(cases)
    for case in given or ():
        if not isinstance(case, Case):
            reject_type("cases", case, "conformance.Case in it")
    if given == ():
        raise ValueError("cases must hold at least one case, got none")
    asked = Asked(tier, given, profile or NOTHING_DECLARED, None if ledger is None else Path(ledger))

    def decorated(function: Function) -> Function:
        if asked_of(function) is not None:
            reject_type("what is decorated", function, "a test function, decorated once")
        # `check` and the command line read the first, and the plugin the second.
        setattr(function, "profile", asked.profile)  # noqa: B010 - a function has it from here alone
        setattr(function, ATTRIBUTE, asked)
        return function

    return decorated
