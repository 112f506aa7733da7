"""Every target with an environment of its own, as it is declared, and live where it is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgd_ref.command.targets import environments
from sgd_ref.conformance.catalogue.within import cases_within, offered_by
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.targets import ledger, registry
from sgd_ref.conformance.targets.environments.places import VARIABLE
from sgd_ref.conformance.targets.target import CannotRun, Target

NAMES = sorted(environments())

MOST_CASES = 12


def target_of(name: str) -> Target:
    (target,) = registry.targets(name)
    return target


@pytest.mark.parametrize("name", NAMES)
def test_what_it_declares_is_known(name: str) -> None:
    target = target_of(name)
    assert target.name == name
    assert target.offers is not None
    assert target.dialect.by_design == target.by_design
    assert target.by_design <= DEVIATIONS.keys()
    assert not target.by_design & target.evidence.keys()
    failures = target.contradictions - DEVIATIONS.keys()
    assert target.evidence.keys() <= DEVIATIONS.keys() | failures


@pytest.mark.parametrize("name", NAMES)
def test_its_packages_are_pinned(name: str) -> None:
    environment = environments()[name]
    assert environment.python or environment.npm
    if environment.python:
        lines = (environment.definition / environment.python).read_text(encoding="utf-8").splitlines()
        assert lines
        assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines), lines
    if environment.npm:
        lock = (environment.definition / environment.npm).read_text(encoding="utf-8")
        assert lock.count('"version"') == lock.count('"integrity"') > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_to_install_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(CannotRun, match=f"^{name}: .*sgd-ref targets install {name}$"):
        target_of(name).start()


@pytest.mark.parametrize("name", NAMES)
def test_each_name_in_its_ledger_has_evidence(name: str) -> None:
    expected = ledger.read(ledger.path_of(name)).values()
    target = target_of(name)
    assert ledger.rule_of(ledger.path_of(name)) == str(target.dialect)
    named = {one for entry in expected if entry.grade != "unsupported" for one in entry.names}
    assert named <= target.evidence.keys()


@pytest.mark.parametrize("name", NAMES)
def test_live_it_answers_as_its_ledger_says(name: str) -> None:
    expected = ledger.read(ledger.path_of(name))
    target = target_of(name)
    missing = environments()[name].obstacle()
    if missing is not None:
        pytest.skip(f"{name} was not run: {missing}")
    assert target.offers is not None
    offered = offered_by(target.offers)
    # The ledger is that of the standard tier.
    asked = {case.id for case in cases_within(offered)}
    chosen = [case for case in cases_within(offered, "first") if case.made is None and case.id in asked]
    assert chosen
    with target.start() as run:
        report = check(run, chosen[:MOST_CASES], name)
    grades = {case_id: verdict.grade for case_id, verdict in report.verdicts.items()}
    assert {"exact", "rounding"} & set(grades.values())
    for case_id, grade in grades.items():
        listed = expected.get(case_id)
        assert grade == listed.grade if listed else grade in ("exact", "rounding"), (case_id, grade)
