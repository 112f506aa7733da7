"""The worker of tf_keras, around stand-ins for TensorFlow and its optimizer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.targets.environments import serving
from sgd_ref.conformance.targets.tf_keras import target

WORKER = Path(target.__file__).with_name("worker.py")

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.5,
    "momentum": 0.5,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": None,
}


class Variable:
    """An array that can be assigned."""

    def __init__(self, value: Any, name: str = "") -> None:
        self.value, self.name = value, name
        self.dtype = SimpleNamespace(as_numpy_dtype=value.dtype.type)

    def assign(self, value: Any) -> None:
        self.value = np.array(value)

    def numpy(self) -> Any:
        return self.value


class Optimizer:
    """Keeps what it is told, and moves each variable by its rate."""

    def __init__(self, learning_rate: Any, **settings: Any) -> None:
        self.learning_rate, self.settings = learning_rate, settings
        self.iterations = Variable(np.int64(0))
        self.given: list[Any] = []
        self.excluded: list[str] = []
        self.finalized: list[Any] = []

    def exclude_from_weight_decay(self, var_names: list[str]) -> None:
        self.excluded = var_names

    def build(self, variables: list[Variable]) -> None:
        self.momentums = [Variable(np.zeros_like(one.value)) for one in variables]
        self._model_variables_moving_average = [Variable(one.value) for one in variables]

    def apply_gradients(self, pairs: Any) -> None:
        self.given = list(pairs)
        for gradient, variable in self.given:
            if isinstance(gradient, np.ndarray):
                variable.value -= self.learning_rate * gradient
        self.iterations.value += 1

    def finalize_variable_values(self, variables: list[Variable]) -> None:
        self.finalized = variables


class Schedule:
    """A schedule that keeps how it was made."""

    def __init__(self, **config: Any) -> None:
        self.config = config


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    slices = lambda values, indices, shape: SimpleNamespace(values=values, indices=indices, shape=shape)  # noqa: E731
    tensorflow: Any = SimpleNamespace(Variable=Variable, constant=lambda value: value, IndexedSlices=slices)
    schedules = SimpleNamespace(ExponentialDecay=Schedule)
    keras: Any = SimpleNamespace(optimizers=SimpleNamespace(SGD=Optimizer, schedules=schedules))
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setitem(sys.modules, "tf_keras", keras)
    return serving.load(str(WORKER))


def case(state: Any = None, excluded: tuple[str, ...] = (), **settings: Any) -> Any:
    return SimpleNamespace(
        config={**DEFAULTS, **settings},
        names=["w"],
        variables=[np.array([1.0, 2.0], "float32")],
        excluded_from_weight_decay=excluded,
        state=state,
    )


def test_each_call_has_its_rate(worker: Any) -> None:
    given = case()
    training = worker.Training(given)
    for rate in (0.5, 0.25):
        training.step([np.array([1.0, 2.0], "float32")], rate)
    record = training.record()
    assert record["variables"][0].tolist() == [0.25, 0.5]
    assert (record["iterations"], record["averages"]) == (2, [])
    # The variables of the case are not written over.
    assert given.variables[0].tolist() == [1.0, 2.0]


def test_its_own_schedule_gives_the_rates(worker: Any) -> None:
    config = {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5}
    training = worker.Training(case(learning_rate={"class_name": "ExponentialDecay", "config": config}))
    training.step([None], None)
    assert training.optimizer.learning_rate.config == config


def test_settings_and_exclusions_are_passed_on(worker: Any) -> None:
    training = worker.Training(case(excluded=("w",), clipnorm=1.5, weight_decay=0.25))
    assert training.optimizer.excluded == ["w"]
    assert training.optimizer.settings["clipnorm"] == 1.5
    assert training.optimizer.settings["weight_decay"] == 0.25
    assert training.optimizer.settings.keys() == DEFAULTS.keys() - {"learning_rate"}


def test_gradients_have_the_dtype_of_their_variables(worker: Any) -> None:
    training = worker.Training(case())
    training.step([np.array([1.0, 2.0], "float64")], 0.5)
    assert training.optimizer.given[0][0].dtype == np.float32
    training.step([serving.Rows([1, 1], np.ones((2, 3), "float64"), (2, 3))], 0.5)
    rows = training.optimizer.given[0][0]
    assert (rows.values.dtype, rows.indices.tolist(), rows.shape.tolist()) == (np.float32, [1, 1], [2, 3])
    training.step([None], 0.5)
    assert training.optimizer.given[0][0] is None


def test_it_goes_on_from_a_state(worker: Any) -> None:
    velocity, average = np.array([3.0, 4.0], "float32"), np.array([5.0, 6.0], "float32")
    state = SimpleNamespace(calls=7, velocities=[velocity], averages=[average])
    record = worker.Training(case(state, use_ema=True)).record()
    assert (record["velocities"][0].tolist(), record["averages"][0].tolist()) == ([3.0, 4.0], [5.0, 6.0])
    assert record["iterations"] == 7
    empty = SimpleNamespace(calls=7, velocities=[], averages=[])
    assert worker.Training(case(empty, use_ema=True)).record()["averages"][0].tolist() == [1.0, 2.0]


def test_there_are_no_velocities_without_momentum(worker: Any) -> None:
    assert worker.Training(case(momentum=0.0)).record()["velocities"] == []


def test_averages_are_written_into_the_variables_at_last(worker: Any) -> None:
    training = worker.Training(case(use_ema=True))
    training.finalize()
    assert training.optimizer.finalized == training.variables
