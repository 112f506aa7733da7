"""The settings as an implementation may hold them: a few readings, each of which applies to a whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.settings import CLIPPINGS
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, hull
from sgd_ref.conformance.catalogue.case import Case

ROUNDED, KEPT, APART = "rounded", "kept", "apart"
"""Three readings. Rounded: to the dtype of the variable. Kept: in double, or for half types in float32 or
double, which are nearly equal there. Apart: the momentum of averages, whose complement is rounded
independently."""

LEARNING_RATE = "learning_rate"
AVERAGING = "ema_momentum"
LOSS_SCALE = "loss_scale_factor"
_PLAIN = ("momentum", "weight_decay", *CLIPPINGS)

Reading = Mapping[str, str]
"""How each named setting is held; settings that are not named are rounded."""


@dataclass(frozen=True)
class Held:
    """The settings of a case in one arithmetic and under one reading; None where a feature is off."""

    momentum: Enclosure | None
    weight_decay: Enclosure | None
    clipnorm: Enclosure | None
    clipvalue: Enclosure | None
    global_clipnorm: Enclosure | None
    reciprocal_of_global_clipnorm: Enclosure | None
    ema_momentum: Enclosure
    complement: Enclosure
    steps: Enclosure | None


def readings(case: Case) -> list[Reading]:
    """Return the readings that may differ in a case, the most uniform first.

    There is only one if every dtype holds every setting, as in most cases.
    """
    kinds = {name: _kinds(case, name) for name in (LEARNING_RATE, AVERAGING, LOSS_SCALE, *_PLAIN)}
    open_kinds = {name: found for name, found in kinds.items() if len(found) > 1}
    mixed = (dict(zip(open_kinds, chosen, strict=True)) for chosen in product(*open_kinds.values()))
    return sorted(mixed, key=lambda reading: len(set(reading.values())))


def relevant(quantity: str, case: Case, is_state_hidden: bool) -> tuple[str, ...]:
    """Return the settings on whose reading a value depends, given the values observed before it."""
    if quantity == "accumulators":
        return (LOSS_SCALE,)
    if quantity not in ("velocities", "variables", "averages"):
        return ()
    overwrites = case.config["ema_overwrite_frequency"] is not None
    if quantity == "averages" and not (is_state_hidden or overwrites):
        return (AVERAGING,)
    names: tuple[str, ...] = (LEARNING_RATE, LOSS_SCALE, "momentum", *CLIPPINGS)
    if quantity == "velocities":
        return names
    names = (*names, "weight_decay")
    return (*names, AVERAGING) if quantity == "averages" or (is_state_hidden and overwrites) else names


def held(case: Case, arithmetic: Arithmetic, reading: Reading) -> Held:
    """Return the settings under one reading."""
    config, dtype = case.config, arithmetic.dtype
    clipnorm = config["global_clipnorm"]

    def enclosed(name: str) -> Enclosure | None:
        value = config[name]
        return None if value is None else _as_held(value, arithmetic, reading.get(name, ROUNDED))

    momentum = reading.get(AVERAGING, ROUNDED)
    value = config[AVERAGING]
    kept = _as_held(value, arithmetic, ROUNDED if momentum == APART else momentum)
    complement = arithmetic.point(setting(1 - value, dtype)) if momentum == APART else 1 - kept
    steps = config["gradient_accumulation_steps"]
    return Held(
        momentum=enclosed("momentum") if config["momentum"] != 0 else None,
        weight_decay=enclosed("weight_decay"),
        clipnorm=enclosed("clipnorm"),
        clipvalue=enclosed("clipvalue"),
        global_clipnorm=enclosed("global_clipnorm"),
        reciprocal_of_global_clipnorm=None
        if clipnorm is None
        else arithmetic.point(setting(1 / clipnorm, dtype)),
        ema_momentum=kept,
        complement=complement,
        steps=None if steps is None else arithmetic.point(setting(float(steps), dtype)),
    )


def _as_held(value: float, arithmetic: Arithmetic, kind: str) -> Enclosure:
    dtype = arithmetic.dtype
    if kind == ROUNDED or dtype == FLOAT64:
        return arithmetic.point(setting(value, dtype))
    double = arithmetic.point(np.float64(value))
    return double if dtype == FLOAT32 else hull(arithmetic.point(setting(value, FLOAT32)), double)


def _kinds(case: Case, name: str) -> list[str]:
    dtypes = {variable.dtype for variable in case.variables}
    if name == LEARNING_RATE:
        values = _rates(case)
        # The learning rate of a float64 variable is a float32, too.
        dtypes = {FLOAT32 if dtype == FLOAT64 else dtype for dtype in dtypes}
    else:
        value = case.config.get(name)
        values = [] if value is None or (name == AVERAGING and not case.config["use_ema"]) else [value]
        if name == LOSS_SCALE:
            # Gradients of half types are unscaled at least in float32.
            dtypes = {promoted([dtype, FLOAT32]) for dtype in dtypes}
    kinds = [ROUNDED]
    if values is None or any(float(setting(value, dtype)) != value for value in values for dtype in dtypes):
        kinds.append(KEPT)
    if name == AVERAGING and any(
        _has_inexact_complement(value, dtype) for value in values or () for dtype in dtypes
    ):
        kinds.append(APART)
    return kinds


def _rates(case: Case) -> Sequence[float] | None:
    """Return all values of the learning rate; None for a formula, which may give any value."""
    if case.learning_rate_calls is not None:
        return case.learning_rate_calls
    given = case.config["learning_rate"]
    if not isinstance(given, dict):
        return (given,)
    return given["config"]["values"] if given["class_name"] == "PiecewiseConstantDecay" else None


def _has_inexact_complement(value: float, dtype: np.dtype[Any]) -> bool:
    return bool(setting(1, dtype) - setting(value, dtype) != setting(1 - value, dtype))
