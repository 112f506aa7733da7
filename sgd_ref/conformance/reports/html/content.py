"""The content of the page, whether it comes from a run or from kept results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgd_ref.conformance.reports.html.plot import Plot

Key = tuple[str, str]
"""A row in which a case is counted: an axis with its value, or "cases" with the group of its id."""

RIGHT = "right"
"""The grade of a case that is exact or rounding, if the kept results do not say which."""


@dataclass(frozen=True)
class Run:
    """One implementation.

    Attributes
    ----------
    name, versions : str
        The implementation, and the versions of its packages.
    result : str
        The result of the run, in a few words.
    is_good : bool
        Whether the result is as it should be.
    counts : mapping of str to int
        How many cases have each grade.
    features : mapping of (str, str) to mapping of str to int
        The same for each feature and each group of cases.
    cases : mapping of str to str
        The grade of each case that was asked.
    notes : tuple of str
        Further remarks.
    """

    name: str
    versions: str
    result: str
    is_good: bool
    counts: Mapping[str, int]
    features: Mapping[Key, Mapping[str, int]]
    cases: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A plot in the text of a divergence.

    Attributes
    ----------
    plot : Plot or None
        The element in which the divergence begins; None if there are no numbers to draw.
    what : str
        The first wrong value, in words.
    name : str
        The contradiction whose smallest case this is; empty for the case itself.
    command : str
        The command that shows the element again; empty if it is the command of the case.
    """

    plot: Plot | None
    what: str
    name: str = ""
    command: str = ""


@dataclass(frozen=True)
class Divergence:
    """One case that diverges or fails.

    Attributes
    ----------
    run : int
        The position of the run.
    case, grade : str
        The id of the case, and its grade; no grade for a case that counts as right and is shown all the same.
    names : tuple of str
        The known mistakes that explain the divergence.
    partly : str
        The explanation of a part of the divergence, in words.
    is_expected : bool
        Whether the divergence is expected, so that it does not count.
    features : frozenset of (str, str)
        The rows in which the case is counted.
    pictures : tuple of Picture
        The plots of the divergence.
    message : str
        The message of the verdict.
    reproducer : str
        A command that shows the divergence.
    elsewhere : tuple of str
        Those of its names whose smallest case is plotted with another divergence of the run.
    """

    run: int
    case: str
    grade: str
    names: tuple[str, ...]
    partly: str
    is_expected: bool
    features: frozenset[Key]
    pictures: tuple[Picture, ...]
    message: str
    reproducer: str
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """The whole content of the page.

    Attributes
    ----------
    runs : sequence of Run
        The runs, in the order of the columns.
    divergences : sequence of Divergence
        The divergences, in the order of the runs.
    evidence : mapping of str to sequence of str
        By the name of a mistake, where it was seen in the sources of an implementation.
    since : mapping of str to sequence of str
        By the name of a mistake, since which release it is there, and where it was mended.
    is_kept : bool
        Whether nothing was run for the page.
    """

    runs: Sequence[Run]
    divergences: Sequence[Divergence]
    evidence: Mapping[str, Sequence[str]]
    since: Mapping[str, Sequence[str]]
    is_kept: bool
