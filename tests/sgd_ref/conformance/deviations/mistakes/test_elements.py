"""Missing gradients, sparse ones, and the elements that an update reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import SparseRows
from sgd_ref.conformance.deviations import compose

MOMENTUM = {"momentum": 0.5}


@pytest.mark.parametrize(
    ("name", "variable", "velocity"),
    [
        # 8 - 2 in the first call, nothing in the second, -2 * 1/2 - 1 in the third.
        (None, 4.0, -2.0),
        ("missing-as-zeros", 8 - 2.0 - 1 - 1.5, -1.5),
        ("missing-as-before", 8 - 2.0 - 3 - 2.5, -2.5),
        ("one-missing-skips-all", 4.0, -2.0),
        ("missing-resets-velocity", 5.0, -1.0),
        ("missing-decays-velocity", 8 - 2.0 - 1.5, -1.5),
    ],
)
def test_a_missing_gradient(after: Any, name: str | None, variable: float, velocity: float) -> None:
    calls = [[4.0], [1.0]], [None, [1.0]], [[2.0], [1.0]]
    outcome = after(name, [[8.0], [0.0]], *calls, **MOMENTUM)
    assert (outcome.variables[0], outcome.velocities[0]) == ([variable], [velocity])


def test_one_missing_gradient_skips_the_others(after: Any) -> None:
    calls = [[4.0], [2.0]], [None, [2.0]]
    assert after(None, [[8.0], [0.0]], *calls).variables[1] == [-2.0]
    outcome = after("one-missing-skips-all", [[8.0], [0.0]], *calls)
    assert (outcome.variables[1], outcome.optimizer.calls) == ([-1.0], 2)


@pytest.mark.parametrize(
    ("name", "variables"),
    [(None, [5.0, 5.0]), ("zero-as-missing", [6.0, 6.0]), ("zero-elements-skipped", [6.0, 6.0])],
)
def test_gradients_of_zeros(after: Any, name: str | None, variables: list[float]) -> None:
    outcome = after(name, [[8.0, 8.0]], [[4.0, 4.0]], [[0.0, 0.0]], **MOMENTUM)
    assert outcome.variables == [variables]


@pytest.mark.parametrize(
    ("name", "variables"),
    [(None, [5.0, 4.0]), ("zero-as-missing", [5.0, 4.0]), ("zero-elements-skipped", [6.0, 4.0])],
)
def test_elements_of_zero(after: Any, name: str | None, variables: list[float]) -> None:
    outcome = after(name, [[8.0, 8.0]], [[4.0, 4.0]], [[0.0, 2.0]], **MOMENTUM)
    assert outcome.variables == [variables]


def rows(indices: list[int], *values: float) -> SparseRows:
    return SparseRows(indices, np.array(values, "float32").reshape(-1, 1), (4, 1))


@pytest.mark.parametrize(
    ("name", "gradient"),
    [
        (None, [8.0, 0.0, 4.0, 0.0]),
        ("last-duplicate-wins", [8.0, 0.0, 3.0, 0.0]),
        ("first-duplicate-wins", [8.0, 0.0, 1.0, 0.0]),
        ("duplicates-averaged", [8.0, 0.0, 2.0, 0.0]),
        ("indices-sorted-alone", [1.0, 0.0, 8.0 + 3.0, 0.0]),
        ("last-row-lost", [8.0, 0.0, 1.0, 0.0]),
    ],
)
def test_what_rows_mean(after: Any, name: str | None, gradient: list[float]) -> None:
    outcome = after(name, [[[0.0]] * 4], [rows([2, 0, 2], 1.0, 8.0, 3.0)])
    assert outcome.variables == [[[-0.5 * element] for element in gradient]]


def test_rows_that_are_not_given_again(after: Any) -> None:
    calls = [rows([0, 1], 4.0, 4.0)], [rows([1], 2.0)]
    zeros = [[[0.0]] * 4]
    assert after(None, zeros, *calls, **MOMENTUM).variables == [[[-3.0], [-4.0], [0.0], [0.0]]]
    lazy = after("lazy-momentum", zeros, *calls, **MOMENTUM)
    assert lazy.variables == [[[-2.0], [-4.0], [0.0], [0.0]]]
    assert lazy.velocities == [[[-2.0], [-2.0], [0.0], [0.0]]]


def test_rows_that_are_not_given_do_not_decay(after: Any) -> None:
    settings = {"weight_decay": 0.5}
    ones = [[[16.0]] * 4]
    assert after(None, ones, [rows([1], 2.0)], **settings).variables == [[[12.0], [11.0], [12.0], [12.0]]]
    lazy = after("lazy-decay", ones, [rows([1], 2.0)], **settings)
    assert lazy.variables == [[[16.0], [11.0], [16.0], [16.0]]]


def test_rows_that_are_not_given_are_not_averaged(after: Any) -> None:
    settings = {"use_ema": True, "ema_momentum": 0.25, "momentum": 0.5}
    zeros = [[[0.0]] * 4]
    calls = [rows([0, 1], 4.0, 4.0)], [rows([1], 2.0)]
    exact = after(None, zeros, *calls, **settings).averages[0]
    assert exact == [[0.25 * -2 + 0.75 * -3], [0.25 * -2 + 0.75 * -4], [0.0], [0.0]]
    assert after("lazy-averages", zeros, *calls, **settings).averages[0] == [[-2.0], *exact[1:]]


def test_repeated_rows_move_again(after: Any) -> None:
    calls = [rows([0, 2, 2], 4.0, 1.0, 3.0)], [rows([1], 0.0)]
    zeros = [[[0.0]] * 4]
    outcome = after("repeated-rows-move-again", zeros, calls[0], **MOMENTUM)
    assert outcome.variables == [[[-2.0], [0.0], [-3.0], [0.0]]]
    assert outcome.velocities == [[[-2.0], [0.0], [-1.0], [0.0]]]


@pytest.mark.parametrize(
    ("name", "dtype", "size", "reached"),
    [
        (None, "float32", 35, range(35)),
        ("vector-body-skipped", "float32", 35, range(35)),
        ("vector-body-skipped", "float16", 35, range(32, 35)),
        ("vector-body-skipped", "bfloat16", 16, range(0)),
        ("vector-body-skipped", "bfloat16", 15, range(15)),
        ("tail-skipped", "float64", 35, range(32)),
        ("tail-skipped", "float64", 7, range(0)),
        ("last-element-skipped", "float32", 35, range(34)),
        ("second-half-skipped", "float32", 35, range(18)),
        ("scalars-skipped", "float32", 35, range(35)),
    ],
)
def test_elements_that_are_reached(
    after: Any, name: str | None, dtype: str, size: int, reached: range
) -> None:
    outcome = after(name, [[0.0] * size], [[2.0] * size], dtype=dtype, **MOMENTUM)
    expected = [-1.0 if position in reached else 0.0 for position in range(size)]
    assert (outcome.variables, outcome.velocities) == ([expected], [expected])


def test_elements_that_are_not_reached_do_not_decay(after: Any) -> None:
    outcome = after("vector-body-skipped", [[8.0] * 17], [[0.0] * 17], dtype="float16", weight_decay=0.5)
    assert outcome.variables == [[8.0] * 16 + [6.0]]


def test_elements_are_not_reached_whatever_the_update_does() -> None:
    names = ["rate-outside-velocity", "decay-enters-velocity", "vector-body-skipped"]
    w = np.full(17, 8.0, "float16")
    optimizer = compose(names)[0](0.5, momentum=0.5, weight_decay=0.5)
    optimizer.apply([np.full(17, 4.0, "float16")], [w])
    assert w.tolist() == [8.0] * 16 + [8 - 0.5 * (4 + 0.5 * 8)]


def test_scalars_are_not_reached(after: Any) -> None:
    assert after("scalars-skipped", [8.0, [8.0]], [2.0, [2.0]]).variables == [8.0, [7.0]]


def test_variables_that_are_not_reached(after: Any) -> None:
    gradients = [None, [2.0], [2.0]]
    assert after("first-variable-only", [[8.0]] * 3, gradients).variables == [[8.0], [7.0], [8.0]]


def test_elements_out_of_place(after: Any) -> None:
    matrix = [[2.0, 4.0], [6.0, 8.0]]
    zeros = [[[0.0, 0.0], [0.0, 0.0]]]
    permuted = after("gradient-in-other-layout", zeros, [matrix]).variables
    assert permuted == [[[-1.0, -3.0], [-2.0, -4.0]]]
    assert after("first-element-for-all", zeros, [matrix]).variables == [[[-1.0, -1.0], [-1.0, -1.0]]]
