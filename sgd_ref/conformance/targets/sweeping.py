"""Targets run by a sweep: cases are answered and graded in units, and one report is made of all of them."""

from __future__ import annotations

import atexit
import hashlib
import re
import sys
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.catalogue.combinations import full_ids
from sgd_ref.conformance.catalogue.tiers import cases as cases_of
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading import keeping
from sgd_ref.conformance.grading.answering import Alternatives
from sgd_ref.conformance.grading.check import chosen, grade_by_answers, report_of
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.sweep.running import Sweep
from sgd_ref.conformance.grading.sweep.software import differences
from sgd_ref.conformance.grading.sweep.unit import Json, Refused, Unit
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.protocol.handshake import Handshake
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.running import explained_alone, findings_of, matching, profile_of
from sgd_ref.conformance.targets.target import CannotRun, Target

CASES = 20
"""The number of cases of a unit, whose grading takes about a second."""

Offered = tuple[tuple[str, tuple[str, ...]], ...]
"""The values that cases may need, by axis, in a form that can be a key."""


@dataclass(frozen=True)
class Asked:
    """The facts about the whole run that a unit needs, as plain data that any machine can read.

    Attributes
    ----------
    name : str
        The name of the target.
    words : tuple of str
        The target on the command line, and its options as ``name=value``; empty for a program.
    program : tuple of str
        The program and its arguments; empty for a target.
    limits : tuple of float
        Seconds for one case of the program, and until its handshake.
    folder : str
        The folder where modules of the user lie.
    tier : str
        The tier of the cases.
    offered : Offered or None
        The values that the cases may need; None for all cases of the tier.
    held_to : Dialect or None
        The rule; None for the rule that the implementation declares.
    """

    name: str
    words: tuple[str, ...]
    program: tuple[str, ...]
    limits: tuple[float, float]
    folder: str
    tier: str
    offered: Offered | None
    held_to: Dialect | None

    def target(self) -> Target:
        """Return the target.

        Raises
        ------
        CannotRun, ValueError
            If it is not installed here.
        """
        if self.program:
            return registry.program(self.program, *self.limits)
        options = dict(word.split("=", 1) for word in self.words[1:])
        (found,) = (each for each in self._targets(options) if each.name == self.name)
        return found

    def _targets(self, options: Mapping[str, str]) -> list[Target]:
        # On another machine, the module of a user lies in the folder of the user, if it is a shared one.
        with _searched(self.folder):
            return registry.targets(self.words[0], **options)

    @property
    def offers(self) -> dict[str, Collection[str]] | None:
        """The values that cases may need, by axis."""
        return None if self.offered is None else {axis: frozenset(values) for axis, values in self.offered}


class Introduction(NamedTuple):
    """The declarations of a started target.

    Attributes
    ----------
    profile : Profile
        The profile by which it is graded.
    handshake : Handshake or None
        Its handshake, if it sends one.
    software : dict of str to str
        The versions of its packages, which must be the same for every worker.
    """

    profile: Profile
    handshake: Handshake | None
    software: dict[str, str]


def introduction(asked: Asked) -> Introduction:
    """Start a target, and return its declarations.

    Raises
    ------
    CannotRun
        If it cannot be started here.
    """
    target = asked.target()
    with target.start() as run:
        return _introduced(asked, target, run)


def positions(asked: Asked, pattern: re.Pattern[str] | None) -> Sequence[int]:
    """Return the positions of the cases of a tier whose id contains a match of a pattern.

    Raises
    ------
    ValueError
        If there is no such case.
    """
    if asked.tier != "full" or asked.offered is not None:
        every = _cases(asked.tier, asked.offered)
        found = [i for i, case in enumerate(every) if pattern is None or pattern.search(case.id)]
    elif pattern is None:
        return range(len(cases_of("full")))
    else:
        # Ids are cheap; a case is made only by the unit that asks it.
        found = [i for i, text in enumerate(full_ids()) if pattern.search(text)]
    if not found:
        assert pattern is not None
        raise ValueError(f"-k must match the id of a case of the {asked.tier} tier, got {pattern.pattern!r}")
    return found


def units(asked: Asked, wanted: Sequence[int], said: Introduction) -> list[Unit]:
    """Return the units that answer and grade some cases of a target.

    Parameters
    ----------
    asked : Asked
        The target.
    wanted : sequence of int
        Positions of cases, from `positions`.
    said : Introduction
        The declarations of the target here; a worker on which they differ is refused.
    """
    shares = (wanted[start : start + CASES] for start in range(0, len(wanted), CASES))
    return [
        Unit(
            f"{asked.name}/{number:05}",
            partial(_graded, asked, tuple(share), tuple(said.software.items())),
        )
        for number, share in enumerate(shares)
    ]


def findings(asked: Asked, wanted: Sequence[int], said: Introduction, sweep: Sweep) -> Findings | None:
    """Return the findings of all finished units of a target; None if no unit is finished.

    They are the same as from one process that runs the same cases. Their duration is the sum
    over the units.
    """
    target, every = asked.target(), _cases(asked.tier, asked.offered)
    graded: dict[str, Alternatives] = {}
    names: dict[str, tuple[str, ...]] = {}
    seconds = 0.0
    for unit, result in sweep.results(units(asked, wanted, said)):
        seconds += result["seconds"]
        start = int(unit.id.rpartition("/")[2]) * CASES
        share = wanted[start : start + CASES]
        for position, kept in zip(share, result["cases"], strict=True):
            case = _as_sent(every[position], said.profile)
            graded[case.id] = keeping.from_json(kept, case, said.profile)
            if "names" in kept:
                names[case.id] = tuple(kept["names"])
    if not graded:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = report_of(graded, asked.name, said.profile, seconds)
        for identifier, verdict in report.verdicts.items():
            if target.explain is not None and verdict.grade in explained_alone(target):
                names.setdefault(identifier, target.explain(verdict))
    known = {i: of for i, of in names.items() if report.verdicts[i].grade in ("diverges", "error")}
    return findings_of(target, report, known, said.handshake)


def _graded(asked: Asked, share: Sequence[int], expected: Sequence[tuple[str, str]]) -> Json:
    """Answer and grade the cases of one unit."""
    started = time.perf_counter()
    target, run, said = _STARTED.get(asked)
    differing = differences(dict(expected), said.software)
    if differing:
        raise Refused(f"another {asked.name}: {differing}; restart a worker that keeps an old module")
    every, kept = _cases(asked.tier, asked.offered), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position in share:
            graded = grade_by_answers(run, _as_sent(every[position], said.profile), said.profile)
            best = graded.best()
            document = keeping.to_json(graded)
            if target.explain is not None and best.grade in explained_alone(target):
                document["names"] = list(target.explain(best))
            kept.append(document)
    return {"cases": kept, "seconds": time.perf_counter() - started}


class _Started:
    """The target that this process has started, which serves one unit after the other."""

    def __init__(self) -> None:
        self._asked: Asked | None = None
        self._stack = ExitStack()
        self._found: tuple[Target, Implementation, Introduction] | None = None
        atexit.register(self.close)

    def get(self, asked: Asked) -> tuple[Target, Implementation, Introduction]:
        """Return the target, started, with what it says of itself."""
        if self._found is None or asked != self._asked:
            self.close()
            try:
                target = asked.target()
                run = self._stack.enter_context(target.start())
                self._found = target, run, _introduced(asked, target, run)
            except (CannotRun, ValueError) as problem:
                raise Refused(str(problem)) from problem
            self._asked = asked
        return self._found

    def close(self) -> None:
        """End the target."""
        self._found = None
        self._stack.close()


_STARTED = _Started()


def _introduced(asked: Asked, target: Target, run: Implementation) -> Introduction:
    handshake: Handshake | None = getattr(run, "handshake", None)
    software = {} if handshake is None else {handshake.name: handshake.version, **handshake.versions}
    if handshake is None and asked.words:
        # A function has no version, and its author changes it between two runs.
        module = asked.words[0].partition(":")[0]
        software[f"code of {module}"] = _fingerprint(module)
    return Introduction(profile_of(target, run, asked.held_to), handshake, software)


@cache
def _fingerprint(module: str) -> str:
    """Return the beginning of a hash of the source of a module, as it was when the module was first used."""
    source = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return hashlib.sha256(source.read_bytes()).hexdigest()[:16] if source.is_file() else "unknown"


def _as_sent(case: Case, profile: Profile) -> Case:
    (sent,) = chosen([case], profile)
    return sent


@cache
def _cases(tier: str, offered: Offered | None) -> Sequence[Case]:
    if offered is None:
        return cases_of(tier)
    return matching(tier, None, {axis: frozenset(values) for axis, values in offered})


@contextmanager
def _searched(folder: str) -> Iterator[None]:
    """Let modules be found in a folder, too."""
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
