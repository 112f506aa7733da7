"""Ledgers: the expected results of known implementations, as data, compared with runs in both directions.

A ledger lists every case of the standard tier that diverges, fails or is not supported, under the known
deviations that it shows there, the failure, or the reason. Cases that are exact or within rounding are not
listed: which of the two depends on the processor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.dialects import KERAS
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.names import file_name

FORMAT = 1

NO_EVIDENCE = "none"
"""The text for a name without known evidence."""


@dataclass(frozen=True)
class Expected:
    """The expected result of one case.

    Attributes
    ----------
    grade : str
        "diverges", "error" or "unsupported".
    names : tuple of str
        The deviations or the failure; for "unsupported" only the reason.
    """

    grade: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.grade} ({', '.join(self.names) or 'no known name'})"


Ledger = Mapping[str, Expected]
"""Expected results, by the id of a case; for a case that is not listed, the documented result."""


def path_of(target: str) -> Path:
    """Return the path of the ledger of a target.

    >>> path_of("keras jax eager").parts[-3:]
    ('targets', 'keras-jax-eager', 'ledger.json')
    """
    return data_folder.folder() / "targets" / file_name(target) / "ledger.json"


def observed(findings: Findings) -> dict[str, Expected]:
    """Return the results of a run, as a ledger."""
    return {
        case_id: Expected(verdict.grade, _names(findings, verdict))
        for case_id, verdict in findings.report.verdicts.items()
        if verdict.grade in ("diverges", "error", "unsupported")
    }


def problems(ledger: Ledger, findings: Findings) -> list[str]:
    """Return the differences of a run from a ledger, one line each.

    A result that the ledger does not list is unexpected. An entry that the run does not show is stale. Only
    cases that were run count.
    """
    found = observed(findings)
    lines = []
    for case_id in findings.report.verdicts:
        wanted, got = ledger.get(case_id), found.get(case_id)
        if wanted == got:
            continue
        if wanted is None:
            lines.append(f"{case_id}: unexpected: {got}")
        elif got is None:
            grade = findings.report.verdicts[case_id].grade
            lines.append(f"{case_id}: stale: {wanted} is expected, but it is {grade}")
        else:
            lines.append(f"{case_id}: {wanted} is expected, got {got}")
    return lines


def listed(ledger: Ledger, findings: Findings) -> Findings:
    """Return findings in which the mismatches that a ledger lists with the same result are marked."""
    found = observed(findings)
    ids = (case_id for case_id, got in found.items() if ledger.get(case_id) == got)
    return replace(findings, listed=frozenset(ids) & {verdict.case.id for verdict in findings.mismatches()})


def of_run(findings: Findings, path: Path | None) -> Ledger | None:
    """Return the ledger that a run is compared with: that of a file, or of a known target, if there is one.

    Raises
    ------
    ValueError
        If the file is no ledger, or is the ledger of a run under another rule.
    """
    held_to = str(findings.report.profile.dialect)
    kept = path_of(findings.report.name)
    if path is None:
        # The kept ledger of a target is for its own rule, and does not apply to another rule.
        return read(kept) if _is_there(kept) and rule_of(kept) == held_to else None
    return read_for(path, held_to)


def read_for(path: Path, held_to: str) -> dict[str, Expected]:
    """Return a ledger from its file, for a run under some rule.

    Raises
    ------
    ValueError
        If the file is no ledger, or is the ledger of a run under another rule.
    """
    if rule_of(path) != held_to:
        raise ValueError(f"{path} lists what is expected by the rule of {rule_of(path)}, not of {held_to}")
    return read(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    # The name of a program is its command, which may be too long for the name of a file.
    except OSError:
        return False


def rule_of(path: Path) -> str:
    """Return the rule that a ledger was written under, in words.

    Raises
    ------
    ValueError
        If the file is no ledger.
    """
    read(path)
    return str(json.loads(path.read_text(encoding="utf-8")).get("rule", "keras"))


def read(path: Path) -> dict[str, Expected]:
    """Return a ledger from its file.

    Raises
    ------
    ValueError
        If the file is no ledger of this format, or lists a case twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"it has format {content['format']!r}, and {FORMAT} is read here")
        ledger: dict[str, Expected] = {}
        for entry in content["entries"]:
            for case_id in entry["cases"]:
                if case_id in ledger:
                    raise ValueError(f"it lists {case_id} twice")
                ledger[case_id] = Expected(entry["grade"], tuple(entry["names"]))
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} is no ledger: {problem}") from problem
    return ledger


def evidence_of(path: Path) -> dict[str, str]:
    """Return the evidence of each name in a ledger, as far as the ledger has it.

    Raises
    ------
    ValueError
        If the file is no ledger.
    """
    read(path)
    found: dict[str, str] = {}
    for entry in json.loads(path.read_text(encoding="utf-8"))["entries"]:
        for line in entry["evidence"]:
            name, _, where = line.partition(": ")
            if where != NO_EVIDENCE:
                found[name] = where
    return found


def to_json(findings: Findings, evidence: Mapping[str, str]) -> str:
    """Return the ledger of a run as text, with the evidence of each name."""
    groups: dict[Expected, list[str]] = {}
    for case_id, expected in observed(findings).items():
        groups.setdefault(expected, []).append(case_id)
    entries = [
        {
            "grade": expected.grade,
            "names": list(expected.names),
            "evidence": list(_evidence(expected, evidence)),
            "cases": sorted(case_ids),
        }
        for expected, case_ids in sorted(groups.items(), key=lambda item: (item[0].grade, item[0].names))
    ]
    dialect = findings.report.profile.dialect
    content: dict[str, Any] = {
        "format": FORMAT,
        "target": findings.report.name,
        # A ledger that names no rule was written under the rule of Keras.
        **({} if dialect == KERAS else {"rule": str(dialect)}),
        "versions": dict(findings.versions),
        "entries": entries,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _names(findings: Findings, verdict: Verdict) -> tuple[str, ...]:
    if verdict.grade == "unsupported":
        return (" ".join(verdict.message.split()),)
    names = findings.names.get(verdict.case.id, ())
    # The roundings beside a contradiction depend on the processor.
    return tuple(name for name in names if name in findings.contradictions) or tuple(names)


def _evidence(expected: Expected, evidence: Mapping[str, str]) -> Iterator[str]:
    if expected.grade != "unsupported":
        yield from _known(expected.names, evidence)


def _known(names: Iterable[str], evidence: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        yield f"{name}: {evidence.get(name, NO_EVIDENCE)}"
