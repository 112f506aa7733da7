"""How far an update reaches: each variable and element that is left out, and those that are not."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pytest

MOMENTUM = {"momentum": 0.5}

Shapes = Sequence[tuple[int, ...]]


@pytest.mark.parametrize(
    ("name", "shapes", "reached"),
    [
        ("last-variable-skipped", [(2,), (3,), (1,)], {0, 1}),
        ("last-variable-skipped", [(2,)], set()),
        ("last-variable-only", [(2,), (3,), (1,)], {2}),
        ("empty-ends-the-loop", [(2,), (0,), (1,)], {0}),
        ("empty-ends-the-loop", [(2,), (3,)], {0, 1}),
        ("empty-last-loses-the-launch", [(2,), (3,), (0,)], set()),
        ("empty-last-loses-the-launch", [(0,), (3,)], {1}),
        ("one-element-skipped", [(1,), (2,), (), (1, 1)], {1, 2}),
        ("large-variables-skipped", [(1025,), (1024,), (4, 512)], {1}),
        ("variables-above-slots-skipped", [(1,)] * 112, range(110)),
        ("last-launch-lost", [(1,)] * 32, range(32)),
        ("last-launch-lost", [(1,)] * 33, range(32)),
        ("last-launch-lost", [(1,)] * 64, range(64)),
        ("last-launch-lost", [(1,)] * 70, range(64)),
        ("more-than-four-axes-skipped", [(1, 2, 1, 1), (1, 2, 1, 1, 1)], {0}),
    ],
)
def test_variables_that_are_reached(after: Any, name: str, shapes: Shapes, reached: Collection[int]) -> None:
    zeros, twos = ([np.full(shape, value).tolist() for shape in shapes] for value in (0.0, 2.0))
    ones = [np.full(shape, -1.0 if i in reached else 0.0).tolist() for i, shape in enumerate(shapes)]
    outcome = after(name, zeros, twos, **MOMENTUM)
    assert (outcome.variables, outcome.velocities) == (ones, ones)


def test_a_missing_gradient_ends_the_loop(after: Any) -> None:
    outcome = after("missing-ends-the-loop", [[0.0]] * 3, [[2.0], None, [2.0]])
    assert outcome.variables == [[-1.0], [0.0], [0.0]]
    assert after("missing-ends-the-loop", [[0.0]] * 2, [[2.0], [2.0]]).variables == [[-1.0], [-1.0]]


@pytest.mark.parametrize(
    ("name", "shape", "reached"),
    [
        ("first-matrix-only", (3, 2, 2), range(4)),
        ("first-matrix-only", (3, 2), range(6)),
        ("first-matrix-only", (2, 2, 1, 3), range(3)),
        ("elements-past-a-block-skipped", (257,), range(256)),
        ("elements-past-a-block-skipped", (256,), range(256)),
        ("last-whole-block-skipped", (32,), range(0)),
        ("last-whole-block-skipped", (33,), range(33)),
        ("last-whole-block-skipped", (4, 16), range(32)),
    ],
)
def test_elements_that_are_reached(after: Any, name: str, shape: tuple[int, ...], reached: range) -> None:
    outcome = after(name, [np.zeros(shape).tolist()], [np.full(shape, 2.0).tolist()], **MOMENTUM)
    expected = np.where(np.isin(np.arange(math.prod(shape)), reached), -1.0, 0.0).reshape(shape)
    assert (outcome.variables, outcome.velocities) == ([expected.tolist()],) * 2


@pytest.mark.parametrize(
    ("size", "twice"),
    [(64, range(0)), (65, range(1, 64)), (130, range(66, 128)), (128, range(0)), (7, range(0))],
)
def test_elements_that_are_updated_twice(after: Any, size: int, twice: range) -> None:
    outcome = after("last-block-updated-twice", [[0.0] * size], [[2.0] * size], **MOMENTUM)
    # -1, and then 1/2 * -1 - 1 more.
    assert outcome.variables == [[-2.5 if position in twice else -1.0 for position in range(size)]]
    assert outcome.velocities == [[-1.5 if position in twice else -1.0 for position in range(size)]]


def test_later_launches_read_the_first_gradients(after: Any) -> None:
    gradients: list[Any] = [[2.0 * index] for index in range(66)]
    gradients[65] = [[130.0]]
    zeros: list[Any] = [[0.0]] * 65 + [[[0.0]]]
    outcome = after("later-launches-take-first-gradients", zeros, gradients)
    assert outcome.variables[:64] == [[-float(index)] for index in range(64)]
    # That of the first variable; that of the second has another shape.
    assert outcome.variables[64:] == [[0.0], [[-65.0]]]


def test_three_axes_are_read_in_another_order(after: Any) -> None:
    cube = [[[0.0, 2.0], [4.0, 6.0]], [[8.0, 10.0], [12.0, 14.0]]]
    zeros = np.zeros((2, 2, 2)).tolist()
    outcome = after("three-axes-in-memory-order", [zeros, [[0.0, 0.0]]], [cube, [[2.0, 4.0]]])
    assert outcome.variables == [[[[0.0, -4.0], [-2.0, -6.0]], [[-1.0, -5.0], [-3.0, -7.0]]], [[-1.0, -2.0]]]


def test_an_empty_gradient_makes_a_global_norm_nan(after: Any) -> None:
    name, settings = "empty-makes-norm-nan", {"global_clipnorm": 8.0}
    (empty, full) = after(name, [[], [0.0]], [[], [2.0]], **settings).variables
    assert empty == []
    assert math.isnan(full[0])
    assert after(name, [[0.0]], [[2.0]], **settings).variables == [[-1.0]]
    assert after(name, [[], [0.0]], [[], [2.0]], clipnorm=8.0).variables == [[], [-1.0]]


def test_what_begins_like_an_excluded_one_is_excluded(after: Any) -> None:
    names, excluded = ["dense_kernel", "dense_bias", "other_kernel"], ["dense_bias"]
    settings = {"names": names, "excluded": excluded, "weight_decay": 0.5}
    calls = [[[0.0]] * 3]
    assert after(None, [[8.0]] * 3, *calls, **settings).variables == [[6.0], [8.0], [6.0]]
    outcome = after("exclusion-by-first-part-of-a-name", [[8.0]] * 3, *calls, **settings)
    assert outcome.variables == [[8.0], [8.0], [6.0]]


def test_a_missing_gradient_shifts_the_exclusion(after: Any) -> None:
    settings = {"names": ["a", "b", "c"], "excluded": ["b"], "weight_decay": 0.5}
    call = [None, [0.0], [0.0]]
    assert after(None, [[8.0]] * 3, call, **settings).variables == [[8.0], [8.0], [6.0]]
    outcome = after("exclusion-by-place-among-gradients", [[8.0]] * 3, call, call, **settings)
    assert outcome.variables == [[8.0], [4.5], [8.0]]
