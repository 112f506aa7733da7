"""Reports for people: one line for each mismatch, tables of features and of known deviations.

The tables hold text as it is, for a console that reads no markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from sgd_ref.conformance.answers import ANSWERS
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.history.since import since_when
from sgd_ref.conformance.targets.registry import names as names_of_targets


def mismatch_lines(findings: Findings) -> Iterator[str]:
    """Yield one line for each mismatch: case, call, variable, element, both bit patterns, distance.

    If the implementation raised, its traceback follows; equal tracebacks are shown once.
    """
    shown: dict[str, str] = {}
    for verdict in findings.mismatches():
        yield mismatch_line(findings, verdict)
        if verdict.traceback:
            if verdict.traceback in shown:
                yield f"    the traceback is that of {shown[verdict.traceback]}"
            else:
                shown[verdict.traceback] = verdict.case.id
                yield from (f"    {line}" for line in verdict.traceback.splitlines())


def mismatch_line(findings: Findings, verdict: Verdict) -> str:
    """Return the line of one mismatch, with the names of the deviations that explain it."""
    if verdict.grade == "error":
        what = " ".join(verdict.message.split())
    else:
        what = f"{verdict.difference} ({verdict.differing} of {verdict.compared} elements)"
        what += "" if verdict.violation is None else f"; not faithful: {verdict.violation}"
        what += f"; {verdict.message}" if verdict.message else ""
    names = findings.names.get(verdict.case.id, ())
    marks = [", ".join(names) if names else str(findings.partly.get(verdict.case.id, "unexplained"))]
    marks += [f"contested: {_questions(verdict)}"] if verdict.contested else []
    return f"{verdict.case.id}: {what} [{'; '.join(marks)}]"


def _questions(verdict: Verdict) -> str:
    """Return the open questions of a case, each with the answer by which it was judged."""
    answers = verdict.answers
    return ", ".join(
        f"{question} (judged by the answer {answers[question]!r})" if question in answers else question
        for question in verdict.questions
    )


def rule_lines(findings: Findings) -> Iterator[str]:
    """Yield the rule that the implementation is held to, and its parts with their sources."""
    dialect = findings.report.profile.dialect
    yield f"held to the rule of {dialect}"
    for name, source in dialect.sources.items():
        yield f"a part of this rule: {name} ({source})"


def answer_lines(findings: Findings) -> Iterator[str]:
    """Yield one line for each open question that the implementation answers, with its answer."""
    for question, name in findings.report.answers.items():
        answer = next(answer for answer in ANSWERS[question] if answer.name == name)
        yield f"answer to {question}: {name}, {answer.what}"


def summary_line(findings: Findings) -> str:
    """Return the line that ends a run: counts, contested share, and the verdict."""
    report = findings.report
    explained = len(list(findings.mismatches())) - len(findings.unexplained())
    verdict = "as expected" if findings.as_expected else "NOT as expected"
    expected = f", {len(findings.listed)} in the ledger" if findings.listed else ""
    return (
        f"{report}; {explained} of the mismatches known, {len(findings.unexplained())} "
        f"unexplained{expected}; {report.contested_share:.0%} of the cases contested; "
        f"{report.seconds:.0f} s: {verdict}"
    )


def feature_table(all_findings: Sequence[Findings]) -> Table:
    """Return the table of features against implementations.

    A cell counts the exact cases among those graded with that value of the axis; then those that other
    roundings explain, those that diverge, those that fail, and those not supported.
    """
    table = Table(title="exact / graded cases with each feature", title_justify="left")
    table.add_column("feature")
    table.add_column("value")
    for findings in all_findings:
        table.add_column(_heading(findings))
    for axis, values in AXES.items():
        for position, value in enumerate(values):
            cells = [
                _cell([v for v in findings.report.verdicts.values() if _has(v, axis, value)])
                for findings in all_findings
            ]
            table.add_row(axis if position == 0 else "", value, *cells, end_section=value == values[-1])
    cells = [
        _cell([v for v in findings.report.verdicts.values() if not v.case.features])
        for findings in all_findings
    ]
    table.add_row("named cases", "", *cells)
    return table


def deviation_table(all_findings: Sequence[Findings]) -> RenderableType:
    """Return the table of known deviations that the runs found, with the number of cases of each."""
    contradictions = _names_table(all_findings, True, "contradictions found, each with its number of cases")
    rounding = _names_table(all_findings, False, "other roundings found, each with its number of cases")
    return Group(contradictions, rounding)


def _names_table(all_findings: Sequence[Findings], contradicting: bool, title: str) -> Table:
    found: dict[str, str] = {}
    for findings in all_findings:
        for name in findings.found:
            if (name in findings.contradictions) == contradicting:
                found.setdefault(name, findings.cases_of(name)[0])
    table = Table(title=f"{len(found)} {title}", title_justify="left")
    # A name or an id that is cut off in a narrow terminal could not be typed.
    table.add_column("name", overflow="fold")
    for findings in all_findings:
        table.add_column(_heading(findings), justify="right")
    since = _since_when(all_findings) if contradicting else {}
    if since:
        table.add_column("since when")
    table.add_column("for example", overflow="fold")
    for name, example in found.items():
        counts = [len(findings.cases_of(name)) for findings in all_findings]
        cells = [str(count) if count else "" for count in counts]
        table.add_row(name, *cells, *([since.get(name, "")] if since else []), example)
    return table


def _since_when(all_findings: Sequence[Findings]) -> dict[str, str]:
    """Return since when each contradiction is there, by its name, of the targets that have a history."""
    known = names_of_targets()
    # The name of a user's own program may be any text, even too long for a path.
    targets = [findings.report.name for findings in all_findings if findings.report.name in known]
    return {name: "\n".join(lines) for name, lines in since_when(targets).items()}


def _heading(findings: Findings) -> str:
    """Return what was run, and below it as what it introduced itself, if it did."""
    versions = findings.versions
    itself = f"\n{versions['name']} {versions['version']}" if "name" in versions else ""
    return findings.report.name + itself


def _has(verdict: Verdict, axis: str, value: str) -> bool:
    return (verdict.case.features or {}).get(axis) == value


def _cell(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "-"
    exact = sum(v.grade == "exact" for v in verdicts)
    rounding = sum(v.grade == "rounding" for v in verdicts)
    diverging = sum(v.grade == "diverges" for v in verdicts)
    parts = [f"{exact}/{exact + rounding + diverging}"]
    for count, what in (
        (rounding, "rounding"),
        (diverging, "diverge"),
        (sum(v.grade == "error" for v in verdicts), "fail"),
        (sum(v.grade == "unsupported" for v in verdicts), "unsupported"),
    ):
        if count:
            parts.append(f"{count} {what}")
    return ", ".join(parts)
