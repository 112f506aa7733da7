"""Optax: a transformation that does what the given one does, and reports each update to a recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.conformance.watching.frameworks.applying import check_names
from sgd_ref.conformance.watching.judge import sum_of_squares
from sgd_ref.conformance.watching.recorder import Recorder
from sgd_ref.conformance.watching.request import Request
from sgd_ref.conformance.watching.settings import config_of, rate_at
from sgd_ref.conformance.watching.steps import Group, Parameter, Values
from sgd_ref.validation import reject_type

TRACED = (
    "updates must be numbers, got tracers: call the update of the watched transformation outside of jax.jit, "
    "or watch a loop that is not compiled"
)


class OptaxLoop:
    """A loop that calls ``update`` of a transformation, and ``optax.apply_updates`` with the updates.

    Parameters
    ----------
    transformation : optax.GradientTransformation
        The optimizer. It does not state its settings, so they must be declared: `learning_rate` at least.
    params : pytree of arrays
        The parameters. Their names and shapes are read.
    request : Request
        What the user asks of ``watch``.

    Raises
    ------
    TypeError, ValueError
        If a leaf is not an array of one of the four dtypes, or the learning rate is not declared.
    """

    def __init__(self, transformation: Any, params: Any, request: Request) -> None:
        if "learning_rate" not in request.declared:
            raise ValueError(
                "learning_rate must be declared, since a transformation of Optax does not state it"
            )
        leaves = jax.tree_util.tree_leaves_with_path(params)
        self.parameters = [_parameter(path, leaf) for path, leaf in leaves]
        check_names([parameter.name for parameter in self.parameters])
        self.name, self.calls = "a transformation of Optax", 0
        self.notes = ["the new parameters are those of optax.apply_updates"]
        self._declared = dict(request.declared)
        settings = {name: value for name, value in self._declared.items() if name != "learning_rate"}
        self._group = Group(tuple(range(len(leaves))), config_of(settings))
        self.rule = request.held_to("optax")
        self._inner = transformation
        self._recorder: Recorder | None = None
        self.optimizer = optax.GradientTransformationExtraArgs(transformation.init, self._update)

    def start(self, recorder: Recorder) -> None:
        """Report each update to a recorder from now on."""
        self._recorder = recorder

    def stop(self) -> None:
        """Behave from now on exactly as the transformation that was given."""
        self._recorder = None

    def _update(self, updates: Any, state: Any, params: Any = None, **more: Any) -> Any:
        inner = optax.with_extra_args_support(self._inner)
        recorder = self._recorder
        if recorder is None or recorder.is_done:
            if recorder is not None:
                recorder.count()
            return inner.update(updates, state, params, **more)
        if params is None:
            raise ValueError("params must be given to the update of a watched transformation, got None")
        with recorder.timed():
            natives = jax.tree.leaves(updates)
            if any(isinstance(leaf, jax.core.Tracer) for leaf in natives):
                raise ValueError(TRACED)
            gradients = self._taken(natives)
            squares: list[float | None] | None = None
            if recorder.needs_squares([self._group]):
                squares = [sum_of_squares(_array(native)) for native in natives]
            before = self._values(params, state)
        result, new_state = inner.update(updates, state, params, **more)
        with recorder.timed():
            after = self._values(optax.apply_updates(params, result), new_state)
            if after.velocities is None:
                before.velocities = None
            rate = rate_at(self._declared["learning_rate"], recorder.number)
            recorder.add((self._group,), (rate,), before, list(gradients), after, squares)
        return result, new_state

    def _values(self, params: Any, state: Any) -> Values:
        variables = self._taken(jax.tree.leaves(params))
        traces = _traces(state)
        if len(traces) != 1 or self.rule.sign == 0:
            return Values(variables)
        kept = self._taken(jax.tree.leaves(traces[0]))
        return Values(variables, kept if self.rule.sign > 0 else [-array for array in kept])

    def _taken(self, natives: Any) -> list[Array]:
        assert self._recorder is not None
        pairs = zip(natives, self._recorder.elements, strict=True)
        return [
            _array(native) if elements is None else _array(jax.numpy.take(native, elements))
            for native, elements in pairs
        ]


def _traces(state: Any) -> list[Any]:
    """Return the sums in a state, at any depth of it."""
    if isinstance(state, optax.TraceState):
        return [state.trace]
    if isinstance(state, Mapping):
        state = tuple(state.values())
    return [trace for part in state for trace in _traces(part)] if isinstance(state, tuple) else []


def _array(native: Any) -> Array:
    return np.array(native)


def _parameter(path: Any, leaf: Any) -> Parameter:
    name = jax.tree_util.keystr(path, simple=True, separator=".") or "params"
    dtype = np.dtype(getattr(leaf, "dtype", object))
    if dtype not in FORMATS:
        reject_type(name, leaf, "an array of float16, bfloat16, float32 or float64")
    return Parameter(name, tuple(leaf.shape), dtype)
