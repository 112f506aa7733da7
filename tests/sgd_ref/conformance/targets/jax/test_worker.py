"""The schedules that the worker of JAX makes of those of a case, by a stand-in for its example optimizers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sgd_ref.conformance.targets.environments import serving
from sgd_ref.conformance.targets.jax import target

WORKER = serving.load(str(Path(target.__file__).with_name("worker.py")))


class Optimizers:
    """Its schedules say how they were made."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: (name, arguments, named)


def training_of_stand_in() -> Any:
    training = WORKER.Training.__new__(WORKER.Training)
    training.optimizers = Optimizers()
    return training


def schedule(given: Any) -> Any:
    return training_of_stand_in()._schedule(SimpleNamespace(config={"learning_rate": given}))


START = {"initial_learning_rate": 0.5, "decay_steps": 4}


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        (
            "PiecewiseConstantDecay",
            {"boundaries": [2], "values": [1.0, 0.5]},
            ("piecewise_constant", ([2], [1.0, 0.5]), {}),
        ),
        (
            "ExponentialDecay",
            {**START, "decay_rate": 0.25, "staircase": False},
            ("exponential_decay", (0.5, 4, 0.25), {}),
        ),
        (
            "InverseTimeDecay",
            {**START, "decay_rate": 0.25, "staircase": True},
            ("inverse_time_decay", (0.5, 4, 0.25), {"staircase": True}),
        ),
        (
            "PolynomialDecay",
            {**START, "end_learning_rate": 0.125, "power": 2.0, "cycle": False},
            ("polynomial_decay", (0.5, 4, 0.125, 2.0), {}),
        ),
    ],
)
def test_each_schedule_has_its_counterpart(kind: str, config: dict[str, Any], expected: Any) -> None:
    assert schedule({"class_name": kind, "config": config}) == expected


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("ExponentialDecay", {**START, "decay_rate": 0.25, "staircase": True}),
        ("PolynomialDecay", {**START, "end_learning_rate": 0.0, "power": 1.0, "cycle": True}),
        ("CosineDecay", START),
    ],
)
def test_what_it_lacks_is_refused(kind: str, config: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=f"the schedule {kind}"):
        schedule({"class_name": kind, "config": config})


def test_a_rate_that_no_formula_gives_is_that_of_the_call() -> None:
    training = training_of_stand_in()
    rate = training._schedule(SimpleNamespace(config={"learning_rate": 0.1}))
    for given in (0.25, 0.125):
        training.rate = given
        assert rate(7) == given
