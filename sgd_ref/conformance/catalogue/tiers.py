"""The catalogue: combinations of features become cases; degenerate ones are refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, overload

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance.catalogue.axes import (
    AXES,
    CALLABLE_RATES,
    DYNAMIC_GROWTH_STEPS,
    LOSS_SCALES,
    SCHEDULE_UNITS,
    SCHEDULES,
    SETTINGS,
    Features,
    combination,
    complete,
)
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.combinations import case_id, kept_combinations, seed, smoke_ids
from sgd_ref.conformance.catalogue.degenerate import refuse_degenerate
from sgd_ref.conformance.catalogue.first import first_cases
from sgd_ref.conformance.catalogue.named import named_cases
from sgd_ref.conformance.catalogue.numbers import (
    NumberStream,
    readonly,
    with_special_gradient,
    with_special_weights,
    with_subnormals,
)
from sgd_ref.conformance.catalogue.structure import structure_cases
from sgd_ref.gradients import SparseRows

TIERS = ("first", "smoke", "standard", "full")

SHAPES: dict[str, tuple[int, ...]] = {
    "kernel": (7, 5),
    "bias": (5,),
    "table": (17, 4),
    "scale": (),
    "nothing": (0,),
}
MIXED = {
    "kernel": "float32",
    "bias": "float16",
    "table": "bfloat16",
    "scale": "float32",
    "nothing": "float16",
}

# The norms of the gradients lie on both sides of the thresholds of the clippings.
MAGNITUDES = (1.0, 0.25, 3.0)


def cases(tier: str = "standard") -> Sequence[Case]:
    """Return the cases of a tier.

    Parameters
    ----------
    tier : str
        "first": small cases that a person can follow. "smoke": plain cases, and a few others, that together
        expose every known deviation and run in seconds. "standard": each feature alone, every pair of values
        of any two feature axes, combinations on which every evaluation in the documented order gives the same
        bits, the named cases, and those of structure. "full": the product of all axes; each case is made when
        it is first needed.

    Returns
    -------
    sequence of Case

    Raises
    ------
    ValueError
        If there is no such tier.

    Examples
    --------
    >>> len(cases("smoke")) < len(cases("standard")) < len(cases("full"))
    True
    """
    if tier == "full":
        return FullProduct()
    if tier == "standard":
        return _standard()
    if tier == "smoke":
        return _smoke()
    if tier == "first":
        return _first()
    raise ValueError(f"tier must be one of {', '.join(TIERS)}, got {tier!r}")


class FullProduct(Sequence[Case]):
    """The product of all axes; each case is made when it is read."""

    def __len__(self) -> int:
        return math.prod(len(values) for values in AXES.values())

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be below {len(self)}, got {index}")
        return make_case(combination(index % len(self)))

    def __iter__(self) -> Iterator[Case]:
        return (self[index] for index in range(len(self)))


@cache
def _standard() -> tuple[Case, ...]:
    return (
        *(
            make_case(combination.features, combination.seed, combination.exposes)
            for combination in kept_combinations()
        ),
        *named_cases(),
        *structure_cases(),
    )


@cache
def _smoke() -> tuple[Case, ...]:
    chosen = set(smoke_ids())
    return tuple(case for case in _standard() if case.id in chosen)


@cache
def _first() -> tuple[Case, ...]:
    return tuple(first_cases())


def make_case(features: Features, seeded_by: str | None = None, exposes: Sequence[str] = ()) -> Case:
    """Return the case of a combination of features.

    Parameters
    ----------
    features : mapping of str to str
        Values of axes; an axis that is left out has its plainest value.
    seeded_by : str, optional
        The text that the numbers are drawn from; by default that of the combination.
    exposes : sequence of str, optional
        The known deviations that the case is for.

    Raises
    ------
    ValueError
        If an axis or a value is unknown, or the case is degenerate.
    """
    features = complete(features)
    arrays = _arrays(features, seed(features) if seeded_by is None else seeded_by)
    config, rates, units = _config(features, len(arrays.gradients))
    case = Case(
        id=case_id(features),
        config=config,
        names=tuple(SHAPES),
        variables=arrays.variables,
        gradients=arrays.gradients,
        excluded_from_weight_decay=("bias",) if features["weight_decay"] == "exclusion" else (),
        loss_scaling=LossScaling(LOSS_SCALES["dynamic"], DYNAMIC_GROWTH_STEPS)
        if features["loss_scaling"] == "dynamic"
        else None,
        learning_rate_calls=rates,
        finalize=features["averages"] != "none",
        features=dict(features),
        learning_rate_units=units,
        exposes=tuple(exposes),
        notes="a combination of the feature axes",
    )
    refuse_degenerate(case)
    return case


def _config(features: Features, calls: int) -> tuple[dict[str, Any], tuple[float, ...] | None, int]:
    """Return the config, the values of a callable learning rate, and the error of a schedule in units."""
    numbers = SETTINGS[features["settings"]]
    kind = features["learning_rate"]
    learning_rate: Any = numbers.learning_rate if kind == "constant" else None
    rates = None
    if kind == "callable":
        values = CALLABLE_RATES[features["settings"]]
        rates = tuple(values[call % len(values)] for call in range(calls))
    elif kind != "constant":
        learning_rate = SCHEDULES[features["settings"]][kind]
    clipping, accumulation = features["clipping"], features["accumulation"]
    scaling = features["loss_scaling"]
    config = {
        "learning_rate": learning_rate,
        "momentum": 0.0 if features["update"] == "plain" else numbers.momentum,
        "nesterov": features["update"] == "nesterov",
        "weight_decay": None if features["weight_decay"] == "none" else numbers.weight_decay,
        "clipnorm": numbers.clipnorm if clipping == "clipnorm" else None,
        "clipvalue": numbers.clipvalue if clipping == "clipvalue" else None,
        "global_clipnorm": numbers.global_clipnorm if clipping == "global_clipnorm" else None,
        "use_ema": features["averages"] != "none",
        "ema_momentum": numbers.ema_momentum,
        "ema_overwrite_frequency": 2 if features["averages"] == "overwrite" else None,
        "name": "SGD",
        "loss_scale_factor": LOSS_SCALES[scaling] if scaling.startswith("fixed") else None,
        "gradient_accumulation_steps": None if accumulation == "none" else int(accumulation),
    }
    return config, rates, SCHEDULE_UNITS.get(kind, 0)


class _Arrays(NamedTuple):
    variables: tuple[Array, ...]
    gradients: tuple[tuple[Array | SparseRows | None, ...], ...]


def _arrays(features: Features, seeded_by: str) -> _Arrays:
    stream = NumberStream(seeded_by)
    dtypes = _dtypes(features["dtype"])
    calls = 9 if features["accumulation"] == "none" else 12
    scale = LOSS_SCALES.get(features["loss_scaling"], 1.0)
    variables = []
    for name, shape in SHAPES.items():
        weights = stream.array(shape, dtypes[name], 2.0)
        if features["values"] == "special":
            weights = with_special_weights(weights)
        elif features["values"] == "subnormal":
            weights = with_subnormals(weights)
        variables.append(readonly(weights))
    gradients = []
    for call in range(calls):
        magnitude = MAGNITUDES[call % len(MAGNITUDES)] * scale
        gradients.append(
            tuple(
                _gradient(features, stream, shape, dtypes[name], magnitude, call, calls, position)
                for position, (name, shape) in enumerate(SHAPES.items())
            )
        )
    return _Arrays(tuple(variables), tuple(gradients))


def _gradient(
    features: Features,
    stream: NumberStream,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    magnitude: float,
    call: int,
    calls: int,
    position: int,
) -> Array | SparseRows | None:
    if features["gradients"] == "missing" and (2 * call + position) % len(SHAPES) == 0:
        return None
    sparse = features["gradients"] == "sparse" and len(shape) == 2
    rows = stream.rows(shape, dtype, magnitude) if sparse else None
    values = stream.array(shape, dtype, magnitude) if rows is None else rows.values
    if features["values"] == "special":
        values = with_special_gradient(values, call, calls)
    elif features["values"] == "subnormal":
        values = with_subnormals(values)
    if features["loss_scaling"] == "dynamic" and call == 4 and position == 0:
        values = np.array(values)
        values.reshape(-1)[-1] = math.inf
    readonly(values)
    return values if rows is None else SparseRows(readonly(rows.indices), values, shape)


def _dtypes(kind: str) -> Mapping[str, np.dtype[Any]]:
    names = MIXED if kind == "mixed" else dict.fromkeys(SHAPES, kind)
    return {name: BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype) for name, dtype in names.items()}
