"""Building a case of a structure, so that an implementation can fail only because of the structure.

Nothing is ever rounded in a case of a plain update: its numbers have few bits, and no result is zero, since a
zero might have either sign. So every faithful evaluation gives the same bits, however long the case is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, Layouts, LossScaling, State
from sgd_ref.conformance.catalogue.layouts import CONTIGUOUS, with_layouts
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly
from sgd_ref.gradients import SparseRows

PREFIX = "structure/"

RATE, MOMENTUM = 0.25, 0.5

UPDATES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": MOMENTUM},
    "nesterov": {"momentum": MOMENTUM, "nesterov": True},
}

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""The names of variables with their shapes."""

FARTHEST = 6
"""The largest distance of the sum of the velocities of an element from its start."""


class Form(NamedTuple):
    """An update and a dtype, in which a structure is a case."""

    update: str
    dtype: np.dtype[Any]


FORMS = (
    Form("plain", FLOAT32),
    Form("momentum", FLOAT32),
    Form("plain", FLOAT64),
    Form("momentum", FLOAT64),
    Form("nesterov", FLOAT32),
)
"""The forms that the simplest implementations offer."""

FEW_FORMS = (
    Form("plain", FLOAT32),
    Form("momentum", FLOAT32),
    Form("momentum", FLOAT64),
    Form("nesterov", FLOAT32),
)
"""The forms for structures that differ little from others."""

WITH_MOMENTUM = (
    Form("momentum", FLOAT32),
    Form("momentum", FLOAT64),
    Form("nesterov", FLOAT32),
    Form("momentum", BFLOAT16),
    Form("momentum", FLOAT16),
)
"""The forms for structures in which plain descent shows nothing."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A description of variables and gradients, independent of the settings of the optimizer.

    Attributes
    ----------
    name : str
        The second part of the ids of its cases.
    notes : str
        The purpose of the structure.
    shapes : dict of str to tuple of int
        Names and shapes of the variables.
    calls : int
        Number of calls.
    forms : tuple of Form
        The updates and dtypes in which it becomes a case.
    missing : callable
        Whether there is no gradient in a call for the variable at a position.
    variable_layouts, gradient_layouts : dict of str to str
        Layouts of the variables that are not contiguous, by name.
    equal_along : dict of str to tuple of int
        For the name of a variable, the axes along which all elements of its gradient are equal.
    fine : dict of str to int
        For the name of a variable, the number of fractional bits of its velocities; 0 for a variable without
        an entry. The dtype must hold these bits.
    weights : callable or None
        The first values of a variable, which replace the drawn ones.
    calls_before : int
        If not 0, the case resumes after this number of calls.
    exposes, exposes_with_momentum : tuple of str
        Known deviations that all of its cases are for, and further ones that its cases with momentum are for.
    """

    name: str
    notes: str
    shapes: Shapes
    calls: int = 3
    forms: tuple[Form, ...] = FORMS
    missing: Callable[[int, int], bool] = lambda call, position: False
    variable_layouts: Mapping[str, str] = field(default_factory=dict)
    gradient_layouts: Mapping[str, str] = field(default_factory=dict)
    equal_along: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fine: Mapping[str, int] = field(default_factory=dict)
    weights: Callable[[Array], Array] | None = None
    calls_before: int = 0
    exposes: tuple[str, ...] = ()
    exposes_with_momentum: tuple[str, ...] = ()


@dataclass(frozen=True)
class Feature:
    """A feature of the optimizer that a structure is paired with.

    Attributes
    ----------
    name : str
        The last part of the ids of its cases.
    settings : dict
        The settings that differ from plain ones.
    excluded : tuple of str
        Parts of the names of variables that are excluded from weight decay.
    loss_scaling : LossScaling or None
        Dynamic loss scaling; the call before the last one has an infinity then.
    sparse : bool
        Whether every second gradient of two axes comes as rows.
    rates : tuple of float
        The values of a callable learning rate, in turn; empty for a constant rate.
    is_led : bool
        Whether gradients are adapted to these rates, so that nothing is rounded in a long run with momentum.
    dtypes : tuple of dtype
        Dtypes of the variables in turn, in place of the dtype of the form; empty if all have that dtype.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    loss_scaling: LossScaling | None = None
    sparse: bool = False
    rates: tuple[float, ...] = ()
    is_led: bool = False
    dtypes: tuple[np.dtype[Any], ...] = ()


ALONE = Feature("")


def cases_of(structure: Structure) -> Iterator[Case]:
    """Yield the cases of a structure alone, one for each of its forms.

    >>> [case.id for case in cases_of(Structure("pair", "Two.", {"a": (2,), "b": (2,)}))][:2]
    ['structure/pair/plain/float32', 'structure/pair/momentum/float32']
    """
    for form in structure.forms:
        exposes = structure.exposes if form.update == "plain" else structure.exposes_with_momentum
        yield made(structure, form, exposes=tuple(dict.fromkeys((*structure.exposes, *exposes))))


def made(structure: Structure, form: Form, feature: Feature = ALONE, exposes: tuple[str, ...] = ()) -> Case:
    """Return the case of a structure in a form, with an additional feature.

    Parameters
    ----------
    structure : Structure
        Its name is the text that the numbers are drawn from.
    form : Form
        The update and the dtype.
    feature : Feature, optional
        None by default.
    exposes : tuple of str, optional
        The known deviations that the case is for.
    """
    count = len(structure.shapes)
    dtypes = [feature.dtypes[i % len(feature.dtypes)] if feature.dtypes else form.dtype for i in range(count)]
    config = PLAIN_CONFIG | {"learning_rate": RATE} | UPDATES[form.update] | dict(feature.settings)
    if feature.rates:
        config["learning_rate"] = None
    scale = config["loss_scale_factor"] or (feature.loss_scaling.initial_scale if feature.loss_scaling else 1)
    rates = feature.rates if feature.is_led else (RATE,)
    paths = _paths(structure, rates)
    gradients = [
        tuple(
            _gradient(path.gradients[call], dtype, scale, feature, call)
            for path, dtype in zip(paths, dtypes, strict=True)
        )
        for call in range(structure.calls)
    ]
    if feature.loss_scaling is not None:
        gradients[-2] = _with_infinity(gradients[-2])
    labels = (structure.name, feature.name, form.update, "mixed" if feature.dtypes else form.dtype.name)
    case = Case(
        id=PREFIX + "/".join(label for label in labels if label),
        config=config,
        names=tuple(structure.shapes),
        variables=tuple(
            readonly(_of(path.weights, dtype)) for path, dtype in zip(paths, dtypes, strict=True)
        ),
        gradients=tuple(gradients),
        state=_state(structure, config, feature, paths, dtypes) if structure.calls_before else None,
        excluded_from_weight_decay=feature.excluded,
        loss_scaling=feature.loss_scaling,
        learning_rate_calls=tuple(feature.rates[i % len(feature.rates)] for i in range(structure.calls))
        if feature.rates
        else None,
        finalize=config["use_ema"],
        exposes=exposes,
        notes=structure.notes,
        layouts=_layouts(structure),
    )
    return with_layouts(case)


class _Path(NamedTuple):
    """The start of a variable, and the gradients that move it; None in calls without a gradient."""

    weights: Array
    velocity: Array
    gradients: list[Array | None]


# All forms of a structure, and most features beside it, have the same paths.
@cache
def _paths(structure: Structure, rates: tuple[float, ...]) -> tuple[_Path, ...]:
    numbers = NumberStream(structure.name)
    return tuple(
        _path(numbers, structure, name, position, rates) for position, name in enumerate(structure.shapes)
    )


def _path(
    numbers: NumberStream, structure: Structure, name: str, position: int, rates: Sequence[float]
) -> _Path:
    """Draw a velocity for each call, and compute the gradient that leads to it under momentum.

    With whole velocities, the gradients are whole numbers. All variables are multiples of 1/4 and no
    multiples of 1/2, even if the same gradients are used with plain descent or Nesterov momentum.
    """
    shape = structure.shapes[name]
    drawn = [1 if axis in structure.equal_along.get(name, ()) else n for axis, n in enumerate(shape)]

    def choice() -> Array:
        values = np.ceil(np.abs(numbers.array(tuple(drawn), FLOAT64, 3.0)))
        signs = np.where(numbers.array(tuple(drawn), FLOAT64, 1.0) < 0, -1.0, 1.0)
        if name in structure.fine:
            steps = 2.0 ** structure.fine[name]
            # An odd number of the smallest steps, up to one half.
            odd = 2 * np.floor(np.abs(numbers.array(tuple(drawn), FLOAT64, 0.25)) * steps) + 1
            values = values + odd / steps
        return np.asarray(np.broadcast_to(values * signs, shape))

    weights = np.asarray(np.floor(numbers.array(shape, FLOAT64, 2.0)) + 0.25)
    if structure.weights is not None:
        weights = structure.weights(weights)
    velocity = choice() if structure.calls_before else np.zeros(shape)
    start, way = velocity, np.zeros(shape)
    gradients: list[Array | None] = []
    for call in range(structure.calls):
        if structure.missing(call, position):
            gradients.append(None)
            continue
        new = choice()
        new = np.where(np.abs(way + new) > FARTHEST, -new, new)
        gradients.append((MOMENTUM * velocity - new) / rates[call % len(rates)])
        velocity, way = new, way + new
    return _Path(weights, start, gradients)


def _gradient(
    values: Array | None, dtype: np.dtype[Any], scale: float, feature: Feature, call: int
) -> Array | SparseRows | None:
    if values is None:
        return None
    if feature.sparse and values.ndim == 2 and call % 2 == 0:
        rows = list(range(0, len(values), 2))
        # The first row occurs twice, so that the two are added.
        return SparseRows(
            readonly(np.array([*rows, 0])), readonly(_of(values[[*rows, -1]] * scale, dtype)), values.shape
        )
    return readonly(_of(values * scale, dtype))


def _with_infinity(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the gradients with an infinity as the last element of the last gradient that has elements."""
    position = max(
        i for i, gradient in enumerate(gradients) if isinstance(gradient, np.ndarray) and gradient.size
    )
    changed = np.array(gradients[position])
    changed.reshape(-1)[-1] = np.inf
    return (*gradients[:position], readonly(changed), *gradients[position + 1 :])


def _state(
    structure: Structure,
    config: Mapping[str, Any],
    feature: Feature,
    paths: Sequence[_Path],
    dtypes: list[np.dtype[Any]],
) -> State:
    """Return a state in which no two arrays of one kind are equal."""

    def kept(wanted: Any, shift: float) -> tuple[Array, ...]:
        if not wanted:
            return ()
        pairs = zip(paths, dtypes, strict=True)
        return tuple(
            readonly(_of(path.velocity + shift * np.sign(path.velocity), dtype)) for path, dtype in pairs
        )

    return State(
        calls=structure.calls_before,
        velocities=kept(config["momentum"], 0),
        averages=kept(config["use_ema"], 2),
        accumulators=kept(config["gradient_accumulation_steps"], 4),
        loss_scale=None if feature.loss_scaling is None else feature.loss_scaling.initial_scale * 2,
        growth_counter=None if feature.loss_scaling is None else 1,
    )


def _layouts(structure: Structure) -> Layouts | None:
    if not structure.variable_layouts and not structure.gradient_layouts:
        return None
    return Layouts(
        tuple(structure.variable_layouts.get(name, CONTIGUOUS) for name in structure.shapes),
        tuple(structure.gradient_layouts.get(name, CONTIGUOUS) for name in structure.shapes),
    )


def _of(values: Array, dtype: np.dtype[Any]) -> Array:
    return convert(np.array(values, FLOAT64), dtype)
