"""An exception of the implementation is shown with its own frames, and not with those of the kit."""

from __future__ import annotations

import sys
from typing import Any

from sgd_ref.conformance import Case, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.protocol.worker import Worker
from sgd_ref.conformance.reports.tables import mismatch_lines

CASE = make_case(PLAINEST)

PROGRAM = """
import json, sys
print(json.dumps({"protocol": 1, "name": "breaks", "version": "1"}), flush=True)
for line in sys.stdin:
    error = {"type": "RangeError", "message": "no such rate" + "!" * 500, "call": 3}
    print(json.dumps({"id": json.loads(line)["id"], "error": error}), flush=True)
"""


def helper(rate: float) -> float:
    return 1 / rate


def run(case: Case) -> Any:
    return helper(0 * len(case.gradients))


def test_it_begins_in_the_implementation() -> None:
    verdict = grade(run, CASE)
    assert verdict.message == "ZeroDivisionError: division by zero"
    lines = verdict.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert ", in run" in lines[1]
    assert any(", in helper" in line for line in lines)
    assert "check.py" not in verdict.traceback


def test_a_deep_recursion_is_cut() -> None:
    def deep(case: Case) -> Any:
        return deep(case)

    assert 0 < len(grade(deep, CASE).traceback.splitlines()) < 100


def test_the_same_traceback_is_shown_once() -> None:
    other = make_case(PLAINEST | {"update": "momentum"})
    lines = list(mismatch_lines(Findings(check(run, [CASE, other]))))
    assert lines[0] == f"{CASE.id}: ZeroDivisionError: division by zero [unexplained]"
    assert sum("in helper" in line for line in lines) == 1
    assert lines[-1] == f"    the traceback is that of {CASE.id}"


def test_a_program_says_itself_what_went_wrong() -> None:
    with Worker([sys.executable, "-c", PROGRAM]) as worker:
        report = check(worker, [CASE])
    (line,) = mismatch_lines(Findings(report))
    assert line == f"{CASE.id}: call 3: RangeError: no such rate{'!' * 500} [unexplained]"
    assert report.verdicts[CASE.id].traceback == ""


def test_what_is_no_answer_names_the_case_once() -> None:
    junk = PROGRAM.replace('"error": error', '"trajectory": [{"variables": [], "velocitys": []}]')
    with Worker([sys.executable, "-c", junk]) as worker:
        (line,) = mismatch_lines(Findings(check(worker, [CASE])))
    assert line.count(CASE.id) == 1
    assert "perhaps 'velocities' was meant" in line
