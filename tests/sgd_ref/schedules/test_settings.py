"""What the schedules accept, refuse, export and load."""

from __future__ import annotations

import copy
import json
import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sgd_ref import schedules
from sgd_ref.schedules import LearningRateSchedule, deserialize, serialize

USUAL: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [3], "values": [1.0, 0.5]},
    "PolynomialDecay": {"initial_learning_rate": 0.1, "decay_steps": 100},
    "InverseTimeDecay": {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.5},
    "CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 100},
    "CosineDecayRestarts": {"initial_learning_rate": 0.1, "first_decay_steps": 100},
}

# What keras.optimizers.schedules.serialize of Keras 3.15.1 returns for the same arguments.
DEFAULTS_OF_KERAS: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"staircase": False, "name": "ExponentialDecay"},
    "PiecewiseConstantDecay": {"name": "PiecewiseConstant"},
    "PolynomialDecay": {
        "end_learning_rate": 0.0001,
        "power": 1.0,
        "cycle": False,
        "name": "PolynomialDecay",
    },
    "InverseTimeDecay": {"staircase": False, "name": "InverseTimeDecay"},
    "CosineDecay": {"alpha": 0.0, "name": "CosineDecay", "warmup_target": None, "warmup_steps": 0},
    "CosineDecayRestarts": {"t_mul": 2.0, "m_mul": 1.0, "alpha": 0.0, "name": "SGDRDecay"},
}

Rows = list[tuple[Any, type[Exception]]]
NOT_REAL: Rows = [("0.1", TypeError), (None, TypeError), (True, TypeError), (1j, TypeError)]
NOT_FINITE: Rows = [(math.nan, ValueError), (math.inf, ValueError), (1e39, ValueError), (10**400, ValueError)]
NEGATIVE: Rows = [(-0.5, ValueError), (-1e-300, ValueError)]
NOT_A_LENGTH: Rows = [(0, ValueError), (1e-50, ValueError), *NEGATIVE]
NOT_A_FLAG: Rows = [(1, TypeError), ("True", TypeError), (None, TypeError)]
NOT_A_NAME: Rows = [(None, TypeError), (3, TypeError), ("", ValueError)]
REFUSED: dict[str, dict[str, Rows]] = {
    "ExponentialDecay": {
        "initial_learning_rate": NOT_REAL + NOT_FINITE,
        "decay_steps": NOT_REAL + NOT_FINITE + NOT_A_LENGTH,
        "decay_rate": NOT_REAL + NOT_FINITE + NEGATIVE,
        "staircase": NOT_A_FLAG,
        "name": NOT_A_NAME,
    },
    "PiecewiseConstantDecay": {
        "boundaries": [
            (3, TypeError),
            ("3", TypeError),
            ([True], TypeError),
            (["3"], TypeError),
            ([math.nan], ValueError),
            ([math.inf], ValueError),
            ([-1], ValueError),
            ([-0.5], ValueError),
            ([], ValueError),
        ],
        "values": [
            (1.0, TypeError),
            (["a", 1.0], TypeError),
            ([1.0, None], TypeError),
            ([1.0, math.nan], ValueError),
            ([1e39, 1.0], ValueError),
            ([1.0], ValueError),
            ([1.0, 2.0, 3.0], ValueError),
        ],
        "name": NOT_A_NAME,
    },
    "PolynomialDecay": {
        "initial_learning_rate": NOT_REAL + NOT_FINITE,
        "decay_steps": NOT_REAL + NOT_FINITE + NOT_A_LENGTH,
        "end_learning_rate": NOT_REAL + NOT_FINITE,
        "power": NOT_REAL + NOT_FINITE + NEGATIVE,
        "cycle": NOT_A_FLAG,
        "name": NOT_A_NAME,
    },
    "InverseTimeDecay": {
        "initial_learning_rate": NOT_REAL + NOT_FINITE,
        "decay_steps": NOT_REAL + NOT_FINITE + NOT_A_LENGTH,
        "decay_rate": NOT_REAL + NOT_FINITE + NEGATIVE,
        "staircase": NOT_A_FLAG,
        "name": NOT_A_NAME,
    },
    "CosineDecay": {
        "initial_learning_rate": NOT_REAL + NOT_FINITE,
        "decay_steps": NOT_REAL + NOT_FINITE + NOT_A_LENGTH,
        "alpha": NOT_REAL + NOT_FINITE,
        "name": NOT_A_NAME,
        "warmup_target": [row for row in NOT_REAL if row[0] is not None] + NOT_FINITE,
        "warmup_steps": NOT_REAL + NOT_FINITE + NEGATIVE,
    },
    "CosineDecayRestarts": {
        "initial_learning_rate": NOT_REAL + NOT_FINITE,
        "first_decay_steps": NOT_REAL + NOT_FINITE + NOT_A_LENGTH,
        "t_mul": [*NOT_REAL, *NOT_FINITE, *NEGATIVE, (0.5, ValueError), (1 - 2.0**-40, ValueError)],
        "m_mul": NOT_REAL + NOT_FINITE + NEGATIVE,
        "alpha": NOT_REAL + NOT_FINITE,
        "name": NOT_A_NAME,
    },
}


def usual(class_name: str) -> LearningRateSchedule:
    schedule: LearningRateSchedule = getattr(schedules, class_name)(**USUAL[class_name])
    return schedule


@pytest.mark.parametrize(
    ("class_name", "setting", "value", "error"),
    [
        pytest.param(class_name, setting, value, error, id=f"{class_name}-{setting}-{value!s:.12}")
        for class_name, settings in REFUSED.items()
        for setting, rows in settings.items()
        for value, error in rows
    ],
)
def test_refused_settings(class_name: str, setting: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        getattr(schedules, class_name)(**USUAL[class_name] | {setting: value})
    message = str(caught.value)
    assert message.startswith(f"{setting} must be ")
    candidates = [value, *value] if isinstance(value, list) else [value]
    assert any(f", got {candidate!r}"[:150] in message for candidate in candidates)


def test_every_setting_has_refused_values() -> None:
    assert {name: set(rows) for name, rows in REFUSED.items()} == {
        name: USUAL[name].keys() | DEFAULTS_OF_KERAS[name].keys() for name in USUAL
    }


def test_boundaries_may_be_fractions_and_are_compared_exactly() -> None:
    schedule = schedules.PiecewiseConstantDecay([2.5, 2**53 + 1.0, 2**53 + 3], [1.0, 0.5, 0.25, 0.125])
    assert [float(schedule(step)) for step in (2, 3, 2**53, 2**53 + 1, 2**53 + 3, 2**53 + 4)] == [
        1.0,
        0.5,
        0.5,
        0.25,
        0.25,
        0.125,
    ]


@pytest.mark.parametrize("boundaries", [[3, 3], [6, 3], [3, 3.0]])
def test_refused_order_of_boundaries(boundaries: list[int]) -> None:
    with pytest.raises(
        ValueError, match="boundaries must be strictly increasing numbers of at least 0, at least one, got"
    ):
        schedules.PiecewiseConstantDecay(boundaries, [1.0, 0.5, 0.1])


@pytest.mark.parametrize("class_name", USUAL)
@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-1, ValueError),
        (np.int64(-1), ValueError),
        (1.0, TypeError),
        (np.float32(1), TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        (None, TypeError),
        ("1", TypeError),
    ],
)
def test_refused_steps(class_name: str, step: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="step must be an integer of at least 0, got "):
        usual(class_name)(step)


@pytest.mark.parametrize("class_name", USUAL)
def test_config_is_that_of_keras(class_name: str) -> None:
    expected = USUAL[class_name] | DEFAULTS_OF_KERAS[class_name]
    data = serialize(usual(class_name))
    assert data == {
        "module": "keras.optimizers.schedules",
        "class_name": class_name,
        "config": expected,
        "registered_name": None,
    }
    assert {key: type(value) for key, value in data["config"].items()} == {
        key: type(value) for key, value in expected.items()
    }
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize("class_name", USUAL)
def test_a_config_makes_the_same_schedule(class_name: str) -> None:
    schedule = usual(class_name)
    data = serialize(schedule)
    original = copy.deepcopy(data)
    short = {"class_name": class_name, "config": data["config"]}
    loaded = [deserialize(data), deserialize(short), type(schedule).from_config(data["config"])]
    loaded += [pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)]  # noqa: S301
    for other in loaded:
        assert type(other) is type(schedule)
        assert other == schedule
        assert other.get_config() == schedule.get_config()
        assert [other(step) for step in range(0, 300, 7)] == [schedule(step) for step in range(0, 300, 7)]
    assert data == original


@pytest.mark.parametrize("class_name", USUAL)
def test_a_config_shares_nothing_with_its_schedule(class_name: str) -> None:
    schedule = usual(class_name)
    before = schedule(5)
    for value in schedule.get_config().values():
        if isinstance(value, list):
            value[:] = [0.25] * len(value)
    schedule.get_config().clear()
    arguments = copy.deepcopy(USUAL[class_name])
    other = getattr(schedules, class_name)(**arguments)
    for value in arguments.values():
        if isinstance(value, list):
            value[:] = [0.25] * len(value)
    assert schedule == other == usual(class_name)
    assert schedule(5) == other(5) == before


@pytest.mark.parametrize("class_name", USUAL)
def test_equality_is_that_of_class_and_config(class_name: str) -> None:
    schedule = usual(class_name)
    assert schedule == usual(class_name)
    assert schedule != getattr(schedules, class_name)(**USUAL[class_name] | {"name": "other"})
    assert schedule != schedule.get_config()
    subclass = type(class_name, (type(schedule),), {})
    assert schedule != subclass(**USUAL[class_name])
    others = [usual(name) for name in USUAL if name != class_name]
    assert schedule not in others


@pytest.mark.parametrize("class_name", USUAL)
def test_repr_is_a_constructor_call(class_name: str) -> None:
    schedule = usual(class_name)
    arguments = ", ".join(f"{name}={value!r}" for name, value in schedule.get_config().items())
    assert repr(schedule) == f"{class_name}({arguments})"


def test_numbers_of_any_type_are_exported_as_plain_ones() -> None:
    settings: dict[str, Any] = {
        "initial_learning_rate": np.float32(0.1),
        "decay_steps": np.int64(10),
        "alpha": np.float64(0.5),
        "warmup_target": 1,
        "warmup_steps": Fraction(5, 2),
    }
    config = schedules.CosineDecay(**settings).get_config()
    assert json.loads(json.dumps(config)) == {
        "initial_learning_rate": float(np.float32(0.1)),
        "decay_steps": 10,
        "alpha": 0.5,
        "name": "CosineDecay",
        "warmup_target": 1.0,
        "warmup_steps": 2.5,
    }
    pieces = schedules.PiecewiseConstantDecay(np.array([3, 5]), (1, np.float16(0.5), 2)).get_config()
    assert repr(pieces["boundaries"] + pieces["values"]) == "[3, 5, 1.0, 0.5, 2.0]"


def test_a_long_decay_is_rounded_once() -> None:
    """A float in between would be 2**60 + 2**36, halfway between two float32."""
    length = 2**60 + 2**36 + 1
    schedule = schedules.PolynomialDecay(1.0, length, 0.0)
    assert schedule.get_config()["decay_steps"] == length
    assert schedule(2**60 + 2**37 - 2**20) > 0
    assert schedule(2**60 + 2**37) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"class_name": "Exponential"},
            ValueError,
            "class_name must be one of ExponentialDecay, Piece.*got 'Exp",
        ),
        ({"class_name": None}, TypeError, "class_name must be a string, got None"),
        ({"module": "torch"}, ValueError, "module must be 'keras.optimizers.schedules', got 'torch'"),
        ({"module": None}, ValueError, "module must be 'keras.optimizers.schedules', got None"),
        ({"registered_name": "x>y"}, ValueError, "registered_name must be None, got 'x>y'"),
        ({"extra": 1}, ValueError, r"data must be .*\['class_name', 'config'\].*'module'.*got .*'extra'"),
        ({"config": None}, TypeError, "config must be a dict, got None"),
        (
            {"config": {"initial_learning_rate": 0.1, "decay_step": 1, "decay_rate": 0.5}},
            ValueError,
            r"config of ExponentialDecay must be .*'decay_steps', .*'staircase'.*got .*'decay_step'",
        ),
        (
            {"config": USUAL["ExponentialDecay"] | {"gamma": 1}},
            ValueError,
            r"config of ExponentialDecay must be .*'staircase'.*got .*'gamma'",
        ),
        (
            {"config": USUAL["ExponentialDecay"] | {"decay_steps": 0}},
            ValueError,
            "decay_steps must be a finite real number greater than 0, got 0",
        ),
    ],
)
def test_refused_data(change: dict[str, Any], error: type[Exception], message: str) -> None:
    data = serialize(usual("ExponentialDecay")) | change
    original = copy.deepcopy(data)
    with pytest.raises(error, match=message):
        deserialize(data)
    assert data == original


@pytest.mark.parametrize("data", [None, "ExponentialDecay", [("class_name", "ExponentialDecay")]])
def test_refused_types_of_data(data: Any) -> None:
    with pytest.raises(TypeError, match='data must be a dict with "class_name" and "config", got'):
        deserialize(data)


@pytest.mark.parametrize("missing", ["class_name", "config"])
def test_incomplete_data(missing: str) -> None:
    data = serialize(usual("CosineDecay"))
    del data[missing]
    with pytest.raises(ValueError, match=r"data must be a dict with the keys \['class_name', 'config'\]"):
        deserialize(data)


class Harmonic(LearningRateSchedule):
    """A schedule as a user writes one."""

    def __init__(self, initial_learning_rate: float) -> None:
        self.initial_learning_rate = initial_learning_rate

    def __call__(self, step: int) -> np.float32:
        return np.float32(self.initial_learning_rate / (step + 1))


class SerializableHarmonic(Harmonic):
    """The same with a config."""

    def get_config(self) -> dict[str, Any]:
        return {"initial_learning_rate": self.initial_learning_rate}


def test_schedules_of_users() -> None:
    plain, serializable = Harmonic(1.0), SerializableHarmonic(1.0)
    assert plain(3) == serializable(3) == 0.25
    assert plain == plain  # noqa: PLR0124
    assert plain != Harmonic(1.0)
    assert plain != serializable
    assert "Harmonic object at" in repr(plain)
    assert repr(serializable) == "SerializableHarmonic(initial_learning_rate=1.0)"
    assert SerializableHarmonic.from_config(serializable.get_config()) == serializable
    with pytest.raises(NotImplementedError, match="Harmonic must override get_config"):
        plain.get_config()
    with pytest.raises(
        NotImplementedError, match=r"LearningRateSchedule must override __call__\(self, step\)"
    ):
        LearningRateSchedule()(0)


@pytest.mark.parametrize("schedule", [SerializableHarmonic(1.0), None, 0.1])
def test_only_the_six_classes_are_serialized(schedule: Any) -> None:
    with pytest.raises(TypeError, match="schedule must be an instance of one of ExponentialDecay, Piecewise"):
        serialize(schedule)


def test_a_subclass_is_not_serialized_as_its_base() -> None:
    subclass = type("CosineDecay", (schedules.CosineDecay,), {})
    with pytest.raises(TypeError, match="schedule must be an instance of one of ExponentialDecay"):
        serialize(subclass(0.1, 100))
