"""Loops over NumPy arrays: any object with the method ``apply(gradients, variables)`` of ``sgd_ref.SGD``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.base.settings import SETTINGS
from sgd_ref.conformance.watching.frameworks.applying import ApplyLoop, check_names
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import config_of
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_type

STATE = ("velocities", "averages", "accumulators")


class PlainLoop(ApplyLoop):
    """A loop over arrays that are updated in place.

    Parameters
    ----------
    optimizer : object
        If it has ``get_config`` and ``learning_rate``, as ``sgd_ref.SGD`` has, they give the settings that
        are not declared. The attributes ``velocities``, ``averages``, ``accumulators`` and ``calls`` give its
        state.
    model : iterable of ndarray or of (name, ndarray)
        The variables, in the order of the gradients.
    request : Request
        What the user asks of ``watch``.

    Raises
    ------
    TypeError, ValueError
        If the optimizer has no method ``apply``, a variable is not an array of one of the four dtypes, or a
        setting is missing.
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
        self.declared = dict(request.declared)
        names, self._variables = _named(model)
        self.parameters = [
            Parameter(name, array.shape, array.dtype)
            for name, array in zip(names, self._variables, strict=True)
        ]
        if "learning_rate" not in self.declared and not hasattr(optimizer, "learning_rate"):
            raise ValueError("learning_rate must be declared, since the optimizer has no such attribute")
        self.group = Group(tuple(range(len(names))), config_of(stated_settings(optimizer, self.declared)))
        self.rule = request.held_to("keras")
        self.calls = int(getattr(optimizer, "calls", 0) or 0)

    def current_rate(self) -> float:
        """Return the optimizer's attribute for the learning rate."""
        return float(self.optimizer.learning_rate)

    def aligned(self, gradients: Sequence[Any], variables: Sequence[Any] | None) -> list[Any]:
        """Return the gradients, with sparse ones made dense."""
        return [g.to_dense() if isinstance(g, SparseRows) else g for g in gradients]

    def values(self) -> Values:
        """Return the variables, and the state if the optimizer shows it."""
        found = {quantity: self._state(quantity) for quantity in STATE}
        velocities = self.signed(found["velocities"])
        return Values(self.taken(self._variables), velocities, found["averages"], found["accumulators"])

    def array(self, native: Any, elements: Array | None) -> Array:
        """Return a copy of the elements at some indices, or of the whole array."""
        array = np.asarray(native)
        return np.array(array) if elements is None else np.take(array, elements)

    def _state(self, quantity: str) -> list[Array] | None:
        arrays = getattr(self.optimizer, quantity, None)
        if not isinstance(arrays, Sequence):
            return None
        # The state of an optimizer that is not built yet begins with zeros.
        return self.taken(arrays or [np.zeros_like(array) for array in self._variables])


def stated_settings(optimizer: Any, declared: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in an optimizer's config, where each declared setting replaces the stated one.

    >>> import sgd_ref
    >>> stated_settings(sgd_ref.SGD(momentum=0.5), {"nesterov": True})["nesterov"]
    True
    """
    stated = optimizer.get_config() if callable(getattr(optimizer, "get_config", None)) else {}
    names = [name for name in SETTINGS if name != "name" and stated.get(name) is not None]
    settings = {name: stated[name] for name in names}
    return settings | {name: value for name, value in declared.items() if name != "learning_rate"}


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
    check_names(names)
    return names, arrays
