"""The learning rate of a call: what may be reported, and what an implementation may have used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.conformance.bounds.enclosure import arithmetic_of
from sgd_ref.conformance.bounds.rate import Rates
from sgd_ref.conformance.bounds.settings import KEPT, ROUNDED
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.trajectories import reference

EXPONENTIAL = {
    "class_name": "ExponentialDecay",
    "config": {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": False},
}
PIECEWISE = {
    "class_name": "PiecewiseConstantDecay",
    "config": {"boundaries": [2, 4], "values": [0.3, 0.1, 0.7]},
}
CALLS = 6


def case_of(learning_rate: Any, units: int = 0, rates: tuple[float, ...] | None = None) -> Case:
    w = np.ones(1, FLOAT32)
    config = PLAIN_CONFIG | {"learning_rate": learning_rate}
    gradients = ((w,),) * CALLS
    return Case("rate", config, ("w",), (w,), gradients, learning_rate_calls=rates, learning_rate_units=units)


def documented(case: Case) -> list[np.float32]:
    return [record["learning_rate"] for record in reference.run(case)]


def ends(case: Case, call: int, reported: Any, dtype: np.dtype[Any], kind: str) -> tuple[float, float]:
    rate = Rates(case).held(call, call, documented(case)[call], reported, arithmetic_of(dtype), kind)
    return float(rate.lower[0]), float(rate.upper[0])


def test_a_constant_rate_is_one_number_of_float32() -> None:
    case = case_of(0.1)
    rates = Rates(case)
    single = np.float32(0.1)
    assert rates.is_constant
    for reported in (None, single, 0.1, float(single)):
        assert rates.is_possible(0, 0, single, reported)
    for reported in (np.nextafter(single, np.float32(1)), 0.0999, 0.1 + 1e-8, float("nan")):
        assert not rates.is_possible(0, 0, single, reported)
    assert ends(case, 0, None, FLOAT64, ROUNDED) == (float(single),) * 2
    assert ends(case, 0, None, FLOAT64, KEPT) == (0.1, 0.1)
    assert ends(case, 0, None, FLOAT32, KEPT) == (0.1, 0.1)
    rounded = float(np.array(0.1, BFLOAT16))
    assert ends(case, 0, None, BFLOAT16, ROUNDED) == (rounded, rounded)
    # In half types, a float32 or a double.
    assert ends(case, 0, None, BFLOAT16, KEPT) == (0.1, float(single))


def test_rates_of_a_callable_are_those_of_the_calls() -> None:
    values = (0.1, 0.3, 0.2, 0.7, 0.9, 0.6)
    case = case_of(None, rates=values)
    rates = Rates(case)
    assert not rates.is_constant
    for call, value in enumerate(values):
        assert rates.is_possible(call, call, np.float32(value), value)
        assert not rates.is_possible(call, call, np.float32(value), values[(call + 1) % CALLS])
        assert ends(case, call, None, FLOAT64, KEPT) == (value, value)


@pytest.mark.parametrize("units", [0, 2])
def test_a_schedule_may_be_off_by_its_units_and_no_more(units: int) -> None:
    case = case_of(EXPONENTIAL, units)
    rates, wanted = Rates(case), documented(case)
    for call, rate in enumerate(wanted):
        nearby = rate
        for _ in range(units):
            nearby = np.nextafter(nearby, np.float32(1))
            assert rates.is_possible(call, call, rate, nearby)
        # Settings that are kept in double give another number of float32 at most.
        too_far = np.nextafter(np.nextafter(nearby, np.float32(1)), np.float32(1))
        assert not rates.is_possible(call, call, rate, too_far)
        assert not rates.is_possible(call, call, rate, -rate)


def test_a_schedule_in_double_is_that_of_the_settings_as_given() -> None:
    case = case_of(EXPONENTIAL, 2)
    for call in range(CALLS):
        exact = 0.1 * 0.9 ** (call / 7)
        assert Rates(case).is_possible(call, call, documented(case)[call], exact)
        low, high = ends(case, call, exact, FLOAT64, KEPT)
        assert low == high == exact
        low, high = ends(case, call, None, FLOAT64, KEPT)
        assert low <= exact <= high
        assert high - low <= 1e-16
        assert not low <= float(documented(case)[call]) <= high


def test_calls_are_counted_from_those_that_were_made_before() -> None:
    case = case_of(PIECEWISE)
    rates = Rates(case)
    assert rates.is_possible(0, 3, np.float32(0.1), 0.1)
    assert not rates.is_possible(0, 2, np.float32(0.3), 0.1)
    assert not rates.is_possible(0, 5, np.float32(0.7), 0.1)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_what_was_reported_is_what_was_used(dtype: np.dtype[Any]) -> None:
    case = case_of(EXPONENTIAL, 3)
    wanted = documented(case)[4]
    reported = np.nextafter(wanted, np.float32(1))
    low, high = ends(case, 4, reported, dtype, ROUNDED)
    in_dtype = float(np.array(reported).astype(dtype))
    assert (low, high) == (in_dtype, in_dtype)
    unreported = ends(case, 4, None, FLOAT64, ROUNDED)
    assert unreported[0] < float(wanted) < unreported[1]


def test_an_infinite_rate_is_itself() -> None:
    case = replace(case_of(None), learning_rate_calls=(float("inf"),) * CALLS)
    assert Rates(case).is_possible(0, 0, np.float32("inf"), np.float32("inf"))
    assert not Rates(case).is_possible(0, 0, np.float32("inf"), np.float32(1))
