"""Eager training loops of Keras, on any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FORMATS, Array
from sgd_ref.conformance.watching.frameworks.applying import ApplyLoop, check_names
from sgd_ref.conformance.watching.frameworks.plain import stated_settings
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import config_of
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.validation import reject_type, reject_value

EAGER = (
    "gradients must be numbers, got a symbol of a compiled function: call "
    "model.compile(..., run_eagerly=True), or watch a loop that is not compiled"
)

RATES = (float, int, keras.Variable, keras.optimizers.schedules.LearningRateSchedule)
"""Types of a learning rate that can be read without a side effect."""


class KerasLoop(ApplyLoop):
    """A loop of Keras: ``model.fit`` of a model that runs eagerly, or a loop written by hand.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        An SGD. Settings that its config does not state may be declared.
    model : Model, Layer, or list of variables
        The model that has the trainable variables, or these variables.
    request : Request
        What the user asks of ``watch``.

    Raises
    ------
    TypeError, ValueError
        If the optimizer is not an SGD, or a variable has none of the four dtypes.
    """

    def __init__(self, optimizer: Any, model: Any, request: Request) -> None:
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            reject_type("optimizer", optimizer, "an SGD without a LossScaleOptimizer around it")
        stated = optimizer.get_config()
        if "momentum" not in stated and "momentum" not in request.declared:
            reject_type("optimizer", optimizer, "an SGD: its config has no momentum, and none is declared")
        if not isinstance(getattr(optimizer, "_learning_rate", 0.0), RATES) and (
            "learning_rate" not in request.declared
        ):
            raise ValueError(
                "learning_rate must be declared, since it is a callable, which is called once a step"
            )
        self.optimizer, self.name = (
            optimizer,
            f"{type(optimizer).__name__} of Keras on {keras.backend.backend()}",
        )
        self.notes: list[str] = []
        self.declared = dict(request.declared)
        self._variables = _variables(model)
        self.parameters = [
            Parameter(variable.path, tuple(variable.shape), _dtype(variable)) for variable in self._variables
        ]
        names = [parameter.name for parameter in self.parameters]
        check_names(names)
        self.group = Group(
            tuple(range(len(names))),
            config_of(stated_settings(optimizer, self.declared)),
            self._excluded(names),
        )
        self.rule = request.held_to("keras")
        self.calls = int(keras.ops.convert_to_numpy(optimizer._iterations))

    def current_rate(self) -> float:
        """Return the learning rate at the present count of calls."""
        try:
            return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
        except Exception as error:
            raise ValueError(EAGER) from error

    def aligned(self, gradients: Sequence[Any], variables: Sequence[Any] | None) -> list[Any]:
        """Return the gradients, each matched to its variable."""
        given = self._variables if variables is None else variables
        by_variable = {id(variable): g for variable, g in zip(given, gradients, strict=True)}
        return [by_variable.get(id(variable)) for variable in self._variables]

    def values(self) -> Values:
        """Return the variables and the state. The state of an optimizer that is not built is zeros."""
        velocities = self._state("momentums", self.group.config["momentum"] != 0)
        averages = self._state("_model_variables_moving_average", self.group.config["use_ema"])
        steps = self.group.config["gradient_accumulation_steps"]
        accumulators = self._state("_accumulated_gradients", steps is not None)
        return Values(self.taken(self._variables), self.signed(velocities), averages, accumulators)

    def array(self, native: Any, elements: Array | None) -> Array:
        """Return a copy of the elements at some indices, or of the whole array."""
        try:
            tensor = keras.ops.convert_to_tensor(native)
            if elements is not None:
                tensor = keras.ops.take(keras.ops.reshape(tensor, (-1,)), elements)
            array = np.array(keras.ops.convert_to_numpy(tensor))
        except Exception as error:
            raise ValueError(EAGER) from error
        # NumPy has no bfloat16, and some backends convert it to float32.
        return (
            array.astype(BFLOAT16) if keras.backend.standardize_dtype(native.dtype) == "bfloat16" else array
        )

    def _state(self, name: str, is_on: bool) -> list[Array] | None:
        if not is_on:
            return None
        if not self.optimizer.built:
            return [np.zeros_like(array) for array in self.taken(self._variables)]
        kept = getattr(self.optimizer, name, None)
        if not kept or len(kept) != len(self._variables):
            return None
        return self.taken(
            [kept[self.optimizer._get_variable_index(variable)] for variable in self._variables]
        )

    def _excluded(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return parts of the names of the variables that do not decay, and of no other names."""
        if stated_settings(self.optimizer, self.declared).get("weight_decay") is None:
            return ()
        pairs = list(zip(names, self._variables, strict=True))
        parts = _documented_exclusion(self.optimizer)
        if parts is None:
            excluded = [name for name, variable in pairs if not self.optimizer._use_weight_decay(variable)]
        else:
            listed = self.optimizer._exclude_from_weight_decay
            if not listed and all(_has(v.name, parts) == _has(name, parts) for name, v in pairs):
                return parts
            excluded = [name for name, v in pairs if id(v) in listed or _has(v.name, parts)]
        caught = [n for n in names if n not in excluded and any(part in n for part in excluded)]
        if caught:
            reject_value("model", caught, "names that do not contain those of variables that do not decay")
        return tuple(excluded)


def _documented_exclusion(optimizer: Any) -> tuple[str, ...] | None:
    """Return the parts of names that exclude variables; None if the method is not Keras' own.

    By the documentation, they are parts of names. Keras searches for them as regular expressions.
    """
    own = type(optimizer)
    names = ("exclude_from_weight_decay", "_use_weight_decay")
    if any(getattr(own, name, None) is not getattr(keras.optimizers.Optimizer, name) for name in names):
        return None
    if not hasattr(optimizer, "_exclude_from_weight_decay"):
        return None
    pattern = optimizer._exclude_from_weight_decay_pattern
    return () if pattern is None else tuple(pattern.pattern.split("|"))


def _has(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)


def _variables(model: Any) -> list[Any]:
    found = getattr(model, "trainable_variables", model)
    if not isinstance(found, (list, tuple)) or not all(isinstance(v, keras.Variable) for v in found):
        reject_type("model", model, "a Model that is built, or a list of its trainable variables")
    return list(found)


def _dtype(variable: Any) -> np.dtype[Any]:
    name = keras.backend.standardize_dtype(variable.dtype)
    dtype: np.dtype[Any] = BFLOAT16 if name == "bfloat16" else np.dtype(name)
    if dtype not in FORMATS:
        reject_type(variable.path, name, "a variable of float16, bfloat16, float32 or float64")
    return dtype
