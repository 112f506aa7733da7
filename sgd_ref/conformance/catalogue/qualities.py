"""The values of each feature axis that a case has, derived from its settings and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT16, FORMATS, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.settings import CLIPPINGS
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.gradients import SparseRows

SCHEDULES = {
    "PiecewiseConstantDecay": "piecewise",
    "ExponentialDecay": "exponential",
    "InverseTimeDecay": "inverse_time",
    "PolynomialDecay": "polynomial",
    "CosineDecay": "cosine",
    "CosineDecayRestarts": "restarts",
}
"""The values of the axis "learning_rate" for the names of schedules."""

BESIDE_AXES: Mapping[str, tuple[str, ...]] = {
    "shapes": ("filled", "empty", "scalar"),
    "start": ("fresh", "resumed"),
}
"""Axes that combinations do not vary: whether variables have elements and axes, no elements, or no axes; and
whether a case begins or resumes."""

Values = set[str]


def qualities(case: Case) -> dict[str, frozenset[str]]:
    """Return for each axis the values that a case has; it may have several kinds of gradients or numbers.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> by_id = {case.id: case for case in conformance.cases()}
    >>> found = qualities(by_id["named/missing-on-update-call"])
    >>> sorted(found["gradients"]), sorted(found["accumulation"])
    (['dense', 'missing'], ['2'])
    """
    return {axis: qualities_on(axis, case) for axis in FINDERS}


def qualities_on(axis: str, case: Case) -> frozenset[str]:
    """Return the values that a case has on one axis.

    >>> qualities_on("start", Case(id="", config={}, names=(), variables=(), gradients=()))
    frozenset({'fresh'})
    """
    given = case.features or {}
    return frozenset(FINDERS[axis](case) | ({given[axis]} if axis in given else set()))


def _dtype(case: Case) -> Values:
    dtypes = {variable.dtype.name for variable in case.variables}
    return dtypes | ({"mixed"} if len(dtypes) > 1 else set())


def _update(case: Case) -> Values:
    if not case.config["momentum"]:
        return {"plain"}
    return {"nesterov" if case.config["nesterov"] else "momentum"}


def _weight_decay(case: Case) -> Values:
    if case.config["weight_decay"] is None:
        return {"none"}
    is_any_excluded = any(part in name for part in case.excluded_from_weight_decay for name in case.names)
    return {"exclusion" if is_any_excluded else "decay"}


def _clipping(case: Case) -> Values:
    return {name for name in CLIPPINGS if case.config[name] is not None} or {"none"}


def _averages(case: Case) -> Values:
    if not case.config["use_ema"]:
        return {"none"}
    return {"averages" if case.config["ema_overwrite_frequency"] is None else "overwrite"}


def _accumulation(case: Case) -> Values:
    steps = case.config["gradient_accumulation_steps"]
    return {"none" if steps is None else str(steps)}


def _loss_scaling(case: Case) -> Values:
    factor = case.config["loss_scale_factor"]
    if case.loss_scaling is not None:
        return {"dynamic"}
    if factor is None:
        return {"none"}
    return {"fixed" if np.frexp(factor)[0] == 0.5 else "fixed-96"}


def _learning_rate(case: Case) -> Values:
    given: Any = case.config["learning_rate"]
    if case.learning_rate_calls is not None:
        return {"callable"}
    return {SCHEDULES[given["class_name"]] if isinstance(given, dict) else "constant"}


def _gradients(case: Case) -> Values:
    def kind(gradient: Array | SparseRows | None) -> str:
        if gradient is None:
            return "missing"
        return "sparse" if isinstance(gradient, SparseRows) else "dense"

    return {kind(gradient) for call in case.gradients for gradient in call}


def _values(case: Case) -> Values:
    found = {"ordinary"}
    for array in arrays(case):
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(array)
        if not finite.all():
            found.add("special")
        magnitudes = np.abs(np.where(finite, array, np.ones_like(array)).astype(np.float64))
        normal = float(FORMATS[array.dtype].smallest_normal)
        if ((magnitudes > 0) & (magnitudes < normal)).any():
            found.add("subnormal")
    return found


def _settings(case: Case) -> Values:
    numbers = [value for value in case.config.values() if type(value) is float]
    return {"dyadic" if all(float(setting(value, FLOAT16)) == value for value in numbers) else "decimal"}


def shape_of(variable: Array) -> str:
    """Return the value of a variable on the axis "shapes".

    >>> shape_of(np.zeros((2, 0))), shape_of(np.zeros(())), shape_of(np.zeros(1))
    ('empty', 'scalar', 'filled')
    """
    if variable.ndim == 0:
        return "scalar"
    return "filled" if variable.size else "empty"


def _shapes(case: Case) -> Values:
    return {shape_of(variable) for variable in case.variables}


def _start(case: Case) -> Values:
    return {"fresh" if case.state is None else "resumed"}


FINDERS: Mapping[str, Callable[[Case], Values]] = {
    "dtype": _dtype,
    "update": _update,
    "weight_decay": _weight_decay,
    "clipping": _clipping,
    "averages": _averages,
    "accumulation": _accumulation,
    "loss_scaling": _loss_scaling,
    "learning_rate": _learning_rate,
    "gradients": _gradients,
    "values": _values,
    "settings": _settings,
    "shapes": _shapes,
    "start": _start,
}
"""For each axis, the function that finds its values; the coverage of a report counts every axis that is
listed here."""


def arrays(case: Case) -> Iterator[Array]:
    """Yield the variables of a case and the values of its gradients."""
    yield from case.variables
    for call in case.gradients:
        for gradient in call:
            if gradient is not None:
                yield gradient.values if isinstance(gradient, SparseRows) else gradient
