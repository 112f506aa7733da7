"""The plot of one element: where its points are, and what cannot be drawn."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.protocol.digest import digest_of
from sgd_ref.conformance.reports.html.plot import AROUND, HEIGHT, MARGIN, WIDTH, Plot, plot

LOW, HIGH = HEIGHT - MARGIN, MARGIN


def rates(*values: float) -> list[Any]:
    return [{"learning_rate": value} for value in values]


def violation(call: int, observed: float = 0.0, lower: float = 0.0, upper: float = 0.0) -> Violation:
    return Violation(call, "learning_rate", "", (), observed, lower, upper)


def drawn(expected: list[Any], observed: list[Any], at: Violation, names: tuple[str, ...] = ()) -> Plot:
    found = plot(names, expected, observed, at)
    assert found is not None
    return found


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.e+-]+) ([\d.e+-]+)", path)]


def test_the_least_is_at_the_bottom_and_the_greatest_at_the_top() -> None:
    found = drawn(rates(0.0, 4.0, 4.0), rates(0.0, 4.0, 1.0), violation(2, 1.0, 3.0, 4.0))
    assert points(found.reference) == [(MARGIN, LOW), (WIDTH / 2, HIGH), (WIDTH - MARGIN, HIGH)]
    assert points(found.answer)[2] == (found.x, found.y) == (WIDTH - MARGIN, LOW - (LOW - HIGH) / 4)
    assert found.bounds == (HIGH, LOW - (LOW - HIGH) * 3 / 4)
    assert (found.first, found.last, found.low, found.high) == (0, 2, "0", "4")
    assert not found.is_difference


def test_what_is_too_near_to_be_seen_is_drawn_as_a_difference() -> None:
    near = np.nextafter(4.0, 5.0)
    found = drawn(rates(0.0, 4.0), rates(0.0, near), violation(1, near, 4.0, 4.0))
    assert found.is_difference
    assert points(found.reference) == [(MARGIN, LOW), (WIDTH - MARGIN, LOW)]
    assert points(found.answer) == [(MARGIN, LOW), (WIDTH - MARGIN, HIGH)]
    assert found.bounds == (LOW, LOW)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_leaves_a_gap(value: float) -> None:
    found = drawn(rates(0.0, 1.0, 2.0, 2.0), rates(0.0, value, 2.0, 2.0), violation(1, value, 1.0, 1.0))
    assert found.answer.count("M") == 2
    assert len(points(found.answer)) == 3
    assert found.y == HEIGHT / 2
    assert not found.is_difference


def test_where_nan_alone_is_possible_there_are_no_bounds() -> None:
    found = drawn(rates(0.0, math.nan), rates(0.0, 1.0), violation(1, 1.0, math.inf, -math.inf))
    assert found.bounds is None


def test_the_largest_numbers_are_drawn() -> None:
    most = np.finfo(np.float64).max
    found = drawn(rates(-most, most), rates(-most, -most), violation(1, -most, most, most))
    assert points(found.reference) == [(MARGIN, LOW), (WIDTH - MARGIN, HIGH)]


def test_of_a_long_run_what_is_around_the_violation_is_drawn() -> None:
    found = drawn(rates(*[1.0] * 100), rates(*[1.0] * 50, *[2.0] * 50), violation(50, 2.0, 1.0, 1.0))
    assert (found.first, found.last) == (50 - AROUND, 50 + AROUND)
    assert found.x == WIDTH / 2
    assert len(points(found.answer)) == 2 * AROUND + 1


def test_the_element_of_the_violation_is_drawn() -> None:
    expected = [{"variables": [np.zeros(3), np.zeros((2, 2), np.float32)]} for _ in range(2)]
    observed = [{"variables": [np.zeros(3), np.array([[0, 0], [call, 9]])]} for call in (0, 1)]
    at = Violation(1, "variables", "kernel", (1, 0), 1.0, 0.0, 0.0)
    found = drawn(expected, observed, at, ("bias", "kernel"))
    assert found.high == "1"


def test_one_call_is_a_point() -> None:
    found = drawn(rates(0.0), rates(0.0), violation(0))
    assert (found.x, found.y) == (WIDTH / 2, HEIGHT / 2)


@pytest.mark.parametrize(
    ("values", "dashes"), [((1.0,), 1), ((1.0, math.nan, 2.0, math.nan, 3.0), 3), ((1.0, 2.0), 0)]
)
def test_a_value_without_neighbours_is_seen(values: tuple[float, ...], dashes: int) -> None:
    assert drawn(rates(*values), rates(*values), violation(0)).answer.count("m-6 0h12") == dashes


def test_without_any_number_nothing_is_drawn() -> None:
    nowhere = violation(0, math.nan, math.inf, -math.inf)
    assert plot((), rates(math.inf), rates(math.nan), nowhere) is None


def test_digests_have_no_numbers() -> None:
    records = [{"variables": [digest_of(np.zeros(3))]}]
    assert (
        plot(("kernel",), records, records, Violation(0, "variables", "kernel", (0,), 1.0, 0.0, 0.0)) is None
    )


def test_what_was_not_reported_is_not_drawn() -> None:
    assert plot((), rates(0.0), [{"variables": []}], violation(0)) is None
