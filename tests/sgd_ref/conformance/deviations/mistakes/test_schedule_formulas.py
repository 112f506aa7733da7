"""Formulas of schedules, each against a line of arithmetic in float64 that is rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.schedules import CosineDecay, ExponentialDecay, InverseTimeDecay, PolynomialDecay

COSINE = CosineDecay(0.5, 4, alpha=0.25)
WARMUP = CosineDecay(0.25, 4, alpha=0.25, warmup_target=0.5, warmup_steps=2)
LINEAR = PolynomialDecay(1.0, 4, 0.5)
INVERSE = InverseTimeDecay(1.0, 2, 0.5)
POWER = ExponentialDecay(1.0, 2, 0.25)


def height(step: int) -> float:
    return (1 + math.cos(math.pi * min(step, 4) / 4)) / 2


def rates(optimizer: Any, schedule: Any, steps: int) -> list[float]:
    source = optimizer.from_config({"learning_rate": schedule}).rate_source
    return [float(source(step)) for step in range(steps)]


FORMULAS: list[tuple[str, Any, Callable[[int], float]]] = [
    (
        "cosine-of-half-the-angle",
        COSINE,
        lambda step: 0.5 * (0.75 * math.cos(math.pi / 8 * min(step, 4)) + 0.25),
    ),
    ("alpha-added-to-cosine", COSINE, lambda step: 0.5 * (height(step) + 0.25)),
    ("cosine-cut-at-alpha", COSINE, lambda step: 0.5 * max(height(step), 0.25)),
    ("cosine-cut-at-alpha", WARMUP, lambda s: 0.25 + s / 8 if s < 2 else 0.5 * max(height(s - 2), 0.25)),
    ("power-is-end-rate", LINEAR, lambda step: 0.5 + 0.5 * (1 - min(step, 4) / 4) ** 0.5),
    ("inverse-decay-compounds", INVERSE, lambda step: 1 / math.prod(1 + k / 4 for k in range(step + 1))),
    ("decay-steps-ignored", INVERSE, lambda step: 1 / (1 + 0.5 * step)),
    ("decay-steps-ignored", POWER, lambda step: 0.25**step),
]


@pytest.mark.parametrize(("name", "schedule", "formula"), FORMULAS)
def test_a_formula(name: str, schedule: Any, formula: Callable[[int], float]) -> None:
    found = rates(DEVIATIONS[name].optimizer, schedule, 9)
    assert found == [float(np.float32(formula(step))) for step in range(9)]
    assert found != [float(schedule(step)) for step in range(9)]


def test_a_cosine_starts_again() -> None:
    for schedule, warmup in ((COSINE, 0), (WARMUP, 2)):
        found = rates(DEVIATIONS["cosine-starts-again"].optimizer, schedule, warmup + 7)
        begun = [float(schedule(step)) for step in range(warmup + 5)]
        assert found == [*begun, *begun[warmup : warmup + 2]]


def test_other_schedules_stay_as_they_are() -> None:
    for name in ("cosine-starts-again", "power-is-end-rate", "inverse-decay-compounds"):
        assert rates(DEVIATIONS[name].optimizer, POWER, 5) == [float(POWER(step)) for step in range(5)]


def test_two_mistakes_replace_a_schedule_one_after_the_other() -> None:
    both, _ = compose(["warmup-ignored", "schedule-one-ahead"])
    alone = CosineDecay(0.5, 4, alpha=0.25)
    assert rates(both, WARMUP, 6) == [float(alone(step + 1)) for step in range(6)]
    halved, _ = compose(["cosine-of-half-the-angle", "schedule-advanced-twice"])
    one = rates(DEVIATIONS["cosine-of-half-the-angle"].optimizer, COSINE, 9)
    assert rates(halved, COSINE, 4) == one[:8:2]
