"""Accumulation and loss scales: a variable of 0 at the learning rate 1/2."""

from __future__ import annotations

from typing import Any

import pytest

TWO = {"gradient_accumulation_steps": 2}
THREE = {"gradient_accumulation_steps": 3}


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        (None, (3 + 6 + 12) / 3),
        ("sum-instead-of-mean", 3 + 6 + 12),
        ("mean-over-one-less", (3 + 6 + 12) / 2),
        ("last-gradient-only", 12),
        ("last-gradient-dropped", (3 + 6) / 3),
        ("last-gradient-not-divided", (3 + 6) / 3 + 12),
        ("mean-of-means", ((3 + 6) / 2 + 12) / 2),
        ("accumulator-overwritten", (6 + 12) / 3),
        ("first-gradient-dropped", (6 + 12) / 3),
        ("gradients-divided-by-place", 3 / 1 + 6 / 2 + 12 / 3),
        ("velocity-decays-while-accumulating", (3 + 6 + 12) / 3),
    ],
)
def test_the_mean_of_three(after: Any, name: str | None, mean: float) -> None:
    outcome = after(name, [[0.0]], [[3.0]], [[6.0]], [[12.0]], **THREE)
    assert outcome.variables == [[-0.5 * mean]]


@pytest.mark.parametrize(
    ("name", "second_mean"),
    [
        (None, (1 + 3) / 2),
        ("accumulator-not-reset", (2 + 1 + 3) / 2),
        ("accumulator-keeps-mean", (3 + 1 + 3) / 2),
    ],
)
def test_the_second_window(after: Any, name: str | None, second_mean: float) -> None:
    outcome = after(name, [[0.0]], [[2.0]], [[4.0]], [[1.0]], [[3.0]], **TWO)
    assert outcome.variables == [[-0.5 * (3 + second_mean)]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        (None, [0.0, -0.5, -0.5]),
        # A window of one call updates with half of its gradient.
        ("update-on-first-of-window", [-0.25, -0.25, -0.75]),
        ("window-one-longer", [0.0, 0.0, -0.75]),
    ],
)
def test_when_a_window_ends(after: Any, name: str | None, variables: list[float]) -> None:
    ones = [[1.0]]
    observed = [after(name, [[0.0]], *[ones] * calls, **TWO).variables[0][0] for calls in (1, 2, 3)]
    assert observed == variables


def test_missing_gradients_in_a_window(after: Any) -> None:
    calls = [[4.0], [1.0]], [None, [1.0]], [[2.0], [1.0]]
    zeros = [[0.0], [0.0]]
    assert after(None, zeros, *calls, **THREE).variables[0] == [-0.5 * 6 / 3]
    assert after("mean-of-those-present", zeros, *calls, **THREE).variables[0] == [-0.5 * 6 / 2]
    assert after("accumulator-lost-when-missing", zeros, *calls, **THREE).variables[0] == [
        pytest.approx(-0.5 * 2 / 3)
    ]


def test_sums_in_bfloat16_lose_digits(after: Any) -> None:
    calls = [[256.0]], [[1.0]]
    assert after(None, [[0.0]], *calls, **THREE).accumulators == [[257.0]]
    assert after("accumulator-in-bfloat16", [[0.0]], *calls, **THREE).accumulators == [[256.0]]


def test_the_velocity_loses_its_share_in_every_call(after: Any) -> None:
    settings = {**TWO, "momentum": 0.5}
    calls = [[[4.0]]] * 3
    assert after(None, [[0.0]], *calls, **settings).velocities == [[-2.0]]
    assert after("velocity-decays-while-accumulating", [[0.0]], *calls, **settings).velocities == [[-1.0]]


@pytest.mark.parametrize(
    ("name", "gradients"),
    [
        (None, [4.0, 2.0]),
        ("loss-scale-kept", [16.0, 8.0]),
        ("unscaled-twice", [1.0, 0.5]),
        ("scaled-again", [64.0, 32.0]),
        ("first-gradient-alone-unscaled", [4.0, 8.0]),
        ("rate-unscaled-instead-of-gradients", [4.0, 2.0]),
    ],
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_unscaling(after: Any, name: str | None, gradients: list[float], dynamic: bool) -> None:
    settings = {"loss_scale": 4.0} if dynamic else {"loss_scale_factor": 4.0}
    outcome = after(name, [[0.0], [0.0]], [[16.0], [8.0]], **settings)
    assert outcome.variables == [[-0.5 * gradient] for gradient in gradients]


def test_a_rate_that_is_unscaled_clips_scaled_gradients_and_hardly_decays(after: Any) -> None:
    name = "rate-unscaled-instead-of-gradients"
    clipping = {"loss_scale_factor": 4.0, "clipvalue": 8.0}
    assert after(name, [[0.0]], [[16.0]], **clipping).variables == [[-0.125 * 8]]
    decaying = {"loss_scale_factor": 4.0, "weight_decay": 0.5}
    assert after(name, [[16.0]], [[0.0]], **decaying).variables == [[16 - 16 * 0.5 * 0.125]]


def test_scaled_gradients_overflow_in_float16(after: Any) -> None:
    settings = {"loss_scale_factor": 2.0**17}
    assert after(None, [[0.0]], [[2.0**17]], **settings).variables == [[-0.5]]
    name = "scaled-gradients-in-float16"
    assert after(name, [[0.0]], [[2.0**17]], **settings).variables == [[-float("inf")]]
    assert after(name, [[0.0]], [[2.0**17]]).variables == [[-(2.0**16)]]


def test_unscaling_and_windows(after: Any) -> None:
    settings = {**TWO, "loss_scale_factor": 4.0}
    calls = [[8.0]], [[16.0]]
    assert after(None, [[0.0]], *calls, **settings).variables == [[-0.5 * (2 + 4) / 2]]
    late = after("unscaled-after-accumulation", [[0.0]], *calls[:1], **settings)
    assert late.accumulators == [[8.0]]
    assert after("unscaled-after-accumulation", [[0.0]], *calls, **settings).variables == [[-1.5]]
    last = after("last-of-window-unscaled", [[0.0]], *calls, **settings)
    assert last.variables == [[-0.5 * (8 + 4) / 2]]


def test_a_window_that_updates_in_all_calls_but_the_last(after: Any) -> None:
    calls = ([[2.0]], [[4.0]], [[6.0]])
    outcomes = [after("window-inverted", [[0.0]], *calls[:count], **TWO).variables for count in (1, 2, 3)]
    assert outcomes == [[[-0.5]], [[-0.5]], [[-0.5 - 2.5]]]


def test_the_mean_is_divided_once_more(after: Any) -> None:
    assert after("mean-divided-twice", [[0.0]], [[2.0]], [[4.0]], **TWO).variables == [[-0.5 * 6 / 4]]
