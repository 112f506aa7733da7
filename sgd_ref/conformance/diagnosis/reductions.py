"""Reductions of a case: each function leaves out or simplifies one thing, everywhere at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.settings import CLIPPINGS
from sgd_ref.conformance.catalogue.case import Case, Layouts, State
from sgd_ref.conformance.catalogue.layouts import CONTIGUOUS, with_layouts
from sgd_ref.conformance.catalogue.numbers import readonly
from sgd_ref.gradients import SparseRows

Gradient = Array | SparseRows | None
Path = tuple[str | int, ...]

PLAIN_CONFIGS: tuple[dict[str, Any], ...] = (
    {"use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None},
    {"ema_overwrite_frequency": None},
    {"gradient_accumulation_steps": None},
    {"momentum": 0.0, "nesterov": False},
    {"nesterov": False},
    {"weight_decay": None},
    dict.fromkeys(CLIPPINGS),
    {"loss_scale_factor": None},
)
"""Settings that turn off features of the config; features that others depend on come first."""

PLAIN_INTEGERS = (1, 2, 3)
PLAIN_NUMBERS = (0.5, 1.0, 0.25, 2.0)
PLAIN_SCALES = (2.0, 4.0)
PRECISIONS = (1, 2, 3, 5, 8, 12)
"""Numbers of significant bits to which numbers are cut if none of the plainest numbers will do."""


def with_calls(case: Case, kept: Sequence[int]) -> Case:
    """Return the case with some of its calls."""
    rates = case.learning_rate_calls
    return replace(
        case,
        gradients=tuple(case.gradients[call] for call in kept),
        learning_rate_calls=None if rates is None else tuple(rates[call] for call in kept),
    )


def with_variables(case: Case, kept: Sequence[int]) -> Case:
    """Return the case with some of its variables, and with their state and gradients."""

    def chosen(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[position] for position in kept) if values else ()

    state, layouts = case.state, case.layouts
    return replace(
        case,
        layouts=layouts and Layouts(chosen(layouts.variables), chosen(layouts.gradients)),
        names=chosen(case.names),
        variables=chosen(case.variables),
        gradients=tuple(chosen(gradients) for gradients in case.gradients),
        state=state if state is None else _with_state_arrays(state, chosen),
    )


def with_part(case: Case, kept: Sequence[int], variable: int, axis: int) -> Case:
    """Return the case with some positions along one axis of a variable, and of its gradients and state.

    >>> case = Case("a", {}, ("w",), (np.arange(3.0),), ((SparseRows([2, 0, 1], np.ones(3), (3,)),),))
    >>> smaller = with_part(case, [0, 2], variable=0, axis=0)
    >>> smaller.variables, smaller.gradients[0][0].indices
    ((array([0., 2.]),), array([1, 0]))
    """

    def part(array: Array) -> Array:
        return readonly(np.take(array, kept, axis))

    def part_of_gradient(gradient: Gradient) -> Gradient:
        if not isinstance(gradient, SparseRows):
            return None if gradient is None else part(gradient)
        shape = (*gradient.shape[:axis], len(kept), *gradient.shape[axis + 1 :])
        if axis > 0:
            return SparseRows(gradient.indices, part(gradient.values), shape)
        stays = [position for position, row in enumerate(gradient.indices.tolist()) if row in kept]
        indices = [list(kept).index(row) for row in gradient.indices[stays].tolist()]
        return SparseRows(indices, readonly(gradient.values[stays]), shape)

    return _with_variable(case, variable, part, part_of_gradient)


def with_sparse_rows(case: Case, kept: Sequence[int], call: int, variable: int) -> Case:
    """Return the case with some of the rows of one sparse gradient."""
    rows = case.gradients[call][variable]
    assert isinstance(rows, SparseRows)
    fewer = SparseRows(rows.indices[list(kept)], readonly(rows.values[list(kept)]), rows.shape)
    return _with_gradient(case, call, variable, fewer)


def with_every_gradient(case: Case) -> Case:
    """Return the case with zeros for gradients that are missing."""
    return replace(
        case,
        gradients=tuple(
            tuple(
                readonly(np.zeros_like(variable)) if gradient is None else gradient
                for gradient, variable in zip(gradients, case.variables, strict=True)
            )
            for gradients in case.gradients
        ),
    )


def with_dense_gradients(case: Case) -> Case:
    """Return the case with the dense equivalents of its sparse gradients."""
    return _with_gradients(case, lambda gradient, _: readonly(gradient.to_dense()), SparseRows)


def with_wide_gradients(case: Case) -> Case:
    """Return the case with gradients in the dtypes of their variables."""
    return _with_gradients(
        case, lambda gradient, variable: readonly(convert(gradient, variable.dtype)), np.ndarray
    )


def without_layouts(case: Case) -> Case:
    """Return the case with arrays that are all contiguous.

    >>> layouts = Layouts(variables=("transposed",), gradients=("contiguous",))
    >>> case = Case("a", {}, ("w",), (np.zeros((2, 3)),), (), layouts=layouts)
    >>> without_layouts(with_layouts(case)).variables[0].flags.c_contiguous
    True
    """
    if case.layouts is None:
        return case
    count = len(case.variables)
    plain = with_layouts(replace(case, layouts=Layouts((CONTIGUOUS,) * count, (CONTIGUOUS,) * count)))
    return replace(plain, layouts=None)


def with_flat_variables(case: Case) -> Case:
    """Return the case with variables of one axis, except for variables with sparse gradients."""
    for variable, array in enumerate(case.variables):
        has_rows = any(isinstance(gradients[variable], SparseRows) for gradients in case.gradients)
        if array.ndim > 1 and not has_rows:
            case = _with_variable(case, variable, _flat, lambda g: None if g is None else _flat(g))
    return case


def with_config(case: Case, changes: dict[str, Any]) -> Case:
    """Return the case with other settings, and without the state that these do not need."""
    config = {**case.config, **changes}
    state = case.state
    if state is not None:
        state = replace(
            state,
            velocities=state.velocities if config.get("momentum") else (),
            averages=state.averages if config.get("use_ema") else (),
            accumulators=state.accumulators if config.get("gradient_accumulation_steps") else (),
        )
    finalize = case.finalize and bool(config.get("use_ema"))
    return replace(case, config=config, state=state, finalize=finalize)


def with_constant_rate(case: Case, learning_rate: float) -> Case:
    """Return the case with one number as the learning rate of all calls."""
    changed = with_config(case, {"learning_rate": learning_rate})
    return replace(changed, learning_rate_calls=None, learning_rate_units=0)


def with_given_rates(case: Case, rates: Sequence[float]) -> Case:
    """Return the case with a callable learning rate of given values."""
    changed = with_config(case, {"learning_rate": None})
    return replace(changed, learning_rate_calls=tuple(rates), learning_rate_units=0)


def without_loss_scaling(case: Case) -> Case:
    """Return the case without dynamic loss scaling."""
    state = case.state
    if state is not None:
        state = replace(state, loss_scale=None, growth_counter=None)
    return replace(case, loss_scaling=None, state=state)


def number_paths(settings: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all numbers other than 0 in a config, including its schedule.

    >>> list(number_paths({"learning_rate": {"config": {"values": [0.5, 0.0]}}, "nesterov": False}))
    [('learning_rate', 'config', 'values', 0)]
    """
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from number_paths(value, (*path, key))
    elif isinstance(settings, (list, tuple)):
        for index, value in enumerate(settings):
            yield from number_paths(value, (*path, index))
    elif isinstance(settings, (int, float)) and not isinstance(settings, bool) and settings:
        yield path


def number_at(settings: Any, path: Path) -> Any:
    """Return the number at a path.

    >>> number_at({"values": [0.5, 0.25]}, ("values", 1))
    0.25
    """
    for key in path:
        settings = settings[key]
    return settings


def with_number_at(settings: Any, path: Path, number: Any) -> Any:
    """Return settings with another number at a path.

    >>> with_number_at({"values": [0.5, 0.25]}, ("values", 1), 1.0)
    {'values': [0.5, 1.0]}
    """
    if not path:
        return number
    first, *rest = path
    changed: Any = dict(settings) if isinstance(settings, dict) else list(settings)
    changed[first] = with_number_at(settings[first], tuple(rest), number)
    return changed


def plainer_numbers(number: float, is_scale: bool = False) -> Iterator[Any]:
    """Yield numbers that are plainer than the given one, the plainest first.

    >>> list(plainer_numbers(0.3))[:6]
    [0.5, 1.0, 0.25, 2.0, 0.296875, 0.298828125]
    >>> list(plainer_numbers(5)), list(plainer_numbers(1.0))
    ([1, 2, 3], [0.5])
    """
    plain: tuple[Any, ...] = PLAIN_SCALES if is_scale else PLAIN_NUMBERS
    if isinstance(number, int):
        plain = PLAIN_INTEGERS
    if number in plain:
        yield from plain[: plain.index(number)]
        return
    yield from plain
    if not isinstance(number, int):
        cut = dict.fromkeys(cut_to(number, precision) for precision in PRECISIONS)
        yield from (value for value in cut if value != number and value not in plain)


def complexity(number: float) -> tuple[int, int, bool]:
    """Return how complicated a number is: significant bits, distance of its exponent from 0, sign.

    >>> sorted([-0.5, 0.75, 1.0, 0.0, 0.1, math.inf, 0.5, -1.0], key=complexity)
    [0.0, 1.0, -1.0, 0.5, -0.5, 0.75, 0.1, inf]
    """
    negative = math.copysign(1.0, number) < 0
    if not math.isfinite(number):
        return 2000 + math.isnan(number), 0, negative
    if number == 0:
        return 0, 0, negative
    numerator = abs(number.as_integer_ratio()[0])
    bits = numerator.bit_length() - (numerator & -numerator).bit_length() + 1
    return bits, abs(math.frexp(number)[1] - 1), negative


def cut_to(number: float, precision: int) -> float:
    """Return a number cut, toward zero, to some significant bits.

    >>> cut_to(0.3, 2), cut_to(-7.0, 1)
    (0.25, -4.0)
    """
    if not math.isfinite(number):
        return number
    fraction, exponent = math.frexp(number)
    return math.ldexp(math.trunc(math.ldexp(fraction, precision)), exponent - precision)


def arrays(case: Case) -> list[Array]:
    """Return every array of numbers in a case: variables, gradients and state; see ``with_arrays``."""
    state = case.state
    return [
        *case.variables,
        *(_values(g) for gradients in case.gradients for g in gradients if g is not None),
        *(() if state is None else (*state.velocities, *state.averages, *state.accumulators)),
    ]


def with_arrays(case: Case, values: Sequence[Array]) -> Case:
    """Return the case with other arrays, in the order of ``arrays``."""
    rest = iter([readonly(array) for array in values])

    def replaced(gradient: Gradient) -> Gradient:
        if isinstance(gradient, SparseRows):
            return SparseRows(gradient.indices, next(rest), gradient.shape)
        return None if gradient is None else next(rest)

    variables = tuple(next(rest) for _ in case.variables)
    gradients = tuple(tuple(replaced(gradient) for gradient in call) for call in case.gradients)
    state = case.state
    if state is not None:
        state = _with_state_arrays(state, lambda kept: tuple(next(rest) for _ in kept))
    return replace(case, variables=variables, gradients=gradients, state=state)


def _values(gradient: Array | SparseRows) -> Array:
    return gradient.values if isinstance(gradient, SparseRows) else gradient


def _flat(gradient: Any) -> Any:
    return readonly(gradient.reshape(-1))


def _with_state_arrays(state: State, changed: Callable[[Sequence[Array]], tuple[Array, ...]]) -> State:
    return replace(
        state,
        velocities=changed(state.velocities),
        averages=changed(state.averages),
        accumulators=changed(state.accumulators),
    )


def _with_variable(
    case: Case,
    variable: int,
    of_array: Callable[[Array], Array],
    of_gradient: Callable[[Gradient], Gradient],
) -> Case:
    def changed(values: Sequence[Any], change: Callable[[Any], Any]) -> tuple[Any, ...]:
        return tuple(change(v) if position == variable else v for position, v in enumerate(values))

    state = case.state
    if state is not None:
        state = _with_state_arrays(state, lambda kept: changed(kept, of_array))
    return replace(
        case,
        variables=changed(case.variables, of_array),
        gradients=tuple(changed(gradients, of_gradient) for gradients in case.gradients),
        state=state,
    )


def _with_gradient(case: Case, call: int, variable: int, gradient: Gradient) -> Case:
    gradients = [list(row) for row in case.gradients]
    gradients[call][variable] = gradient
    return replace(case, gradients=tuple(tuple(row) for row in gradients))


def _with_gradients(case: Case, change: Callable[[Any, Array], Array], kind: type) -> Case:
    """Return the case with every gradient of a kind changed, by a function of gradient and variable."""
    return replace(
        case,
        gradients=tuple(
            tuple(
                change(gradient, variable) if isinstance(gradient, kind) else gradient
                for gradient, variable in zip(gradients, case.variables, strict=True)
            )
            for gradients in case.gradients
        ),
    )
