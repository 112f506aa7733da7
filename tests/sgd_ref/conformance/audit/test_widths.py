"""The widths of the bounds: the published page is what is computed, and they are as narrow as required."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import FLOAT32, FORMATS
from sgd_ref.conformance.audit import widths
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from tests.conftest import Sweep

LARGEST_MEDIANS = {"variables": 2, "velocities": 3, "averages": 2}


def case_of(variable: float, *gradients: float, **settings: object) -> Case:
    calls = tuple((np.array([gradient], FLOAT32),) for gradient in gradients)
    return Case("widths", PLAIN_CONFIG | settings, ("w",), (np.array([variable], FLOAT32),), calls)


HOW = "run python -m sgd_ref.conformance.audit.widths --update"


def test_the_page_is_that_of_the_data() -> None:
    assert widths.page(widths.kept()[0]) == widths.PAGE.read_text(encoding="utf-8"), HOW


def test_the_data_is_what_is_computed(sweep: Sweep) -> None:
    cases = conformance.cases("standard")
    found, rows = widths.kept()
    assert list(rows) == [case.id for case in cases], HOW
    if sweep.complete:
        assert widths.page(widths.widths(cases)) == widths.page(found), HOW
    # Those of a million elements take most of the time.
    asked = [case for case in cases if sweep.complete or case.made is None]
    for index in sweep.generator.permutation(len(asked))[: sweep.count(len(asked), 40)]:
        case = asked[index]
        assert widths.row_of(widths.units_of(case)) == rows[case.id], f"{case.id}: {HOW}"


def test_rows_and_groups_count_the_same_elements() -> None:
    found, rows = widths.kept()
    for reading in widths.READINGS:
        counts = [int(row[reading].split()[0]) for row in rows.values() if reading in row]
        assert sum(counts) == sum(width.count for group, width in found.items() if group[0] == reading), HOW


def test_bounds_are_narrow_where_nothing_cancels() -> None:
    found = widths.kept()[0]
    for quantity, largest in LARGEST_MEDIANS.items():
        for dtype in FORMATS:
            width = found[widths.STEP_BY_STEP, quantity, dtype.name, widths.OTHER]
            assert width.median <= largest
            # Not only because most elements are points.
            assert width.median_of_others <= largest


def test_the_bound_is_the_distance_of_the_farther_end() -> None:
    # The product with the rate is exact, and the difference lies between two neighbours of the result.
    case = case_of(1.0, 2.0**-24 * 1.5, 1.0, learning_rate=0.5)
    width = widths.widths([case])[widths.STEP_BY_STEP, "variables", "float32", widths.OTHER]
    assert (width.count, width.largest, width.share_of_points) == (2, 0, 1)
    # The velocity may be rounded or not before it is added.
    case = case_of(1.1, *np.random.default_rng(2).standard_normal(40).tolist(), momentum=0.9)
    width = widths.widths([case])[widths.STEP_BY_STEP, "variables", "float32", widths.OTHER]
    assert width.largest == 1
    assert 0 < width.share_of_points < 1


def test_the_distance_is_from_the_reference_and_not_between_the_ends() -> None:
    arithmetic = arithmetic_of(FLOAT32)
    result = np.array([1, 1, 1], FLOAT32)
    unit = 2.0**-23
    lower, upper = np.array([1, 1 - unit, 1 - unit / 2]), np.array([1, 1 + unit, 1 + 3 * unit])
    possible = Enclosure(arithmetic, lower, upper, np.zeros(3, bool))
    assert widths._units(widths._Found("variables", result, result, possible)).tolist() == [0, 2, 3]


def test_cancellations_are_counted_apart() -> None:
    case = case_of(1.0, 0.99 / 0.15625)
    groups = widths.widths([case])
    assert (widths.STEP_BY_STEP, "variables", "float32", widths.CANCELLATION) in groups
    assert (widths.STEP_BY_STEP, "variables", "float32", widths.OTHER) not in groups


def test_what_is_not_finite_has_no_width() -> None:
    assert widths.widths([case_of(1.0, np.inf, np.nan)]) == {}


def test_free_running_is_wider_and_takes_the_last_results() -> None:
    case = case_of(1.0, *np.random.default_rng(1).standard_normal(12).tolist(), momentum=0.875)
    groups = widths.widths([case])
    step = groups[widths.STEP_BY_STEP, "variables", "float32", widths.OTHER]
    free = groups[widths.FREE_RUNNING, "variables", "float32", widths.OTHER]
    assert free.count == 1
    assert free.median > step.median


def test_the_page_is_printed_or_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = (case_of(1.0, 1.1),)
    monkeypatch.setattr(widths, "catalogue", lambda tier: cases)
    monkeypatch.setattr(widths, "PAGE", tmp_path / "bounds.md")
    monkeypatch.setattr(widths, "DATA", tmp_path / "bounds.json")
    widths.main([])
    printed = capsys.readouterr().out
    assert printed == widths.page(widths.widths(cases))
    assert "| variables | float32 | ordinary | 1 |" in printed
    widths.main(["--update"])
    assert (tmp_path / "bounds.md").read_text(encoding="utf-8") == printed
    found, rows = widths.kept()
    assert found == widths.widths(cases)
    assert rows == {"widths": {widths.STEP_BY_STEP: "1 1 0", widths.FREE_RUNNING: "1 1 0"}}
