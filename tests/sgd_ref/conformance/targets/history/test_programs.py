"""What releases are asked: scripts that need their framework alone."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.targets.bugs.bug import bugs
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.history.programs import programs


@pytest.mark.parametrize("target", ["keras jax eager", "optax eager", "torch fused", "mlx"])
def test_no_script_needs_this_package(target: str) -> None:
    found = programs(target)
    assert found
    for one in found.values():
        assert one.case or one.lines
        assert "sgd_ref" not in one.case + one.lines


def test_findings_and_lines_of_reports_are_both_asked() -> None:
    found = programs("torch fused")
    lines = {bug.contradiction for bug in bugs() if bug.target == "torch fused"}
    assert {name for name, one in found.items() if one.lines} == lines
    assert {name for name, one in found.items() if one.case} == set(kept("torch fused"))


def test_a_case_that_needs_the_kit_is_not_asked() -> None:
    assert "count-saturates" in kept("optax eager")
    assert "count-saturates" not in programs("optax eager")
