"""The page of targets: features, contradictions and optimisations against all implementations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.named.optimizations import OPTIMIZATIONS
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import GRADED
from sgd_ref.conformance.reports.target_data import GROUPS, Data, to_data
from sgd_ref.conformance.targets.history import table
from sgd_ref.conformance.targets.history.storage import Asked
from sgd_ref.conformance.targets.names import versions_text
from sgd_ref.conformance.targets.registry import arguments_of

INTRODUCTION = """\
# Targets

A target is an implementation of SGD that `sgd-ref` can run by name. This page shows the results of the
targets in the test cases of `sgd-ref`. `sgd-ref conform ... --page` runs the given targets, keeps the results
in a folder for each target, and writes this page from all kept results:

    sgd-ref conform keras --backend all --mode all --page
    sgd-ref conform torch --variant all --page
    sgd-ref conform optax --mode all --page
    sgd-ref targets install NAME && sgd-ref conform NAME --page

The last line is for each of the other targets, which run in an environment of their own. They get only the
cases whose features they offer, and additional combinations of these features.

A case is *exact* if every bit is that of the reference; *rounding* if some faithful evaluation of the
documented formulas gives the bits; it *diverges* if none does; it *fails* if there is no answer; it is
*unsupported* if the implementation does not offer a feature that the case needs. Each target is judged by a
documented rule (held to it): its own if it differs from that of Keras by design, otherwise that of Keras.
"""

NOTATION = """\
`40+3/49, 1 F, 2 U` means: of 49 graded cases 40 are exact, 3 are rounding, and the other 6 diverge; besides,
1 case fails and 2 are unsupported. `40/40` means that all are exact. A dash means that no case was run. A
combination of features counts in one row of each axis; the other cases are in the last rows. A divergence in
an optimisation case is no mistake.
"""

CONTRADICTIONS = """\
The ways in which the targets differ from the documentation, with the number of cases that show each. If the
number is bold, there is a script that shows the contradiction, if possible with the target and NumPy alone.
Some contradictions can be [reported to their projects](reports/README.md).
"""

SCRIPTS = """\
These commands print the scripts, given the name of a contradiction; without a name, they list the names.
"""

SINCE = """\
Other releases of the frameworks were run with the same cases, each in an environment in which only the
framework is installed. `sgd-ref history TARGET --versions RELEASES` runs more releases. Between the releases
in a table there are others, which were not run.
"""

OPTIMISATIONS = """\
Optimisations that compilers and kernels make. Most of them are faithful, and none counts as a mistake.
"""


Shown = Mapping[str, Collection[str]]
"""By the name of a target, the contradictions that a script shows."""


def page(all_findings: Sequence[Findings], shown: Shown) -> str:
    """Return the page of some runs, in Markdown.

    Parameters
    ----------
    all_findings : sequence of Findings
        The findings of the runs.
    shown : mapping of str to collection of str
        By the name of a target, the contradictions for which there is a script.
    """
    return page_of_data([to_data(findings) for findings in all_findings], shown)


def page_of_data(
    all_data: Sequence[Data],
    shown: Shown,
    not_run: Sequence[str] = (),
    histories: Mapping[str, Sequence[Asked]] | None = None,
) -> str:
    """Return the page of the kept data about some targets, in Markdown.

    Parameters
    ----------
    all_data : sequence of dict
        What `to_data` returned for each target, in the order of the columns.
    shown : mapping of str to collection of str
        By the name of a target, the contradictions for which there is a script.
    not_run : sequence of str
        The reasons why other targets are missing.
    histories : mapping of str to sequence of Asked, optional
        By the name of a target, the results of releases in its contradictions.

    Raises
    ------
    ValueError
        If there is no target, or one is there twice.
    """
    names = [data["target"] for data in all_data]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"all_data must hold at least one target, and none twice, got {names}")
    parts = [
        INTRODUCTION,
        "## Versions\n",
        _table(["target", "held to the rule of", "versions"], _version_rows(all_data)),
        "## Features\n",
        NOTATION,
        _table(["feature", "value", *names], _feature_rows(all_data)),
        "## Contradictions\n",
        CONTRADICTIONS,
        _table(["contradiction", *names, "what it is"], _contradiction_rows(all_data, shown)),
        *_scripts(all_data, shown),
        *_since(histories or {}),
        "## Optimisations\n",
        OPTIMISATIONS,
        _table(["optimisation", *names], _optimization_rows(all_data)),
        "## What could not be run\n",
        *_unsupported(all_data, not_run),
    ]
    return "\n".join(parts)


def _version_rows(all_data: Sequence[Data]) -> Iterator[list[str]]:
    for data in all_data:
        # Data from before there was a choice is for the rule of Keras.
        rule = data.get("rule", "keras")
        yield [data["target"], rule, versions_text(data["target"], data["versions"]) or "not given"]


def _feature_rows(all_data: Sequence[Data]) -> Iterator[list[str]]:
    for axis, values in AXES.items():
        for position, value in enumerate(values):
            cells = [_cell(data["features"].get(axis, {}).get(value, {})) for data in all_data]
            yield [axis if position == 0 else "", value, *cells]
    for group in GROUPS:
        yield [f"{group} cases", "", *(_cell(data["cases"].get(group, {})) for data in all_data)]


def _cell(grades: Mapping[str, int]) -> str:
    """Return the numbers of cases of each grade, as `NOTATION` explains.

    >>> _cell({"exact": 40, "rounding": 3, "diverges": 6, "error": 1, "unsupported": 2})
    '40+3/49, 1 F, 2 U'
    """
    parts = []
    graded = sum(grades.get(grade, 0) for grade in GRADED)
    if graded:
        rounding = f"+{grades['rounding']}" if "rounding" in grades else ""
        parts.append(f"{grades.get('exact', 0)}{rounding}/{graded}")
    parts += [
        f"{grades[grade]} {mark}" for grade, mark in (("error", "F"), ("unsupported", "U")) if grade in grades
    ]
    return ", ".join(parts) or "-"


def _contradiction_rows(all_data: Sequence[Data], shown: Shown) -> Iterator[list[str]]:
    totals: dict[str, int] = {}
    for data in all_data:
        for name, count in data["contradictions"].items():
            totals[name] = totals.get(name, 0) + count
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        known = DEVIATIONS.get(name)
        what = "a failure" if known is None else known.summary
        yield [f"`{name}`", *(_count(data, name, shown) for data in all_data), what]
    if any(data["unexplained"] for data in all_data):
        yield ["**no known name**", *(str(data["unexplained"] or "") for data in all_data), ""]


def _count(data: Data, name: str, shown: Shown) -> str:
    count = data["contradictions"].get(name)
    if count is None:
        return ""
    return f"**{count}**" if name in shown.get(data["target"], ()) else str(count)


def _scripts(all_data: Sequence[Data], shown: Shown) -> Iterator[str]:
    """Yield the commands that print the scripts, each as a line of code."""
    names = [data["target"] for data in all_data if shown.get(data["target"])]
    if names:
        yield SCRIPTS
        yield "".join(f"    sgd-ref reproduce {arguments_of(name, 'CONTRADICTION')}\n" for name in names)


def _since(histories: Mapping[str, Sequence[Asked]]) -> Iterator[str]:
    """Yield since when the contradictions of each target are there."""
    if not histories:
        return
    yield "## Since when\n"
    yield SINCE
    yield "".join(f"- {line}\n" for line in table.legend().split("; "))
    for target, asked in histories.items():
        yield f"### {target}\n"
        yield _table(table.header(asked), table.rows(asked))
        lines = [f"installed with {line}" for line in table.installed_with(asked)]
        lines += [f"could not be run: {line}" for line in table.obstacles(asked)]
        yield "".join(f"- {_one_line(line)}\n" for line in lines)


def _optimization_rows(all_data: Sequence[Data]) -> Iterator[list[str]]:
    for optimization in OPTIMIZATIONS:
        name = optimization.name
        yield [name, *(data["optimizations"].get(name, "-") for data in all_data)]


def _unsupported(all_data: Sequence[Data], not_run: Sequence[str]) -> Iterator[str]:
    reasons = sorted({reason for data in all_data for reason in data["unsupported"]})
    names = [data["target"] for data in all_data]
    rows = [[reason, *(str(data["unsupported"].get(reason, "")) for data in all_data)] for reason in reasons]
    if rows:
        yield "Features that a target does not offer, with the number of cases that need them.\n"
        yield _table(["reason", *names], rows)
    if not_run:
        yield "Targets that could not be run.\n"
        yield "".join(f"- {_one_line(reason)}\n" for reason in not_run)
    if not rows and not not_run:
        yield "Nothing: every target answered every case.\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_one_line, line))} |\n" for line in lines)


def _one_line(text: str) -> str:
    """Return text that a cell of a table can hold.

    >>> _one_line("several   words").split(" ")
    ['several', 'words']
    """
    return " ".join(text.split()).replace("|", r"\|")
