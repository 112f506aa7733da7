"""The outcome of one test: it passes, is skipped, fails as expected, or fails with its diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.catalogue.case import Case, Implementation, Record
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Profile, Report, Verdict
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.protocol.failures import showable
from sgd_ref.conformance.targets.ledger import Expected, Ledger
from sgd_ref.conformance.trajectories.comparison import LISTS

Kind = Literal["passed", "skipped", "xfailed", "failed"]

MISMATCHES = ("diverges", "error")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a test, and the text that is shown."""

    kind: Kind
    message: str = ""


def graded_alone(run: Implementation, case: Case, profile: Profile) -> Verdict:
    """Return the verdict that `check` gives on one case alone.

    The trajectory is copied, so that the implementation may reuse its buffers.
    """
    (verdict,) = check(run, [case], profile=profile).verdicts.values()
    if verdict.trajectory is None:
        return verdict
    return replace(verdict, trajectory=[_copied(record) for record in verdict.trajectory])


def _copied(record: Record) -> Record:
    return {
        key: [array if isinstance(array, Digest) else np.array(array) for array in value]
        if key in LISTS and value is not None
        else value
        for key, value in record.items()
    }


def outcome(verdict: Verdict, ledger: Ledger | None) -> Outcome:
    """Return the outcome of a test.

    Parameters
    ----------
    verdict : Verdict
        The verdict that `graded_alone` returned.
    ledger : mapping of str to Expected, or None
        The expected results; None if only the documented results are expected.
    """
    expected = None if ledger is None else ledger.get(verdict.case.id)
    if expected is not None and _is_left_to_the_whole_run(verdict):
        return Outcome("passed")
    problem = difference(verdict, ledger)
    if problem is not None:
        return Outcome("failed", problem)
    if verdict.grade == "unsupported":
        return Outcome("skipped", showable(verdict.message))
    if expected is not None:
        return Outcome("xfailed", f"the ledger expects: {expected}")
    return Outcome("passed")


def _is_left_to_the_whole_run(verdict: Verdict) -> bool:
    """Whether it is right by an answer or a reading that the other cases may not share."""
    return verdict.grade in ("exact", "rounding") and (verdict.contested or bool(verdict.allowances))


def difference(verdict: Verdict, ledger: Ledger | None) -> str | None:
    """Return the difference of a result from the expected one, or None.

    Without a ledger, the expected result is one that satisfies `Report.ok`. With a ledger, the result must be
    listed if it is a failure, and must fail if it is listed.
    """
    if ledger is None:
        return described(verdict) if Findings(Report("", {"": verdict}), excuses=False).unexpected() else None
    expected = ledger.get(verdict.case.id)
    if expected is None:
        if verdict.grade == "unsupported":
            return f"it is unsupported, which the ledger does not list: {showable(verdict.message)}"
        return described(verdict) if verdict.grade in MISMATCHES else None
    if expected.grade != verdict.grade:
        shown = f"\n{described(verdict)}" if verdict.grade in MISMATCHES else ""
        return f"the ledger expects: {expected}; it is {verdict.grade}{shown}"
    if not _is_explained(verdict, expected):
        return f"the ledger expects: {expected}; it is something else\n{described(verdict)}"
    return None


def _is_explained(verdict: Verdict, expected: Expected) -> bool:
    """Whether a mismatch, or a refusal, can be the one that the ledger lists."""
    names = frozenset(expected.names)
    if verdict.grade == "unsupported":
        return names == {" ".join(verdict.message.split())}
    if verdict.grade == "error" or not names:
        return True
    alone = verdict.diagnosis
    # Of several names that one case does not tell apart, the ledger has the one of a whole run.
    if alone is not None and alone.up_to is None and names in map(frozenset, alone.names):
        return True
    if verdict.case.made is not None or verdict.trajectory is None or not names <= DEVIATIONS.keys():
        return False
    return fit(verdict.case, names, verdict.trajectory, basis=verdict.dialect.basis()).fits


def described(verdict: Verdict) -> str:
    """Return a description of the mismatch in a case, and of the known mistakes that explain it.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.diagnosis.replay import replayed
    >>> (case,) = [case for case in conformance.cases() if case.id == "exact/callable/float32"]
    >>> wrong = graded_alone(lambda case: replayed(case, ["rate-frozen"]), case, Profile())
    >>> print(described(wrong))
    it equals rate-frozen
      rate-frozen: A callable learning rate is called in the first call only, and its value kept for ever.
    first wrong value: call 1, velocities of kernel[0, 4]: 0, where 0.375 is the only possible value
    """
    return showable("\n".join(_lines(verdict)))


def _lines(verdict: Verdict) -> Iterator[str]:
    if verdict.grade == "error":
        yield " ".join(verdict.message.split())
        yield from verdict.traceback.splitlines()
        return
    if verdict.diagnosis is not None:
        yield str(verdict.diagnosis)
        for name in dict.fromkeys(name for names in verdict.diagnosis.names for name in names):
            deviation = DEVIATIONS[name]
            yield f"  {name}: {deviation.summary}" + (f" {deviation.address}" if deviation.address else "")
    if verdict.violation is not None:
        yield f"first wrong value: {verdict.violation}"
    if verdict.message:
        yield verdict.message
    if verdict.contested:
        answers: Mapping[str, str] = verdict.answers
        for question in verdict.questions:
            judged = f"judged by the answer {answers[question]!r}" if question in answers else "not judged"
            yield f"the documentation leaves a question open: {question} ({judged})"
