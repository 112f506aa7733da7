"""The first cases: so small that a person can follow them, and a program can include them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly
from sgd_ref.gradients import SparseRows

NAMES = ("kernel", "bias")
SHAPES = ((2, 2), (2,))

# The norms of the gradients lie on both sides of the thresholds of the clippings.
MAGNITUDES = (1.0, 0.25, 3.0)

Place = tuple[int, int]
"""A call and the position of a variable."""


@dataclass(frozen=True)
class _Plan:
    """The description of one of the first cases."""

    name: str
    notes: str
    settings: dict[str, Any]
    calls: int = 4
    dtypes: Sequence[np.dtype[Any]] = (FLOAT32, FLOAT32)
    excluded: tuple[str, ...] = ()
    loss_scaling: LossScaling | None = None
    rates: tuple[float, ...] | None = None
    missing: frozenset[Place] = frozenset()
    sparse: frozenset[Place] = frozenset()
    special: dict[Place, tuple[float, ...]] = field(default_factory=dict)
    weights: tuple[float, ...] = ()
    scale: float = 1.0
    units: int = 0


def first_cases() -> Iterator[Case]:
    """Yield the cases, always the same.

    >>> [case.id for case in first_cases()][:2]
    ['first/plain', 'first/momentum']
    """
    for plan in _PLANS:
        yield _made(plan)


def _made(plan: _Plan) -> Case:
    # The numbers are drawn from the original id, which has since changed.
    numbers = NumberStream(f"smoke/{plan.name}")
    shapes = list(zip(SHAPES, plan.dtypes, strict=True))
    variables = [numbers.array(shape, dtype, 2.0) for shape, dtype in shapes]
    _place(variables[0], plan.weights)
    gradients = []
    for call in range(plan.calls):
        magnitude = MAGNITUDES[call % len(MAGNITUDES)] * plan.scale
        row: list[Array | SparseRows | None] = []
        for position, (shape, dtype) in enumerate(shapes):
            gradient = numbers.array(shape, dtype, magnitude)
            _place(gradient, plan.special.get((call, position), ()))
            row.append(_form(plan, (call, position), readonly(gradient)))
        gradients.append(tuple(row))
    return Case(
        id=f"first/{plan.name}",
        config=PLAIN_CONFIG | plan.settings,
        names=NAMES,
        variables=tuple(readonly(variable) for variable in variables),
        gradients=tuple(gradients),
        excluded_from_weight_decay=plan.excluded,
        loss_scaling=plan.loss_scaling,
        learning_rate_calls=plan.rates,
        finalize=bool(plan.settings.get("use_ema")),
        learning_rate_units=plan.units,
        notes=plan.notes,
    )


def _form(plan: _Plan, place: Place, gradient: Array) -> Array | SparseRows | None:
    if place in plan.missing:
        return None
    if place in plan.sparse:
        # One row occurs twice, so that the two are added.
        return SparseRows([1, 1], gradient, gradient.shape)
    return gradient


def _place(array: Array, values: Sequence[float]) -> None:
    array.reshape(-1)[: len(values)] = values


_PLANS = (
    _Plan("plain", "Weights and gradients, nothing else.", {"learning_rate": 0.1}, calls=2),
    _Plan(
        "momentum",
        "The rate changes between the calls, so that a velocity without the rate gives other weights.",
        {
            "learning_rate": {
                "class_name": "PiecewiseConstantDecay",
                "config": {"boundaries": [0, 2], "values": [0.25, 0.0625, 0.375]},
            },
            "momentum": 0.875,
        },
    ),
    _Plan(
        "nesterov-and-decay",
        "Decay shrinks weights with a gradient, but not those of the bias; the rate is a callable.",
        {"learning_rate": None, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
        excluded=("ias",),
        missing=frozenset({(2, 0)}),
        rates=(0.25, 0.03125, 0.4, 0.125),
    ),
    _Plan(
        "clipnorm",
        "Each gradient has its own norm; decay is not clipped.",
        {"clipnorm": 0.8, "momentum": 0.875, "weight_decay": 0.0625},
        calls=3,
        dtypes=(FLOAT16, FLOAT16),
    ),
    _Plan(
        "global-clipnorm",
        "One norm of all gradients that are there.",
        {"global_clipnorm": 1.7, "momentum": 0.875, "nesterov": True},
        missing=frozenset({(1, 1)}),
    ),
    _Plan(
        "clipvalue",
        "NaN and zeros pass the clipping, infinities do not.",
        {"clipvalue": 0.625},
        calls=2,
        dtypes=(BFLOAT16, BFLOAT16),
        special={(0, 0): (math.inf, -0.0, -math.inf), (1, 1): (math.nan, 0.0)},
        weights=(1.5, -0.0),
    ),
    _Plan(
        "averages",
        "The first average is stored, every second update overwrites the weights, and the end does, too.",
        {
            "use_ema": True,
            "ema_momentum": 0.9,
            "ema_overwrite_frequency": 2,
        },
        calls=5,
        dtypes=(FLOAT64, FLOAT32),
        missing=frozenset({(0, 1), (3, 0)}),
        special={(0, 0): (0.0,)},
        weights=(-0.0,),
    ),
    _Plan(
        "accumulation",
        "Three calls make one update, which reads the rate of its own call and clips the mean.",
        {
            "learning_rate": {
                "class_name": "ExponentialDecay",
                "config": {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.7},
            },
            "gradient_accumulation_steps": 3,
            "clipnorm": 1.0,
            "momentum": 0.9,
            "weight_decay": 0.05,
        },
        calls=6,
        missing=frozenset({(1, 1), (3, 0)}),
        special={(2, 0): (-0.0, 0.5)},
        units=8,
    ),
    _Plan(
        "loss-scale",
        "Gradients are divided by the scale, sparse ones after their rows are added, in float32 at least.",
        {"loss_scale_factor": 96.0, "clipvalue": 0.6, "momentum": 0.9},
        calls=3,
        dtypes=(FLOAT16, BFLOAT16),
        sparse=frozenset({(0, 0), (2, 0)}),
        scale=96.0,
    ),
    _Plan(
        "dynamic-loss-scale",
        "A call with an infinity is skipped and halves the scale, which doubles after two finite calls.",
        {"momentum": 0.875, "gradient_accumulation_steps": 2},
        calls=6,
        loss_scaling=LossScaling(8.0, 2),
        special={(3, 1): (math.inf,), (4, 0): (math.nan,)},
        scale=8.0,
    ),
    _Plan(
        "cosine",
        "The rate climbs for two calls, falls along a cosine, and stays; it is the nearest float32.",
        {
            "learning_rate": {
                "class_name": "CosineDecay",
                "config": {
                    "initial_learning_rate": 0.05,
                    "decay_steps": 3,
                    "alpha": 0.2,
                    "warmup_target": 0.3,
                    "warmup_steps": 2,
                },
            },
            "weight_decay": 0.1,
        },
        calls=6,
        units=12,
    ),
    _Plan(
        "subnormal",
        "Numbers too small for full precision are numbers.",
        {"momentum": 0.5, "clipvalue": 2.0**-126},
        calls=3,
        weights=(2.0**-127, -(2.0**-149), 2.0**-126),
        scale=2.0**-126,
    ),
    _Plan(
        "mixed-dtypes",
        "Everything is on, and each variable has a dtype of its own.",
        {
            "learning_rate": 0.1,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 0.3,
            "clipnorm": 0.7,
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
            "loss_scale_factor": 1024.0,
        },
        calls=5,
        dtypes=(FLOAT32, FLOAT16),
        excluded=("bias",),
        scale=1024.0,
    ),
)
