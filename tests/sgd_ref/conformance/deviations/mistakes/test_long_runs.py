"""Mistakes that begin after some calls or with a restore; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

MOMENTUM = {"momentum": 0.5}


def resumed_at(calls: int) -> Any:
    """Return what sets the count of calls, and leaves the rest of the state."""

    def state(weights: list[Any]) -> None:
        weights[0] = np.array(calls, np.int64)

    return state


@pytest.mark.parametrize(
    ("name", "calls", "velocity"),
    [
        (None, 12, -2.0),
        ("velocity-reset-every-twelve-updates", 12, -1.0),
        ("velocity-reset-every-twelve-updates", 11, -2.0),
        ("velocity-reset-every-twelve-updates", 24, -1.0),
        ("velocity-starts-anew-after-eight-bits", 256, -1.0),
        ("velocity-starts-anew-after-eight-bits", 255, -2.0),
        ("velocity-starts-anew-after-eight-bits", 12, -2.0),
    ],
)
def test_a_velocity_begins_anew(after: Any, name: str | None, calls: int, velocity: float) -> None:
    def state(weights: list[Any]) -> None:
        weights[0], weights[-1] = np.array(calls, np.int64), np.array([-2.0], np.float32)

    assert after(name, [[0.0]], [[2.0]], state=state, **MOMENTUM).velocities == [[velocity]]


@pytest.mark.parametrize(
    ("name", "calls", "variable"),
    [
        ("every-hundredth-update-lost", 98, -1.0),
        ("every-hundredth-update-lost", 99, 0.0),
        ("every-hundredth-update-lost", 199, 0.0),
        ("updates-end-after-a-thousand", 999, -1.0),
        ("updates-end-after-a-thousand", 1000, 0.0),
    ],
)
def test_updates_are_lost(after: Any, name: str, calls: int, variable: float) -> None:
    assert after(name, [[0.0]], [[2.0]], state=resumed_at(calls)).variables == [[variable]]


@pytest.mark.parametrize(("calls", "counted"), [(98, 99), (99, 100), (100, 100), (250, 250)])
def test_a_count_stays(after: Any, calls: int, counted: int) -> None:
    name = "count-stays-at-hundred"
    assert after(name, [[0.0]], [[2.0]], state=resumed_at(calls)).optimizer.calls == counted


@pytest.mark.parametrize(("calls", "average"), [(63, 3.5), (64, 7.0), (128, 7.0)])
def test_an_average_begins_anew(after: Any, calls: int, average: float) -> None:
    name, settings = "average-starts-anew-every-64-updates", {"use_ema": True, "ema_momentum": 0.5}
    outcome = after(name, [[8.0]], [[2.0]], state=resumed_at(calls), **settings)
    assert outcome.averages == [[average]]


def test_averages_begin_anew_on_a_restore(after: Any) -> None:
    name, settings = "averages-start-anew-on-restore", {"use_ema": True, "ema_momentum": 0.5}
    calls = [[2.0]], [[2.0]]
    assert after(None, [[8.0]], *calls, state=resumed_at(3), **settings).averages == [[4.75]]
    # 7 is stored, and then averaged with 6.
    assert after(name, [[8.0]], *calls, state=resumed_at(3), **settings).averages == [[6.5]]
    assert after(name, [[8.0]], *calls, **settings).averages == [[6.5]]
    assert after(name, [[8.0]], *calls, state=resumed_at(3)).variables == [[6.0]]


def test_a_window_begins_anew_on_a_restore(after: Any) -> None:
    name, settings = "window-starts-anew-on-restore", {"gradient_accumulation_steps": 2}

    def state(weights: list[Any]) -> None:
        weights[0], weights[-1] = np.array(3, np.int64), np.array([6.0], np.float32)

    calls = [[2.0]], [[4.0]]
    right = after(None, [[0.0]], *calls, state=state, **settings)
    assert (right.variables, right.accumulators) == ([[-2.0]], [[4.0]])
    wrong = after(name, [[0.0]], *calls, state=state, **settings)
    assert (wrong.variables, wrong.accumulators) == ([[-1.5]], [[0.0]])
    assert after(name, [[0.0]], *calls, **settings).variables == [[-1.5]]


@pytest.mark.parametrize(
    ("name", "velocities"),
    [
        (None, [[-4.0], [-6.0], [[-8.0]]]),
        ("restored-in-order-of-names", [[-6.0], [-4.0], [[-8.0]]]),
        ("restored-by-shape", [[-4.0], [-4.0], [[-8.0]]]),
        ("only-first-restored", [[-4.0], [0.0], [[0.0]]]),
    ],
)
def test_velocities_are_restored_otherwise(after: Any, name: str | None, velocities: list[Any]) -> None:
    def state(weights: list[Any]) -> None:
        weights[-3:] = [np.array(v, np.float32) for v in ([-4.0], [-6.0], [[-8.0]])]

    variables = [[0.0], [0.0], [[0.0]]]
    outcome = after(name, variables, state=state, names=["b", "a", "c"], **MOMENTUM)
    assert outcome.velocities == velocities


def test_bfloat16_is_unscaled_unasked(after: Any) -> None:
    name = "bfloat16-unscaled-unasked"
    assert after(name, [[0.0]], [[256.0]], dtype="bfloat16").variables == [[-1.0]]
    assert after(name, [[0.0]], [[256.0]]).variables == [[-128.0]]
    scaled = after(name, [[0.0]], [[256.0]], dtype="bfloat16", loss_scale_factor=2.0)
    assert scaled.variables == [[-64.0]]


def test_a_rate_stays_after_sixteen_calls(after: Any) -> None:
    rates = iter([0.5] * 15 + [1.0] + [2.0] * 4)
    outcome = after(
        "rate-stays-after-sixteen-calls", [[0.0]], *[[[2.0]]] * 20, learning_rate=lambda: next(rates)
    )
    # Fifteen steps of -1, and five of -2.
    assert outcome.variables == [[-25.0]]
    assert after("rate-stays-after-sixteen-calls", [[0.0]], *[[[2.0]]] * 20).variables == [[-20.0]]
