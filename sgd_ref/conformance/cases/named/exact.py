"""Exact cases: every intermediate of every faithful evaluation is a number of the dtype.

Weights and gradients are small integers, settings are powers of two, and so are all norms. Nothing is ever
rounded, in whatever order is computed, so that there is one right answer and one unit off is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.cases.case import Case, LossScaling, State
from sgd_ref.conformance.cases.named.building import PLAIN_CONFIG
from sgd_ref.conformance.cases.numbers import NumberStream, readonly
from sgd_ref.gradients import SparseRows

SHAPES: dict[str, tuple[int, ...]] = {"kernel": (9, 8), "table": (6, 5), "bias": (5,), "scale": ()}
"""Four variables, since no power of four is a sum of two or three squares but trivially."""

NONZERO = {"kernel": (16, 1), "table": (16, 1), "bias": (4, 2), "scale": (1, 4)}
"""Number and magnitude of the elements of a gradient: the norm of each is 4, of all together 8."""

CALLS = 9

Features = Mapping[str, Any]

PIECEWISE = {
    "class_name": "PiecewiseConstantDecay",
    "config": {"boundaries": [2, 5], "values": [0.5, 0.125, 0.25]},
}
LINEAR = {
    "class_name": "PolynomialDecay",
    "config": {"initial_learning_rate": 0.5, "decay_steps": 8, "end_learning_rate": 0.0625, "power": 1.0},
}
STAIRCASE = {
    "class_name": "ExponentialDecay",
    "config": {"initial_learning_rate": 0.5, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
}

LARGE_SCALE = LossScaling(8.0, 3), {4: math.inf}
SMALL_SCALE = LossScaling(0.5, 2), {1: -math.inf, 3: math.nan, 4: math.inf}
IN_WINDOWS = LossScaling(8.0, 3), {2: math.inf, 6: -math.inf}
"""Dynamic loss scaling, and in which calls which number is not finite."""

MOMENTUM = {"momentum": 0.5}
NESTEROV = {"momentum": 0.5, "nesterov": True}

SINGLE_AND_WIDER = (FLOAT32, FLOAT64)
ALL = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)

CONFIGS: dict[str, tuple[Features, tuple[np.dtype[Any], ...]]] = {
    "plain": (
        {"exposes": ("scalars-skipped", "first-variable-only", "ascends", "rate-left-out-without-momentum")},
        ALL,
    ),
    "momentum": (
        MOMENTUM
        | {
            "exposes": (
                "zero-elements-skipped",
                "moves-by-old-velocity",
                "nesterov-unasked",
                "velocities-in-bfloat16",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "nesterov": (
        NESTEROV | {"exposes": ("nesterov-ignored", "look-ahead-kept", "look-ahead-before-velocity")},
        SINGLE_AND_WIDER,
    ),
    "decay": (
        {"weight_decay": 0.5}
        | {
            "exposes": (
                "decay-multiplies-gradient",
                "decay-without-rate",
                "decay-after-update",
                "decay-skipped-without-momentum",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "momentum-and-decay": (
        MOMENTUM
        | {"weight_decay": 0.5}
        | {
            "exposes": (
                "decay-enters-velocity",
                "decay-is-clipped",
                "decay-before-unscaling",
                "decay-ignored",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "nesterov-and-decay": (
        NESTEROV
        | {"weight_decay": 0.25, "gradient_accumulation_steps": 2}
        | {"exposes": ("accumulator-keeps-mean", "decay-while-accumulating", "nesterov-with-full-velocity")},
        SINGLE_AND_WIDER,
    ),
    "exclusion": (
        MOMENTUM
        | {"weight_decay": 0.5, "excluded": ("bias", "kern")}
        | {"exposes": ("decay-twice", "exclusion-ignored", "exclusion-by-whole-name", "vectors-not-decayed")},
        SINGLE_AND_WIDER,
    ),
    "clipvalue": (
        MOMENTUM
        | {"clipvalue": 1.0}
        | {"exposes": ("clipvalue-is-norm", "clipvalue-drops-sign", "clips-the-velocity")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "clipnorm": (
        {"clipnorm": 2.0}
        | {
            "exposes": (
                "clips-to-one",
                "clipnorm-by-rows",
                "clipnorm-of-large-elements-only",
                "largest-element-as-norm",
            )
        },
        ALL,
    ),
    "clipnorm-and-momentum": (
        MOMENTUM
        | {"clipnorm": 2.0}
        | {"exposes": ("scales-up-to-clipnorm", "clipnorm-is-global", "clip-adds-epsilon")},
        SINGLE_AND_WIDER,
    ),
    "global-clipnorm": (
        {"global_clipnorm": 4.0}
        | {
            "exposes": (
                "global-clipnorm-by-variable",
                "norm-without-root",
                "global-norm-adds-norms",
                "global-norm-without-first-gradient",
            )
        },
        ALL,
    ),
    "global-clipnorm-and-nesterov": (
        NESTEROV
        | {"global_clipnorm": 4.0}
        | {"exposes": ("limit-squared", "clip-adds-epsilon", "global-norm-is-largest-norm")},
        SINGLE_AND_WIDER,
    ),
    "averages": (
        {"use_ema": True}
        | {"exposes": ("finalize-ignored", "finalize-overwrites-averages", "finalize-exchanges")},
        SINGLE_AND_WIDER,
    ),
    "averages-of-momentum": (
        MOMENTUM
        | {"use_ema": True, "gradient_accumulation_steps": 2}
        | {"exposes": ("averages-on-every-call", "averages-debiased", "first-average-by-calls")},
        SINGLE_AND_WIDER,
    ),
    "overwrite": (
        {"use_ema": True, "ema_overwrite_frequency": 3}
        | {"exposes": ("first-average-computed", "overwrite-one-late", "overwrite-before-average")},
        SINGLE_AND_WIDER,
    ),
    "accumulation": (
        MOMENTUM
        | {"gradient_accumulation_steps": 2}
        | {"exposes": ("updates-times-zero", "last-gradient-dropped", "velocity-decays-while-accumulating")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "accumulation-of-four": (
        NESTEROV
        | {"gradient_accumulation_steps": 4}
        | {"exposes": ("summed-in-place", "accumulator-overwritten", "look-ahead-stored-as-velocity")},
        SINGLE_AND_WIDER,
    ),
    "loss-scale": (
        MOMENTUM
        | {"loss_scale_factor": 256.0}
        | {"exposes": ("unscaled-in-place", "scaled-again", "zero-elements-skipped")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale": (
        MOMENTUM
        | {"dynamic": LARGE_SCALE}
        | {
            "exposes": (
                "scale-starts-anew",
                "skipped-call-with-zeros",
                "skipped-call-moves-velocities",
                "skipped-call-decays-velocities",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "small-loss-scale": (
        MOMENTUM
        | {"dynamic": SMALL_SCALE}
        | {
            "exposes": (
                "only-nan-tested",
                "only-infinity-tested",
                "non-finite-elements-zeroed",
                "skipped-call-decays-velocities",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale-in-windows": (
        MOMENTUM
        | {"dynamic": IN_WINDOWS, "gradient_accumulation_steps": 2}
        | {
            "exposes": (
                "growth-one-late",
                "growth-counts-updates",
                "skipped-call-resets-accumulators",
                "unscaled-after-accumulation",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale-and-averages": (
        {"dynamic": LARGE_SCALE, "use_ema": True}
        | {
            "exposes": (
                "first-average-computed",
                "unscaled-with-previous-scale",
                "finiteness-not-tested",
                "skipped-call-averages",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "piecewise": (
        MOMENTUM
        | {"learning_rate": PIECEWISE}
        | {"exposes": ("schedule-one-behind", "boundary-excluded", "dampened")},
        SINGLE_AND_WIDER,
    ),
    "piecewise-of-calls": (
        NESTEROV
        | {"learning_rate": PIECEWISE, "gradient_accumulation_steps": 2, "weight_decay": 0.5}
        | {"exposes": ("schedule-counts-updates", "first-gradient-dropped", "decay-with-previous-rate")},
        SINGLE_AND_WIDER,
    ),
    "linear": (
        {"learning_rate": LINEAR}
        | {"exposes": ("updates-counted-twice", "schedule-ends-one-early", "polynomial-compounds")},
        SINGLE_AND_WIDER,
    ),
    "linear-and-momentum": (
        MOMENTUM
        | {"learning_rate": LINEAR}
        | {"exposes": ("schedule-ends-one-early", "polynomial-compounds", "momentum-scales-gradient")},
        SINGLE_AND_WIDER,
    ),
    "staircase": (
        MOMENTUM
        | {"learning_rate": STAIRCASE}
        | {"exposes": ("staircase-ignored", "natural-exponential", "dampened-after-the-first-update")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "callable": (
        MOMENTUM
        | {"rates": (0.5, 0.125, 0.25, 1.0, 0.0625)}
        | {"exposes": ("rate-frozen", "callable-one-call-late", "velocity-starts-at-gradient")},
        SINGLE_AND_WIDER,
    ),
    "sparse": (
        MOMENTUM
        | {"gradients": "sparse"}
        | {"exposes": ("indices-sorted-alone", "lazy-momentum", "repeated-rows-move-again")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "sparse-and-clipvalue": (
        {"gradients": "sparse", "clipvalue": 1.0}
        | {"exposes": ("rows-clipped-one-by-one", "last-duplicate-wins", "duplicates-averaged")},
        ALL,
    ),
    "missing": (
        MOMENTUM
        | {"gradients": "missing", "weight_decay": 0.25, "use_ema": True}
        | {"exposes": ("first-average-computed", "missing-decays-velocity", "averages-debiased-late")},
        (FLOAT64,),
    ),
    "missing-in-windows": (
        MOMENTUM
        | {"gradients": "missing", "gradient_accumulation_steps": 2}
        | {"exposes": ("accumulator-kept-without-gradient",)},
        ALL,
    ),
    "resumed": (
        NESTEROV
        | {"use_ema": True, "calls": 5}
        | {
            "exposes": ("averages-lost-on-restore", "look-ahead-stored-as-velocity", "averages-of-velocities")
        },
        SINGLE_AND_WIDER,
    ),
    "resumed-averages": (
        {"use_ema": True, "ema_overwrite_frequency": 3, "calls": 7}
        | {"exposes": ("averages-lost-on-restore", "overwrite-one-late", "averages-in-bfloat16")},
        SINGLE_AND_WIDER,
    ),
    "resumed-with-loss-scale": (
        MOMENTUM
        | {"dynamic": LARGE_SCALE, "calls": 4}
        | {
            "exposes": (
                "scale-lost-on-restore",
                "growth-counter-lost-on-restore",
                "unscaled-with-previous-scale",
                "finiteness-not-tested",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "resumed-in-a-window": (
        MOMENTUM
        | {"gradient_accumulation_steps": 4, "calls": 6}
        | {
            "exposes": (
                "velocities-lost-on-restore",
                "accumulators-lost-on-restore",
                "last-gradient-not-divided",
            )
        },
        ALL,
    ),
    "everything": (
        NESTEROV
        | {
            "weight_decay": 0.25,
            "clipvalue": 1.0,
            "use_ema": True,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
            "loss_scale_factor": 16.0,
            "learning_rate": PIECEWISE,
        }
        | {
            "exposes": (
                "gradients-divided-by-place",
                "overwrite-counts-calls",
                "overwrite-while-accumulating",
            )
        },
        (FLOAT64,),
    ),
}
"""For each exact case the settings that differ from plain ones, and the dtypes that hold all its numbers."""

_OWN = ("excluded", "dynamic", "rates", "gradients", "calls", "exposes")


def cases() -> Iterator[Case]:
    """Yield them."""
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
    # Larger than the limits, equal to them, and smaller, in turn.
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
