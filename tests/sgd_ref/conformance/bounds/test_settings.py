"""The readings of settings: only those that differ, and each as an implementation may hold it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of
from sgd_ref.conformance.bounds.settings import (
    APART,
    AVERAGING,
    KEPT,
    LEARNING_RATE,
    LOSS_SCALE,
    ROUNDED,
    held,
    readings,
    relevant,
)
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG


def case_of(*dtypes: np.dtype[Any], **settings: Any) -> Case:
    rates = settings.pop("rates", None)
    variables = tuple(np.ones(2, dtype) for dtype in dtypes)
    names = tuple(str(position) for position in range(len(dtypes)))
    return Case(
        "settings", PLAIN_CONFIG | settings, names, variables, (variables,), learning_rate_calls=rates
    )


def numbers(enclosure: Enclosure | None) -> tuple[float, float]:
    assert enclosure is not None
    return float(enclosure.lower[0]), float(enclosure.upper[0])


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_settings_that_every_dtype_holds_have_one_reading(dtype: np.dtype[Any]) -> None:
    assert readings(case_of(dtype, momentum=0.5, use_ema=True, clipnorm=2.0)) == [{}]


def test_every_setting_that_is_rounded_may_be_kept() -> None:
    for name in ("momentum", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", LEARNING_RATE):
        found = readings(case_of(FLOAT32, **{name: 0.1}))
        assert found == [{name: ROUNDED}, {name: KEPT}], name
    # Of float64 only the learning rate is rounded, to float32.
    assert readings(case_of(FLOAT64, momentum=0.1)) == [{}]
    assert readings(case_of(FLOAT64, learning_rate=0.1)) == [{LEARNING_RATE: ROUNDED}, {LEARNING_RATE: KEPT}]


def test_one_dtype_of_several_is_enough() -> None:
    assert readings(case_of(FLOAT32, FLOAT64, momentum=1 + 2.0**-30)) == [
        {"momentum": ROUNDED},
        {"momentum": KEPT},
    ]
    assert readings(case_of(FLOAT64, BFLOAT16, clipvalue=1 + 2.0**-9))[-1] == {"clipvalue": KEPT}


def test_uniform_readings_come_first() -> None:
    found = readings(case_of(FLOAT32, momentum=0.9, weight_decay=0.1, learning_rate=0.3))
    assert len(found) == 8
    assert [len(set(reading.values())) for reading in found[:3]] == [1, 1, 2]
    assert found[0] == {LEARNING_RATE: ROUNDED, "momentum": ROUNDED, "weight_decay": ROUNDED}


def test_the_momentum_of_averages_counts_only_where_there_are_averages() -> None:
    assert readings(case_of(FLOAT32, ema_momentum=0.99)) == [{}]
    kinds = [reading[AVERAGING] for reading in readings(case_of(FLOAT32, ema_momentum=0.99, use_ema=True))]
    assert kinds == [ROUNDED, KEPT, APART]


def test_rates_of_calls_and_schedules_may_be_kept() -> None:
    assert readings(case_of(FLOAT32, learning_rate=None, rates=(0.5,))) == [{}]
    assert len(readings(case_of(FLOAT32, learning_rate=None, rates=(0.5, 0.1)))) == 2
    boundaries = {"boundaries": [2], "values": [0.5, 0.25]}
    schedule = {"class_name": "PiecewiseConstantDecay", "config": boundaries}
    assert readings(case_of(FLOAT32, learning_rate=schedule)) == [{}]
    formula = {
        "class_name": "InverseTimeDecay",
        "config": {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.5, "staircase": False},
    }
    assert len(readings(case_of(FLOAT32, learning_rate=formula))) == 2


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_held_is_rounded_or_kept(dtype: np.dtype[Any]) -> None:
    case = case_of(dtype, momentum=0.9, weight_decay=0.1, clipnorm=0.7)
    arithmetic = arithmetic_of(dtype)
    rounded = held(case, arithmetic, {})
    kept = held(case, arithmetic, {"momentum": KEPT, "clipnorm": KEPT})
    in_dtype = float(setting(0.9, dtype))
    assert numbers(rounded.momentum) == (in_dtype, in_dtype)
    assert numbers(kept.weight_decay) == numbers(rounded.weight_decay)
    low, high = numbers(kept.momentum)
    if dtype in (FLOAT16, BFLOAT16):
        # A float32 or a double.
        assert (low, high) == tuple(sorted((0.9, float(np.float32(0.9)))))
    else:
        assert low == high == 0.9
    assert numbers(kept.clipnorm)[0] <= 0.7 <= numbers(kept.clipnorm)[1]


def test_the_complement_is_that_of_the_rounded_number_or_rounded_apart() -> None:
    case = case_of(FLOAT32, ema_momentum=0.99, use_ema=True)
    arithmetic = arithmetic_of(FLOAT32)
    rounded, apart = held(case, arithmetic, {}), held(case, arithmetic, {AVERAGING: APART})
    definition = float(np.float32(1) - np.float32(0.99))
    own = float(np.float32(1 - 0.99))
    assert definition != own
    assert numbers(rounded.complement)[0] <= definition <= numbers(rounded.complement)[1]
    assert not numbers(rounded.complement)[0] <= own <= numbers(rounded.complement)[1]
    assert numbers(apart.complement) == (own, own)
    assert numbers(apart.ema_momentum) == numbers(rounded.ema_momentum)
    kept = held(case, arithmetic, {AVERAGING: KEPT})
    assert numbers(kept.ema_momentum) == (0.99, 0.99)
    assert numbers(kept.complement)[0] <= own <= numbers(kept.complement)[1]


def test_what_is_off_is_not_held() -> None:
    nothing = held(case_of(FLOAT32), arithmetic_of(FLOAT32), {})
    assert nothing.momentum is nothing.weight_decay is nothing.clipnorm is nothing.steps is None
    found = held(
        case_of(FLOAT32, gradient_accumulation_steps=3, global_clipnorm=0.7), arithmetic_of(FLOAT32), {}
    )
    assert numbers(found.steps) == (3, 3)
    reciprocal = float(np.float32(1 / 0.7))
    assert numbers(found.reciprocal_of_global_clipnorm) == (reciprocal, reciprocal)


def test_relevant_settings_are_those_that_a_value_depends_on() -> None:
    case = case_of(FLOAT32, use_ema=True)
    assert relevant("calls", case, False) == ()
    assert relevant("accumulators", case, False) == (LOSS_SCALE,)
    assert relevant("averages", case, False) == (AVERAGING,)
    assert AVERAGING not in relevant("variables", case, False)
    assert "weight_decay" in relevant("variables", case, False)
    assert "weight_decay" not in relevant("velocities", case, True)
    overwriting = replace(case, config=case.config | {"ema_overwrite_frequency": 2})
    assert AVERAGING in relevant("variables", overwriting, True)
    assert set(relevant("averages", overwriting, False)) > {AVERAGING, LEARNING_RATE}


def test_few_standard_cases_have_several_readings() -> None:
    counts = [len(readings(case)) for case in conformance.cases()]
    assert np.median(counts) <= 2


@pytest.mark.parametrize(("dtype", "kinds"), [(FLOAT16, 2), (FLOAT32, 2), (FLOAT64, 1)])
def test_a_loss_scale_may_be_kept_in_double(dtype: np.dtype[Any], kinds: int) -> None:
    assert len(readings(case_of(dtype, loss_scale_factor=3.3))) == kinds
    assert len(readings(case_of(dtype, loss_scale_factor=96.0))) == 1
