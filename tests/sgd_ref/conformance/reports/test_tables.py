"""The tables of a run: since when a contradiction is there, where a history is kept."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Report, Verdict
from sgd_ref.conformance.reports.tables import deviation_table
from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.storage import Asked

ONE = np.ones(1)
CASE = Case("a", {"learning_rate": 0.5}, ("w",), (ONE,), ((ONE,),))


def findings(target: str) -> Findings:
    report = Report(target, {"a": Verdict(CASE, "diverges")})
    return Findings(report, {}, {"a": ("ascends",)}, frozenset({"ascends"}))


def shown(*all_findings: Findings, width: int = 200) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(deviation_table(all_findings))
    return capture.get()


@pytest.fixture(autouse=True)
def histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a target of the name "optax eager" have a history, and no other."""
    asked = [
        Asked("1.0", {}, {"ascends": Outcome("absent")}),
        Asked("1.1", {}, {"ascends": Outcome("there")}),
    ]
    monkeypatch.setattr(storage, "kept", lambda target: asked if target == "optax eager" else [])


def test_a_narrow_terminal_cuts_no_name_off() -> None:
    assert "…" not in shown(findings("optax jitted"), width=28)


def test_a_contradiction_says_since_when_it_is_there() -> None:
    text = shown(findings("optax eager"))
    assert "since when" in text
    assert "not in 1.0; since 1.1, the newest that was run" in text


def test_of_several_targets_each_is_named() -> None:
    text = shown(findings("optax eager"), findings("optax jitted"))
    assert "optax eager: not in 1.0" in text
    assert "optax jitted:" not in text


def test_without_a_history_there_is_no_column() -> None:
    assert "since when" not in shown(findings("optax jitted"))


def test_a_program_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(target: str) -> list[Asked]:
        raise OSError(f"{target} is no name of a file")

    monkeypatch.setattr(storage, "kept", refused)
    assert "since when" not in shown(findings("python -c " + "x" * 300))
