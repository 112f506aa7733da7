"""Axes of equal length and of length 1; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

GRADIENT = [[2.0, 4.0], [6.0, 8.0]]
ZEROS = [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        (None, [[-1.0, -2.0], [-3.0, -4.0]]),
        ("square-gradient-transposed", [[-1.0, -3.0], [-2.0, -4.0]]),
        ("square-velocity-transposed", [[-1.0, -2.0], [-3.0, -4.0]]),
        ("cube-gradient-reversed", [[-1.0, -2.0], [-3.0, -4.0]]),
    ],
)
def test_a_square_matrix(after: Any, name: str | None, variable: list[Any]) -> None:
    assert after(name, [ZEROS], [GRADIENT]).variables == [variable]
    # What is no square is read as it is.
    assert after(name, [[[0.0, 0.0]]], [[[2.0, 4.0]]]).variables == [[[-1.0, -2.0]]]


def test_a_velocity_that_is_transposed_shows_in_the_next_call(after: Any) -> None:
    right = after(None, [ZEROS], [GRADIENT], [GRADIENT], momentum=0.5)
    assert right.variables == [[[-2.5, -5.0], [-7.5, -10.0]]]
    wrong = after("square-velocity-transposed", [ZEROS], [GRADIENT], [GRADIENT], momentum=0.5)
    # The steps are -1 - 0.5, -2 - 1.5, -3 - 1 and -4 - 2.
    assert wrong.variables == [[[-2.5, -5.5], [-7.0, -10.0]]]
    assert wrong.velocities == [[[-1.5, -4.0], [-3.5, -6.0]]]


def test_a_cube_is_reversed_and_what_is_none_is_not(after: Any) -> None:
    numbers = np.arange(8.0).reshape(2, 2, 2)
    outcome = after("cube-gradient-reversed", [np.zeros((2, 2, 2))], [numbers])
    assert outcome.variables == [(-numbers.transpose(2, 1, 0) / 2).tolist()]
    flat = np.arange(4.0).reshape(1, 2, 2)
    assert after("cube-gradient-reversed", [np.zeros((1, 2, 2))], [flat]).variables == [(-flat / 2).tolist()]


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 3, 1)])
def test_an_axis_of_one(after: Any, shape: tuple[int, ...]) -> None:
    gradient = np.array([2.0, 4.0, 6.0]).reshape(shape)
    outcome = after("axis-of-one-taken-for-broadcast", [np.zeros(shape)], [gradient])
    assert outcome.variables == [np.full(shape, -1.0).tolist()]
    assert after("axis-of-one-taken-for-broadcast", [[0.0, 0.0]], [[2.0, 4.0]]).variables == [[-1.0, -2.0]]
