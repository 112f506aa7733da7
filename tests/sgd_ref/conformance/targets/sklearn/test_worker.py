"""The worker of scikit-learn, around a stand-in for its optimizer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.targets.environments import serving
from sgd_ref.conformance.targets.sklearn import target

WORKER = Path(target.__file__).with_name("worker.py")


class Optimizer:
    """Keeps what it is told, and moves each parameter by its rate."""

    def __init__(self, params: list[Any], **settings: Any) -> None:
        self.settings, self.learning_rate = settings, 0.1
        self.velocities = [np.zeros_like(param) for param in params]

    def update_params(self, params: list[Any], grads: list[Any]) -> None:
        for param, grad in zip(params, grads, strict=True):
            np.subtract(param, self.learning_rate * grad, out=param)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    name = "sklearn.neural_network._stochastic_optimizers"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(SGDOptimizer=Optimizer))  # type: ignore[arg-type]
    return serving.load(str(WORKER))


def case(momentum: float = 0.5, state: Any = None) -> Any:
    config = {"momentum": momentum, "nesterov": True}
    return SimpleNamespace(config=config, variables=[np.array([1.0, 2.0])], state=state)


def test_each_call_has_its_rate(worker: Any) -> None:
    given = case()
    training = worker.Training(given)
    assert training.optimizer.settings == {"momentum": 0.5, "nesterov": True}
    for rate in (0.5, 0.25):
        training.step([np.array([1.0, 2.0])], rate)
    record = training.record()
    assert record["variables"][0].tolist() == [0.25, 0.5]
    assert [velocity.tolist() for velocity in record["velocities"]] == [[0.0, 0.0]]
    # The variables of the case are not written over.
    assert given.variables[0].tolist() == [1.0, 2.0]


def test_it_goes_on_from_the_velocities_of_a_state(worker: Any) -> None:
    kept = np.array([3.0, 4.0])
    training = worker.Training(case(state=SimpleNamespace(velocities=[kept])))
    assert training.record()["velocities"][0].tolist() == [3.0, 4.0]
    assert training.record()["velocities"][0] is not kept


def test_there_are_no_velocities_without_momentum(worker: Any) -> None:
    assert worker.Training(case(momentum=0.0)).record()["velocities"] == []


def test_a_schedule_that_is_a_formula_is_not_offered(worker: Any) -> None:
    with pytest.raises(NotImplementedError, match="a schedule that is a formula"):
        worker.Training(case()).step([np.ones(2)], None)
