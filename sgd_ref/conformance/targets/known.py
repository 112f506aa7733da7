"""The form of records of known deviations and failures of an implementation, with evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sgd_ref.conformance.catalogue.case import Case


@dataclass(frozen=True)
class KnownDeviation:
    """A deviation that some variants of an implementation are known to have.

    Attributes
    ----------
    name : str
        The deviation.
    evidence : str
        File and function, and the address of a public thread if there is one.
    concerns : callable
        Whether it may show in a case.
    variants : tuple of str
        The variants that have it.
    """

    name: str
    evidence: str
    concerns: Callable[[Case], bool]
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """The known deviations and failures of one variant of an implementation.

    Attributes
    ----------
    deviations : mapping of str to str
        Names of deviations, in the order in which they are tried, each with its evidence.
    failures : tuple of KnownFailure
        Errors that it raises.
    """

    deviations: Mapping[str, str]
    failures: tuple[KnownFailure, ...]


def expected_in(case: Case, variant: str, known: Sequence[KnownDeviation]) -> tuple[str, ...]:
    """Return the names of the deviations that a variant may show in a case, in their order.

    >>> flushed = KnownDeviation("subnormals-flushed", "seen", lambda case: True, ("jitted",))
    >>> case = Case("a", {}, (), (), ())
    >>> expected_in(case, "jitted", [flushed]), expected_in(case, "eager", [flushed])
    (('subnormals-flushed',), ())
    """
    return tuple(one.name for one in known if variant in one.variants and one.concerns(case))


def known_for(variant: str, known: Sequence[KnownDeviation], failures: tuple[KnownFailure, ...]) -> Known:
    """Return the known deviations and failures of one variant."""
    return Known({one.name: one.evidence for one in known if variant in one.variants}, failures)


@dataclass(frozen=True)
class KnownFailure:
    """An error that an implementation is known to raise.

    Attributes
    ----------
    name : str
        The name of the failure.
    pattern : str
        A regular expression that its message contains.
    concerns : callable
        Whether it is expected in a case.
    evidence : str
        The cause of the error.
    """

    name: str
    pattern: str
    concerns: Callable[[Case], bool]
    evidence: str


def known_failure(case: Case, message: str, failures: Sequence[KnownFailure]) -> str | None:
    """Return the name of the first known failure that the message of an error shows, if there is one.

    >>> out_of_memory = KnownFailure("out-of-memory", "memory", lambda case: True, "seen")
    >>> case = Case("a", {}, (), (), ())
    >>> known_failure(case, "MemoryError: no memory left", [out_of_memory])
    'out-of-memory'
    >>> known_failure(case, "ValueError", [out_of_memory])
    """
    for failure in failures:
        if failure.concerns(case) and re.search(failure.pattern, message):
            return failure.name
    return None
