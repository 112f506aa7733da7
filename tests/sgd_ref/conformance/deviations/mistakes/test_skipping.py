"""Dynamic loss scaling: a variable of 8, a scale of 4, and gradients of 8, which are 2 unscaled."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sgd_ref.schedules import PiecewiseConstantDecay

FINE, WRONG = [[8.0]], [[math.inf]]
MOMENTUM = {"momentum": 0.5}


@pytest.mark.parametrize(
    ("name", "scales", "counters"),
    [
        (None, [4, 8, 8, 16], [1, 0, 1, 0]),
        ("growth-one-late", [4, 4, 8, 8], [1, 2, 0, 1]),
        ("growth-counter-kept-after-growth", [4, 8, 16, 32], [1, 2, 3, 4]),
        ("scale-never-grows", [4, 4, 4, 4], [1, 2, 3, 4]),
        ("scale-grown-before-unscaling", [4, 8, 8, 16], [1, 0, 1, 0]),
    ],
)
def test_growth(after: Any, name: str | None, scales: list[float], counters: list[int]) -> None:
    outcomes = [
        after(name, [[8.0]], *[FINE] * calls, loss_scale=4.0, growth_steps=2) for calls in (1, 2, 3, 4)
    ]
    assert [outcome.optimizer.loss_scale for outcome in outcomes] == scales
    assert [outcome.optimizer.growth_counter for outcome in outcomes] == counters


def test_growth_before_unscaling_halves_the_update(after: Any) -> None:
    settings = {"loss_scale": 4.0, "growth_steps": 1}
    assert after(None, [[8.0]], FINE, **settings).variables == [[8 - 0.5 * 2]]
    assert after("scale-grown-before-unscaling", [[8.0]], FINE, **settings).variables == [[8 - 0.5 * 1]]
    skipped = after("scale-grown-before-unscaling", [[8.0]], WRONG, **settings)
    assert (skipped.variables, skipped.optimizer.loss_scale) == ([[8.0]], 2.0)


def test_the_previous_scale_is_too_small_after_growth(after: Any) -> None:
    settings = {"loss_scale": 4.0, "growth_steps": 1}
    calls = FINE, [[16.0]]
    assert after(None, [[8.0]], *calls, **settings).variables == [[6.0]]
    late = after("unscaled-with-previous-scale", [[8.0]], *calls, **settings)
    assert (late.variables, late.optimizer.loss_scale) == ([[8 - 1.0 - 2]], 16.0)


def test_growth_under_accumulation(after: Any) -> None:
    settings = {"loss_scale": 4.0, "growth_steps": 2, "gradient_accumulation_steps": 2}
    assert after(None, [[8.0]], FINE, FINE, **settings).optimizer.loss_scale == 8.0
    counting = after("growth-counts-updates", [[8.0]], FINE, FINE, **settings).optimizer
    assert (counting.loss_scale, counting.growth_counter) == (4.0, 1)


@pytest.mark.parametrize(
    ("name", "scale", "counter"),
    [
        (None, 2.0, 0),
        ("growth-counter-kept-after-overflow", 2.0, 1),
        ("growth-counts-skipped-calls", 2.0, 2),
        ("scale-never-shrinks", 4.0, 0),
    ],
)
def test_overflow(after: Any, name: str | None, scale: float, counter: int) -> None:
    optimizer = after(name, [[8.0]], FINE, WRONG, loss_scale=4.0).optimizer
    assert (optimizer.loss_scale, optimizer.growth_counter) == (scale, counter)


def test_lower_ends_of_the_scale(after: Any) -> None:
    assert after(None, [[8.0]], *[WRONG] * 4, loss_scale=4.0).optimizer.loss_scale == 0.25
    assert after("scale-at-least-one", [[8.0]], *[WRONG] * 4, loss_scale=4.0).optimizer.loss_scale == 1.0
    assert after("scale-starts-anew", [[8.0]], *[WRONG] * 4, loss_scale=4.0).optimizer.loss_scale == 2.0


@pytest.mark.parametrize(
    ("name", "variables", "calls", "scale"),
    [
        (None, [8.0, 8.0], 0, 2.0),
        ("finiteness-not-tested", [-math.inf, 7.0], 1, 4.0),
        ("only-nan-tested", [-math.inf, 7.0], 1, 4.0),
        ("only-infinity-tested", [8.0, 8.0], 0, 2.0),
        ("non-finite-applied", [-math.inf, 7.0], 1, 2.0),
        ("non-finite-elements-zeroed", [8.0, 7.0], 1, 2.0),
        ("skipped-call-with-zeros", [8.0, 8.0], 1, 2.0),
        ("skipped-call-counted", [8.0, 8.0], 1, 2.0),
    ],
)
def test_one_infinite_element(
    after: Any, name: str | None, variables: list[float], calls: int, scale: float
) -> None:
    outcome = after(name, [[8.0, 8.0]], [[math.inf, 8.0]], loss_scale=4.0)
    assert outcome.variables == [variables]
    assert (outcome.optimizer.calls, outcome.optimizer.loss_scale) == (calls, scale)


def test_one_nan(after: Any) -> None:
    skipped = after("only-nan-tested", [[8.0]], [[math.nan]], loss_scale=4.0)
    assert (skipped.variables, skipped.optimizer.loss_scale) == ([[8.0]], 2.0)
    made = after("only-infinity-tested", [[8.0]], [[math.nan]], loss_scale=4.0)
    assert (math.isnan(made.variables[0][0]), made.optimizer.loss_scale) == (True, 4.0)
    assert after("nan-in-gradients-zeroed", [[8.0, 8.0]], [[math.nan, 2.0]]).variables == [[8.0, 7.0]]


def test_variables_that_are_skipped_alone(after: Any) -> None:
    outcome = after("non-finite-variables-alone-skipped", [[8.0], [8.0]], [[math.inf], [8.0]], loss_scale=4.0)
    assert outcome.variables == [[8.0], [7.0]]


def test_a_test_after_unscaling(after: Any) -> None:
    settings = {"loss_scale": 0.25, "dtype": "float16"}
    made = after(None, [[8.0]], [[60000.0]], **settings)
    assert (made.variables, made.optimizer.calls) == ([[-math.inf]], 1)
    skipped = after("finiteness-tested-after-unscaling", [[8.0]], [[60000.0]], **settings)
    assert (skipped.variables, skipped.optimizer.calls) == ([[8.0]], 0)


@pytest.mark.parametrize(
    ("name", "velocity"),
    [
        (None, -1.0),
        ("skipped-call-moves-velocities", -math.inf),
        ("skipped-call-decays-velocities", -0.5),
        ("skipped-call-resets-velocities", 0.0),
        ("skipped-call-with-zeros", -0.5),
    ],
)
def test_velocities_after_a_skipped_call(after: Any, name: str | None, velocity: float) -> None:
    outcome = after(name, [[8.0]], FINE, WRONG, loss_scale=4.0, **MOMENTUM)
    assert outcome.velocities == [[velocity]]
    assert outcome.variables == [[6.5 if name == "skipped-call-with-zeros" else 7.0]]
    assert outcome.optimizer.calls == 1 + (name == "skipped-call-with-zeros")


def test_averages_after_a_skipped_call(after: Any) -> None:
    settings = {"loss_scale": 4.0, "use_ema": True, "ema_momentum": 0.25}
    calls = FINE, [[4.0]], WRONG
    # The variable is 7 and then 6.5 (the scale is 4).
    assert after(None, [[8.0]], *calls, **settings).averages == [[0.25 * 7 + 0.75 * 6.5]]
    again = after("skipped-call-averages", [[8.0]], *calls, **settings)
    assert again.averages == [[0.25 * (0.25 * 7 + 0.75 * 6.5) + 0.75 * 6.5]]


def test_accumulators_after_a_skipped_call(after: Any) -> None:
    settings = {"loss_scale": 4.0, "gradient_accumulation_steps": 2}
    assert after(None, [[8.0]], FINE, WRONG, **settings).accumulators == [[2.0]]
    reset = after("skipped-call-resets-accumulators", [[8.0]], FINE, WRONG, **settings)
    assert (reset.accumulators, reset.optimizer.calls) == ([[0.0]], 1)


def test_the_largest_scale(after: Any) -> None:
    settings = {"loss_scale": 2.0**23, "growth_steps": 1}
    assert after(None, [[8.0]], *[FINE] * 3, **settings).optimizer.loss_scale == 2.0**26
    assert after("scale-has-a-maximum", [[8.0]], *[FINE] * 3, **settings).optimizer.loss_scale == 2.0**24
    assert after("scale-has-a-maximum", [[8.0]], WRONG, loss_scale=2.0**26).optimizer.loss_scale == 2.0**25


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        (None, [2.0, 1.0, 0.5, 0.5, 0.25]),
        ("halved-by-second-overflow", [4.0, 2.0, 1.0, 1.0, 1.0]),
        ("first-overflow-alone-halves", [2.0, 2.0, 2.0, 2.0, 1.0]),
    ],
)
def test_several_skipped_calls_in_a_row(after: Any, name: str | None, scales: list[float]) -> None:
    calls = [WRONG, WRONG, WRONG, FINE, WRONG]
    found = [after(name, [[8.0]], *calls[: i + 1], loss_scale=4.0).optimizer.loss_scale for i in range(5)]
    assert found == scales


def test_a_schedule_that_goes_on_alone(after: Any) -> None:
    rate = PiecewiseConstantDecay([0], [1.0, 0.25])
    for name, moved in ((None, 2.0), ("schedule-counts-skipped-calls", 0.5)):
        outcome = after(name, [[8.0]], WRONG, [[4.0]], loss_scale=4.0, learning_rate=rate)
        assert outcome.variables == [[8.0 - moved]]
        assert outcome.optimizer.calls == 1
