"""Mistakes of loops over NumPy arrays are named; the numbers have few digits, so that nothing is rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance

RATE = MOMENTUM = np.float32(0.5)
STEPS = 4

Shown = Callable[[list[Any], Any], list[Any]]


class OneVelocity:
    """All variables have one velocity, by the rule of Keras or of PyTorch.

    `shown` gives the velocities that are shown after a step, from the velocity of each variable right after
    its update and the one at the end.
    """

    def __init__(self, rule: str, shown: Shown) -> None:
        self.velocities: list[Any] = []
        self._outside, self._shown = rule == "pytorch", shown
        self._shared = np.zeros(2, "float32")

    def apply(self, gradients: list[Any], variables: list[Any]) -> None:
        used = list(self.velocities) or [np.zeros(2, "float32") for _ in variables]
        for position, g in enumerate(gradients):
            if g is None:
                continue
            if self._outside:
                self._shared = MOMENTUM * self._shared + g
                variables[position] -= RATE * self._shared
            else:
                self._shared = MOMENTUM * self._shared - RATE * g
                variables[position] += self._shared
            used[position] = self._shared
        self.velocities = self._shown(used, self._shared)


def watched(rule: str, shown: Shown, missing: int | None = None) -> Any:
    variables = [np.array([position, 0.0], "float32") for position in range(3)]
    optimizer = OneVelocity(rule, shown)
    declared = {"rule": rule, "learning_rate": float(RATE), "momentum": float(MOMENTUM)}
    with conformance.watch(optimizer, variables, **declared) as report:
        for step in range(STEPS):
            gradients: list[Any] = [np.array([1.0, 2.0 + i + step], "float32") for i in range(3)]
            if missing is not None and step == 1:
                gradients[missing] = None
            optimizer.apply(gradients, variables)
    return report


SHOWN: dict[str, Shown] = {
    "at the end": lambda used, last: [last] * len(used),
    "right after each update": lambda used, last: used,
    "at the end by the first": lambda used, last: [last, *used[1:]],
}


@pytest.mark.parametrize("missing", [None, 0, 2])
@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("rule", ["keras", "pytorch"])
def test_a_shared_velocity_is_named_whenever_it_is_shown(rule: str, shown: str, missing: int | None) -> None:
    report = watched(rule, SHOWN[shown], missing)
    assert (report.step, report.violation.variable) == (0, "variable 1")
    assert ("velocity-by-shape",) in report.mistake.diagnosis.names
    assert report.mistake.diagnosis.up_to is None
    assert report.mistake.diagnosis.is_exact


WRONG: dict[str, Shown] = {
    "half of one": lambda used, last: [used[0], used[1] / 2, used[2]],
    "that of the variable before": lambda used, last: [used[0], used[0], used[1]],
    "the first everywhere": lambda used, last: [used[0]] * len(used),
}


@pytest.mark.parametrize("shown", WRONG)
def test_a_shared_velocity_is_not_named_where_another_one_is_shown(shown: str) -> None:
    report = watched("keras", WRONG[shown])
    assert not report.ok
    assert "velocity-by-shape" not in report.mistake.names
