"""The settings as an implementation may hold them: discrete readings, each the same in a whole run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, setting
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, hull
from sgd_ref.conformance.case import Case

ROUNDED, SINGLE, DOUBLE, APART = "rounded", "single", "double", "apart"
"""Rounded to the dtype of the variable; to float32; kept in double; and for the momentum of averages, with
its complement rounded apart from it."""

LEARNING_RATE = "learning_rate"
AVERAGING = "ema_momentum"
_PLAIN = ("momentum", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm")

Reading = Mapping[str, str]
"""For the name of a setting how it is held; settings that are not named are rounded."""


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


def readings(case: Case) -> Iterator[Reading]:
    """Yield the readings that may differ in a case, the most uniform first.

    Only one where every setting is a number of every dtype, as in most cases.
    """
    kinds = {name: _kinds(case, name) for name in (LEARNING_RATE, AVERAGING, *_PLAIN)}
    open_kinds = {name: found for name, found in kinds.items() if len(found) > 1}
    yield {}
    seen = [dict.fromkeys(open_kinds, ROUNDED)]
    uniform = [
        {name: kind if kind in found else found[-1] for name, found in open_kinds.items()}
        for kind in (DOUBLE, SINGLE, APART)
    ]
    mixed = (dict(zip(open_kinds, chosen, strict=True)) for chosen in product(*open_kinds.values()))
    for reading in (*uniform, *mixed):
        if reading not in seen:
            seen.append(reading)
            yield reading


def held(case: Case, arithmetic: Arithmetic, reading: Reading) -> Held:
    """Return the settings as one reading has them."""
    config, dtype = case.config, arithmetic.dtype
    clipnorm = config["global_clipnorm"]

    def enclosed(name: str) -> Enclosure | None:
        value = config[name]
        return None if value is None else arithmetic.point(_as_held(value, arithmetic, reading.get(name)))

    momentum = reading.get(AVERAGING, ROUNDED)
    value = config[AVERAGING]
    kept = arithmetic.point(_as_held(value, arithmetic, ROUNDED if momentum == APART else momentum))
    complement = 1 - kept
    if momentum in (APART, DOUBLE):
        complement = hull(complement, arithmetic.point(setting(1 - value, dtype)))
    if momentum == APART:
        complement = arithmetic.point(setting(1 - value, dtype))
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


def _as_held(value: float, arithmetic: Arithmetic, kind: str | None) -> Any:
    dtype = arithmetic.dtype
    if kind in (None, ROUNDED) or dtype == FLOAT64:
        return setting(value, dtype)
    return setting(value, FLOAT32) if kind == SINGLE else np.float64(value)


def _kinds(case: Case, name: str) -> list[str]:
    value = case.config.get(name)
    dtypes = {variable.dtype for variable in case.variables}
    if name == LEARNING_RATE:
        # The learning rate is a float32, in which those of the cases are not all exact.
        kinds = [ROUNDED, DOUBLE]
        return [*kinds, SINGLE] if dtypes & {FLOAT16, BFLOAT16} else kinds
    if value is None or (name == AVERAGING and not case.config["use_ema"]):
        return [ROUNDED]
    kinds = [ROUNDED]
    if any(float(setting(value, dtype)) != value for dtype in dtypes):
        kinds.append(DOUBLE)
        if dtypes & {FLOAT16, BFLOAT16}:
            kinds.append(SINGLE)
    if name == AVERAGING:
        inexact = [
            dtype
            for dtype in dtypes
            if setting(1, dtype) - setting(value, dtype) != setting(1 - value, dtype)
        ]
        kinds += [APART] if inexact else []
    return kinds
