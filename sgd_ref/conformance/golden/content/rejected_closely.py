"""The table of nearly right input that must be refused: just out of range, missing, or repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16
from sgd_ref.conformance.golden.content.rejected import BUILD, CALL, CONSTRUCT, TYPE, VALUE, Rejection

_BEFORE = "Ranges hold for the number that is given, before it is rounded."
_REQUIRED = "It has no default."
_NORMAL = "It must be normal in the dtype in which it is used."
_FINITE = "It must be finite in float32."
_DIFFER = "A name stands for one variable; in files '/' is written as '_'."
_DECAY = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
_POLYNOMIAL = {"initial_learning_rate": 0.1, "decay_steps": 10}
_RESTARTS = {"initial_learning_rate": 0.1, "first_decay_steps": 10}


def _setting(name: str, argument: str, value: Any, reason: str, **others: Any) -> Rejection:
    return Rejection(name, CONSTRUCT, argument, VALUE, reason, {**others, argument: value})


def _schedule(name: str, argument: str, class_name: str, config: dict[str, Any], reason: str) -> Rejection:
    schedule = {"class_name": class_name, "config": config}
    return Rejection(name, CONSTRUCT, argument, VALUE, reason, {"learning_rate": schedule})


def _without(config: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != name}


def _names(name: str, *names: str) -> Rejection:
    return Rejection(name, BUILD, "names", VALUE, _DIFFER, {}, names=names)


def _rows(name: str, argument: str, category: str, reason: str, indices: list[Any], rows: int) -> Rejection:
    gradient = {"indices": indices, "values": np.ones(rows, np.float32), "shape": [2]}
    return Rejection(name, CALL, argument, category, reason, {}, gradients=[gradient])


NEARLY_RIGHT = (
    _setting("just-above-one", "momentum", 1 + 2.0**-52, _BEFORE),
    _setting("just-below-zero", "momentum", -1e-300, _BEFORE),
    _setting("just-above-one", "ema_momentum", 1 + 2.0**-52, _BEFORE, use_ema=True),
    _setting("just-below-zero", "ema_momentum", -1e-300, _BEFORE, use_ema=True),
    _schedule("just-below-one", "t_mul", "CosineDecayRestarts", _RESTARTS | {"t_mul": 1 - 2.0**-40}, _BEFORE),
    _schedule("just-below-zero", "power", "PolynomialDecay", _POLYNOMIAL | {"power": -1e-60}, _BEFORE),
    _schedule("just-below-zero", "decay_rate", "ExponentialDecay", _DECAY | {"decay_rate": -1e-60}, _BEFORE),
    _schedule(
        "just-below-zero",
        "boundaries",
        "PiecewiseConstantDecay",
        {"boundaries": [-1e-60], "values": [0.1, 0.2]},
        _BEFORE,
    ),
    _schedule(
        "first-twice",
        "boundaries",
        "PiecewiseConstantDecay",
        {"boundaries": [3, 3, 8], "values": [0.1, 0.2, 0.3, 0.4]},
        "They are strictly increasing, not only sorted.",
    ),
    _schedule(
        "one-too-many",
        "values",
        "PiecewiseConstantDecay",
        {"boundaries": [3], "values": [0.1, 0.2, 0.3]},
        "There must be one more than boundaries.",
    ),
    _schedule(
        "vanishes",
        "decay_steps",
        "PolynomialDecay",
        _POLYNOMIAL | {"decay_steps": 1e-60},
        "It must be greater than 0 in float32, too.",
    ),
    _schedule("overflows", "decay_steps", "PolynomialDecay", _POLYNOMIAL | {"decay_steps": 1e39}, _FINITE),
    _schedule(
        "overflows",
        "initial_learning_rate",
        "PolynomialDecay",
        _POLYNOMIAL | {"initial_learning_rate": 1e39},
        _FINITE,
    ),
    _schedule("missing", "decay_rate", "ExponentialDecay", _without(_DECAY, "decay_rate"), _REQUIRED),
    _schedule("missing", "decay_steps", "InverseTimeDecay", _without(_DECAY, "decay_steps"), _REQUIRED),
    _schedule("missing", "initial_learning_rate", "CosineDecay", {"decay_steps": 10}, _REQUIRED),
    _schedule(
        "missing",
        "first_decay_steps",
        "CosineDecayRestarts",
        _without(_RESTARTS, "first_decay_steps"),
        _REQUIRED,
    ),
    _schedule("missing", "values", "PiecewiseConstantDecay", {"boundaries": [3]}, _REQUIRED),
    _schedule("unknown", "rate", "ExponentialDecay", _DECAY | {"rate": 0.5}, "There is no such setting."),
    Rejection("missing", CONSTRUCT, "learning_rate", VALUE, "No callable is given.", {"learning_rate": None}),
    Rejection("just-subnormal-half", BUILD, "clipvalue", VALUE, _NORMAL, {"clipvalue": 5e-5}, dtype=FLOAT16),
    Rejection(
        "just-subnormal-brain", BUILD, "clipvalue", VALUE, _NORMAL, {"clipvalue": 1e-38}, dtype=BFLOAT16
    ),
    _names("equal", "w", "w"),
    _names("equal-in-files", "a/b", "a_b"),
    _rows("row-far-outside", "indices", VALUE, "There is no such row.", [5], 1),
    _rows("row-negative", "indices", VALUE, "Rows are not counted from the end.", [-1], 1),
    _rows("fraction-of-a-row", "indices", TYPE, "An index is an integer.", [0.5], 1),
    _rows("more-rows-than-indices", "values.shape", VALUE, "There must be one row for each index.", [0], 2),
)
