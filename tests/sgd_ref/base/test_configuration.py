"""Configs, with the keys of Keras."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer, schedules

EVERYTHING: dict[str, Any] = {
    "learning_rate": 0.5,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.01,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": 2.0,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 2,
    "name": "mine",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": 3,
}
DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.009999999776482582,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "name": "SGD",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
FROM_KERAS: dict[str, Any] = {
    "name": "loss_scale_optimizer",
    "inner_optimizer": {
        "module": "keras.optimizers",
        "class_name": "SGD",
        "config": {
            "name": "sgd",
            "learning_rate": {
                "module": "keras.optimizers.schedules",
                "class_name": "ExponentialDecay",
                "config": {
                    "initial_learning_rate": 0.1,
                    "decay_steps": 10,
                    "decay_rate": 0.5,
                    "staircase": True,
                    "name": "ExponentialDecay",
                },
                "registered_name": None,
            },
            "weight_decay": None,
            "clipnorm": None,
            "global_clipnorm": None,
            "clipvalue": None,
            "use_ema": False,
            "ema_momentum": 0.99,
            "ema_overwrite_frequency": None,
            "loss_scale_factor": None,
            "gradient_accumulation_steps": None,
            "momentum": 0.9,
            "nesterov": False,
        },
        "registered_name": None,
    },
    "initial_scale": 32768.0,
    "dynamic_growth_steps": 2000,
}


def test_defaults_are_those_of_the_documentation() -> None:
    assert SGD().get_config() == DEFAULTS
    assert SGD.from_config({}).get_config() == DEFAULTS


@pytest.mark.parametrize("config", [EVERYTHING, DEFAULTS, {**DEFAULTS, "clipvalue": 3.0}])
def test_a_config_survives_the_way_through_json(config: dict[str, Any]) -> None:
    optimizer = SGD.from_config(config)
    assert optimizer.get_config() == config
    assert SGD.from_config(json.loads(json.dumps(optimizer.get_config()))).get_config() == config
    assert SGD(**config).get_config() == config


@pytest.mark.parametrize(
    "key", ["clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor", "weight_decay"]
)
def test_each_setting_has_its_own_key(key: str) -> None:
    changed = {**DEFAULTS, key: 0.25}
    optimizer = SGD(**{key: 0.25})  # type: ignore[arg-type]
    assert optimizer.get_config() == changed
    assert getattr(SGD.from_config(changed), key) == 0.25


def test_the_rate_is_exported_as_the_float32_that_it_is() -> None:
    assert SGD(0.1).get_config()["learning_rate"] == 0.10000000149011612
    optimizer = SGD(0.1)
    optimizer.learning_rate = 0.25
    assert optimizer.get_config()["learning_rate"] == 0.25
    assert type(optimizer.get_config()["learning_rate"]) is float


def test_a_schedule_is_exported_as_keras_does() -> None:
    data = FROM_KERAS["inner_optimizer"]["config"]["learning_rate"]
    schedule = schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True)
    config = SGD(schedule).get_config()
    assert config["learning_rate"] == data
    optimizer = SGD.from_config(config)
    assert optimizer.get_config() == config
    assert optimizer.learning_rate == np.float32(0.1)


class OwnSchedule(schedules.LearningRateSchedule):
    """A schedule that Keras does not know."""

    def __call__(self, step: int) -> np.float32:
        return np.float32(1 / (step + 1))


@pytest.mark.parametrize("rate", [lambda: 0.5, OwnSchedule()])
def test_a_rate_that_cannot_be_exported_must_be_given_again(rate: Any) -> None:
    config = SGD(rate).get_config()
    assert config == {**DEFAULTS, "learning_rate": None}
    expected = (
        "config['learning_rate'] is None, since it was a callable or a schedule of a class of your own, "
        "which a config cannot hold; give it as learning_rate"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        SGD.from_config(config)
    assert SGD.from_config(config, learning_rate=lambda: 0.25).learning_rate == 0.25
    assert SGD.from_config(DEFAULTS, learning_rate=0.25).learning_rate == 0.25


def test_a_config_is_not_changed() -> None:
    config = SGD(schedules.CosineDecay(0.1, 10)).get_config()
    before = json.dumps(config)
    SGD.from_config(MappingProxyType(config))
    SGD.from_config(config, learning_rate=0.5)
    assert json.dumps(config) == before
    exported = SGD.from_config(config)
    exported.get_config()["momentum"] = 7
    assert exported.momentum == 0.0


def test_a_subclass_gives_its_own_kind() -> None:
    class Mine(SGD):
        pass

    assert type(Mine.from_config(EVERYTHING)) is Mine


def test_loss_scaling_has_the_keys_of_keras_too() -> None:
    optimizer = LossScaleOptimizer.from_config(FROM_KERAS)
    assert optimizer.get_config() == {
        **FROM_KERAS,
        "inner_optimizer": {
            **FROM_KERAS["inner_optimizer"],
            "config": optimizer.inner_optimizer.get_config(),
        },
    }
    assert optimizer.inner_optimizer.get_config() == FROM_KERAS["inner_optimizer"]["config"]
    assert (optimizer.name, optimizer.initial_scale, optimizer.loss_scale) == (
        "loss_scale_optimizer",
        2**15,
        2**15,
    )
    assert LossScaleOptimizer.from_config(
        {"inner_optimizer": {"class_name": "SGD", "config": {}}}
    ).get_config() == {
        "name": "LossScaleOptimizer",
        "inner_optimizer": {**FROM_KERAS["inner_optimizer"], "config": DEFAULTS},
        "initial_scale": 2.0**15,
        "dynamic_growth_steps": 2000,
    }
    rate = LossScaleOptimizer.from_config(FROM_KERAS, learning_rate=lambda: 0.5).learning_rate
    assert rate == 0.5


def test_the_scale_in_a_config_is_the_initial_one() -> None:
    optimizer = LossScaleOptimizer(SGD(), initial_scale=3, dynamic_growth_steps=1)
    optimizer.apply([np.ones(1)], [np.ones(1)])
    assert optimizer.loss_scale == 6
    assert optimizer.get_config()["initial_scale"] == 3.0


KEYS = list(DEFAULTS)
INNER = "config['inner_optimizer'] must be a serialized SGD with class_name and config"


@pytest.mark.parametrize(
    ("kind", "config", "error", "message"),
    [
        (SGD, None, TypeError, "config must be a mapping, got None of type NoneType"),
        (SGD, ["momentum"], TypeError, "config must be a mapping, got ['momentum'] of type list"),
        (SGD, {"lr": 0.1, 3: 4}, ValueError, f"config has unknown keys ['lr', 3]; accepted are {KEYS}"),
        (SGD, {"momentum": 2.0}, ValueError, "momentum must be a real number in [0, 1], got 2.0"),
        (SGD, {"momentum": None}, TypeError,
         "momentum must be a real number in [0, 1], got None of type NoneType"),
        (SGD, {"learning_rate": "0.1"}, TypeError,
         "learning_rate must be a real number that is finite in float32, a schedule or a callable, "
         "got '0.1' of type str"),
        (SGD, {"learning_rate": {"class_name": "Mine", "config": {}}}, ValueError,
         "class_name must be one of ExponentialDecay, PiecewiseConstantDecay, PolynomialDecay, "
         "InverseTimeDecay, CosineDecay, CosineDecayRestarts, got 'Mine'"),
        (LossScaleOptimizer, None, TypeError, "config must be a mapping, got None of type NoneType"),
        (LossScaleOptimizer, {"momentum": 0.5}, ValueError,
         "config has unknown keys ['momentum']; accepted are "
         "['name', 'inner_optimizer', 'initial_scale', 'dynamic_growth_steps']"),
        (LossScaleOptimizer, {}, TypeError, f"{INNER}, got None of type NoneType"),
        (LossScaleOptimizer, {"inner_optimizer": SGD}, TypeError, f"{INNER}, got {SGD!r} of type ABCMeta"),
        (LossScaleOptimizer, {"inner_optimizer": {"class_name": "Adam", "config": {}}}, TypeError,
         f"{INNER}, got {{'class_name': 'Adam', 'config': {{}}}} of type dict"),
        (LossScaleOptimizer, {"inner_optimizer": {"class_name": "SGD"}}, TypeError,
         f"{INNER}, got {{'class_name': 'SGD'}} of type dict"),
        (LossScaleOptimizer, {**FROM_KERAS, "initial_scale": 0}, ValueError,
         "initial_scale must be a real number that is positive, finite and normal in float32, got 0"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_rejected(kind: Any, config: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        kind.from_config(config)
    assert str(caught.value) == message
