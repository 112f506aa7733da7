"""A target: an implementation that the kit can start, with the deviations that it is known for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import product

from sgd_ref.conformance.catalogue.case import Implementation
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.history.releases import Releases


class CannotRun(Exception):
    """Raised if an implementation cannot be run here, because something is not installed."""


@dataclass(frozen=True)
class Target:
    """An implementation to run.

    Attributes
    ----------
    name : str
        As it is shown.
    start : callable
        Returns a context manager that gives the implementation.
    explain : callable or None
        From a verdict that diverges or fails to the names of the known deviations that explain it.
    contradictions : frozenset of str
        The names among them that differ in meaning.
    evidence : mapping of str to str
        Where each name was seen, or was reported.
    introduces_itself : bool
        Whether it sends a handshake with its name and its claims.
    runs_to_shrink : int
        How often it may be run to shrink one case.
    rule : str
        The documented rule that it is held to where nothing else is said.
    by_design : frozenset of str
        Names of known deviations that its documentation states, which become parts of the rule.
    offers : tuple of str or None
        What it offers, as for ``sgd-ref conform --offers``: it is asked the cases within. None: all cases.
    named_together : bool
        Whether names are found over all cases of a run, and excuse nothing that its ledger does not list.
        `explain` then serves where single cases are run, and names failures.
    """

    name: str
    start: Callable[[], AbstractContextManager[Implementation]]
    explain: Callable[[Verdict], tuple[str, ...]] | None = None
    contradictions: frozenset[str] = frozenset()
    evidence: Mapping[str, str] = field(default_factory=dict)
    introduces_itself: bool = False
    runs_to_shrink: int = 150
    rule: str = "keras"
    by_design: frozenset[str] = frozenset()
    offers: tuple[str, ...] | None = None
    named_together: bool = False

    @property
    def dialect(self) -> Dialect:
        """The rule that it is held to where nothing else is said."""
        return Dialect.of(self.rule, self.by_design)


@dataclass(frozen=True)
class Option:
    """An option of a family on the command line.

    Attributes
    ----------
    values : tuple of str
        The default first.
    help : str
        The text for the help of the command.
    """

    values: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Family:
    """The implementations that one word on the command line stands for.

    Attributes
    ----------
    options : mapping of str to Option
        What can be chosen among them, by the name of the option.
    member : callable
        From one value of each option to the implementation.
    how_to_run : callable
        From a case and one value of each option, by its name, to the code that defines ``run(case)`` in a
        self-contained script; raises ValueError for a case that it cannot express.
    absent : mapping of tuple of str to str
        Values that go together with nothing to run, and why.
    environment : Environment or None
        What is installed for it apart; None if it runs in the environment of this package.
    releases : callable or None
        From one value of each option to the releases that can be asked; None if none can.
    """

    options: Mapping[str, Option]
    member: Callable[..., Target]
    how_to_run: Callable[..., str]
    absent: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    environment: Environment | None = None
    releases: Callable[..., Releases] | None = None

    def combinations(self) -> list[tuple[str, ...]]:
        """Return the values of the options of each implementation that there is."""
        everything = product(*(option.values for option in self.options.values()))
        return [values for values in everything if values not in self.absent]
