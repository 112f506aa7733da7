"""The summary of a report, from its JSON: a page of Markdown for a CI job, and a badge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sgd_ref.conformance.deviations import DEVIATIONS

MOST_LINES = 30
"""The largest number of lines of the page."""

MOST_RUNS = 8

AS_EXPECTED = "as expected"

RIGHT = ("exact", "rounding")

GRADES = ("exact", "rounding", "diverges", "error", "unsupported")

LONGEST_CELL = 160

ESCAPED = str.maketrans({"|": "&#124;", "<": "&lt;", ">": "&gt;", "\\": "&#92;", "`": "'"})

Run = Mapping[str, Any]


def runs_of(text: str) -> list[Run]:
    """Return the runs of a report.

    Parameters
    ----------
    text : str
        A report that ``sgd-ref conform --json`` or ``pytest --sgd-ref-report`` wrote.

    Raises
    ------
    ValueError
        If the text is no such report.
    """
    try:
        runs: list[Run] = json.loads(text)["runs"]
        for run in runs:
            _ = (
                run["name"] + "",
                bool(run["as_expected"]),
                [list(claim) for claim in run["unproven_claims"]],
            )
            for verdict in run["verdicts"]:
                _ = (verdict["case"] + "", GRADES.index(verdict["grade"]), verdict["names"][:0])
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"it is no report of sgd-ref: {type(problem).__name__}: {problem}") from problem
    return runs


def to_markdown(runs: Sequence[Run], more: str = "") -> str:
    """Return a page of at most `MOST_LINES` lines: a table of the runs, and one of what diverges.

    Parameters
    ----------
    runs : sequence of mapping
        The runs, as `runs_of` returns them.
    more : str, optional
        A last line, such as a link.

    Examples
    --------
    >>> run = {"name": "mine", "as_expected": True, "unproven_claims": []}
    >>> print(to_markdown([run | {"verdicts": [{"case": "axes/plain", "grade": "exact", "names": []}]}]))
    ### SGD: as expected
    <BLANKLINE>
    | implementation | result | exact | rounding | diverges | error | unsupported |
    |---|---|---|---|---|---|---|
    | `mine` | as expected | 1 | 0 | 0 | 0 | 0 |
    <BLANKLINE>
    """
    last = ["", more] if more else []
    lines = [f"### SGD: {_result(runs)}", "", *_table_of_runs(runs)]
    unproven = [f"{axis} {value}" for run in runs for axis, value in run["unproven_claims"]]
    if unproven:
        lines += ["", f"Claimed, but never graded: {_cell(', '.join(dict.fromkeys(unproven)))}"]
    mistakes = list(_mistakes(runs))
    if mistakes:
        lines += ["", "| mistake or failure | cases | for example | there |", "|---|---|---|---|"]
        room = MOST_LINES - len(lines) - len(last)
        if len(mistakes) > room:
            hidden = len(mistakes) - (room - 1)
            mistakes = [*mistakes[: room - 1], f"| and {hidden} more | | | |"]
        lines += mistakes
    return "\n".join([*lines, *last, ""])


def to_badge(runs: Sequence[Run]) -> str:
    """Return a badge, as JSON for the endpoint of shields.io.

    It counts the right answers among all cases that were graded or failed. It is green if all are right,
    yellow if the others are expected, and red otherwise.

    Examples
    --------
    >>> run = {"name": "mine", "as_expected": True, "unproven_claims": []}
    >>> to_badge([run | {"verdicts": [{"case": "axes/plain", "grade": "exact", "names": []}]}])
    '{"schemaVersion": 1, "label": "SGD", "message": "1 of 1 cases", "color": "brightgreen"}'
    """
    grades = [verdict["grade"] for run in runs for verdict in run["verdicts"]]
    right = sum(grade in RIGHT for grade in grades)
    asked = sum(grade != "unsupported" for grade in grades)
    color = "brightgreen" if right == asked else "yellow"
    if _result(runs) != AS_EXPECTED:
        color = "red"
    badge = {"schemaVersion": 1, "label": "SGD", "message": f"{right} of {asked} cases", "color": color}
    return json.dumps(badge)


def _result(runs: Sequence[Run]) -> str:
    if not runs:
        return "nothing was run"
    return AS_EXPECTED if all(run["as_expected"] for run in runs) else "NOT as expected"


def _table_of_runs(runs: Sequence[Run]) -> Iterator[str]:
    yield f"| implementation | result | {' | '.join(GRADES)} |"
    yield "|---" * (len(GRADES) + 2) + "|"
    # Runs with unexpected results come first.
    ordered = sorted(runs, key=lambda run: bool(run["as_expected"]))
    for run in ordered[:MOST_RUNS]:
        grades = [verdict["grade"] for verdict in run["verdicts"]]
        counts = " | ".join(str(grades.count(grade)) for grade in GRADES)
        yield f"| {_code(run['name'])} | {_result([run])} | {counts} |"
    if len(runs) > MOST_RUNS:
        yield f"| and {len(runs) - MOST_RUNS} more |" + " |" * (len(GRADES) + 1)


def _mistakes(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a row for each mistake and each failure, the most frequent first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        for verdict in run["verdicts"]:
            if verdict["grade"] in ("diverges", "error"):
                groups.setdefault(_what(verdict), []).append(verdict)
    for what, verdicts in sorted(groups.items(), key=lambda group: -len(group[1])):
        first = verdicts[0]
        where = first.get("violation", "")
        yield f"| {what} | {len(verdicts)} | {_code(first['case'])} | {_cell(where)} |"


def _what(verdict: Mapping[str, Any]) -> str:
    if verdict["grade"] == "error":
        return f"error: {_cell(' '.join(str(verdict.get('message', '')).split()))}"
    partly = verdict.get("partly", {})
    if partly.get("names") and partly.get("up_to_call") is not None:
        return f"{' with '.join(map(_linked, partly['names'][0]))}, but not in all calls"
    return " with ".join(map(_linked, verdict["names"])) or "no known deviation"


def _linked(name: str) -> str:
    address = DEVIATIONS[name].address if name in DEVIATIONS else ""
    return f"[{_code(name)}]({address})" if address else _code(name)


def _code(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return f"`{_cell(text).replace('`', chr(39))}`"


def _cell(text: str) -> str:
    """Return text as one line of a cell, with what would be read as markup escaped."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return (line if len(line) <= LONGEST_CELL else f"{line[:LONGEST_CELL]}...").translate(ESCAPED)
