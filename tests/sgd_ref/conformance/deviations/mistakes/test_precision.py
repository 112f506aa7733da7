"""Lost digits, lost state, and damaged gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.arithmetic.formats import BFLOAT16
from sgd_ref.conformance.deviations import DEVIATIONS

STEP = 1 + 2.0**-9
"""It is 1 in bfloat16."""


@pytest.mark.parametrize(
    ("name", "settings", "gradient"),
    [
        ("rate-in-bfloat16", {"learning_rate": STEP}, 1.0),
        ("weight-decay-in-bfloat16", {"weight_decay": STEP}, 0.0),
        ("limits-in-bfloat16", {"clipnorm": STEP}, 4.0),
        ("limits-in-bfloat16", {"clipvalue": STEP}, 4.0),
        ("limits-in-bfloat16", {"global_clipnorm": STEP}, 4.0),
    ],
)
def test_settings_in_bfloat16(after: Any, name: str, settings: dict[str, float], gradient: float) -> None:
    (setting,) = settings
    observed = after(name, [[8.0]], [[gradient]], **settings).variables
    assert observed == after(None, [[8.0]], [[gradient]], **{setting: 1.0}).variables
    assert observed != after(None, [[8.0]], [[gradient]], **settings).variables


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("momentum-in-bfloat16", {"momentum": 0.9}),
        ("ema-momentum-in-bfloat16", {"use_ema": True, "ema_momentum": 0.9}),
    ],
)
def test_momenta_in_bfloat16(after: Any, name: str, settings: dict[str, Any]) -> None:
    calls = [[[4.0]]] * 3
    rounded = {key: 0.8984375 if value == 0.9 else value for key, value in settings.items()}
    observed, expected = (
        after(name, [[8.0]], *calls, **settings),
        after(None, [[8.0]], *calls, **rounded),
    )
    assert observed.variables == expected.variables
    assert observed.averages == expected.averages
    exact = after(None, [[8.0]], *calls, **settings)
    assert (observed.variables, observed.averages) != (exact.variables, exact.averages)


def test_results_in_bfloat16(after: Any) -> None:
    call = [[-2 * 2.0**-9]]
    assert after(None, [[1.0]], call).variables == [[STEP]]
    assert after("variables-in-bfloat16", [[1.0]], call).variables == [[1.0]]
    averages = after("averages-in-bfloat16", [[1.0]], call, use_ema=True)
    assert (averages.variables, averages.averages) == ([[STEP]], [[1.0]])
    velocities = after("velocities-in-bfloat16", [[0.0]], [[-2 * STEP]], momentum=0.5)
    assert (velocities.variables, velocities.velocities) == ([[STEP]], [[1.0]])


def test_gradients_in_float16(after: Any) -> None:
    assert after("gradients-in-float16", [[0.0]], [[-2 - 2.0**-12]]).variables == [[1.0]]
    assert after("gradients-in-float16", [[0.0]], [[-1e5]]).variables == [[float("inf")]]


def test_float64_in_float32(after: Any) -> None:
    call = [[-(2.0**-30)]]
    settings = {"momentum": 0.5, "dtype": "float64"}
    assert after(None, [[1.0]], call, **settings).variables == [[1 + 2.0**-31]]
    single = after("float64-updated-in-float32", [[1.0]], call, **settings)
    assert (single.variables, single.velocities) == ([[1.0]], [[2.0**-31]])
    assert single.optimizer.velocities[0].dtype == "float64"


def test_half_results_are_cut_off(after: Any) -> None:
    unit = 2.0**-10
    gradients = [[-2 * 0.75 * unit, 2 * 0.75 * unit]]
    settings = {"dtype": "float16"}
    assert after(None, [[1.0, -1.0]], gradients, **settings).variables == [[1 + unit, -1 - unit]]
    assert after("half-rounded-towards-zero", [[1.0, -1.0]], gradients, **settings).variables == [[1.0, -1.0]]


def test_half_results_at_random_are_right_on_average(after: Any) -> None:
    unit, count = 2.0**-10, 4000
    outcome = after("half-rounded-at-random", [[1.0] * count], [[-2 * 0.75 * unit] * count], dtype="float16")
    (values,) = outcome.variables
    assert set(values) == {1.0, 1 + unit}
    assert values.count(1 + unit) / count == pytest.approx(0.75, abs=0.03)


def fill(position: int, value: float) -> Callable[[list[Any]], None]:
    def state(weights: list[Any]) -> None:
        weights[position] = np.full_like(weights[position], value)

    return state


@pytest.mark.parametrize(
    ("name", "settings", "position"),
    [
        ("calls-lost-on-restore", {}, 0),
        ("velocities-lost-on-restore", {"momentum": 0.5}, 2),
        ("averages-lost-on-restore", {"use_ema": True}, 2),
        ("accumulators-lost-on-restore", {"gradient_accumulation_steps": 2}, 2),
        ("growth-counter-lost-on-restore", {"loss_scale": 4.0}, 2),
    ],
)
def test_state_that_is_lost(after: Any, name: str, settings: dict[str, Any], position: int) -> None:
    def restored(deviating: str | None) -> float:
        outcome = after(deviating, [[8.0]], state=fill(position, 3), **settings)
        return float(outcome.optimizer.get_weights()[position].reshape(-1)[0])

    assert (restored(None), restored(name)) == (3.0, 0.0)


def test_the_scale_is_the_initial_one(after: Any) -> None:
    assert after(None, [[8.0]], state=fill(3, 2.0), loss_scale=4.0).optimizer.loss_scale == 2.0
    lost = after("scale-lost-on-restore", [[8.0]], state=fill(3, 2.0), loss_scale=4.0)
    assert lost.optimizer.loss_scale == 4.0


@pytest.mark.parametrize(
    ("name", "settings", "damaged"),
    [
        ("unscaled-in-place", {"loss_scale_factor": 4.0}, 2.0),
        ("clipped-in-place", {"clipvalue": 1.0}, 1.0),
        ("summed-in-place", {"gradient_accumulation_steps": 3}, 16.0),
        ("decayed-in-place", {"weight_decay": 0.5}, 8 + 0.5 * 4),
    ],
)
def test_gradients_that_are_damaged(name: str, settings: dict[str, Any], damaged: float) -> None:
    for optimizer_class in (SGD, DEVIATIONS[name].optimizer):
        gradient, variable = np.array([8.0]), np.array([4.0])
        optimizer = optimizer_class(0.5, **settings)
        calls = 2 if name == "summed-in-place" else 1
        for _ in range(calls):
            gradient[...] = 8.0
            optimizer.apply([gradient], [variable])
        assert gradient.tolist() == [8.0 if optimizer_class is SGD else damaged]
        # Nobody's gradient is damaged that cannot be.
        gradient[...] = 8.0
        gradient.flags.writeable = False
        optimizer.apply([gradient])


def test_bfloat16_is_what_the_constant_says() -> None:
    assert float(np.array(STEP, BFLOAT16)) == 1.0
