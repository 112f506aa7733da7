"""Gradients that are transformed: variables of 0 at the learning rate 1/2."""

from __future__ import annotations

import math
from typing import Any

import pytest


def test_signs(after: Any) -> None:
    assert after("signs-of-gradients", [[0.0] * 3], [[4.0, -2.0, 0.0]]).variables == [[-0.5, 0.5, 0.0]]


def test_means_are_subtracted_row_by_row(after: Any) -> None:
    gradients = [[[1.0, 3.0], [5.0, 9.0]], [2.0, 4.0]]
    outcome = after("gradients-centralized", [[[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]], gradients)
    assert outcome.variables == [[[0.5, -0.5], [1.0, -1.0]], [-1.0, -2.0]]


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("bfloat16", 255 * 2.0**120)])
def test_what_is_not_finite_is_replaced(after: Any, dtype: str, largest: float) -> None:
    given = [[math.nan, math.inf, -math.inf, 2.0]]
    outcome = after("non-finite-gradients-replaced", [[0.0] * 4], given, dtype=dtype)
    assert outcome.variables == [[0.0, -largest / 2, largest / 2, -1.0]]


def test_gradients_are_rounded_to_bfloat16(after: Any) -> None:
    assert after("gradients-in-bfloat16", [[0.0]], [[1 + 2.0**-9]]).variables == [[-0.5]]
    assert after(None, [[0.0]], [[1 + 2.0**-9]]).variables == [[-0.5 - 2.0**-10]]
