"""What a user of pytest sees: ids, outcomes, messages, reports, also from parallel processes."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports import files
from sgd_ref.conformance.targets import ledger
from sgd_ref.conformance.targets.running import named_together

MISTAKE, WHERE = "scale-never-grows", "first/dynamic-loss-scale"
"""A mistake that one case of the first tier shows."""

DECLINED = "first/cosine"

CASES = len(conformance.cases("first"))

TEXT = """
from sgd_ref import conformance
from sgd_ref.conformance.diagnosis.replay import replayed

@conformance.parametrize_with_cases("first"{arguments})
def test_sgd(case):
    if case.id == "first/cosine":
        raise conformance.Unsupported("no cosine here")
    return replayed(case, {mistakes})
"""


def text(*mistakes: str, arguments: str = "") -> str:
    return TEXT.format(mistakes=list(mistakes), arguments=arguments)


def implementation(*mistakes: str) -> Any:
    def run(case: Case) -> Trajectory:
        if case.id == DECLINED:
            raise conformance.Unsupported("no cosine here")
        return replayed(case, mistakes)

    return run


@cache
def expected(*mistakes: str) -> Findings:
    report = conformance.check(
        implementation(*mistakes), conformance.cases("first"), "test_mine.py::test_sgd"
    )
    return named_together(report)


def without_seconds(content: str) -> str:
    return re.sub(r'"seconds": [\d.e-]+|time="[\d.]+"', "", content)


def test_a_mistake_is_named_and_gone_after_mending(inner: Any, pytester: pytest.Pytester) -> None:
    reports = ("--sgd-ref-report", "found.json", "--sgd-ref-report", "found.xml")
    red = inner("-rs", *reports, text=text(MISTAKE), alone=True)
    red.assert_outcomes(failed=1, skipped=1, passed=CASES - 2)
    assert red.ret == pytest.ExitCode.TESTS_FAILED
    shown = red.stdout.str()
    assert f"_ test_sgd[{WHERE}] _" in shown
    assert f"\nit equals {MISTAKE}\n  {MISTAKE}: " in shown
    assert "first wrong value: call " in shown
    assert "no cosine here" in shown
    # Neither frames of the kit nor the lines of the function.
    assert "replayed(case" not in shown
    assert "Traceback" not in shown
    for file, write in (("found.json", files.to_json), ("found.xml", files.to_junit)):
        found = (pytester.path / file).read_text(encoding="utf-8")
        assert without_seconds(found) == without_seconds(write([expected(MISTAKE)])), file
    suite = ElementTree.fromstring(found).find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "1")

    again = inner("--lf", "--sgd-ref-report", "found.json")
    again.assert_outcomes(failed=1)
    (run,) = json.loads((pytester.path / "found.json").read_text(encoding="utf-8"))["runs"]
    assert [verdict["case"] for verdict in run["verdicts"]] == [WHERE]

    green = inner(text=text())
    green.assert_outcomes(skipped=1, passed=CASES - 1)
    assert green.ret == pytest.ExitCode.OK
    green.stdout.fnmatch_lines([f"test_mine.py::test_sgd: {CASES - 1} of {CASES} cases graded*"])
    assert "no cosine here" not in inner("-k", "clip", "-rs").stdout.str()


def test_parallel_processes_write_the_same_report(inner: Any, pytester: pytest.Pytester) -> None:
    red = inner("-n", "2", "--sgd-ref-report", "found.json", text=text(MISTAKE))
    red.assert_outcomes(failed=1, skipped=1, passed=CASES - 2)
    assert f"it equals {MISTAKE}" in red.stdout.str()
    found = (pytester.path / "found.json").read_text(encoding="utf-8")
    assert without_seconds(found) == without_seconds(files.to_json([expected(MISTAKE)]))


def test_a_ledger_is_strict_both_ways(inner: Any, pytester: pytest.Pytester) -> None:
    (pytester.path / "ledger.json").write_text(ledger.to_json(expected(MISTAKE), {}), encoding="utf-8")
    arguments = ", ledger='ledger.json'"
    held = inner(
        "-rx",
        "--sgd-ref-report",
        "f.xml",
        "--sgd-ref-report",
        "f.html",
        text=text(MISTAKE, arguments=arguments),
    )
    held.assert_outcomes(xfailed=1, skipped=1, passed=CASES - 2)
    assert held.ret == pytest.ExitCode.OK
    assert f"the ledger expects: diverges ({MISTAKE})" in held.stdout.str()
    assert 'failures="0"' in (pytester.path / "f.xml").read_text(encoding="utf-8")
    assert f"pytest &#39;test_mine.py::test_sgd[{WHERE}]&#39;" in (pytester.path / "f.html").read_text(
        "utf-8"
    )
    inner("--runxfail").assert_outcomes(failed=1, skipped=1, passed=CASES - 2)

    gone = inner(text=text(arguments=arguments))
    gone.assert_outcomes(failed=1, skipped=1, passed=CASES - 2)
    gone.stdout.fnmatch_lines([f"the ledger expects: diverges ({MISTAKE}); it is exact"])

    another = inner("-k", WHERE, text=text("ascends", arguments=arguments))
    another.assert_outcomes(failed=1)
    another.stdout.fnmatch_lines([f"the ledger expects: diverges ({MISTAKE}); it is something else"])

    missing = inner("-k", WHERE, text=text(arguments=", ledger='nowhere.json'"))
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(
        ["ledger must be a file that sgd-ref conform --update wrote: *nowhere.json*"]
    )


UNPROVEN = """
from sgd_ref import conformance
from sgd_ref.conformance.diagnosis.replay import replayed

CLAIMS = conformance.Profile(features={"update": frozenset({"nesterov"})})

@conformance.parametrize_with_cases("first", profile=CLAIMS)
def test_sgd(case):
    if case.config["nesterov"]:
        raise conformance.Unsupported("not yet")
    return replayed(case, [])
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_what_no_test_alone_shows_fails_the_run(inner: Any, arguments: tuple[str, ...]) -> None:
    found = inner(*arguments, text=UNPROVEN)
    with_nesterov = sum(case.config["nesterov"] for case in conformance.cases("first"))
    found.assert_outcomes(skipped=with_nesterov, passed=CASES - with_nesterov)
    assert found.ret == pytest.ExitCode.TESTS_FAILED
    found.stdout.fnmatch_lines(["FAILED claimed, but never graded: update nesterov"])


OTHERS = """
import pytest
from sgd_ref import conformance
from sgd_ref.conformance.diagnosis.replay import replayed

@pytest.fixture
def mistakes():
    return []

class TestMine:
    @pytest.mark.parametrize("mode", ["loop", "fused"])
    @conformance.parametrize_with_cases("first")
    def test_sgd(self, mistakes, case, mode):
        if mode == "fused" and case.id == "first/plain":
            raise RuntimeError("no kernel")
        return replayed(case, mistakes)

def test_another():
    pass
"""


def test_fixtures_and_parameters_are_those_of_pytest(inner: Any) -> None:
    found = inner(text=OTHERS)
    found.assert_outcomes(failed=1, passed=2 * CASES)
    shown = found.stdout.str()
    for mode in ("loop", "fused"):
        assert re.search(
            rf"^test_mine.py::TestMine::test_sgd\[{mode}\]: \d+ of {CASES} cases", shown, re.MULTILINE
        )
    # The traceback of the function is its own, which begins there.
    assert "RuntimeError: no kernel\nTraceback (most recent call last):\n" in shown
    # Where CI is set, pytest shows it once more in its summary.
    assert shown.partition("short test summary")[0].count("  File ") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--sgd-ref-report", "found.txt"),
            "--sgd-ref-report must be a file that ends in .json or .xml or .html, got found.txt",
        ),
        (("--sgd-ref-report", "no/found.xml"), "must be a file in a folder that is there, got no*found.xml"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    inner: Any, arguments: tuple[str, ...], message: str
) -> None:
    found = inner(*arguments, text=text())
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines([f"*{message}*"])


def test_a_function_without_the_argument_is_refused(inner: Any) -> None:
    found = inner(text=text().replace("(case)", "(given)"))
    found.assert_outcomes(errors=1)
    shown = found.stdout.str()
    assert "must take the argument 'case', got test_mine.py::test_sgd" in shown
    assert "hooks.py" not in shown


def test_without_such_tests_nothing_is_shown(inner: Any) -> None:
    found = inner(text="def test_another():\n    pass\n")
    found.assert_outcomes(passed=1)
    assert "sgd-ref" not in found.stdout.str().split("collected")[1]


def test_the_decorated_function_is_still_an_implementation(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(text(), namespace)
    report = conformance.check(namespace["test_sgd"], conformance.cases("first"))
    assert report.ok
