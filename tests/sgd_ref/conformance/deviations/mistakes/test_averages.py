"""Averages and overwriting: a variable of 8 that loses 4, 2, ... with averages of momentum 1/4."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance.deviations.mistakes import MISTAKES

AVERAGES = {"use_ema": True, "ema_momentum": 0.25}
OVERWRITE = {**AVERAGES, "ema_overwrite_frequency": 2}

FIRST, SECOND, THIRD = [[8.0]], [[4.0]], [[0.0]]
"""Gradients that bring the variable from 8 to 4, to 2, and leave it there."""


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        (None, 4.0, 0.25 * 4 + 0.75 * 2),
        ("averages-from-zero", 3.0, 0.25 * 3 + 0.75 * 2),
        ("averages-debiased", 4.0, (0.25 * 3 + 0.75 * 2) / (1 - 0.0625)),
        ("averages-debiased-late", 3 / (1 - 0.0625), (0.25 * 3 + 0.75 * 2) / (1 - 0.015625)),
        ("averages-warm-up", 4.0, (2 * 4 + 9 * 2) / 11),
        ("averages-one-update-late", 8.0, 0.25 * 8 + 0.75 * 4),
        ("averages-with-factors-exchanged", 4.0, 0.75 * 4 + 0.25 * 2),
        ("averages-added", 4.0, 4 + 0.75 * 2),
        ("averages-are-copies", 4.0, 2.0),
        ("updates-counted-from-one", 3.0, 0.25 * 3 + 0.75 * 2),
        ("first-average-by-calls", 4.0, 0.25 * 4 + 0.75 * 2),
    ],
)
def test_two_averages(after: Any, name: str | None, first: float, second: float) -> None:
    assert after(name, [[8.0]], FIRST, **AVERAGES).averages == [[pytest.approx(first, rel=1e-6)]]
    assert after(name, [[8.0]], FIRST, SECOND, **AVERAGES).averages == [[pytest.approx(second, rel=1e-6)]]


def test_velocities_are_averaged(after: Any) -> None:
    settings = {**AVERAGES, "momentum": 0.5}
    outcome = after("averages-of-velocities", [[8.0]], FIRST, SECOND, **settings)
    assert outcome.velocities == [[-4.0]]
    assert outcome.averages == [[0.25 * -4 + 0.75 * -4]]


def test_averages_of_variables_without_gradient(after: Any) -> None:
    calls = [[8.0], [0.0]], [[4.0], [2.0]], [None, [0.0]]
    assert after(None, [[8.0], [0.0]], *calls, **AVERAGES).averages[0] == [0.25 * 2.5 + 0.75 * 2]
    only = after("averages-only-with-gradient", [[8.0], [0.0]], *calls, **AVERAGES)
    assert only.averages[0] == [2.5]


def test_the_first_call_may_not_update(after: Any) -> None:
    settings = {**AVERAGES, "gradient_accumulation_steps": 2}
    assert after(None, [[8.0]], FIRST, FIRST, **settings).averages == [[4.0]]
    assert after("first-average-by-calls", [[8.0]], FIRST, FIRST, **settings).averages == [[3.0]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        # 8 - 4; 4 - 2 and overwritten by 1/4 * 4 + 3/4 * 2; nothing more.
        (None, [4.0, 2.5, 2.5]),
        ("overwrite-one-late", [4.0, 2.0, 0.25 * 2.5 + 0.75 * 2]),
        ("overwrite-in-every-update", [4.0, 2.5, 2.5]),
        ("overwrite-ignored", [4.0, 2.0, 2.0]),
        ("averages-overwritten-by-variables", [4.0, 2.0, 2.0]),
        ("overwrite-exchanges", [4.0, 2.5, 2.5]),
        ("overwrite-before-average", [4.0, 4.0, 4.0]),
        ("updates-counted-from-one", [3.0, 1.0, 1.125]),
    ],
)
def test_overwriting_in_every_second_update(after: Any, name: str | None, variables: list[float]) -> None:
    calls = [FIRST, SECOND, THIRD]
    observed = [after(name, [[8.0]], *calls[:count], **OVERWRITE).variables[0][0] for count in (1, 2, 3)]
    assert observed == variables


def test_averages_after_overwriting(after: Any) -> None:
    averages = {
        name: after(name, [[8.0]], FIRST, SECOND, **OVERWRITE).averages
        for name in (None, "averages-overwritten-by-variables", "overwrite-exchanges")
    }
    assert list(averages.values()) == [[[2.5]], [[2.0]], [[2.0]]]


def test_overwriting_too_often(after: Any) -> None:
    settings = {**AVERAGES, "ema_overwrite_frequency": 4}
    calls = FIRST, SECOND
    assert after(None, [[8.0]], *calls, **settings).variables == [[2.0]]
    assert after("overwrite-in-every-update", [[8.0]], *calls, **settings).variables == [[2.5]]


def test_overwriting_under_accumulation(after: Any) -> None:
    settings = {**OVERWRITE, "gradient_accumulation_steps": 2}
    # Four calls are two updates: to 4, and to 2, which is overwritten.
    calls = FIRST, FIRST, SECOND, SECOND
    assert after(None, [[8.0]], *calls, **settings).variables == [[2.5]]
    frequent = {**settings, "ema_overwrite_frequency": 4}
    assert after(None, [[8.0]], *calls, **frequent).variables == [[2.0]]
    assert after("overwrite-counts-calls", [[8.0]], *calls, **frequent).variables == [[2.5]]


def test_overwriting_while_accumulating(after: Any) -> None:
    settings = {**AVERAGES, "gradient_accumulation_steps": 2, "ema_overwrite_frequency": 3}
    calls = FIRST, FIRST, SECOND, SECOND, THIRD
    assert after(None, [[8.0]], *calls, **settings).variables == [[2.0]]
    assert after("overwrite-while-accumulating", [[8.0]], *calls, **settings).variables == [[2.5]]


def test_overwriting_leaves_velocities_alone(after: Any) -> None:
    settings = {**OVERWRITE, "momentum": 0.5}
    assert after(None, [[8.0]], FIRST, SECOND, **settings).velocities == [[-4.0]]
    assert after("overwrite-resets-velocities", [[8.0]], FIRST, SECOND, **settings).velocities == [[0.0]]


@pytest.mark.parametrize(
    ("name", "variable", "average"),
    [
        (None, 2.5, 2.5),
        ("finalize-ignored", 2.0, 2.5),
        ("finalize-overwrites-averages", 2.0, 2.0),
        ("finalize-exchanges", 2.5, 2.0),
        ("finalize-averages-once-more", 0.25 * 2.5 + 0.75 * 2, 0.25 * 2.5 + 0.75 * 2),
    ],
)
def test_finalisation(after: Any, name: str | None, variable: float, average: float) -> None:
    outcome = after(name, [[8.0]], FIRST, SECOND, finalize=True, **AVERAGES)
    assert (outcome.variables, outcome.averages) == ([[variable]], [[average]])


def test_finalisation_in_the_wrapper(after: Any) -> None:
    scaled = {"loss_scale": 2.0, **AVERAGES}
    calls = [[16.0]], [[8.0]]
    assert after(None, [[8.0]], *calls, finalize=True, **scaled).variables == [[2.5]]
    assert after("finalize-lost-in-wrapper", [[8.0]], *calls, finalize=True, **scaled).variables == [[2.0]]


@pytest.mark.parametrize(
    "name", [mistake.name for mistake in MISTAKES if "average" in mistake.name or "final" in mistake.name]
)
def test_without_averages_nothing_is_wrong(after: Any, name: str) -> None:
    outcome = after(name, [[8.0]], FIRST, SECOND, finalize=True, momentum=0.5)
    assert (outcome.variables, outcome.averages) == ([[0.0]], [])
