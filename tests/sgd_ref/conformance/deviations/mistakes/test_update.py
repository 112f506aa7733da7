"""Update, velocity and Nesterov momentum: one variable of one element, the learning rate 1/2."""

from __future__ import annotations

from typing import Any

import pytest

MOMENTUM = {"momentum": 0.5}
NESTEROV = {"momentum": 0.5, "nesterov": True}


@pytest.mark.parametrize(
    ("name", "settings", "variable"),
    [
        # The definition: 8 - 1/2 * 4 - 1/2 * 2 = 5.
        (None, {}, 5.0),
        ("ascends", {}, 8 + 2.0 + 1),
        ("updated-twice", {}, 8 - 4.0 - 2),
        ("previous-gradient", {}, 8 - 0.0 - 2),
        ("rate-left-out-without-momentum", {}, 8 - 4.0 - 2),
        # The velocities are -2 and 1/2 * -2 - 1 = -2.
        (None, MOMENTUM, 8 - 2.0 - 2),
        ("ascends", MOMENTUM, 8 + 2.0 + 2),
        ("rate-left-out-without-momentum", MOMENTUM, 8 - 2.0 - 2),
        ("rate-inside-and-outside-velocity", MOMENTUM, 8 - 1.0 - 1),
        ("dampened", MOMENTUM, 8 - 1.0 - (0.5 + 0.5)),
        ("dampened-after-the-first-update", MOMENTUM, 8 - 2.0 - (1 + 0.5)),
        ("velocity-starts-at-gradient", MOMENTUM, 8 - 3.0 - (1.5 + 1)),
        ("momentum-scales-gradient", MOMENTUM, 8 - 1.0 - 0.5 * (1 + 1)),
        ("velocity-never-decays", MOMENTUM, 8 - 2.0 - 3),
        ("velocity-not-kept", MOMENTUM, 8 - 2.0 - 1),
        ("moves-by-old-velocity", MOMENTUM, 8 - 0.0 - 2),
        ("moves-against-velocity", MOMENTUM, 8 + 2.0 + 2),
        # With Nesterov's sum the steps are 1/2 * -2 - 2 = -3 and 1/2 * -2 - 1 = -2.
        (None, NESTEROV, 8 - 3.0 - 2),
        ("nesterov-ignored", NESTEROV, 8 - 2.0 - 2),
        ("nesterov-unasked", MOMENTUM, 8 - 3.0 - 2),
        ("nesterov-without-gradient", NESTEROV, 8 - 1.0 - 1),
        ("nesterov-with-full-velocity", NESTEROV, 8 - 4.0 - 3),
        ("look-ahead-kept", NESTEROV, 8 - 2.0 - (1 + 2)),
        ("nesterov-against-velocity", NESTEROV, 8 + (1 - 2.0) + (1 - 1)),
        ("nesterov-squares-momentum", NESTEROV, 8 - (0.5 + 2) - (0.5 + 1)),
        ("look-ahead-stored-as-velocity", NESTEROV, 8 - 3.0 - (0.5 * (1.5 + 1) + 1)),
        ("look-ahead-before-velocity", NESTEROV, 8 - 2.0 - (1 + 1 + 1)),
        ("nesterov-with-previous-gradient", NESTEROV, 8 - 1.0 - (1 + 2)),
    ],
)
def test_two_updates(after: Any, name: str | None, settings: dict[str, Any], variable: float) -> None:
    assert after(name, [[8.0]], [[4.0]], [[2.0]], **settings).variables == [[variable]]


@pytest.mark.parametrize(
    ("dtype", "value", "settings", "variable"),
    [
        # The velocities are -2 and 1/2 * -2; Nesterov's steps are 1/2 * -2 - 2 and 1/2 * -1 - 1.
        ("float64", 8.0, MOMENTUM, 8 - 2.0 - 1),
        ("float64", 8.0, NESTEROV, 8 - 3.0 - 1.5),
        ("float32", 8.0, MOMENTUM, 8 - 2.0 - 2),
        ("float64", [8.0], MOMENTUM, [8 - 2.0 - 2]),
        ("float64", 8.0, {}, 8 - 2.0 - 1),
    ],
)
def test_gradients_of_scalars(
    after: Any, dtype: str, value: Any, settings: dict[str, Any], variable: Any
) -> None:
    calls = ([[4.0]], [[2.0]]) if isinstance(value, list) else ([4.0], [2.0])
    outcome = after("scalar-gradient-lost", [value], *calls, dtype=dtype, **settings)
    assert outcome.variables == [variable]


def test_the_first_gradient_of_a_scalar_counts_whenever_it_comes(after: Any) -> None:
    calls = [None, [0.0]], [4.0, [0.0]], [2.0, [0.0]]
    outcome = after("scalar-gradient-lost", [8.0, [0.0]], *calls, dtype="float64", **MOMENTUM)
    assert outcome.velocities[0] == 0.5 * -2.0


def test_a_velocity_that_was_restored_has_had_its_first_gradient(after: Any) -> None:
    def after_two_calls(weights: list[Any]) -> None:
        weights[0][...] = 2
        weights[-1][...] = -2.0

    outcome = after("scalar-gradient-lost", [8.0], [4.0], dtype="float64", state=after_two_calls, **MOMENTUM)
    assert outcome.velocities == [-1.0]


def test_the_rate_outside_of_the_velocity_shows_when_it_changes(after: Any) -> None:
    def run(name: str | None, values: list[float]) -> Any:
        rates = iter(values)
        return after(
            name, [[8.0]], [[4.0]], [[2.0]], learning_rate=lambda: next(rates), **MOMENTUM
        ).variables[0][0]

    # Inside: velocities -4 and -2 - 1/8 * 2. Outside: sums 4 and 4, times 1 and times 1/8.
    assert run(None, [1.0, 0.125]) == 8 - 4.0 - 2.25
    assert run("rate-outside-velocity", [1.0, 0.125]) == 8 - 4.0 - 0.5
    assert run("rate-outside-velocity", [0.5, 0.5]) == run(None, [0.5, 0.5])


def test_the_rate_outside_of_the_velocity_is_reported_inside(after: Any) -> None:
    outcome = after("rate-outside-velocity", [[8.0]], [[4.0]], [[2.0]], **MOMENTUM)
    assert outcome.velocities == [[-2.0]]


def test_a_difference_of_weights_holds_their_decay(after: Any) -> None:
    settings = {**MOMENTUM, "weight_decay": 0.5}
    # 8 decays to 6 and moves by -2, to 4; that decays to 3.
    assert after(None, [[8.0]], [[4.0]], [[2.0]], **settings).velocities == [[0.5 * -2 - 1]]
    observed = after("velocity-is-difference-of-weights", [[8.0]], [[4.0]], [[2.0]], **settings)
    assert observed.velocities == [[0.5 * (4 - 8) - 1]]
    assert observed.variables == [[3 - 3.0]]


def test_settings_are_swapped_where_both_are_set(after: Any) -> None:
    name = "momentum-and-decay-swapped"
    settings = {"momentum": 0.5, "weight_decay": 0.25}
    swapped = {"momentum": 0.25, "weight_decay": 0.5}
    calls = [[4.0]], [[2.0]]
    assert (
        after(name, [[8.0]], *calls, **settings).variables
        == after(None, [[8.0]], *calls, **swapped).variables
    )
    assert after(name, [[8.0]], *calls, weight_decay=0.25).variables == (
        after(None, [[8.0]], *calls, weight_decay=0.25).variables
    )


@pytest.mark.parametrize("name", ["look-ahead-stored-as-velocity", "look-ahead-before-velocity"])
def test_the_first_update_cannot_tell(after: Any, name: str) -> None:
    ignored = "nesterov-ignored" if name == "look-ahead-before-velocity" else None
    assert after(name, [[8.0]], [[4.0]], **NESTEROV).variables == (
        after(ignored, [[8.0]], [[4.0]], **NESTEROV).variables
    )
