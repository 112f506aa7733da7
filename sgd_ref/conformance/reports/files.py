"""Reports for programs: JSON and JUnit XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.reports.tables import mismatch_line
from sgd_ref.definition import DEFINITION_VERSION


def to_json(all_findings: Sequence[Findings]) -> str:
    """Return all verdicts as JSON, with the version of the definition; infinite distances are null.

    In a verdict, `names` explain the whole answer. Where nothing does, `partly` has the names that explain
    the calls up to one, which is null where they explain all but the velocities. Without names, its
    `diagnosis` says which other value of a setting explains the whole answer.
    """
    runs = [_run(findings) for findings in all_findings]
    return json.dumps({"definition_version": DEFINITION_VERSION, "runs": runs}, indent=1, allow_nan=False)


def to_junit(all_findings: Sequence[Findings]) -> str:
    """Return all verdicts as JUnit XML.

    An expected mismatch passes, with its line as output; any other mismatch fails; an unsupported case is
    skipped.
    """
    root = ElementTree.Element("testsuites")
    for findings in all_findings:
        verdicts = findings.report.verdicts.values()
        unexpected = findings.unexpected()
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=findings.report.name,
            tests=str(len(verdicts)),
            failures=str(sum(v.grade == "diverges" for v in unexpected)),
            errors=str(sum(v.grade == "error" for v in unexpected)),
            skipped=str(findings.report.count("unsupported")),
            time=f"{findings.report.seconds:.3f}",
        )
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in (
            ("definition_version", DEFINITION_VERSION),
            ("rule", findings.report.profile.rule),
            ("by_design", ", ".join(sorted(findings.report.profile.by_design))),
        ):
            ElementTree.SubElement(properties, "property", name=key, value=value)
        for verdict in verdicts:
            test = ElementTree.SubElement(
                suite, "testcase", classname=findings.report.name, name=verdict.case.id
            )
            if verdict.grade == "unsupported":
                ElementTree.SubElement(test, "skipped", message=verdict.message)
            elif verdict in unexpected:
                kind = "error" if verdict.grade == "error" else "failure"
                ElementTree.SubElement(test, kind, message=_printable(mismatch_line(findings, verdict)))
            elif verdict.grade in ("diverges", "error"):
                output = ElementTree.SubElement(test, "system-out")
                output.text = _printable(mismatch_line(findings, verdict))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _run(findings: Findings) -> dict[str, Any]:
    report = findings.report
    return {
        "name": report.name,
        "versions": dict(findings.versions),
        "as_expected": findings.as_expected,
        "ok": report.ok,
        "rule": report.profile.rule,
        "by_design": sorted(report.profile.by_design),
        "contested_share": report.contested_share,
        "answers": report.answers,
        "graded": {axis: dict(values) for axis, values in report.coverage.graded.items()},
        "never_graded": {axis: list(values) for axis, values in report.coverage.never_graded.items()},
        "unproven_claims": [list(claim) for claim in report.unproven_claims()],
        "seconds": report.seconds,
        "found": {name: findings.cases_of(name) for name in findings.found},
        "verdicts": [_verdict(findings, verdict) for verdict in report.verdicts.values()],
    }


def _verdict(findings: Findings, verdict: Verdict) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "case": verdict.case.id,
        "grade": verdict.grade,
        "contested": list(verdict.questions),
        "answers": dict(verdict.answers),
        "names": list(findings.names.get(verdict.case.id, ())),
    }
    partly = findings.partly.get(verdict.case.id)
    if partly is not None:
        last = None if partly.up_to is None else partly.up_to - 1
        names = [list(names) for names in partly.names]
        entry["partly"] = {"names": names, "up_to_call": last, "diagnosis": str(partly)}
    if verdict.allowances:
        entry["allowances"] = list(verdict.allowances)
    if verdict.violation is not None:
        entry["violation"] = str(verdict.violation)
    if verdict.message:
        entry["message"] = verdict.message
    if verdict.traceback:
        entry["traceback"] = verdict.traceback
    if verdict.difference is not None:
        difference = verdict.difference
        entry |= {
            "differing": verdict.differing,
            "compared": verdict.compared,
            "units": _finite(verdict.units),
            "first": {
                "call": difference.call,
                "quantity": difference.quantity,
                "variable": difference.variable,
                "element": list(difference.element),
                "expected": difference.expected,
                "observed": difference.observed,
                "units": _finite(difference.units),
            },
        }
    return entry


def _finite(units: float) -> float | None:
    return units if units < float("inf") else None


def _printable(line: str) -> str:
    """Drop control characters, such as colours in messages of frameworks, which XML cannot hold."""
    return "".join(character for character in line if character.isprintable())
