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
    """Raised if an implementation cannot be run here because something is not installed."""


@dataclass(frozen=True)
class Target:
    """An implementation to run.

    Attributes
    ----------
    name : str
        The name as it is shown.
    start : callable
        Returns a context manager that gives the implementation.
    explain : callable or None
        A function from a verdict that diverges or fails to the names of the known deviations that explain it.
    contradictions : frozenset of str
        The names among them that contradict the documentation.
    evidence : mapping of str to str
        For each name, where it was seen or reported.
    introduces_itself : bool
        Whether it sends a handshake with its name and its claims.
    runs_to_shrink : int
        The largest number of runs to shrink one case.
    rule : str
        The documented rule that it is held to by default.
    by_design : frozenset of str
        Names of known deviations that its documentation states, which become parts of the rule.
    offers : tuple of str or None
        The offered features, as for ``sgd-ref conform --offers``: only cases within these features are asked.
        None: all cases are asked.
    named_together : bool
        Whether names are found over all cases of a run together, and do not excuse mismatches that its ledger
        does not list. Then `explain` only explains single cases, and names failures.
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
        """The rule that the target is held to by default."""
        return Dialect.of(self.rule, self.by_design)


@dataclass(frozen=True)
class Option:
    """An option of a family on the command line.

    Attributes
    ----------
    values : tuple of str
        The values; the first is the default.
    help : str
        The text for the help of the command.
    """

    values: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Family:
    """The implementations that one name on the command line stands for.

    Attributes
    ----------
    options : mapping of str to Option
        The options that choose among them, by name.
    member : callable
        A function from one value of each option to the implementation.
    how_to_run : callable
        A function from a case and one value of each option, by name, to the code that defines ``run(case)``
        in a self-contained script. It raises ValueError for a case that it cannot express.
    absent : mapping of tuple of str to str
        Combinations of values without an implementation, each with the reason.
    environment : Environment or None
        The environment of its own; None if it runs in the environment of this package.
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
        """Return the values of the options for each existing implementation."""
        everything = product(*(option.values for option in self.options.values()))
        return [values for values in everything if values not in self.absent]
