"""The process in which Keras answers ``test_exchange_with_keras.py``.

Its arguments are the files of the request and of the answers; the backend is in the environment.
Nothing here imports a framework before it runs.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json

Json = dict[str, Any]


class Training:
    """An optimizer of Keras with its variables."""

    def __init__(self, keras: Any, run: Json) -> None:
        self.keras = keras
        self.variables = [
            self._variable(name, array_from_json(value))
            for name, value in zip(run["names"], run["variables"], strict=True)
        ]
        classes = keras.optimizers
        self.optimizer = getattr(classes, run["class_name"]).from_config(copy.deepcopy(run["config"]))
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        inner.exclude_from_weight_decay(var_names=run["excluded"])
        self.optimizer.build(self.variables)
        self.gradients = [[array_from_json(gradient) for gradient in call] for call in run["gradients"]]
        # On JAX the eager apply of the LossScaleOptimizer raises UnexpectedTracerError.
        stateless = keras.backend.backend() == "jax" and inner is not self.optimizer
        self._apply = self._stateless_apply if stateless else self._eager_apply

    def resume(self, state: Json) -> None:
        """Go on from the state of another optimizer."""
        for variable, value in zip(self.variables, state["variables"], strict=True):
            variable.assign(array_from_json(value))
        for variable, value in zip(self.optimizer.variables, state["weights"], strict=True):
            variable.assign(value if isinstance(value, int) else array_from_json(value))

    def advance(self, first: int, last: int) -> None:
        """Make the calls from `first` up to the one before `last`."""
        for gradients in self.gradients[first:last]:
            self._apply([self.keras.ops.convert_to_tensor(gradient) for gradient in gradients])

    def state(self) -> Json:
        """Return the state as plain data."""
        return {
            "variables": [array_to_json(self._array(variable)) for variable in self.variables],
            "weights": [self._plain(variable) for variable in self.optimizer.variables],
            "names": [variable.path for variable in self.optimizer.variables],
            "config": self.optimizer.get_config(),
        }

    def finalized(self) -> list[Json]:
        """Return the variables after finalisation."""
        self.optimizer.finalize_variable_values(self.variables)
        return [array_to_json(self._array(variable)) for variable in self.variables]

    def _variable(self, name: str, value: Any) -> Any:
        *layers, last = name.split("/")
        with self.keras.name_scope("/".join(layers)) if layers else contextlib.nullcontext():
            return self.keras.Variable(value, dtype=value.dtype.name, name=last)

    def _eager_apply(self, gradients: list[Any]) -> None:
        self.optimizer.apply(gradients, self.variables)

    def _stateless_apply(self, gradients: list[Any]) -> None:
        jax = importlib.import_module("jax")
        values = [variable.value for variable in self.variables]
        state = [variable.value for variable in self.optimizer.variables]
        values, state = jax.jit(self.optimizer.stateless_apply)(state, gradients, values)
        both = [*self.variables, *self.optimizer.variables]
        for variable, value in zip(both, [*values, *state], strict=True):
            variable.assign(value)

    def _array(self, variable: Any) -> Any:
        return np.array(self.keras.ops.convert_to_numpy(variable))

    def _plain(self, variable: Any) -> Any:
        array = self._array(variable)
        return int(array) if array.dtype.kind == "i" else array_to_json(array)


def answer_run(keras: Any, run: Json) -> Json:
    """Make all calls here, and those after the state of the other side."""
    handover, last = run["handover"], len(run["gradients"])
    training = Training(keras, run)
    training.advance(0, handover)
    midway = training.state()
    training.advance(handover, last)
    end = training.state()
    finalized = training.finalized()
    continued = Training(keras, run)
    continued.resume(run["state"])
    continued.advance(handover, last)
    return {"midway": midway, "end": end, "finalized": finalized, "continued": continued.state()}


def exported(keras: Any, described: Json) -> Json:
    """Return the config of an optimizer of Keras that is constructed with the described arguments."""
    config: Json = constructed(keras, described).get_config()
    return config


def constructed(keras: Any, described: Any) -> Any:
    """Return an optimizer or a schedule from its class and arguments, which may be described the same way."""
    if not isinstance(described, dict):
        return described
    arguments = {name: constructed(keras, value) for name, value in described["arguments"].items()}
    for module in (keras.optimizers, keras.optimizers.schedules):
        if hasattr(module, described["class_name"]):
            return getattr(module, described["class_name"])(**arguments)
    raise ValueError(f"Keras has no {described['class_name']}")


def imported(keras: Any, data: Json) -> Json:
    """Return the configs after Keras has loaded `data`, in each of the ways that it offers."""
    optimizers = keras.optimizers
    short = {key: data[key] for key in ("class_name", "config")}
    whole = {"module": "keras.optimizers", "registered_name": None, **short}
    # Keras changes what it is given.
    loaded = {
        "from_config": getattr(optimizers, data["class_name"]).from_config(copy.deepcopy(data["config"])),
        "deserialize": optimizers.deserialize(copy.deepcopy(short)),
        "deserialize with module": optimizers.deserialize(copy.deepcopy(whole)),
        "get": optimizers.get(copy.deepcopy(short)),
    }
    return {way: optimizer.get_config() for way, optimizer in loaded.items()}


def answer_all(request: Json, keras: Any) -> Json:
    """Answer each part of the request, by the function for parts of its kind."""
    functions: dict[str, Callable[[Any, Json], Json]] = {
        "exports": exported,
        "imports": imported,
        "runs": answer_run,
    }
    return {
        kind: {name: functions[kind](keras, item) for name, item in items.items()}
        for kind, items in request.items()
    }


if __name__ == "__main__":
    request_path, answers_path = map(Path, sys.argv[1:])
    answers = answer_all(json.loads(request_path.read_text()), importlib.import_module("keras"))
    answers_path.write_text(json.dumps(answers))
