"""All tests of one function together: they are judged as ``check`` judges all cases, and reported."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sgd_ref.conformance.catalogue.case import Case, Trajectory, Unsupported
from sgd_ref.conformance.catalogue.numbers import readonly, readonly_gradient
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.velocities import DOCUMENTED
from sgd_ref.conformance.grading.verdict import GRADED, Profile, Report, Verdict
from sgd_ref.conformance.pytest_plugin.judging import MISMATCHES, Outcome, difference
from sgd_ref.conformance.targets.ledger import Ledger
from sgd_ref.conformance.targets.running import claims_of_what_ran, named_together


@dataclass(frozen=True)
class Answered:
    """The result of one test.

    Attributes
    ----------
    function : str
        The id of the test, without the id of its case.
    verdict : Verdict
        The verdict on the case alone.
    outcome : Outcome
        The outcome of the test.
    profile : Profile
        What the implementation declares of itself.
    ledger : mapping of str to Expected, or None
        The expected results.
    seconds : float
        The duration of the test.
    position : int
        The position of the case among all cases.
    """

    function: str
    verdict: Verdict
    outcome: Outcome
    profile: Profile
    ledger: Ledger | None
    seconds: float
    position: int = 0


class Recorded(Exception):
    """Raised in place of an error that an implementation raised."""


@dataclass(frozen=True)
class WholeRun:
    """The tests of one function.

    Attributes
    ----------
    report : Report
        The verdicts, as `check` gives them for all cases.
    expected : frozenset of str
        Ids of the cases that diverge or fail as the ledger says.
    problems : tuple of str
        Problems that no single test could show, one text for each.
    """

    report: Report
    expected: frozenset[str]
    problems: tuple[str, ...]

    def findings(self) -> Findings:
        """Return the report with the names of all mistakes, which takes a second for each divergence."""
        return replace(named_together(self.report), listed=self.expected)


def as_bytes(answers: Sequence[Answered]) -> bytes:
    """Return the results of the tests of one process, for another process of the same run."""
    return pickle.dumps(answers)


def received(sent: bytes) -> list[Answered]:
    """Return the results of another process of the same run.

    Parameters
    ----------
    sent : bytes
        The result of `as_bytes` in that process; never bytes from any other source.
    """
    answers: list[Answered] = pickle.loads(sent)  # noqa: S301
    for answered in answers:
        # Pickling forgets it, and some known mistakes write over what they are given where they can.
        _protect(answered.verdict.case)
    return answers


def _protect(case: Case) -> None:
    for variable in case.variables:
        readonly(variable)
    for call in case.gradients:
        for gradient in call:
            readonly_gradient(gradient)


def joined(answers: Iterable[Answered]) -> list[WholeRun]:
    """Return the whole runs of some tests, one for each function.

    If a case was run again, its last answer counts. Parallel processes may deliver answers in any order.
    """
    functions: dict[str, dict[str, Answered]] = {}
    for answered in sorted(answers, key=lambda answered: (answered.function, answered.position)):
        functions.setdefault(answered.function, {})[answered.verdict.case.id] = answered
    return [_whole_run(name, by_case) for name, by_case in functions.items()]


def _whole_run(name: str, answers: dict[str, Answered]) -> WholeRun:
    first = next(iter(answers.values()))
    report = _report(name, answers, first.profile)
    as_listed: set[str] = set()
    problems = []
    for case_id, verdict in report.verdicts.items():
        answered = answers[case_id]
        problem = None if _stands(answered, verdict) else difference(verdict, answered.ledger)
        if problem is not None and answered.outcome.kind != "failed":
            problems.append(f"{case_id}: judged together with the other cases, {problem}")
        if problem is None and answered.outcome.kind != "failed" and verdict.grade in MISMATCHES:
            as_listed.add(case_id)
    problems += [f"claimed, but never graded: {axis} {value}" for axis, value in report.unproven_claims()]
    if not sum(report.count(grade) for grade in GRADED):
        problems.append("no case was graded")
    return WholeRun(report, frozenset(as_listed), tuple(problems))


def _stands(answered: Answered, verdict: Verdict) -> bool:
    """Whether what became of a test holds for the verdict of the whole run: a diagnosis takes a second."""
    return answered.outcome.kind in ("failed", "xfailed") and verdict == answered.verdict


def _report(name: str, answers: dict[str, Answered], profile: Profile) -> Report:
    def run(case: Case) -> Trajectory:
        verdict = answers[case.id].verdict
        if verdict.grade == "unsupported":
            raise Unsupported(verdict.message)
        if verdict.trajectory is None:
            raise Recorded
        return verdict.trajectory

    # Velocities are documented ones already, since they were read in the form of the profile.
    read = replace(profile, velocities=DOCUMENTED)
    report = check(run, _cases(answers.values()), name, read)
    verdicts = {
        case_id: answers[case_id].verdict if verdict.grade == "error" else verdict
        for case_id, verdict in report.verdicts.items()
    }
    seconds = sum(answered.seconds for answered in answers.values())
    report = replace(report, verdicts=verdicts, seconds=seconds)
    return replace(report, profile=replace(claims_of_what_ran(report), velocities=profile.velocities))


def _cases(answers: Iterable[Answered]) -> Sequence[Case]:
    return [answered.verdict.case for answered in answers]
