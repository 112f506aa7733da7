"""Whole configs: every setting of a schedule, as Keras' ``get_config`` names them."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.whole import whole
from sgd_ref.schedules.serialization import CLASSES, deserialize

SETTINGS = {
    "ExponentialDecay": {"initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name"},
    "PiecewiseConstantDecay": {"boundaries", "values", "name"},
    "PolynomialDecay": {
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
        "cycle",
        "name",
    },
    "InverseTimeDecay": {"initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name"},
    "CosineDecay": {"initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps", "name"},
    "CosineDecayRestarts": {
        "initial_learning_rate",
        "first_decay_steps",
        "t_mul",
        "m_mul",
        "alpha",
        "name",
    },
}
"""From the documentation of ``keras.optimizers.schedules``."""


def test_every_case_with_a_schedule_has_all_of_its_settings() -> None:
    seen = set()
    for case in (*cases("first"), *cases()):
        schedule = case.config["learning_rate"]
        if isinstance(schedule, dict):
            assert set(schedule["config"]) == SETTINGS[schedule["class_name"]], case.id
            assert deserialize(schedule).get_config() == schedule["config"], case.id
            seen.add(schedule["class_name"])
    assert seen == set(CLASSES)


@pytest.mark.parametrize(
    "rate", [0.1, None, {"class_name": "Own", "config": {}}, {"class_name": "CosineDecay", "config": 3}]
)
def test_what_is_no_schedule_is_left_alone(rate: Any) -> None:
    assert whole({"learning_rate": rate, "momentum": 0.5}) == {"learning_rate": rate, "momentum": 0.5}


def test_what_is_given_is_not_changed() -> None:
    given = {"class_name": "PolynomialDecay", "config": {"power": 2, "unknown": 1}}
    config = {"learning_rate": given}
    settings = whole(config)["learning_rate"]["config"]
    assert repr(settings["power"]) == "2"
    assert settings["unknown"] == 1
    assert "decay_steps" not in settings
    assert given["config"] == {"power": 2, "unknown": 1}
