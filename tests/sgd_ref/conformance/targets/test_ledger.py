"""Ledgers are strict both ways, and come back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance import Case, Profile, Unsupported, cases, check, data_folder
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.catalogue.within import cases_within, offered_by
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.targets import ledger
from sgd_ref.conformance.targets.registry import names, options_of, targets
from sgd_ref.conformance.trajectories import reference

CASES = [case for case in cases() if case.id.startswith(("exact/momentum", "exact/decay", "exact/plain"))]
DECAY = "decay-ignored"


def implementation(case: Case) -> Trajectory:
    if case.variables[0].dtype.itemsize == 8:
        raise Unsupported("no   float64\nhere")
    if case.id == "exact/plain/float32":
        raise RuntimeError("out of order")
    return reference.run(case, *compose([DECAY]))


@pytest.fixture(scope="module")
def findings() -> Findings:
    report = check(implementation, CASES, "my own")
    names = {
        case_id: (DECAY, "update-fused") if verdict.grade == "diverges" else ("out-of-order",)
        for case_id, verdict in report.verdicts.items()
        if verdict.grade in ("diverges", "error")
    }
    return Findings(report, {"mine": "1.0"}, names, frozenset({DECAY, "out-of-order"}))


def test_a_ledger_belongs_to_the_rule_by_which_it_was_written(tmp_path: Path) -> None:
    def findings_by(**declared: str) -> Findings:
        report = check(reference.run, CASES[:2], "my own", Profile(**declared))
        return Findings(report)

    by_pytorch, by_keras = findings_by(rule="pytorch"), findings_by()
    for written, other in ((by_pytorch, by_keras), (by_keras, by_pytorch)):
        path = tmp_path / "ledger.json"
        path.write_text(ledger.to_json(written, {}))
        assert ledger.rule_of(path) == written.report.profile.rule
        assert ledger.of_run(written, path) == {}
        with pytest.raises(ValueError, match="lists what is expected by the rule of"):
            ledger.of_run(other, path)


def test_the_kept_ledger_says_nothing_of_another_rule() -> None:
    for rule, is_kept in (("pytorch", True), ("keras", False)):
        report = check(reference.run, CASES[:2], "torch loop", Profile(rule=rule))
        assert (ledger.of_run(Findings(report), None) is not None) == is_kept


def test_what_was_found_is_what_is_expected(findings: Findings, tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(ledger.to_json(findings, {DECAY: "seen"}))
    written = ledger.read(path)
    assert written == ledger.observed(findings)
    assert ledger.problems(written, findings) == []
    assert {expected.grade for expected in written.values()} == {"diverges", "error", "unsupported"}
    assert written["exact/decay/float32"] == ledger.Expected("diverges", (DECAY,))
    assert written["exact/decay/float64"] == ledger.Expected("unsupported", ("no float64 here",))
    assert written["exact/plain/float32"] == ledger.Expected("error", ("out-of-order",))
    assert f"{DECAY}: seen" in path.read_text()


def test_the_unexpected_and_the_stale_are_problems(findings: Findings) -> None:
    written = dict(ledger.observed(findings))
    del written["exact/decay/float32"]
    written["exact/momentum/float32"] = ledger.Expected("diverges", ("ascends",))
    written["exact/plain/float32"] = ledger.Expected("error", ("something-else",))
    written["exact/never/run"] = ledger.Expected("diverges", (DECAY,))
    assert sorted(ledger.problems(written, findings)) == [
        "exact/decay/float32: unexpected: diverges (decay-ignored)",
        "exact/momentum/float32: stale: diverges (ascends) is expected, but it is exact",
        "exact/plain/float32: error (something-else) is expected, got error (out-of-order)",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "entries": []}',
        '{"format": 1, "entries": [{"grade": "error", "cases": ["a"]}]}',
        '{"format": 1, "entries": [{"grade": "error", "names": [], "cases": ["a", "a"]}]}',
    ],
)
def test_no_ledger_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no ledger"):
        ledger.read(path)


@pytest.mark.parametrize(
    "path", sorted(data_folder.folder().glob("targets/*/ledger.json")), ids=lambda path: path.parent.name
)
def test_kept_ledgers_name_cases_and_deviations_that_exist(path: Path) -> None:
    asked = {case.id for case in cases()}
    name = next(name for name in names() if name.replace(" ", "-") == path.parent.name)
    (target,) = targets(**options_of(name))
    if target.offers is not None:
        asked |= {case.id for case in cases_within(offered_by(target.offers))}
    content = ledger.read(path)
    assert set(content) <= asked
    known = [name for expected in content.values() if expected.grade == "diverges" for name in expected.names]
    assert set(known) <= set(DEVIATIONS)
