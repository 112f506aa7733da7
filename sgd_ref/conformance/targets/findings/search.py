"""The search for the smallest case of each contradiction that a run showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.diagnosis import reductions
from sgd_ref.conformance.diagnosis.shrinking import shrink
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.findings.finding import Finding, finding
from sgd_ref.conformance.targets.findings.processor import processor
from sgd_ref.conformance.targets.target import Target
from sgd_ref.optimizer import SGD

MOST_RUNS_IN_ALL = 900
"""The number of runs of one implementation, divided among its contradictions: a minute at 50 ms a case."""


def search(findings: Findings, target: Target) -> list[Finding]:
    """Return a finding for each contradiction that a run showed and that a case can show.

    The search starts from the smallest case with the contradiction, if possible without other contradictions.
    It shrinks this case while the implementation still diverges and the contradiction still explains why.
    Nothing is random.

    Parameters
    ----------
    findings : Findings
        The results of the run, with trajectories.
    target : Target
        The implementation that was run, which is started again.

    Returns
    -------
    list of Finding
        A contradiction that was seen only in failures has no finding.
    """
    smallest = {
        name: min(diverging, key=lambda verdict: _size(findings, verdict))
        for name in findings.found
        if name in findings.contradictions and (diverging := list(_diverging(findings, name)))
    }
    if not smallest or target.explain is None:
        return []
    runs = max(1, min(target.runs_to_shrink, MOST_RUNS_IN_ALL // len(smallest)))
    found = []
    with target.start() as run:
        for name, verdict in smallest.items():
            shows = _shows(name, verdict, findings, target.explain, run)
            try:
                small = shrink(verdict.case, shows, runs)
                found.append(_observed_again(name, small, findings, run))
            # The implementation does not give the same answer twice.
            except ValueError:
                continue
    return found


def _diverging(findings: Findings, name: str) -> Iterator[Verdict]:
    for case_id in findings.cases_of(name):
        verdict = findings.report.verdicts[case_id]
        if verdict.grade == "diverges":
            yield verdict


def _size(findings: Findings, verdict: Verdict) -> tuple[int, bool, int, int, str]:
    """Return a key for sorting: the best case to begin with has the least key."""
    case = verdict.case
    elements = sum(array.size for array in reductions.arrays(case))
    # A case that does not count against an implementation is weak evidence.
    return (len(_contradictions(findings, verdict)), verdict.passes, _features(case), elements, case.id)


def _contradictions(findings: Findings, verdict: Verdict) -> frozenset[str]:
    return findings.contradictions.intersection(findings.names[verdict.case.id])


def _features(case: Case) -> int:
    """Return the number of features that a case has turned on."""
    plain = SGD().get_config()
    settings = [key for key, value in case.config.items() if value != plain.get(key)]
    others = [
        other for other in (case.state, case.loss_scaling, case.learning_rate_calls) if other is not None
    ]
    return len(settings) + len(others)


def _shows(
    name: str,
    verdict: Verdict,
    findings: Findings,
    explain: Callable[[Verdict], tuple[str, ...]],
    run: Implementation,
) -> Callable[[Case], bool]:
    """Return whether a case shows a contradiction, and no other beyond those of the verdict's case."""
    before = _contradictions(findings, verdict)

    def shows(case: Case) -> bool:
        found = grade(run, case, findings.report.settled)
        if found.grade != "diverges":
            return False
        contradictions = findings.contradictions.intersection(explain(found))
        return name in contradictions and contradictions <= before

    return shows


def _observed_again(name: str, case: Case, findings: Findings, run: Implementation) -> Finding:
    observed = grade(run, case, findings.report.settled).trajectory
    if observed is None:
        raise ValueError(f"the implementation must answer twice to {case.id}")
    expected = findings.report.profile.dialect.basis().run(case)
    return finding(name, case, expected, observed, findings.versions, processor())
