"""Sums of the chunks: within their bounds, of each row its own, and not finite where one is not."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from numba_kernels.cpu.sums import (
    BLOCK,
    BLOCKS_OF_A_GROUP,
    ERROR_OF_COMPENSATED_SUM,
    ERROR_OF_PLAIN_SUM,
    HIGH,
    LANES,
    LONGEST_CHUNK,
    LOW,
    ROWS,
    UNIT,
)
from numba_kernels.cpu.totals import ERROR_OF_TOTAL, ERROR_OF_WIDE_TOTAL, totals, wide_totals


def results(generator: np.random.Generator, count: int) -> Any:
    """Return sums of chunks that differ much, their low parts as large as they get."""
    sums = np.empty((count, 3))
    sums[:, HIGH] = generator.random(count) * 2.0 ** generator.integers(-40, 3, count)
    sums[:, LOW] = sums[:, HIGH] * 2.0**-24 * generator.uniform(-1, 1, count)
    return sums


def exactly(sums: Any, columns: tuple[int, ...]) -> Fraction:
    return sum((Fraction(part) for part in sums[:, columns].ravel().tolist()), Fraction(0))


def all_of(sums: Any) -> Any:
    return np.array([0, len(sums)])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000, 60_000])
def test_totals_are_within_their_bound(count: int, sweep: Any) -> None:
    for _ in range(3):
        sums = results(sweep.generator, count)
        expected = exactly(sums, (HIGH,))
        found = Fraction(totals(sums, all_of(sums)).item())
        assert abs(found - expected) <= Fraction(ERROR_OF_TOTAL) * expected
        high, low = wide_totals(sums, all_of(sums))[0].tolist()
        expected = exactly(sums, (HIGH, LOW))
        assert abs(Fraction(high) + Fraction(low) - expected) <= Fraction(ERROR_OF_WIDE_TOTAL) * expected
        assert high == high + low


def test_where_each_addition_loses_as_much_as_it_can() -> None:
    """The worst of a plain addition: all that follows is a little less than half a unit of the first."""
    sums = np.zeros((100_000, 3))
    sums[:, HIGH] = 2.0**-53 * (1 - 2.0**-20)
    sums[0, HIGH] = 1.0
    expected = exactly(sums, (HIGH,))
    assert abs(Fraction(totals(sums, all_of(sums)).item()) - expected) <= Fraction(ERROR_OF_TOTAL) * expected
    high, low = wide_totals(sums, all_of(sums))[0].tolist()
    assert abs(Fraction(high) + Fraction(low) - expected) <= Fraction(ERROR_OF_WIDE_TOTAL) * expected
    # The low parts lose, too, what a float64 that adds them up has no digits for.
    sums[:, LOW] = 2.0**-24 * sums[:, HIGH]
    expected = exactly(sums, (HIGH, LOW))
    high, low = wide_totals(sums, all_of(sums))[0].tolist()
    assert abs(Fraction(high) + Fraction(low) - expected) <= Fraction(ERROR_OF_WIDE_TOTAL) * expected


def test_low_parts_that_lose_as_much_as_they_can() -> None:
    sums = np.zeros((200_000, 3))
    sums[0] = 1.0, 2.0**-24, 0.0
    sums[1:, LOW] = 2.0**-78 * (1 - 2.0**-20)
    sums[1:, HIGH] = 2.0**-54
    expected = exactly(sums, (HIGH, LOW))
    high, low = wide_totals(sums, all_of(sums))[0].tolist()
    assert abs(Fraction(high) + Fraction(low) - expected) <= Fraction(ERROR_OF_WIDE_TOTAL) * expected


def test_the_bound_on_sums_of_chunks_has_room_for_that_on_their_total() -> None:
    groups = LONGEST_CHUNK // (BLOCK * BLOCKS_OF_A_GROUP)
    additions = (BLOCK - 1) + (BLOCKS_OF_A_GROUP - 1) + (groups - 1)
    # And as much again for products of two errors, and for what is not thought of.
    assert additions * UNIT + 2 * ERROR_OF_TOTAL <= ERROR_OF_PLAIN_SUM
    # A low part passes through a lane and its blocks, then two additions a lane; it is made in four.
    additions = ROWS + 4 + LONGEST_CHUNK // (ROWS * LANES) + 2 * LANES
    assert additions * UNIT * 2.0**-24 + 2 * ERROR_OF_WIDE_TOTAL <= ERROR_OF_COMPENSATED_SUM


def test_each_total_has_its_own_chunks() -> None:
    sums = np.zeros((6, 3))
    sums[:, HIGH] = [1, 2, 4, 8, 16, 32]
    sums[:, LOW] = 2.0**-60
    bounds = np.array([0, 2, 2, 5, 6])
    assert totals(sums, bounds).tolist() == [[3], [0], [28], [32]]
    wide = wide_totals(sums, bounds)
    assert wide.tolist() == [[3, 2 * 2.0**-60], [0, 0], [28, 3 * 2.0**-60], [32, 2.0**-60]]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_is_not_finite_is_seen(place: int, value: float) -> None:
    sums = np.ones((3, 3))
    sums[place, HIGH] = value
    total = totals(sums, all_of(sums)).item()
    assert total == value or (math.isnan(total) and math.isnan(value))
    assert math.isnan(wide_totals(sums, all_of(sums))[0, 0])
    sums[:, HIGH] = math.inf, math.nan, 1.0
    assert math.isnan(totals(sums, all_of(sums)).item())
