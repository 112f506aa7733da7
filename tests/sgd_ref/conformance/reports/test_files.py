"""Reports for programs: answers to open questions, coverage and tracebacks are in them."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from sgd_ref.conformance import Case, Profile, Unsupported, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports.files import to_json, to_junit
from sgd_ref.conformance.reports.summary import runs_of, to_markdown
from sgd_ref.conformance.reports.tables import mismatch_lines, rule_lines, summary_line
from sgd_ref.conformance.targets.running import named_together
from sgd_ref.conformance.trajectories import reference
from sgd_ref.definition import DEFINITION_VERSION

CONTESTED = make_case(PLAINEST | {"gradients": "missing", "accumulation": "2"})
BROKEN = make_case(PLAINEST | {"update": "momentum"})
UNSUPPORTED = make_case(PLAINEST | {"dtype": "float16"})


def run(case: Case) -> Any:
    if case.config["momentum"]:
        raise RuntimeError("it broke")
    if case.variables[0].dtype.name == "float16":
        raise Unsupported("half")
    return reference.run(case, *compose(["accumulator-used-without-gradient"]))


def test_every_report_says_which_rule_it_was_held_to() -> None:
    for profile, said in (
        (Profile(), "keras"),
        (Profile(rule="pytorch", by_design=["ascends"]), "pytorch with ascends"),
    ):
        findings = Findings(check(run, [UNSUPPORTED], profile=profile))
        (found,) = json.loads(to_json([findings]))["runs"]
        assert (found["rule"], found["by_design"]) == (profile.rule, list(profile.by_design))
        assert f", held to {said};" in summary_line(findings)
        lines = list(rule_lines(findings))
        assert lines[0] == f"held to the rule of {said}"
        assert len(lines) == 1 + len(profile.dialect.names)
        suite = ElementTree.fromstring(to_junit([findings])).find("testsuite")
        assert suite is not None
        properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
        assert properties == {
            "definition_version": DEFINITION_VERSION,
            "rule": profile.rule,
            "by_design": ", ".join(profile.by_design),
        }


def test_what_programs_read() -> None:
    findings = Findings(check(run, [CONTESTED, BROKEN, UNSUPPORTED]))
    (found,) = json.loads(to_json([findings]))["runs"]
    assert found["ok"] is False
    assert found["answers"] == {"missing-on-update-call": "used"}
    never = {"dtype": ["float16"], "update": ["momentum"], "accumulation": ["none"]}
    assert found["never_graded"] == never
    assert found["graded"]["accumulation"] == {"2": 1}
    contested, broken, _ = found["verdicts"]
    assert (contested["grade"], contested["answers"]) == ("exact", {"missing-on-update-call": "used"})
    assert broken["message"] == "RuntimeError: it broke"
    assert broken["traceback"].splitlines()[-1] == "RuntimeError: it broke"
    assert "traceback" not in contested
    suite = ElementTree.fromstring(to_junit([findings])).find("testsuite")
    assert suite is not None
    assert (suite.get("errors"), suite.get("skipped")) == ("1", "1")


def test_what_explains_the_first_calls_alone_is_in_every_report() -> None:
    def later(case: Case) -> Any:
        trajectory = reference.run(case, *compose(["ascends"]))
        trajectory[5]["variables"][0].reshape(-1)[2] += 1
        return trajectory

    findings = named_together(check(later, [BROKEN], "mine"))
    (run_of_it,) = runs = runs_of(to_json([findings]))
    (verdict,) = run_of_it["verdicts"]
    said = verdict["partly"]["diagnosis"]
    assert verdict["names"] == []
    assert said.startswith("it equals ascends up to call 4; no known deviation explains call 5")
    assert verdict["partly"] == {"names": [["ascends"]], "up_to_call": 4, "diagnosis": said}
    (line,) = mismatch_lines(findings)
    assert line.endswith(f"[{said}]")
    assert said in to_junit([findings])
    assert "`ascends`, but not in all calls" in to_markdown(runs)
