"""State that is looked up by what several variables share; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import pytest

MOMENTUM = {"momentum": 0.5}


@pytest.mark.parametrize(
    ("name", "variables", "velocities"),
    [
        # Each by itself, in two calls: the velocities are -1 and -2, and then -1.5 and -3.
        (None, [[-2.5], [-5.0]], [[-1.5], [-3.0]]),
        # One velocity, which is -1 and -2.5 in the first call, and -2.25 and -3.125 in the second one.
        ("velocity-by-shape", [[-3.25], [-5.625]], [[-3.125], [-3.125]]),
        ("velocity-by-size", [[-3.25], [-5.625]], [[-3.125], [-3.125]]),
        ("velocity-by-place-among-gradients", [[-2.5], [-5.0]], [[-1.5], [-3.0]]),
        ("last-gradient-of-each-shape", [[-5.0], [-5.0]], [[-3.0], [-3.0]]),
        ("gradients-in-order-of-names", [[-5.0], [-2.5]], [[-3.0], [-1.5]]),
        ("equal-values-taken-for-one", [[-2.5], [0.0]], [[-1.5], [0.0]]),
    ],
)
def test_two_variables_of_equal_shape(
    after: Any, name: str | None, variables: list[list[float]], velocities: list[list[float]]
) -> None:
    calls = [[[2.0], [4.0]]] * 2
    outcome = after(name, [[0.0], [0.0]], *calls, names=["b", "a"], **MOMENTUM)
    assert (outcome.variables, outcome.velocities) == (variables, velocities)


@pytest.mark.parametrize("name", ["velocity-by-shape", "last-gradient-of-each-shape"])
def test_variables_of_other_shapes_are_right(after: Any, name: str) -> None:
    calls = [[[2.0], [[4.0]]]] * 2
    right = after(None, [[0.0], [[0.0]]], *calls, **MOMENTUM)
    outcome = after(name, [[0.0], [[0.0]]], *calls, **MOMENTUM)
    assert (outcome.variables, outcome.velocities) == (right.variables, right.velocities)


def test_a_velocity_by_size_is_that_of_another_shape(after: Any) -> None:
    outcome = after("velocity-by-size", [[0.0], [[0.0]]], *[[[2.0], [[4.0]]]] * 2, **MOMENTUM)
    assert outcome.variables == [[-3.25], [[-5.625]]]
    assert outcome.velocities == [[-3.125], [[-3.125]]]


def test_scalars_share_a_velocity_and_others_do_not(after: Any) -> None:
    calls = [[2.0, 4.0, [2.0], [4.0]]] * 2
    outcome = after("scalars-share-a-velocity", [0.0, 0.0, [0.0], [0.0]], *calls, **MOMENTUM)
    assert outcome.variables == [-3.25, -5.625, [-2.5], [-5.0]]


def test_without_momentum_velocities_do_not_matter(after: Any) -> None:
    for name in ("velocity-by-shape", "velocity-by-size", "velocity-by-place-among-gradients"):
        assert after(name, [[0.0], [0.0]], *[[[2.0], [4.0]]] * 2).variables == [[-2.0], [-4.0]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        # Velocities -1 and -2; then the second variable alone, by its own or by the first velocity.
        (None, [[-1.0], [-2.0 - 3.0]]),
        ("velocity-by-place-among-gradients", [[-1.0], [-2.0 - 2.5]]),
        ("velocity-by-shape", [[-1.0], [-2.5 - 3.25]]),
    ],
)
def test_a_missing_gradient_shifts_velocities(after: Any, name: str | None, variables: list[Any]) -> None:
    calls = [[2.0], [4.0]], [None, [4.0]]
    assert after(name, [[0.0], [0.0]], *calls, **MOMENTUM).variables == variables


def test_an_empty_variable_shifts_velocities(after: Any) -> None:
    variables = [[], [0.0], [0.0]]
    calls = [[[], [2.0], [4.0]]] * 2
    assert after(None, variables, *calls, **MOMENTUM).variables == [[], [-2.5], [-5.0]]
    # The second one has another form than the empty one, and keeps its velocity, which the third one takes.
    shifted = after("empty-shifts-velocities", variables, *calls, **MOMENTUM)
    assert shifted.variables == [[], [-1.0 - 2.25], [-2.5 - 3.125]]
    assert shifted.velocities == [[], [-3.125], [0.0]]


def test_one_average_of_a_shape(after: Any) -> None:
    settings = {"use_ema": True, "ema_momentum": 0.5}
    calls = [[[2.0], [4.0], [[4.0]]]] * 2
    zeros = [[0.0], [0.0], [[0.0]]]
    assert after(None, zeros, *calls, **settings).averages == [[-1.5], [-3.0], [[-3.0]]]
    outcome = after("average-by-shape", zeros, *calls, **settings)
    assert outcome.averages == [[-1.5], [-1.5], [[-3.0]]]


def test_one_accumulator_of_a_shape(after: Any) -> None:
    settings = {"gradient_accumulation_steps": 2}
    zeros = [[0.0], [0.0], [[0.0]]]
    call = [[2.0], [4.0], [[4.0]]]
    assert after("accumulator-by-shape", zeros, call, **settings).accumulators == [[6.0], [6.0], [[4.0]]]
    assert after(None, zeros, call, call, **settings).variables == [[-1.0], [-2.0], [[-2.0]]]
    outcome = after("accumulator-by-shape", zeros, call, call, **settings)
    assert outcome.variables == [[-2.0], [-2.5], [[-2.0]]]


def test_one_norm_of_a_shape(after: Any) -> None:
    call = [[8.0], [2.0], [[2.0]]]
    zeros = [[0.0], [0.0], [[0.0]]]
    assert after(None, zeros, call, clipnorm=4.0).variables == [[-2.0], [-1.0], [[-1.0]]]
    assert after("norm-by-shape", zeros, call, clipnorm=4.0).variables == [[-2.0], [-0.5], [[-1.0]]]


def test_names_with_numbers_are_sorted_as_texts(after: Any) -> None:
    names = [f"variable_{index}" for index in range(11)]
    gradients = [[float(2 * index)] for index in range(11)]
    outcome = after("gradients-in-order-of-names", [[0.0]] * 11, gradients, names=names)
    assert outcome.variables == [[0.0], [-1.0], [-10.0], *([-float(index)] for index in range(2, 10))]


def test_equal_values_of_another_shape_are_no_duplicates(after: Any) -> None:
    outcome = after("equal-values-taken-for-one", [[1.0], [[1.0]], [2.0]], [[2.0], [[2.0]], [2.0]])
    assert outcome.variables == [[0.0], [[0.0]], [1.0]]


def test_missing_gradients_shift_accumulators(after: Any) -> None:
    calls = [[None, [2.0], [4.0]], [[1.0], [1.0], [1.0]]]
    settings = {"gradient_accumulation_steps": 2}
    assert after(None, [[0.0]] * 3, *calls, **settings).variables == [[-0.25], [-0.75], [-1.25]]
    shifted = after("accumulator-by-place-among-gradients", [[0.0]] * 3, *calls, **settings)
    assert shifted.variables == [[-0.75], [-1.25], [-0.25]]


def test_missing_gradients_shift_gradients(after: Any) -> None:
    calls = [[None, [2.0], [4.0], [1.0, 1.0]]]
    variables = [[0.0], [0.0], [0.0], [0.0, 0.0]]
    assert after(None, variables, *calls).variables == [[0.0], [-1.0], [-2.0], [-0.5, -0.5]]
    assert after("missing-shifts-gradients", variables, *calls).variables == [
        [-1.0],
        [-2.0],
        [0.0],
        [0.0, 0.0],
    ]
