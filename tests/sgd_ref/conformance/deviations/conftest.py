"""A deviation on a few small numbers, as a test says them in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer
from sgd_ref.conformance.deviations import DEVIATIONS


class Outcome:
    """What is left after some calls: the optimizer and its variables, as plain lists."""

    def __init__(self, optimizer: Any, variables: list[Any]) -> None:
        self.optimizer = optimizer
        self._variables = variables

    @property
    def variables(self) -> list[Any]:
        return [variable.tolist() for variable in self._variables]

    @property
    def velocities(self) -> list[Any]:
        return [velocity.tolist() for velocity in self.optimizer.velocities]

    @property
    def averages(self) -> list[Any]:
        return [average.tolist() for average in self.optimizer.averages]

    @property
    def accumulators(self) -> list[Any]:
        return [accumulator.tolist() for accumulator in self.optimizer.accumulators]


def after(
    name: str | None,
    variables: Sequence[Any],
    *calls: Sequence[Any],
    dtype: str = "float32",
    names: Sequence[str] | None = None,
    excluded: Sequence[str] = (),
    loss_scale: float | None = None,
    growth_steps: int = 1000,
    learning_rate: Any = 0.5,
    finalize: bool = False,
    state: Callable[[list[Any]], None] | None = None,
    **settings: Any,
) -> Outcome:
    """Return what a deviation (None: the definition) leaves after some calls, all in one dtype.

    Each call is a list of gradients: numbers, None, or an object that is passed on as it is. A `state`
    changes the list of arrays that the optimizer is then given as its state.
    """
    deviation = None if name is None else DEVIATIONS[name]
    optimizer_class = SGD if deviation is None else deviation.optimizer
    wrapper_class = LossScaleOptimizer if deviation is None else deviation.wrapper
    arrays = [np.array(values, dtype) for values in variables]
    with warnings.catch_warnings():
        # Of missing gradients and of names that no variable has.
        warnings.simplefilter("ignore")
        inner = optimizer_class.from_config({"learning_rate": 0.5, **settings}, learning_rate)
        optimizer: Any = inner if loss_scale is None else wrapper_class(inner, loss_scale, growth_steps)
        if excluded:
            optimizer.exclude_from_weight_decay(var_names=list(excluded))
        optimizer.build(arrays, names)
        if state is not None:
            weights = optimizer.get_weights()
            state(weights)
            optimizer.set_weights(weights)
        for gradients in calls:
            optimizer.apply([_given(gradient, dtype) for gradient in gradients])
        if finalize:
            optimizer.finalize_variable_values(arrays)
    return Outcome(optimizer, arrays)


def _given(gradient: Any, dtype: str) -> Any:
    if gradient is None or hasattr(gradient, "to_dense"):
        return gradient
    return np.array(gradient, dtype)


@pytest.fixture(name="after")
def after_fixture() -> Callable[..., Outcome]:
    return after
