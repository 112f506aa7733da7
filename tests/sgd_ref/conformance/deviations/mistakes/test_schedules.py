"""Schedules and counting: which rates the calls read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance.deviations import DEVIATIONS

LINEAR: dict[str, Any] = {
    "class_name": "PolynomialDecay",
    "config": {"initial_learning_rate": 1.0, "decay_steps": 4, "end_learning_rate": 0.0, "power": 1.0},
}
SQUARE = {"class_name": "PolynomialDecay", "config": {**LINEAR["config"], "power": 2.0}}
PIECES = {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [1], "values": [1.0, 0.5]}}
POWER: dict[str, Any] = {
    "class_name": "ExponentialDecay",
    "config": {"initial_learning_rate": 1.0, "decay_steps": 2, "decay_rate": 0.25},
}
STAIRS = {"class_name": "ExponentialDecay", "config": {**POWER["config"], "staircase": True}}
WARMUP = {
    "class_name": "CosineDecay",
    "config": {
        "initial_learning_rate": 0.5,
        "decay_steps": 4,
        "warmup_target": 1.0,
        "warmup_steps": 2,
    },
}
RESTARTS = {
    "class_name": "CosineDecayRestarts",
    "config": {"initial_learning_rate": 1.0, "first_decay_steps": 2, "t_mul": 2.0, "m_mul": 0.5},
}
COSINE = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(9)]


def built(name: str | None, config: dict[str, Any], variable: Any) -> SGD:
    optimizer_class = SGD if name is None else DEVIATIONS[name].optimizer
    optimizer = optimizer_class.from_config(config)
    optimizer.build([variable])
    return optimizer


def rates(name: str | None, schedule: dict[str, Any], calls: int, **settings: Any) -> list[float]:
    """Return by how much each call moves a variable, with gradients of -1."""
    variable = np.zeros(1)
    optimizer = built(name, {"learning_rate": schedule, **settings}, variable)
    moves = []
    for _ in range(calls):
        before = variable[0]
        optimizer.apply([np.array([-1.0])])
        moves.append(float(variable[0] - before))
    return moves


@pytest.mark.parametrize(
    ("name", "schedule", "expected"),
    [
        (None, LINEAR, [1, 0.75, 0.5, 0.25, 0, 0]),
        ("schedule-one-ahead", LINEAR, [0.75, 0.5, 0.25, 0, 0, 0]),
        ("schedule-one-behind", LINEAR, [1, 1, 0.75, 0.5, 0.25, 0]),
        ("schedule-frozen", LINEAR, [1, 1, 1, 1, 1, 1]),
        ("schedule-runs-past-the-end", LINEAR, [1, 0.75, 0.5, 0.25, 0, -0.25]),
        ("schedule-runs-past-the-end", SQUARE, [1, 0.5625, 0.25, 0.0625, 0, 0.0625]),
        ("schedule-ends-one-early", LINEAR, [1, 2 / 3, 1 / 3, 0, 0, 0]),
        ("polynomial-compounds", LINEAR, [1, 0.75, 0.75 * 0.5, 0.75 * 0.5 * 0.25, 0, 0]),
        (None, PIECES, [1, 1, 0.5, 0.5]),
        ("boundary-excluded", PIECES, [1, 0.5, 0.5, 0.5]),
        ("boundary-excluded", LINEAR, [1, 0.75]),
        (None, POWER, [1, 0.5, 0.25, 0.125]),
        ("staircase-always", POWER, [1, 1, 0.25, 0.25]),
        ("natural-exponential", POWER, [math.exp(-0.125 * step) for step in range(4)]),
        (None, STAIRS, [1, 1, 0.25, 0.25]),
        ("staircase-ignored", STAIRS, [1, 0.5, 0.25, 0.125]),
        (None, WARMUP, [0.5, 0.75, *COSINE[:4], 0, 0]),
        ("warmup-ignored", WARMUP, [*COSINE[:4], 0, 0]),
        ("warmup-from-zero", WARMUP, [0, 0.5, *COSINE[:4]]),
        ("warmup-is-part-of-decay", WARMUP, [0.5, 0.75, *COSINE[2:4], 0]),
        ("schedule-runs-past-the-end", WARMUP, [0.5, 0.75, *COSINE[:9]]),
        (None, RESTARTS, [1, 0.5, 0.5, 0.5 * COSINE[1], 0.25, 0.5 * COSINE[3], 0.25]),
        ("periods-equally-long", RESTARTS, [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        ("restarts-equally-high", RESTARTS, [1, 0.5, *COSINE[:4], 1]),
        ("cosine-never-restarts", RESTARTS, [1, 0.5, 0, 0, 0, 0, 0]),
    ],
)
def test_rates(name: str | None, schedule: dict[str, Any], expected: list[float]) -> None:
    observed = rates(name, schedule, len(expected))
    assert observed == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_a_schedule_of_updates() -> None:
    settings = {"gradient_accumulation_steps": 2}
    assert rates(None, LINEAR, 4, **settings) == [0, 0.75, 0, 0.25]
    assert rates("schedule-counts-updates", LINEAR, 4, **settings) == [0, 1, 0, 0.75]
    assert rates("schedule-counts-updates", LINEAR, 4) == rates(None, LINEAR, 4)


@pytest.mark.parametrize(("name", "rate"), [(None, 1 - 257 / 512), ("count-in-bfloat16", 0.5)])
def test_a_count_in_bfloat16_stands_still(name: str | None, rate: float) -> None:
    schedule = {"class_name": "PolynomialDecay", "config": {**LINEAR["config"], "decay_steps": 512}}

    variable = np.zeros(1)
    optimizer = built(name, {"learning_rate": schedule}, variable)
    optimizer.set_weights([np.array(257)])
    optimizer.apply([np.array([-1.0])])
    assert variable[0] == rate


def test_a_callable_that_is_one_call_late(after: Any) -> None:
    def run(name: str | None) -> Any:
        values = iter([0.5, 0.25, 0.125])
        calls = [[[-1.0]]] * 3
        return after(name, [[0.0]], *calls, learning_rate=lambda: next(values)).variables[0][0]

    assert run(None) == 0.5 + 0.25 + 0.125
    assert run("callable-one-call-late") == 0.5 + 0.5 + 0.25


def test_counts(after: Any) -> None:
    calls = [[[1.0], [1.0]], [None, [1.0]], [[1.0], [1.0]]]
    variables = [[0.0], [0.0]]
    windows = {"gradient_accumulation_steps": 2}

    def counts(name: str | None, **settings: Any) -> tuple[int, int]:
        optimizer = after(name, variables, *calls, **settings).optimizer
        return optimizer.calls, optimizer.iterations

    assert counts(None, **windows) == (3, 1)
    assert counts("iterations-count-calls", **windows) == (3, 3)
    assert counts("call-with-missing-gradient-not-counted", **windows) == (2, 1)
    # The third call ends a window of itself.
    assert counts("updates-counted-twice", **windows) == (5, 2)
    assert counts("updates-counted-twice") == (6, 6)
    assert counts(None, loss_scale=2.0) == (3, 3)
    assert counts("iterations-lost-in-wrapper", loss_scale=2.0) == (3, 0)
