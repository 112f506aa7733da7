"""The content of the page from runs that were just made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from sgd_ref.conformance.grading.answering import basis_of
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import GRADES, Verdict
from sgd_ref.conformance.reports.html.content import Content, Divergence, Key, Picture, Run
from sgd_ref.conformance.reports.html.plot import plot
from sgd_ref.conformance.reports.target_data import places
from sgd_ref.conformance.targets.history.since import since_when
from sgd_ref.conformance.targets.registry import FAMILIES, arguments_of, names


def content_of_runs(all_findings: Sequence[Findings]) -> Content:
    """Return the content of the page of some runs."""
    divergences = [one for run, found in enumerate(all_findings) for one in _divergences(run, found)]
    known = names()
    since = since_when([found.report.name for found in all_findings if found.report.name in known])
    return Content([_run(found) for found in all_findings], divergences, {}, since, is_kept=False)


def _run(findings: Findings) -> Run:
    report = findings.report
    features: dict[Key, dict[str, int]] = {}
    for verdict in report.verdicts.values():
        for key in places(verdict.case):
            grades = features.setdefault(key, {})
            grades[verdict.grade] = grades.get(verdict.grade, 0) + 1
    return Run(
        report.name,
        ", ".join(f"{name} {version}" for name, version in findings.versions.items()),
        "as expected" if findings.as_expected else "NOT as expected",
        findings.as_expected,
        {grade: report.count(grade) for grade in GRADES},
        features,
        {case_id: verdict.grade for case_id, verdict in report.verdicts.items()},
        tuple(_notes(findings)),
    )


def _notes(findings: Findings) -> Iterator[str]:
    report = findings.report
    claims = [" ".join(claim) for claim in report.unproven_claims()]
    if claims:
        yield f"Claimed, but never graded: {', '.join(claims)}"
    if report.coverage.in_words:
        yield f"Never graded: {report.coverage.in_words}"
    for question, answer in report.answers.items():
        yield f"Its answer to the open question {question}: {answer}"


def _divergences(run: int, findings: Findings) -> Iterator[Divergence]:
    unexpected = {verdict.case.id for verdict in findings.unexpected()}
    for verdict in findings.mismatches():
        case_id = verdict.case.id
        yield Divergence(
            run,
            case_id,
            verdict.grade,
            tuple(findings.names.get(case_id, ())),
            str(findings.partly.get(case_id, "")),
            case_id not in unexpected,
            frozenset(places(verdict.case)),
            pictures(verdict),
            " ".join(verdict.message.split()),
            reproducer(findings.report.name, case_id),
        )


def pictures(verdict: Verdict, name: str = "", command: str = "") -> tuple[Picture, ...]:
    """Return the plot of a verdict that diverges; none if the answer cannot be graded.

    Parameters
    ----------
    verdict : Verdict
        The verdict on the case that is plotted.
    name, command : str
        As in `Picture`.
    """
    violation = verdict.violation
    if violation is None:
        return ()
    drawn = None
    if verdict.trajectory is not None and verdict.case.made is None:
        expected = basis_of(verdict).run(verdict.case)
        drawn = plot(verdict.case.names, expected, verdict.trajectory, violation)
    return (Picture(drawn, str(violation), name, command),)


def reproducer(name: str, case_id: str) -> str:
    """Return the command that shows one case of a run.

    Examples
    --------
    >>> reproducer("keras jax eager", "axes/plain")
    'sgd-ref explain axes/plain keras --backend jax --mode eager'
    >>> reproducer("mine:run", "axes/plain"), reproducer("-- ./sgd", "axes/plain")
    ('sgd-ref explain axes/plain mine:run', 'sgd-ref explain axes/plain -- ./sgd')
    >>> reproducer("test_mine.py::test_sgd", "axes/plain")
    "pytest 'test_mine.py::test_sgd[axes/plain]'"
    """
    if "::" in name:
        if name.endswith("]"):
            return f"pytest {shlex.quote(name.partition('[')[0])} -k {shlex.quote(case_id)}"
        return f"pytest {shlex.quote(f'{name}[{case_id}]')}"
    known = name.partition(" ")[0] in FAMILIES
    return f"sgd-ref explain {case_id} {arguments_of(name) if known else name}"
