"""Exact cases: every intermediate of every faithful evaluation is a number of the dtype.

Weights and gradients are small integers; settings and norms are powers of two. No operation rounds, whatever
the order of evaluation. So there is only one right answer, and an error of one unit is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.named.exact_configs import CONFIGS, Features
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly
from sgd_ref.gradients import SparseRows

SHAPES: dict[str, tuple[int, ...]] = {"kernel": (9, 8), "table": (6, 5), "bias": (5,), "scale": ()}
"""Four variables, since a power of four is the sum of two or three squares only if all but one are 0."""

NONZERO = {"kernel": (16, 1), "table": (16, 1), "bias": (4, 2), "scale": (1, 4)}
"""Number and magnitude of the elements of each gradient. Each norm is 4, and the common norm is 8."""

CALLS = 9


_OWN = ("excluded", "dynamic", "rates", "gradients", "calls", "exposes")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, (features, dtypes) in CONFIGS.items():
        for dtype in dtypes:
            yield _case(name, features, dtype)


def _case(name: str, features: Features, dtype: np.dtype[Any]) -> Case:
    numbers = NumberStream(f"exact/{name}")
    settings = {key: value for key, value in features.items() if key not in _OWN}
    config = PLAIN_CONFIG | {"learning_rate": 0.5} | settings
    rates = features.get("rates")
    if rates is not None:
        config["learning_rate"] = None
    scaling, not_finite = features.get("dynamic", (None, {}))
    scale = config["loss_scale_factor"] or (1.0 if scaling is None else scaling.initial_scale)
    calls = 12 if config["gradient_accumulation_steps"] else CALLS
    variables = tuple(_weights(numbers, shape, dtype) for shape in SHAPES.values())
    gradients = [
        tuple(
            _gradient(numbers, features, (call, position), label, dtype, scale)
            for position, label in enumerate(SHAPES)
        )
        for call in range(calls)
    ]
    for call, value in not_finite.items():
        gradients[call] = _with_last(gradients[call], value)
    return Case(
        id=f"exact/{name}/{dtype.name}",
        config=config,
        names=tuple(SHAPES),
        variables=variables,
        gradients=tuple(gradients),
        state=_state(numbers, features, config, dtype),
        excluded_from_weight_decay=tuple(features.get("excluded", ())),
        loss_scaling=scaling,
        learning_rate_calls=None
        if rates is None
        else tuple(rates[call % len(rates)] for call in range(calls)),
        finalize=config["use_ema"],
        exposes=features["exposes"],
        notes="Nothing is rounded in any faithful evaluation: one unit off is wrong.",
    )


def _weights(numbers: NumberStream, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return readonly(_integers(numbers, shape, dtype, 8))


def _integers(numbers: NumberStream, shape: tuple[int, ...], dtype: np.dtype[Any], largest: int) -> Array:
    return convert(np.asarray(np.round(numbers.array(shape, FLOAT64, largest))), dtype)


def _gradient(
    numbers: NumberStream,
    features: Features,
    place: tuple[int, int],
    label: str,
    dtype: np.dtype[Any],
    scale: float,
) -> Array | SparseRows | None:
    call, position = place
    if features.get("gradients") == "missing" and (call + position) % 3 == 0:
        return None
    shape = SHAPES[label]
    if features.get("gradients") == "sparse" and len(shape) == 2:
        rows = numbers.rows(shape, FLOAT64, 4.0)
        return SparseRows(
            readonly(rows.indices), readonly(convert(np.round(rows.values) * scale, dtype)), shape
        )
    count, magnitude = NONZERO[label]
    # In turn, the gradients are larger than the limits, equal to them, and smaller.
    size = magnitude * (2.0, 1.0, 0.5, 0.25)[call % 4] * scale
    order = np.argsort(numbers.array((math.prod(shape),), FLOAT64, 1.0), kind="stable")
    signs = np.where(numbers.array((count,), FLOAT64, 1.0) < 0, -1.0, 1.0)
    values = np.zeros(math.prod(shape))
    values[order[:count]] = signs * size
    return readonly(convert(values.reshape(shape), dtype))


def _with_last(gradients: tuple[Any, ...], value: float) -> tuple[Any, ...]:
    first = np.array(gradients[0])
    first.reshape(-1)[-1] = value
    return (readonly(first), *gradients[1:])


def _state(
    numbers: NumberStream, features: Features, config: Mapping[str, Any], dtype: np.dtype[Any]
) -> State | None:
    if "calls" not in features:
        return None

    def kept(largest: int) -> tuple[Array, ...]:
        return tuple(readonly(_integers(numbers, shape, dtype, largest)) for shape in SHAPES.values())

    return State(
        calls=features["calls"],
        velocities=kept(4) if config["momentum"] else (),
        averages=kept(8) if config["use_ema"] else (),
        accumulators=kept(4) if config["gradient_accumulation_steps"] else (),
        loss_scale=4.0 if features.get("dynamic") else None,
        growth_counter=2 if features.get("dynamic") else None,
    )
