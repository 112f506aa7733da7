"""Optimisations are named where they are done, and fail nobody."""

from __future__ import annotations

import pytest

from sgd_ref.conformance import cases, check
from sgd_ref.conformance.catalogue.named.optimizations import OPTIMIZATIONS, PREFIX, Optimization
from sgd_ref.conformance.diagnosis.optimizations import DONE, NOT_DONE, OTHERWISE
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

CASES = [case for case in cases() if case.id.startswith(PREFIX)]
BY_NAME = {case.id.removeprefix(PREFIX): case for case in CASES}


def test_each_has_a_case() -> None:
    assert list(BY_NAME) == [optimization.name for optimization in OPTIMIZATIONS]


@pytest.mark.parametrize("optimization", OPTIMIZATIONS, ids=lambda optimization: optimization.name)
def test_each_variant_changes_bits_and_is_named(optimization: Optimization) -> None:
    case = BY_NAME[optimization.name]
    for name in optimization.variants:
        observed = FAITHFUL[name].run(case)
        assert not compare(case, reference.run(case), observed).equal
        report = check(FAITHFUL[name].run, [case], name)
        assert report.optimizations == {optimization.name: DONE}
        assert all(verdict.passes for verdict in report.verdicts.values())


def test_the_reference_does_none() -> None:
    report = check(reference.run, CASES)
    assert set(report.optimizations.values()) == {NOT_DONE}
    assert list(report.optimizations) == list(BY_NAME)


def test_what_is_neither_is_said() -> None:
    report = check(FAITHFUL["step-in-float64"].run, [BY_NAME["reassociated-sum"]])
    assert report.optimizations == {"reassociated-sum": OTHERWISE}


def test_cases_that_were_not_graded_are_absent() -> None:
    assert check(reference.run, [case for case in cases("smoke") if case not in CASES]).optimizations == {}
