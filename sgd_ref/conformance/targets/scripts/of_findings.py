"""Reproducers for what a run found: for each contradiction, one small case that shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from sgd_ref.conformance.cases.case import Case, Implementation
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis import reductions
from sgd_ref.conformance.diagnosis.shrinking import PREFIX, shrink
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.names import file_name, versions_text
from sgd_ref.conformance.targets.registry import how_to_run
from sgd_ref.conformance.targets.scripts.script import reproducer
from sgd_ref.conformance.targets.target import Target
from sgd_ref.conformance.trajectories import reference
from sgd_ref.optimizer import SGD

MOST_RUNS_IN_ALL = 900
"""How often one implementation is run, shared out among the contradictions: a minute at 50 ms a case."""

WIDTH = 100


def reproducers(
    findings: Findings, target: Target, options: Mapping[str, str], most_runs: int = 150
) -> dict[str, str]:
    """Return a script for each contradiction that a run found and that a case can show.

    The smallest case with the contradiction, one that has no other if there is any, is shrunk as far as the
    implementation still diverges on it and the contradiction still explains that. Nothing is random.

    Parameters
    ----------
    findings : Findings
        What the run found, with trajectories.
    target : Target
        The implementation that was run, which is started again.
    options : mapping of str to str
        The arguments of `how_to_run` beside the case, such as ``{"target": "torch", "variant": "fused"}``.
    most_runs : int, default 150
        How often the implementation may be run for one contradiction; less where there are many of them.

    Returns
    -------
    dict of str to str
        From the name of a file, ``keras-jax-eager/subnormals-flushed.py``, to its text. Contradictions that
        were seen in failures alone, or whose case `how_to_run` cannot express, have none.

    Raises
    ------
    ValueError
        If `most_runs` is less than 1.
    """
    if most_runs < 1:
        raise ValueError(f"most_runs must be at least 1, got {most_runs}")
    smallest = {
        name: min(diverging, key=lambda verdict: _size(findings, verdict))
        for name in findings.found
        if name in findings.contradictions and (diverging := list(_diverging(findings, name)))
    }
    if not smallest or target.explain is None:
        return {}
    runs = max(1, min(most_runs, MOST_RUNS_IN_ALL // len(smallest)))
    scripts = {}
    with target.start() as run:
        for name, verdict in smallest.items():
            shows = _shows(name, verdict, findings, target.explain, run)
            try:
                small = shrink(verdict.case, shows, runs)
                text = _script(small, name, findings, run, how_to_run(small, **options))
            # The case cannot be expressed, or the implementation does not answer twice in the same way.
            except ValueError:
                continue
            scripts[f"{file_name(target.name)}/{name}.py"] = text
    return scripts


def _diverging(findings: Findings, name: str) -> Iterator[Verdict]:
    for case_id in findings.cases_of(name):
        verdict = findings.report.verdicts[case_id]
        if verdict.grade == "diverges":
            yield verdict


def _size(findings: Findings, verdict: Verdict) -> tuple[int, bool, int, int, str]:
    """Return what is least for the case that is best to begin with."""
    case = verdict.case
    elements = sum(array.size for array in reductions.arrays(case))
    # A case that counts against nobody makes a weak point.
    return (len(_contradictions(findings, verdict)), verdict.as_defined, _features(case), elements, case.id)


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
    """Return whether a case shows a contradiction, and no other that the case of the verdict has not."""
    before = _contradictions(findings, verdict)

    def shows(case: Case) -> bool:
        found = grade(run, case, findings.report.profile)
        if found.grade != "diverges":
            return False
        contradictions = findings.contradictions.intersection(explain(found))
        return name in contradictions and contradictions <= before

    return shows


def _script(case: Case, name: str, findings: Findings, run: Implementation, code: str) -> str:
    observed = grade(run, case, findings.report.profile).trajectory
    if observed is None:
        raise ValueError(f"the implementation must answer twice to {case.id}")
    summary = DEVIATIONS[name].summary if name in DEVIATIONS else ""
    about = textwrap.fill(f"{name}: {summary}" if summary else name, WIDTH)
    origin = textwrap.fill(case.notes, WIDTH)
    described = replace(case, id=case.id.removeprefix(PREFIX), notes=f"{about}\n\n{origin}\n")
    versions = versions_text(findings.report.name, findings.versions)
    title = f"{findings.report.name} ({versions})" if versions else findings.report.name
    return reproducer(described, reference.run(case), observed, code, title)
