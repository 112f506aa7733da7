"""The page of targets: its cells, links and tables, and that one column can be replaced by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.catalogue.axes import AXES, PLAINEST
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Report, Verdict
from sgd_ref.conformance.reports import target_data
from sgd_ref.conformance.reports.target_data import Data, to_data, to_text
from sgd_ref.conformance.reports.targets_page import page, page_of_data
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.storage import Asked
from sgd_ref.conformance.targets.names import file_name

FLUSHED, DECAY, CRASH = "subnormals-flushed", "decay-enters-velocity", "crashes-on-tuesdays"
REASON = "it has no\n  sparse | gradients"


def verdict(identifier: str, grade: str, message: str = "", **features: str) -> Verdict:
    one = np.ones(1)
    combination = {**PLAINEST, **features} if features else None
    case = Case(identifier, {"learning_rate": 0.5}, ("w",), (one,), ((one,),), features=combination)
    return Verdict(case, grade, message=message)


def findings(name: str = "keras jax eager") -> Findings:
    """Return three exact cases, two of rounding, one divergence, one failure, two unsupported; four named."""
    verdicts = [
        *(verdict(f"a{index}", "exact", update="momentum") for index in range(3)),
        *(verdict(f"b{index}", "rounding", update="momentum") for index in range(2)),
        verdict("c", "diverges", update="momentum"),
        verdict("d", "error", "it crashed", update="momentum"),
        verdict("e", "unsupported", REASON, update="momentum", gradients="sparse"),
        verdict("f", "unsupported", REASON.replace("  ", " "), update="nesterov", gradients="sparse"),
        verdict("named/one", "exact"),
        verdict("named/other", "diverges"),
        verdict("exact/one", "exact"),
        verdict("optimization/one", "rounding"),
    ]
    names = {"c": (FLUSHED, "mean-by-reciprocal"), "named/other": (FLUSHED, DECAY), "d": (CRASH,)}
    report = Report(name, {verdict.case.id: verdict for verdict in verdicts})
    return Findings(report, {"version": "3.15.1", "jax": "0.10.2"}, names, frozenset({FLUSHED, DECAY, CRASH}))


def data(name: str = "keras jax eager") -> Data:
    return to_data(findings(name))


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading; every row must have as many as the header."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert table[1] == ["---"] * len(table[0])
    assert {len(row) for row in table} == {len(table[0])}
    return [table[0], *table[2:]]


def row(text: str, heading: str, first: str, second: str | None = None) -> list[str]:
    axis = ""
    for cells in rows(text, heading):
        axis = cells[0] or axis
        if axis == first and second in (None, cells[1]):
            return cells[1:] if second is None else cells[2:]
    raise AssertionError(f"no row {first} {second}")


def test_features_have_the_numbers_of_each_grade() -> None:
    text = page([findings()], {})
    assert row(text, "Features", "update", "momentum") == ["3+2/6, 1 F, 1 U"]
    assert row(text, "Features", "update", "nesterov") == ["1 U"]
    assert row(text, "Features", "update", "plain") == ["-"]
    assert row(text, "Features", "gradients", "sparse") == ["2 U"]
    assert row(text, "Features", "gradients", "dense") == ["3+2/6, 1 F"]
    assert row(text, "Features", "named cases", "") == ["1/2"]
    assert row(text, "Features", "exact cases", "") == ["1/1"]
    assert row(text, "Features", "optimization cases", "") == ["0+1/1"]
    assert row(text, "Features", "structure cases", "") == ["-"]


def test_every_value_of_every_axis_has_a_row() -> None:
    table = rows(page([findings()], {}), "Features")[1:]
    values = [value for values in AXES.values() for value in values]
    assert [cells[1] for cells in table] == [*values, "", "", "", ""]


def test_every_case_of_the_standard_tier_is_counted() -> None:
    report = Report("all", {case.id: Verdict(case, "exact") for case in cases()})
    counted = to_data(Findings(report))
    others = sum(grades["exact"] for grades in counted["cases"].values())
    for values in counted["features"].values():
        assert sum(grades.get("exact", 0) for grades in values.values()) + others == len(cases())


def test_contradictions_are_counted_and_those_with_a_script_are_marked() -> None:
    all_findings = [findings(), findings("torch loop")]
    text = page(all_findings, {"keras jax eager": [FLUSHED, "mean-by-reciprocal"], "torch loop": [DECAY]})
    assert rows(text, "Contradictions") == [
        ["contradiction", "keras jax eager", "torch loop", "what it is"],
        [
            f"`{FLUSHED}`",
            "**2**",
            "2",
            DEVIATIONS[FLUSHED].summary.replace("|", r"\|"),
        ],
        [f"`{CRASH}`", "1", "1", "a failure"],
        [
            f"`{DECAY}`",
            "1",
            "**1**",
            DEVIATIONS[DECAY].summary.replace("|", r"\|"),
        ],
    ]
    commands = re.findall("^    (sgd-ref reproduce .*)$", text, re.MULTILINE)
    assert commands == [
        "sgd-ref reproduce keras CONTRADICTION --backend jax --mode eager",
        "sgd-ref reproduce torch CONTRADICTION --variant loop",
    ]


def test_targets_without_scripts_have_no_command() -> None:
    text = page([findings(), findings("torch loop")], {"torch loop": [DECAY]})
    assert "sgd-ref reproduce keras" not in text
    assert "sgd-ref reproduce" not in page([findings()], {})


def test_what_no_name_explains_is_not_hidden() -> None:
    found = findings()
    nameless = Findings(findings("torch loop").report, {}, {"c": (FLUSHED,)}, found.contradictions)
    text = page([found, nameless], {})
    assert row(text, "Contradictions", "**no known name**") == ["", "2", ""]


def test_versions() -> None:
    assert rows(page([findings()], {}), "Versions")[1:] == [
        ["keras jax eager", "keras", "keras 3.15.1, jax 0.10.2"]
    ]
    unknown = Findings(findings().report)
    assert rows(page([unknown], {}), "Versions")[1:] == [["keras jax eager", "keras", "not given"]]


def test_optimisations_are_named() -> None:
    chosen = [case for case in cases() if case.id.startswith("optimization/")]
    fused = Findings(check(FAITHFUL["descent-fused"].run, chosen, "fused"))
    text = page([fused, findings()], {})
    assert rows(text, "Optimisations")[0] == ["optimisation", "fused", "keras jax eager"]
    assert row(text, "Optimisations", "fused-multiply-add") == ["done", "-"]
    assert row(text, "Optimisations", "reassociated-sum") == ["not done", "-"]


def test_what_could_not_be_run_has_its_reason() -> None:
    other = Findings(Report("torch loop", {"a": verdict("a", "exact", update="momentum")}))
    text = page_of_data([data(), to_data(other)], {}, ["optax eager: it is\nnot installed"])
    assert rows(text, "What could not be run") == [
        ["reason", "keras jax eager", "torch loop"],
        [r"it has no sparse \| gradients", "2", ""],
    ]
    assert text.endswith("- optax eager: it is not installed\n")
    assert "Nothing: every target answered every case." in page([other], {})


def test_one_column_is_replaced_by_itself() -> None:
    kept: list[Any] = [json.loads(to_text(data(name))) for name in ("keras jax eager", "torch loop")]
    before = page_of_data(kept, {})
    assert before == page([findings(), findings("torch loop")], {})
    run_again = Findings(Report("torch loop", {"a": verdict("a", "exact", update="momentum")}))
    after = page_of_data([kept[0], to_data(run_again)], {})
    assert row(before, "Features", "update", "momentum") == ["3+2/6, 1 F, 1 U"] * 2
    assert row(after, "Features", "update", "momentum") == ["3+2/6, 1 F, 1 U", "1/1"]
    assert row(after, "Contradictions", f"`{FLUSHED}`")[:2] == ["2", ""]


def test_the_data_do_not_depend_on_when_and_how_fast_they_were_found() -> None:
    found = findings()
    slow = Findings(
        Report(found.report.name, found.report.verdicts, seconds=99.0),
        found.versions,
        dict(reversed(list(found.names.items()))),
        found.contradictions,
    )
    assert to_text(to_data(slow)) == to_text(to_data(found))


def test_the_data_hold_names_and_reasons_once_and_in_order() -> None:
    found = data()
    assert list(found["contradictions"].items()) == [(CRASH, 1), (DECAY, 1), (FLUSHED, 2)]
    assert found["unsupported"] == {"it has no sparse | gradients": 2}


def test_data_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "keras-jax-eager.json"
    path.write_text(to_text(data()), encoding="utf-8")
    assert target_data.read(path) == data()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}'])
def test_other_data_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json holds no data of a target"):
        target_data.read(path)


def test_targets_must_be_distinct_and_there() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        page_of_data([], {})
    with pytest.raises(ValueError, match="none twice"):
        page_of_data([data(), data()], {})


def test_names_of_files_hold_no_separators() -> None:
    assert file_name("my.module:Class.run") == "my.module-Class.run"
    assert file_name("optax jitted") == "optax-jitted"


def test_since_when_contradictions_are_there() -> None:
    asked = [
        Asked("1.0.0", {"mine": "1.0.0", "numpy": "2.0"}, {"ascends": Outcome("there")}),
        Asked("1.1.0", {"mine": "1.1.0", "numpy": "2.0"}, {"ascends": Outcome("absent")}),
        Asked("0.9.0", obstacle="no | wheel"),
    ]
    text = page_of_data([data()], {}, histories={"mine eager": asked})
    assert "### mine eager\n" in text
    assert "| ascends | x | - | 1.0.0; mended in 1.1.0 |\n" in text
    assert "- installed with 1.0.0, 1.1.0: numpy 2.0\n" in text
    assert "- could not be run: 0.9.0: no \\| wheel\n" in text
    assert "## Since when" not in page_of_data([data()], {})
