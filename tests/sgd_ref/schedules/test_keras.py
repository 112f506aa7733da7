"""Places where Keras 3.15.1 contradicts its documentation, or itself, and what is right there."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = 2.0**-149


@pytest.mark.parametrize("first_decay_steps", [1, 64, 1000, 2.5])
@pytest.mark.parametrize("t_mul", [1.0, 1.25, 1.5, 1.9999999, 2.0, 3.0, 7.0, 10.0])
def test_no_restart_is_lost(first_decay_steps: float, t_mul: float) -> None:
    """Keras takes the floor of a quotient of float32 logarithms, which falls below the integer."""
    schedule = CosineDecayRestarts(1.0, first_decay_steps, t_mul)
    start, length = Fraction(0), Fraction(first_decay_steps)
    for _ in range(30):
        start, length = start + length, length * Fraction(float(np.float32(t_mul)))
        first_step = math.ceil(start)
        if first_step - start < length / 4:
            assert schedule(first_step) > 0.5
        if first_step == start:
            assert schedule(first_step) == 1
        if start - (first_step - 1) < length / t_mul / 4:
            assert schedule(first_step - 1) < 0.5


@pytest.mark.parametrize("restart", range(1, 60))
def test_restarts_of_a_doubled_period(restart: int) -> None:
    """Keras on every backend returns 0 at the restarts 13 and 15, steps 8191 and 32767."""
    assert CosineDecayRestarts(1.0, 1)(2**restart - 1) == 1


def test_restarts_lost_by_one_backend_only() -> None:
    assert CosineDecayRestarts(1.0, 64, t_mul=1.5)(160) == 1
    assert CosineDecayRestarts(1.0, 1024, t_mul=1.25)(1024) == 1


@pytest.mark.parametrize("step", range(15))
def test_polynomial_never_leaves_its_range(step: int) -> None:
    """Compiled Keras multiplies by a rounded reciprocal and ends below the end, even below 0."""
    assert PolynomialDecay(1.0, 10, 0.0)(step) >= 0
    assert PolynomialDecay(1.0, 10, 0.1, power=0.5)(step) >= np.float32(0.1)


@pytest.mark.parametrize("decay_steps", [3, 7, 10, 49, 2.5])
def test_polynomial_cycle_ends_at_every_multiple(decay_steps: float) -> None:
    """Compiled Keras takes the ceiling of a quotient that is not exact and starts a period early."""
    schedule = PolynomialDecay(1.0, decay_steps, 0.0, cycle=True)
    assert schedule(0) == 1
    for multiple in range(2, 2000, 2):
        assert schedule(int(decay_steps * multiple)) == 0
        assert schedule(int(decay_steps * multiple) + 1) > 0


def test_piecewise_has_no_infinite_times_zero() -> None:
    """Keras adds up all pieces times 0 or 1, so that one infinite value makes all others NaN."""
    with pytest.raises(ValueError, match="values must be a finite real number, got inf"):
        PiecewiseConstantDecay([3], [math.inf, 0.5])
    assert PiecewiseConstantDecay([3], [LARGEST, 0.5])(5) == 0.5


def test_piecewise_mixes_integers_and_floats() -> None:
    """Keras has the dtype of the first value, and fails or returns integers."""
    schedule = PiecewiseConstantDecay([3], [1, 0.5])
    assert [schedule(3), schedule(4)] == [1, 0.5]


@pytest.mark.parametrize("boundary", [0, 2**24, 2**31 - 1, 2**31, 3_000_000_000, 2**53, 2**70])
def test_piecewise_boundary_of_any_size(boundary: int) -> None:
    """Keras wraps around or fails beyond the integers of the backend."""
    schedule = PiecewiseConstantDecay([boundary], [1.0, 0.5])
    assert [schedule(0), schedule(boundary), schedule(boundary + 1)] == [1, 1, 0.5]


def test_piecewise_keeps_the_left_value_at_a_boundary() -> None:
    schedule = PiecewiseConstantDecay([100_000, 110_000], [1.0, 0.5, 0.1])
    steps = [0, 100_000, 100_001, 110_000, 110_001]
    assert [schedule(step) for step in steps] == [1, 1, 0.5, 0.5, np.float32(0.1)]


def test_integer_rates_are_not_integer_arithmetic() -> None:
    """Keras casts every setting, even pi, to the dtype of an integer initial_learning_rate."""
    assert ExponentialDecay(1, 10, 0.5)(10) == 0.5
    assert InverseTimeDecay(1, 10, 1)(10) == 0.5
    assert PolynomialDecay(1, 10, 0.5)(10) == 0.5
    assert CosineDecay(1, 10)(5) == 0.5
    assert CosineDecay(1, 10)(10) == 0
    assert CosineDecayRestarts(1, 10)(5) == 0.5
    assert type(ExponentialDecay(1, 10, 1).get_config()["initial_learning_rate"]) is float


def test_warmup_from_zero_as_in_the_documentation() -> None:
    """The example of Keras' own documentation fails there, or returns 0 for ever."""
    schedule = CosineDecay(0, 1000, warmup_target=0.1, warmup_steps=1000)
    values = [schedule(step) for step in (0, 500, 1000, 1500, 2000, 3000)]
    assert values == [0, np.float32(0.05), np.float32(0.1), np.float32(0.05), 0, 0]


def test_warmup_starts_at_the_initial_learning_rate() -> None:
    """The formula in Keras' documentation leaves it out; its prose and code do not."""
    schedule = CosineDecay(0.25, 1000, warmup_target=0.75, warmup_steps=100)
    assert [schedule(0), schedule(50), schedule(100)] == [0.25, 0.5, 0.75]


def test_warmup_of_no_steps() -> None:
    assert CosineDecay(0.25, 1000, warmup_target=0.75, warmup_steps=0)(0) == 0.75


@pytest.mark.parametrize(
    "schedule",
    [
        ExponentialDecay(0.1, 10, 0.9),
        PiecewiseConstantDecay([1], [0.1, 0.01]),
        PolynomialDecay(0.1, 10),
        InverseTimeDecay(0.1, 10, 0.9),
        CosineDecay(0.1, 10),
        CosineDecay(0.1, 10, warmup_target=1.0, warmup_steps=10),
        CosineDecayRestarts(0.1, 10),
    ],
    ids=repr,
)
@pytest.mark.parametrize("step", [0, 3, np.int64(3), np.uint8(12), 10**30])
def test_value_is_float32_for_every_step(schedule: LearningRateSchedule, step: int) -> None:
    """Keras returns float64 on some backends and wraps around at 2**31 on others."""
    value = schedule(step)
    assert type(value) is np.float32
    assert 0 <= value <= 1
    assert schedule(step) == value


def test_steps_beyond_the_integers_of_float32() -> None:
    """Keras rounds the step to float32."""
    schedule = CosineDecayRestarts(1.0, 100, t_mul=1.0)
    for step in (2**24 + 1, 2**31 + 17, 10**15 + 57):
        assert schedule(step) == schedule(step % 100) < 1
    line = PolynomialDecay(2.0**25, 2**25, 0.0)
    assert [line(step) for step in (2**24 + 1, 2**24 + 3)] == [2**24 - 1, 2**24 - 3]


@pytest.mark.parametrize("multiple", [1, 3, 16_778, 10**9])
@pytest.mark.parametrize("decay_steps", [3, 49, 1000, 0.1])
def test_staircase_changes_at_multiples_only(multiple: int, decay_steps: float) -> None:
    """Keras takes the floor of a rounded quotient: step 16,777,999 is beyond 16,778 times 1000."""
    edge = math.ceil(Fraction(float(np.float32(decay_steps))) * multiple)
    before, after = (Fraction(step) // Fraction(float(np.float32(decay_steps))) for step in (edge - 1, edge))
    assert before < multiple <= after
    inverse = InverseTimeDecay(1.0, decay_steps, 1.0, staircase=True)
    assert inverse(edge - 1) == nearest(Fraction(1, 1 + before), np.float32)
    assert inverse(edge) == nearest(Fraction(1, 1 + after), np.float32)
    exponential = ExponentialDecay(1.0, decay_steps, 0.5, staircase=True)
    assert exponential(edge - 1) == nearest(Fraction(1, 2 ** min(before, 200)), np.float32)


def test_cosine_near_its_end_has_no_cancellation() -> None:
    """In float32, 1 + cos loses all but a few digits."""
    expected = np.float32(float(np.float32(0.1)) * math.sin(math.pi / 2 / 10_000) ** 2)
    assert CosineDecay(0.1, 10_000)(9_999) == expected


def test_rates_decay_to_zero_without_an_error() -> None:
    assert ExponentialDecay(0.1, 1, 0.5)(10**12).tobytes() == np.float32(0.0).tobytes()
    assert ExponentialDecay(-0.1, 1, 0.5)(10**12).tobytes() == np.float32(-0.0).tobytes()
    assert ExponentialDecay(0.1, 1, 2.0)(10**12) == np.inf


def test_halfway_cases_go_to_the_even_neighbour() -> None:
    unit = 2.0**-23
    assert ExponentialDecay(1 + unit, 3, 3.375)(1) == 1.5 + 2 * unit  # 1.5 times the rate
    assert ExponentialDecay(SMALLEST, 1, 0.5)(1) == 0
    assert ExponentialDecay(3 * SMALLEST, 1, 0.5)(1) == 2 * SMALLEST
    assert PolynomialDecay(1 + unit, 2, 1.0)(1) == 1
    assert PolynomialDecay(1 + unit, 2, 1 + 2 * unit)(1) == 1 + 2 * unit
    assert PolynomialDecay(1 + 3 * unit, 4, 0.0, power=0.5)(3) == 0.5 + 1.5 * unit
    assert InverseTimeDecay(SMALLEST, 1, 1.0)(1) == 0
    assert InverseTimeDecay(3 * SMALLEST, 1, 1.0)(1) == 2 * SMALLEST
    assert CosineDecay(1 + unit, 3)(1) == 0.75 + unit
    assert CosineDecayRestarts(1 + 3 * unit, 1, t_mul=3.0)(2) == 0.75 + 2 * unit


@pytest.mark.parametrize(("offset", "units"), [(-SMALLEST, 4), (0.0, 4), (SMALLEST, 5)])
def test_the_smallest_offset_decides_a_halfway_case(offset: float, units: int) -> None:
    """Without the offset the value is 0.75 and 4.5 units; no double holds both."""
    rate, expected = 1 + 3 * 2.0**-23, 0.75 + units * 2.0**-24
    assert PolynomialDecay(rate, 4, offset)(1) == expected
    assert CosineDecay(rate, 3, alpha=offset)(1) == expected
    assert CosineDecayRestarts(rate, 3, alpha=offset)(1) == expected
