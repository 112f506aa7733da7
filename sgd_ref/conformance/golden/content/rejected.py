"""The table of settings and gradients that must be refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array

TYPE, VALUE = "type", "value"

CONSTRUCT, BUILD, CALL = "construct", "build", "call"
"""The latest moment for a refusal: with the settings, with the variables, with the gradients."""


class Rejection(NamedTuple):
    """A setting or a call that must be refused.

    Attributes
    ----------
    name : str
        The end of its id.
    when : str
        "construct", "build" or "call".
    argument : str
        The argument that is at fault.
    category : str
        "type" or "value".
    reason : str
        Why it is refused.
    settings : dict
        The settings that differ from plain ones.
    loss_scaling : dict or None
        Arguments of a LossScaleOptimizer around the optimizer.
    dtype : dtype
        The dtype of the variables, which have two elements each.
    gradients : list or None
        The gradients of the call; None if no call is made.
    names : tuple of str
        The names of the variables, which are alike.
    """

    name: str
    when: str
    argument: str
    category: str
    reason: str
    settings: dict[str, Any]
    loss_scaling: dict[str, Any] | None = None
    dtype: np.dtype[Any] = FLOAT32
    gradients: list[Any] | None = None
    names: tuple[str, ...] = ("w",)


def _settings(
    argument: str, when: str, rows: Sequence[tuple[str, Any, str, str]], **others: Any
) -> Iterator[Rejection]:
    for name, value, category, reason in rows:
        yield Rejection(name, when, argument, category, reason, {**others, argument: value})


def _schedule(
    argument: str, class_name: str, config: dict[str, Any], category: str, reason: str, name: str
) -> Rejection:
    schedule = {"class_name": class_name, "config": config}
    return Rejection(name, CONSTRUCT, argument, category, reason, {"learning_rate": schedule})


_UNIT = "It must lie in [0, 1]."
_NO_NUMBER = "It must be a number."
_FINITE = "It must be finite."
_POSITIVE = "It must be greater than 0."
_FLAG = "It must be true or false."
_COUNT = "It must be an integer."
_LIMIT = "A limit that is asked for and not applied is a mistake of the caller."
_NORMAL = "It must be finite and normal in the dtype in which it is used."

_UNIT_ROWS = (
    ("above-one", 1.5, VALUE, _UNIT),
    ("below-zero", -0.5, VALUE, _UNIT),
    ("nan", math.nan, VALUE, _UNIT),
    ("text", "0.9", TYPE, _NO_NUMBER),
    ("flag", True, TYPE, _NO_NUMBER),
    ("none", None, TYPE, _NO_NUMBER),
)
_LIMIT_ROWS = (
    ("zero", 0.0, VALUE, _LIMIT),
    ("below-zero", -1.0, VALUE, _LIMIT),
    ("nan", math.nan, VALUE, _LIMIT),
    ("infinity", math.inf, VALUE, _FINITE),
    ("text", "1.0", TYPE, _NO_NUMBER),
)
_FLAG_ROWS = (
    ("text", "False", TYPE, _FLAG),
    ("integer", 1, TYPE, _FLAG),
    ("none", None, TYPE, _FLAG),
)


def _count_rows(smallest: int) -> tuple[tuple[str, Any, str, str], ...]:
    return (
        ("too-small", smallest - 1, VALUE, f"It must be at least {smallest}."),
        ("below-zero", -2, VALUE, f"It must be at least {smallest}."),
        ("fraction", 2.5, TYPE, _COUNT),
        ("flag", True, TYPE, _COUNT),
        ("text", "2", TYPE, _COUNT),
    )


_DECAY = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
_POLYNOMIAL = {"initial_learning_rate": 0.1, "decay_steps": 10}
_RESTARTS = {"initial_learning_rate": 0.1, "first_decay_steps": 10}
_PIECES = "PiecewiseConstantDecay"
_GRADIENT = np.ones(2, np.float32)


def _call(
    name: str, argument: str, category: str, reason: str, gradients: list[Any], **more: Any
) -> Rejection:
    return Rejection(name, CALL, argument, category, reason, {}, gradients=gradients, **more)


def _rows(indices: list[Any], values: Array, shape: list[int]) -> dict[str, Any]:
    return {"indices": indices, "values": values, "shape": shape}


REJECTIONS = (
    *_settings("momentum", CONSTRUCT, _UNIT_ROWS),
    *_settings("ema_momentum", CONSTRUCT, _UNIT_ROWS, use_ema=True),
    *_settings("nesterov", CONSTRUCT, _FLAG_ROWS),
    *_settings("use_ema", CONSTRUCT, _FLAG_ROWS),
    *_settings("clipnorm", CONSTRUCT, _LIMIT_ROWS),
    *_settings("clipvalue", CONSTRUCT, _LIMIT_ROWS),
    *_settings("global_clipnorm", CONSTRUCT, _LIMIT_ROWS),
    *_settings("loss_scale_factor", CONSTRUCT, _LIMIT_ROWS),
    *_settings("ema_overwrite_frequency", CONSTRUCT, _count_rows(1), use_ema=True),
    *_settings("gradient_accumulation_steps", CONSTRUCT, _count_rows(2)),
    *_settings(
        "weight_decay",
        CONSTRUCT,
        (
            ("nan", math.nan, VALUE, _FINITE),
            ("infinity", math.inf, VALUE, _FINITE),
            ("text", "0.1", TYPE, _NO_NUMBER),
        ),
    ),
    *_settings(
        "learning_rate",
        CONSTRUCT,
        (
            ("nan", math.nan, VALUE, _FINITE),
            ("infinity", math.inf, VALUE, _FINITE),
            ("overflows-float32", 1e39, VALUE, "It must be finite in float32."),
            ("text", "0.1", TYPE, _NO_NUMBER),
            ("flag", True, TYPE, _NO_NUMBER),
        ),
    ),
    *_settings(
        "name",
        CONSTRUCT,
        (
            ("empty", "", VALUE, "It must not be empty."),
            ("slash", "a/b", VALUE, "A slash separates it from the names of its arrays."),
            ("number", 3, TYPE, "It must be a string."),
        ),
    ),
    Rejection(
        "two-clippings",
        CONSTRUCT,
        "clipnorm",
        VALUE,
        "At most one clipping may be set.",
        {"clipnorm": 1.0, "clipvalue": 1.0},
    ),
    Rejection(
        "two-norms",
        CONSTRUCT,
        "global_clipnorm",
        VALUE,
        "At most one clipping may be set.",
        {"clipnorm": 1.0, "global_clipnorm": 1.0},
    ),
    Rejection("unknown", CONSTRUCT, "lr", VALUE, "There is no such setting.", {"lr": 0.1}),
    Rejection("too-large-for-half", BUILD, "clipnorm", VALUE, _NORMAL, {"clipnorm": 1e5}, dtype=FLOAT16),
    Rejection("too-small-for-half", BUILD, "clipvalue", VALUE, _NORMAL, {"clipvalue": 1e-6}, dtype=FLOAT16),
    Rejection("too-small-for-single", BUILD, "global_clipnorm", VALUE, _NORMAL, {"global_clipnorm": 1e-40}),
    Rejection(
        "too-small-for-single", BUILD, "loss_scale_factor", VALUE, _NORMAL, {"loss_scale_factor": 1e-40}
    ),
    Rejection(
        "too-large-for-half",
        BUILD,
        "gradient_accumulation_steps",
        VALUE,
        "It must be finite in the dtype that is divided by it.",
        {"gradient_accumulation_steps": 70000},
        dtype=FLOAT16,
    ),
    Rejection(
        "zero",
        CONSTRUCT,
        "initial_scale",
        VALUE,
        _POSITIVE,
        {},
        {"initial_scale": 0.0, "dynamic_growth_steps": 2},
    ),
    Rejection(
        "nan",
        CONSTRUCT,
        "initial_scale",
        VALUE,
        _POSITIVE,
        {},
        {"initial_scale": math.nan, "dynamic_growth_steps": 2},
    ),
    Rejection(
        "too-small-for-single",
        CONSTRUCT,
        "initial_scale",
        VALUE,
        "It must be normal in float32.",
        {},
        {"initial_scale": 1e-40, "dynamic_growth_steps": 2},
    ),
    Rejection(
        "zero",
        CONSTRUCT,
        "dynamic_growth_steps",
        VALUE,
        "It must be at least 1.",
        {},
        {"initial_scale": 8.0, "dynamic_growth_steps": 0},
    ),
    Rejection(
        "under-dynamic-scaling",
        CONSTRUCT,
        "loss_scale_factor",
        VALUE,
        "A loss is scaled once: one of the two scales is a mistake.",
        {"loss_scale_factor": 8.0},
        {"initial_scale": 8.0, "dynamic_growth_steps": 2},
    ),
    _schedule("class_name", "LinearDecay", _DECAY, VALUE, "There is no such schedule.", "unknown"),
    _schedule("decay_steps", "ExponentialDecay", _DECAY | {"decay_steps": 0}, VALUE, _POSITIVE, "zero"),
    _schedule("decay_steps", "CosineDecay", _POLYNOMIAL | {"decay_steps": -5}, VALUE, _POSITIVE, "negative"),
    _schedule(
        "decay_rate",
        "InverseTimeDecay",
        _DECAY | {"decay_rate": -0.5},
        VALUE,
        "A negative rate has a pole.",
        "negative",
    ),
    _schedule("decay_rate", "ExponentialDecay", _DECAY | {"decay_rate": math.nan}, VALUE, _FINITE, "nan"),
    _schedule("staircase", "ExponentialDecay", _DECAY | {"staircase": 1}, TYPE, _FLAG, "integer"),
    _schedule(
        "power",
        "PolynomialDecay",
        _POLYNOMIAL | {"power": -1.0},
        VALUE,
        "It has no finite value.",
        "negative",
    ),
    _schedule("cycle", "PolynomialDecay", _POLYNOMIAL | {"cycle": "yes"}, TYPE, _FLAG, "text"),
    _schedule(
        "t_mul",
        "CosineDecayRestarts",
        _RESTARTS | {"t_mul": 0.5},
        VALUE,
        "Periods that shrink come to an end.",
        "below-one",
    ),
    _schedule(
        "first_decay_steps",
        "CosineDecayRestarts",
        _RESTARTS | {"first_decay_steps": 0},
        VALUE,
        _POSITIVE,
        "zero",
    ),
    _schedule(
        "boundaries",
        _PIECES,
        {"boundaries": [5, 5], "values": [0.1, 0.2, 0.3]},
        VALUE,
        "They must increase.",
        "equal",
    ),
    _schedule(
        "boundaries",
        _PIECES,
        {"boundaries": [8, 3], "values": [0.1, 0.2, 0.3]},
        VALUE,
        "They must increase.",
        "unordered",
    ),
    _schedule(
        "boundaries", _PIECES, {"boundaries": [], "values": [0.1]}, VALUE, "There must be one.", "none"
    ),
    _schedule(
        "values",
        _PIECES,
        {"boundaries": [3], "values": [0.1]},
        VALUE,
        "There must be one more than boundaries.",
        "too-few",
    ),
    _schedule(
        "values",
        _PIECES,
        {"boundaries": [3], "values": [0.1, math.nan]},
        VALUE,
        _FINITE,
        "nan",
    ),
    _call("wrong-shape", "gradients[0]", VALUE, "No shape is broadcast.", [np.ones(3, np.float32)]),
    _call("scalar", "gradients[0]", VALUE, "No shape is broadcast.", [np.ones((), np.float32)]),
    _call("too-few", "gradients", VALUE, "There must be one for each variable.", []),
    _call("too-many", "gradients", VALUE, "There must be one for each variable.", [_GRADIENT, _GRADIENT]),
    _call("all-missing", "gradients", VALUE, "There is nothing to do.", [None]),
    _call(
        "wider-dtype",
        "gradients[0]",
        TYPE,
        "The dtype of the variable must hold every number of the gradient.",
        [np.ones(2, FLOAT64)],
    ),
    _call(
        "other-half-type",
        "gradients[0]",
        TYPE,
        "The dtype of the variable must hold every number of the gradient.",
        [np.ones(2, BFLOAT16)],
        dtype=FLOAT16,
    ),
    _call(
        "row-outside",
        "indices",
        VALUE,
        "There is no such row.",
        [_rows([2], np.ones(1, np.float32), [2])],
    ),
    _call(
        "rows-and-indices-differ",
        "values.shape",
        VALUE,
        "There must be one row for each index.",
        [_rows([0, 1], np.ones(1, np.float32), [2])],
    ),
    _call(
        "sparse-wrong-shape",
        "gradients[0]",
        VALUE,
        "No shape is broadcast.",
        [_rows([0], np.ones(1, np.float32), [3])],
    ),
)
