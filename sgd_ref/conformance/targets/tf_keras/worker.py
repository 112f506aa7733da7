"""The worker of tf_keras: its ``SGD``, called as it is, on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

SETTINGS = (
    "momentum",
    "nesterov",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
)


class Training:
    """One optimizer for the variables of a case."""

    def __init__(self, case: Any) -> None:
        self.tensorflow = importlib.import_module("tensorflow")
        keras = importlib.import_module("tf_keras")
        config = case.config
        pairs = zip(case.names, case.variables, strict=True)
        self.variables = [self.tensorflow.Variable(np.array(value), name=name) for name, value in pairs]
        given = config["learning_rate"]
        self.has_schedule = isinstance(given, dict)
        rate: Any = 0.0
        if self.has_schedule:
            rate = getattr(keras.optimizers.schedules, given["class_name"])(**given["config"])
        self.optimizer = keras.optimizers.SGD(rate, **{name: config[name] for name in SETTINGS})
        if case.excluded_from_weight_decay:
            self.optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
        self.optimizer.build(self.variables)
        self.has_momentum, self.has_averages = config["momentum"] != 0, config["use_ema"]
        if case.state is not None:
            self._resume(case.state)

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the variables that have a gradient."""
        if not self.has_schedule:
            # The setter of the rate; a callable would be asked once.
            self.optimizer.learning_rate = rate
        pairs = zip(gradients, self.variables, strict=True)
        native = [self._native(gradient, variable) for gradient, variable in pairs]
        self.optimizer.apply_gradients(zip(native, self.variables, strict=True))

    def finalize(self) -> None:
        """Write the averages into the variables."""
        self.optimizer.finalize_variable_values(self.variables)

    def record(self) -> dict[str, Any]:
        """Return the state."""
        averages = self.optimizer._model_variables_moving_average if self.has_averages else []
        return {
            "variables": _arrays(self.variables),
            "velocities": _arrays(self.optimizer.momentums if self.has_momentum else []),
            "averages": _arrays(averages),
            "iterations": int(self.optimizer.iterations.numpy()),
        }

    def _resume(self, state: Any) -> None:
        self.optimizer.iterations.assign(state.calls)
        kept = [(self.optimizer.momentums, state.velocities)]
        if self.has_averages:
            kept.append((self.optimizer._model_variables_moving_average, state.averages))
        for variables, values in kept:
            # An empty list stands for the values that a training begins with.
            for variable, value in zip(variables, values, strict=bool(values)):
                variable.assign(value)

    def _native(self, gradient: Any, variable: Any) -> Any:
        if gradient is None:
            return None
        # Automatic differentiation gives each gradient the dtype of its parameter.
        dtype, constant = variable.dtype.as_numpy_dtype, self.tensorflow.constant
        if not hasattr(gradient, "indices"):
            return constant(np.array(gradient, dtype))
        indices = np.array(gradient.indices, "int64")
        values, shape = np.array(gradient.values, dtype), np.array(gradient.shape, "int64")
        return self.tensorflow.IndexedSlices(constant(values), constant(indices), constant(shape))


def _arrays(variables: Sequence[Any]) -> list[Any]:
    # Without a copy, an update in place could change a record.
    return [np.array(variable.numpy()) for variable in variables]


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    tensorflow = importlib.import_module("tensorflow")
    keras = importlib.import_module("tf_keras")
    return {"version": str(keras.__version__), "tensorflow": str(tensorflow.__version__)}
