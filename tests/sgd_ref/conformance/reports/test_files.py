"""Reports for programs: answers to open questions, coverage and tracebacks are in them."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from sgd_ref.conformance import Case, Unsupported, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports.files import to_json, to_junit
from sgd_ref.conformance.trajectories import reference

CONTESTED = make_case(PLAINEST | {"gradients": "missing", "accumulation": "2"})
BROKEN = make_case(PLAINEST | {"update": "momentum"})
UNSUPPORTED = make_case(PLAINEST | {"dtype": "float16"})


def run(case: Case) -> Any:
    if case.config["momentum"]:
        raise RuntimeError("it broke")
    if case.variables[0].dtype.name == "float16":
        raise Unsupported("half")
    return reference.run(case, *compose(["accumulator-used-without-gradient"]))


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
