"""The reference as an implementation: it answers a case by the definition."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from sgd_ref.conformance.catalogue.case import Case, Record, State
from sgd_ref.conformance.catalogue.layouts import own_variables
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD

IGNORED = ("ignore", None, Warning, None, 0)
"""The warning filter of Python that ignores every warning."""


def run(
    case: Case,
    optimizer_class: type[SGD] = SGD,
    wrapper_class: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> list[Record]:
    """Return the trajectory that the definition, or a subclass that deviates from it, gives for a case.

    Parameters
    ----------
    case : Case
        It is not changed.
    optimizer_class, wrapper_class : type, optional
        Subclasses of SGD and of LossScaleOptimizer to run in their place.

    Returns
    -------
    list of dict
        One record for each call and one more after finalisation if ``case.finalize``.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases(tier="smoke")[0]
    >>> len(run(case)) == len(case.gradients) + case.finalize
    True
    """
    return [record for _, _, record in records(case, optimizer_class, wrapper_class)]


def records(
    case: Case,
    optimizer_class: type[SGD] = SGD,
    wrapper_class: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> Iterator[tuple[Any, list[Any], Record]]:
    """Yield the optimizer, its variables and the record after each call, and after finalisation.

    The caller may change the numbers between two records: the next call starts from the changed numbers.

    Parameters
    ----------
    case, optimizer_class, wrapper_class
        As for `run`.

    Yields
    ------
    SGD or LossScaleOptimizer
        The optimizer.
    list of ndarray
        Its variables.
    dict
        The record.
    """
    optimizer, variables = started(case, optimizer_class, wrapper_class)
    rates = case.learning_rate_calls
    for index, gradients in enumerate(case.gradients):
        rate = None if rates is None else rates[index]
        yield optimizer, variables, called(optimizer, variables, gradients, rate)
    if case.finalize:
        with _without_warnings():
            optimizer.finalize_variable_values(variables)
        yield optimizer, variables, _record(optimizer, variables)


def started(
    case: Case,
    optimizer_class: type[SGD] = SGD,
    wrapper_class: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> tuple[Any, list[Any]]:
    """Return the optimizer of a case before the first call, in the state to resume from, and its variables.

    Parameters
    ----------
    case, optimizer_class, wrapper_class
        As for `run`.
    """
    variables = own_variables(case)
    # Warnings about missing gradients and lost settings say nothing new: the case has them on purpose.
    with _without_warnings():
        optimizer = _constructed(case, optimizer_class, wrapper_class)
        optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
        optimizer.build(variables, list(case.names))
        if case.state is not None:
            _resume(optimizer, case.state)
    return optimizer, variables


def called(optimizer: Any, variables: list[Any], gradients: Iterable[Gradient], rate: float | None) -> Record:
    """Make one call of an optimizer that `started` returns, and return the record after it.

    Parameters
    ----------
    optimizer, variables
        As `started` returns them.
    gradients : iterable of ndarray, SparseRows or None
        One for each variable.
    rate : float or None
        What a callable learning rate returns; None where it is a number or a schedule.
    """
    with _without_warnings():
        if rate is None:
            read = optimizer.learning_rate
        else:
            read = np.float32(rate)
            optimizer.learning_rate = _Constant(rate)
        optimizer.apply(list(gradients))
    return {**_record(optimizer, variables), "learning_rate": read}


def _without_warnings() -> AbstractContextManager[Any]:
    """Ignore all warnings, and leave the filters alone where they do so already.

    Threads share the filters: while one thread replaces a filter, another thread would be without it for a
    moment.
    """
    if warnings.filters[:1] == [IGNORED]:
        return nullcontext()
    return warnings.catch_warnings(action="ignore")


class _Constant:
    """A callable learning rate that always returns the same value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self) -> float:
        return self.value


def _constructed(case: Case, optimizer_class: type[SGD], wrapper_class: type[LossScaleOptimizer]) -> Any:
    rates = case.learning_rate_calls
    inner = optimizer_class.from_config(case.config, None if rates is None else _Constant(rates[0]))
    if case.loss_scaling is None:
        return inner
    scaling = case.loss_scaling
    return wrapper_class(inner, scaling.initial_scale, scaling.dynamic_growth_steps)


def _resume(optimizer: Any, state: State) -> None:
    values = optimizer.get_weights()
    slots = (
        (optimizer.averages, state.averages),
        (optimizer.accumulators, state.accumulators),
        (optimizer.velocities, state.velocities),
    )
    position = len(values) - sum(len(kept) for kept, _ in slots)
    for kept, given in slots:
        if given:
            values[position : position + len(kept)] = given
        position += len(kept)
    position_of_calls = 0
    if isinstance(optimizer, LossScaleOptimizer):
        position_of_calls = 4
        if state.growth_counter is not None:
            values[2] = np.array(state.growth_counter, np.int64)
        if state.loss_scale is not None:
            values[3] = np.array(state.loss_scale, np.float32)
    values[position_of_calls] = np.array(state.calls, np.int64)
    optimizer.set_weights(values)


def _record(optimizer: Any, variables: list[Any]) -> Record:
    record: Record = {
        "variables": [np.array(variable) for variable in variables],
        "velocities": [np.array(array) for array in optimizer.velocities],
        "averages": [np.array(array) for array in optimizer.averages],
        "accumulators": [np.array(array) for array in optimizer.accumulators],
        "iterations": optimizer.iterations,
        "calls": optimizer.calls,
    }
    if isinstance(optimizer, LossScaleOptimizer):
        record |= {"loss_scale": optimizer.loss_scale, "growth_counter": optimizer.growth_counter}
    return record
