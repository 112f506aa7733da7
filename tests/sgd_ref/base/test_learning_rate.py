"""The learning rate: what it may be, and what it is rounded to."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref import SGD, schedules

ACCEPTED = "a real number that is finite in float32"
ANY_KIND = f"{ACCEPTED}, a schedule or a callable"

LARGEST = float(np.finfo(np.float32).max)
MIDPOINT = LARGEST + 2.0**103
"""Halfway between the largest float32 and what would follow; it rounds to infinity."""

NOT_NUMBERS: list[Any] = [
    None,
    True,
    np.False_,
    "0.1",
    0.1j,
    [0.1],
    Decimal("0.1"),
    np.array([0.1]),
    np.array("0.1"),
    np.array(True),
    np.array(0.1j),
]
NOT_FINITE: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    1e39,
    MIDPOINT,
    -MIDPOINT,
    10**400,
    np.float16(math.inf),
    np.array(math.nan),
]


def rejected(value: Any) -> list[Any]:
    return [(TypeError, value) for value in NOT_NUMBERS] + [(ValueError, value) for value in NOT_FINITE]


def message(name: str, accepted: str, value: Any) -> str:
    """What the error says; a 0-dimensional array counts as the number in it."""
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    given = repr(value) if len(repr(value)) <= 200 else repr(value)[:197] + "..."
    kind = "" if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool) else "of type "
    return f"{name} must be {accepted}, got {given}" + (f" {kind}{type(value).__name__}" if kind else "")


class Constant(schedules.LearningRateSchedule):
    """A schedule of one value, whatever that is."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, step: int) -> Any:
        return self.value

    def __repr__(self) -> str:
        return "Constant()"


@pytest.mark.parametrize(("error", "value"), rejected("value"))
def test_what_is_no_rate_is_rejected(error: type[Exception], value: Any) -> None:
    with pytest.raises(error) as caught:
        SGD(value)
    assert str(caught.value) == message("learning_rate", ANY_KIND, value)
    optimizer = SGD(0.5)
    with pytest.raises(error) as caught:
        optimizer.learning_rate = value
    assert str(caught.value) == message("learning_rate", ANY_KIND, value)
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("value", [float, schedules.ExponentialDecay, {"class_name": "ExponentialDecay"}])
def test_a_class_or_a_config_is_no_rate(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        SGD(value)
    assert (
        str(caught.value) == f"learning_rate must be {ANY_KIND}, got {value!r} of type {type(value).__name__}"
    )


@pytest.mark.parametrize(("error", "value"), rejected("value"))
@pytest.mark.parametrize("kind", ["callable", "schedule"])
def test_what_a_callable_or_a_schedule_gives_must_be_a_rate(
    error: type[Exception], value: Any, kind: str
) -> None:
    if kind == "callable":
        optimizer, name = SGD(lambda: value), "the value returned by the callable learning_rate"
    else:
        optimizer, name = SGD(Constant(value)), "the value of learning_rate Constant() at step 0"
    w = np.ones(1)
    with pytest.raises(error) as caught:
        optimizer.apply([np.ones(1)], [w])
    assert str(caught.value) == message(name, ACCEPTED, value)
    assert w[0] == 1
    assert not optimizer.built


def test_what_a_callable_raises_comes_out_and_leaves_no_trace() -> None:
    def failing() -> float:
        raise LookupError("no rate today")

    w, optimizer = np.ones(1), SGD(failing)
    with pytest.raises(LookupError, match="no rate today"):
        optimizer.apply([np.ones(1)], [w])
    assert w[0] == 1
    assert not optimizer.built


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        0,
        -0.0,
        3,
        np.int64(3),
        Fraction(1, 3),
        np.float16(0.1),
        ml_dtypes.bfloat16(0.1),
        np.float64(0.1),
        np.array(0.1),
        np.array(0.1, ml_dtypes.bfloat16),
        -1.5,
        2.0**-149,
        2.0**-151,
        LARGEST,
        math.nextafter(MIDPOINT, 0),
    ],
)
@pytest.mark.filterwarnings("ignore:learning_rate=.* becomes 0 in float32")
def test_a_rate_is_rounded_to_float32(value: Any) -> None:
    expected = np.array(float(value), np.float64).astype(np.float32)
    for rate in (value, lambda: value, Constant(value)):
        optimizer = SGD(rate)
        read = optimizer.learning_rate
        assert type(read) is np.float32
        assert read.tobytes() == expected.tobytes()


def test_a_schedule_is_read_at_the_number_of_calls() -> None:
    optimizer = SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 2.0, 4.0]), gradient_accumulation_steps=2)
    w = np.zeros(1)
    rates = []
    for _ in range(4):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([np.ones(1)], [w])
    assert rates == [1, 2, 4, 4]
    assert w[0] == -(2 + 4)


def test_reading_the_rate_calls_a_callable() -> None:
    values = iter([1.0, 2.0])
    optimizer = SGD(lambda: next(values))
    assert [optimizer.learning_rate, optimizer.learning_rate] == [1, 2]
