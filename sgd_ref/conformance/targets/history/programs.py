"""The scripts that a release runs, for each contradiction of a target."""

from __future__ import annotations

from dataclasses import dataclass

from sgd_ref.conformance.targets.bugs.bug import bugs
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.scripts.of_finding import script_of

THIS_PACKAGE = "sgd_ref.conformance"


@dataclass(frozen=True)
class Program:
    """The scripts of one contradiction.

    Attributes
    ----------
    case : str
        The script of the finding, which compares every bit; empty if it needs more than the framework.
    lines : str
        The ten lines of the bug report, which use the framework as its users do; empty if there is no report.
    """

    case: str = ""
    lines: str = ""


def programs(target: str) -> dict[str, Program]:
    """Return the scripts of a target, by the names of the contradictions.

    >>> sorted(programs("keras jax eager"))[:2]
    ['accumulator-kept-without-gradient', 'averages-on-every-call']
    """
    lines = {bug.contradiction: bug.script for bug in bugs() if bug.target == target}
    cases = {name: script_of(finding, target) for name, finding in kept(target).items()}
    cases = {name: text for name, text in cases.items() if THIS_PACKAGE not in text}
    names = sorted({*cases, *lines})
    return {name: Program(cases.get(name, ""), lines.get(name, "")) for name in names}
