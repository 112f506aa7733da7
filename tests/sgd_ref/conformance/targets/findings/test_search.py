"""Findings of a run: each shows its contradiction, no other, and shrinks within the runs that are allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

import sgd_ref
from sgd_ref.conformance import Case, Report, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.case import Implementation, Trajectory
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis.attribution import explain
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.findings import search as searching
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.findings.finding import Finding
from sgd_ref.conformance.targets.findings.processor import processor
from sgd_ref.conformance.targets.findings.search import search
from sgd_ref.conformance.targets.scripts.of_finding import script_of
from sgd_ref.conformance.targets.target import Target
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

DECAY, EPSILON = "decay-enters-velocity", "clip-adds-epsilon"
BOTH = (DECAY, EPSILON)

MODULE = """
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.deviations import compose

def run(case):
    return reference.run(case, *compose({names!r}))
"""


def wrong(case: Case) -> Trajectory:
    return reference.run(case, *compose(BOTH))


def explained(verdict: Verdict) -> tuple[str, ...]:
    if verdict.trajectory is None:
        return ()
    explanation = explain(verdict.case, verdict.trajectory, BOTH)
    return explanation.names if explanation.complete else ()


def target(run: Implementation = wrong) -> Target:
    return Target("mine:run", lambda: nullcontext(run), explained, frozenset(BOTH))


CASES = [
    make_case({**PLAINEST, **features})
    for features in (
        {"update": "momentum", "weight_decay": "decay"},
        {"update": "momentum", "weight_decay": "decay", "clipping": "clipnorm"},
        {"update": "nesterov", "clipping": "clipnorm", "averages": "overwrite", "accumulation": "2"},
    )
]


def findings(chosen: Sequence[Case] = CASES, run: Implementation = wrong) -> Findings:
    report = check(run, chosen, "mine:run")
    names = {v.case.id: explained(v) for v in report.verdicts.values() if v.grade == "diverges"}
    return Findings(report, {"mine": "1.0"}, names, frozenset(BOTH))


@pytest.fixture(scope="module")
def found() -> Findings:
    return findings()


@pytest.fixture(scope="module")
def shown(found: Findings) -> dict[str, Finding]:
    return by_name(search(found, target()))


def by_name(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_cases_are_what_the_other_tests_take_them_for(found: Findings) -> None:
    assert [set(found.names.get(case.id, ())) for case in CASES] == [{DECAY}, {DECAY, EPSILON}, {EPSILON}]


def test_each_contradiction_has_a_finding(shown: dict[str, Finding]) -> None:
    assert set(shown) == {DECAY, EPSILON}
    for finding in shown.values():
        assert finding.versions == {"mine": "1.0"}
        assert finding.processor == processor()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(("names", "status"), [(BOTH, 1), ((), 0)])
def test_scripts_exit_as_the_implementation_deserves(
    name: str, names: tuple[str, ...], status: int, shown: dict[str, Finding], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MODULE.format(names=names))
    (tmp_path / "reproduce.py").write_text(script_of(shown[name], "mine:run"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "reproduce.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(sgd_ref.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("as it was seen before" in done.stdout) == (status == 1)


@pytest.mark.parametrize(("name", "start"), [(DECAY, CASES[0]), (EPSILON, CASES[2])])
def test_a_case_that_shows_nothing_else_is_shrunk(name: str, start: Case, shown: dict[str, Finding]) -> None:
    header = script_of(shown[name], "mine:run").split('"""')[1]
    assert header.startswith(f"mine:run (mine 1.0) differs from what is documented: {start.id}\n\n{name}: ")
    assert f"shrunk from {start.id}: " in " ".join(header.split())


@pytest.mark.parametrize(("name", "other"), [BOTH, BOTH[::-1]])
def test_a_finding_does_not_end_up_with_another_contradiction(name: str, other: str) -> None:
    # The only case has both.
    case = by_name(search(findings(CASES[1:2]), target()))[name].case

    def differs(deviation: str) -> bool:
        return not compare(case, reference.run(case), reference.run(case, *compose([deviation]))).equal

    assert differs(name)
    assert not differs(other)
    assert [array.size for array in case.variables] == [1]


def test_a_finding_does_not_gain_a_contradiction() -> None:
    def gains(verdict: Verdict) -> tuple[str, ...]:
        return (DECAY,) if len(verdict.case.gradients) > 2 else BOTH

    (finding,) = search(findings(CASES[:1]), replace(target(), explain=gains))
    assert (finding.name, len(finding.case.gradients)) == (DECAY, 3)


def test_a_failure_of_the_same_name_is_no_divergence() -> None:
    def run(case: Case) -> Trajectory:
        if len(case.gradients) < 3:
            raise RuntimeError("too short")
        return wrong(case)

    always = replace(target(run), explain=lambda verdict: (DECAY,))
    (finding,) = search(findings(CASES[:1]), always)
    assert (finding.name, len(finding.case.gradients)) == (DECAY, 3)


def test_findings_are_the_same_every_time(found: Findings, shown: dict[str, Finding]) -> None:
    again = search(found, target())
    assert storage.to_json("mine:run", again) == storage.to_json("mine:run", list(shown.values()))


def counted(counts: list[Case]) -> Callable[[Case], Trajectory]:
    def run(case: Case) -> Trajectory:
        counts.append(case)
        return wrong(case)

    return run


@pytest.mark.parametrize("most_runs", [1, 7])
def test_no_more_runs_than_allowed(most_runs: int, found: Findings) -> None:
    counts: list[Case] = []
    limited = replace(target(counted(counts)), runs_to_shrink=most_runs)
    assert len(search(found, limited)) == 2
    # What is left of each is run once more.
    assert len(counts) == 2 * (most_runs + 1)


def test_many_contradictions_share_the_runs(found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MOST_RUNS_IN_ALL", 8)
    counts: list[Case] = []
    assert len(search(found, target(counted(counts)))) == 2
    assert len(counts) == 2 * (4 + 1)


def never() -> AbstractContextManager[Implementation]:
    raise AssertionError("there is nothing to run it for")


def test_nothing_is_started_where_there_is_nothing_to_show(found: Findings) -> None:
    idle = replace(target(), start=never)
    failed = {
        case_id: replace(verdict, grade="error", trajectory=None)
        for case_id, verdict in found.report.verdicts.items()
    }
    failures = replace(found, report=Report("mine:run", failed))
    roundings = replace(found, contradictions=frozenset())
    for nothing in (failures, roundings, Findings(check(reference.run, CASES, "mine:run"))):
        assert search(nothing, idle) == []


def test_an_implementation_that_does_not_answer_in_the_same_way_again_is_skipped(found: Findings) -> None:
    @contextmanager
    def start() -> Iterator[Implementation]:
        yield reference.run

    assert search(found, replace(target(), start=start)) == []
    answers = iter([wrong])

    def run(case: Case) -> Trajectory:
        return next(answers, reference.run)(case)

    alone = findings(CASES[:1])
    assert search(alone, replace(target(run), runs_to_shrink=1)) == []
