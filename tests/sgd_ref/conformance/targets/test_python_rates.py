"""Schedules in Python floats are those of the definition, but for the rounding of their settings."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance.catalogue.axes import SCHEDULES
from sgd_ref.conformance.catalogue.case import Unsupported
from sgd_ref.conformance.targets.python_rates import FORMULAS, rate_function
from sgd_ref.schedules.serialization import deserialize

VARIATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("exponential", "dyadic", {"staircase": True}),
    ("inverse_time", "dyadic", {"staircase": True}),
    ("polynomial", "dyadic", {"cycle": True}),
    ("cosine", "dyadic", {"warmup_target": None}),
    ("restarts", "dyadic", {"t_mul": 1.0}),
    ("restarts", "dyadic", {"t_mul": 1.5, "m_mul": 0.5}),
    *((kind, settings, {}) for settings, schedules in SCHEDULES.items() for kind in schedules),
]


@pytest.mark.parametrize(("kind", "settings", "changes"), VARIATIONS)
def test_the_formulas_are_those_of_the_schedules(kind: str, settings: str, changes: dict[str, Any]) -> None:
    schedule = SCHEDULES[settings][kind]
    schedule = {**schedule, "config": {**schedule["config"], **changes}}
    rate, wanted = rate_function(schedule), deserialize(schedule)
    # One rounding of every setting and of the result to float32; where 1 + cos cancels, to 1/20 at worst.
    for step in range(60):
        assert rate(step) == pytest.approx(float(wanted(step)), rel=2e-6, abs=1e-12)
        assert type(rate(step)) is float
    assert len({rate(step) for step in range(60)}) > 2


def test_restarts_come_at_the_right_step() -> None:
    config = {"initial_learning_rate": 0.5, "first_decay_steps": 1}
    rate = rate_function({"class_name": "CosineDecayRestarts", "config": config})
    assert [rate(2**period - 1) for period in range(40)] == [0.5] * 40
    assert rate(2**40 - 2) < 1e-20


def test_schedules_of_other_classes_are_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"the schedule Mine$"):
        rate_function({"class_name": "Mine", "config": {}})
    assert len(FORMULAS) == 6
