"""Loops over NumPy arrays: any object with the method ``apply(gradients, variables)`` of ``sgd_ref.SGD``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import clips_by_norm, config_of, rate_at
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_type, reject_value

KERAS_SETTINGS = (
    "momentum",
    "nesterov",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)


class PlainLoop:
    """A loop that calls ``optimizer.apply(gradients, variables)``, with arrays that are updated in place.

    Parameters
    ----------
    optimizer : object
        If it has ``get_config`` and ``learning_rate``, as ``sgd_ref.SGD`` has, they give the settings that are not
        declared; ``velocities``, ``averages``, ``accumulators`` and ``calls`` give its state.
    model : iterable of ndarray or of (name, ndarray)
        The variables.
    request : Request
        What is asked.

    Raises
    ------
    TypeError, ValueError
        If the optimizer has no such method, a variable is no such array, or a setting is missing.
    """

    def __init__(self, optimizer: Any, model: Any, request: Request) -> None:
        if not callable(getattr(optimizer, "apply", None)):
            reject_type(
                "optimizer",
                optimizer,
                "an optimizer of PyTorch, Keras or Optax, or an object with the method "
                "apply(gradients, variables)",
            )
        self.optimizer, self.name = optimizer, type(optimizer).__name__
        self.notes: list[str] = []
        self._declared = dict(request.declared)
        names, self._variables = _named(model)
        self.parameters = [
            Parameter(name, array.shape, array.dtype) for name, array in zip(names, self._variables, strict=True)
        ]
        stated = optimizer.get_config() if callable(getattr(optimizer, "get_config", None)) else {}
        given = {name: stated[name] for name in KERAS_SETTINGS if stated.get(name) is not None}
        given |= {name: value for name, value in self._declared.items() if name != "learning_rate"}
        if "learning_rate" not in self._declared and not hasattr(optimizer, "learning_rate"):
            raise ValueError("learning_rate must be declared, since the optimizer has no such attribute")
        self._groups = (Group(tuple(range(len(names))), config_of(given)),)
        self.rule = request.held_to("keras")
        self.calls = int(getattr(optimizer, "calls", 0) or 0)

    def start(self, recorder: Recorder) -> None:
        """Put a method of the instance before that of its class."""
        self._recorder = recorder
        self._had_own = "apply" in vars(self.optimizer)
        self._apply = self.optimizer.apply
        self.optimizer.apply = self._watched

    def stop(self) -> None:
        """Take it away."""
        if self._had_own:
            self.optimizer.apply = self._apply
        else:
            del self.optimizer.apply

    def _watched(self, gradients: Any, variables: Any = None, *more: Any, **named: Any) -> Any:
        recorder = self._recorder
        given = () if variables is None else (variables,)
        if recorder.is_done:
            recorder.count()
            return self._apply(gradients, *given, *more, **named)
        with recorder.timed():
            rate = self._rate()
            before = self._values()
            kept, squares = self._gradients(gradients)
        result = self._apply(gradients, *given, *more, **named)
        with recorder.timed():
            recorder.add(self._groups, (rate,), before, kept, self._values(), squares)
        return result

    def _rate(self) -> float:
        if "learning_rate" in self._declared:
            return rate_at(self._declared["learning_rate"], self._recorder.number)
        return float(self.optimizer.learning_rate)

    def _values(self) -> Values:
        config, sign = self._groups[0].config, self.rule.sign
        state: dict[str, list[Array] | None] = {}
        for quantity in ("velocities", "averages", "accumulators"):
            arrays = getattr(self.optimizer, quantity, None)
            is_seen = isinstance(arrays, Sequence) and len(arrays) == len(self._variables)
            state[quantity] = self._taken(arrays) if is_seen else None
        velocities = state["velocities"]
        if config["momentum"] != 0 and velocities is None and hasattr(self.optimizer, "velocities"):
            # One that is not built yet begins with zeros.
            zeros = [np.zeros_like(array) for array in self._variables]
            state = {quantity: self._taken(zeros) for quantity in state}
        elif velocities is not None:
            state["velocities"] = [array if sign > 0 else -array for array in velocities] if sign else None
        return Values(self._taken(self._variables), **state)

    def _gradients(self, gradients: Sequence[Any]) -> tuple[list[Array | None], list[float | None] | None]:
        dense = [g.to_dense() if isinstance(g, SparseRows) else g for g in gradients]
        squares = None
        if clips_by_norm(self._groups[0].config) and self._recorder.is_sampled:
            squares = [None if g is None else float(np.linalg.norm(np.float64(g).reshape(-1))) ** 2 for g in dense]
        elements = self._recorder.elements
        return [
            None if g is None else _taken(np.asarray(g), which) for g, which in zip(dense, elements, strict=True)
        ], squares

    def _taken(self, arrays: Sequence[Any]) -> list[Array]:
        elements = self._recorder.elements
        return [_taken(np.asarray(array), which) for array, which in zip(arrays, elements, strict=True)]


def _taken(array: Array, elements: Array | None) -> Array:
    return np.array(array) if elements is None else np.take(array, elements)


def _named(model: Any) -> tuple[list[str], list[Array]]:
    if not isinstance(model, Iterable) or isinstance(model, (str, bytes, np.ndarray)):
        reject_type("model", model, "a list of arrays, or of pairs of a name and an array")
    items = list(model.items()) if isinstance(model, dict) else list(model)
    names, arrays = [], []
    for place, item in enumerate(items):
        name, array = item if isinstance(item, tuple) else (f"variable {place}", item)
        if not isinstance(array, np.ndarray) or array.dtype not in FORMATS:
            reject_type(f"model[{place}]", array, "an ndarray of float16, bfloat16, float32 or float64")
        names.append(str(name))
        arrays.append(array)
    if not names or len(set(names)) < len(names):
        reject_value("model", names, "at least one variable, and distinct names")
    return names, arrays
