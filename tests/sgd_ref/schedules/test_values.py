"""The values of the schedules, to the last bit, against an evaluation of the formulas in mpmath."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from sgd_ref import schedules
from sgd_ref.arithmetic import interval

TIE = mpmath.mpf(2) ** -420
"""Closer than this to halfway between two floats, relative, means halfway: the evaluation is better than
this, and settings are too coarse to come closer without being there."""

STEPS_PER_SETTING = 10

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def many_digits() -> Iterator[None]:
    with mpmath.workprec(800):
        yield


def round_to_float32(value: Any) -> np.float32:
    """Round to nearest, ties to even; halfway between the largest float and 2**128 is infinite."""
    sign, magnitude = (-1.0 if value < 0 else 1.0), min(abs(value), mpmath.ldexp(1, 128))
    if magnitude == 0:
        return np.float32(0)
    if magnitude < mpmath.ldexp(1, -151):
        return np.float32(math.copysign(0, sign))
    _, exponent = mpmath.frexp(magnitude)
    unit = max(exponent - 24, -149)
    in_units = mpmath.ldexp(magnitude, -unit)
    units = int(mpmath.floor(in_units))
    beyond_half = in_units - units - mpmath.mpf("0.5")
    units += units % 2 if abs(beyond_half) < in_units * TIE else int(beyond_half > 0)
    rounded_magnitude = math.ldexp(units, unit)
    return np.float32(math.copysign(rounded_magnitude if rounded_magnitude < 2.0**128 else math.inf, sign))


def rounded(setting: float) -> Any:
    return mpmath.mpf(float(np.float32(setting)))


def floor_of_quotient(step: int, length: float) -> int:
    numerator, denominator = float(np.float32(length)).as_integer_ratio()
    return step * denominator // numerator


def exponential(config: Config, step: int) -> Any:
    p = step / rounded(config["decay_steps"])
    if config["staircase"]:
        p = mpmath.mpf(floor_of_quotient(step, config["decay_steps"]))
    factor = mpmath.mpf(1) if p == 0 else rounded(config["decay_rate"]) ** p
    return rounded(config["initial_learning_rate"]) * factor


def piecewise(config: Config, step: int) -> Any:
    for boundary, value in zip(config["boundaries"], config["values"], strict=False):
        if step <= boundary:
            return rounded(value)
    return rounded(config["values"][-1])


def polynomial(config: Config, step: int) -> Any:
    periods = 1
    if config["cycle"] and step > 0:
        periods = -floor_of_quotient(-step, config["decay_steps"])
    p = min(step / (rounded(config["decay_steps"]) * periods), mpmath.mpf(1))
    start, end = rounded(config["initial_learning_rate"]), rounded(config["end_learning_rate"])
    remaining = mpmath.mpf(1) if config["power"] == 0 else (1 - p) ** rounded(config["power"])
    return (start - end) * remaining + end


def inverse_time(config: Config, step: int) -> Any:
    p = step / rounded(config["decay_steps"])
    if config["staircase"]:
        p = mpmath.mpf(floor_of_quotient(step, config["decay_steps"]))
    return rounded(config["initial_learning_rate"]) / (1 + rounded(config["decay_rate"]) * p)


def cosine(config: Config, step: int) -> Any:
    start, elapsed = rounded(config["initial_learning_rate"]), mpmath.mpf(step)
    if config["warmup_target"] is not None:
        target, length = rounded(config["warmup_target"]), rounded(config["warmup_steps"])
        if step < length:
            return start + (target - start) * step / length
        start, elapsed = target, step - length
    fraction = min(elapsed / rounded(config["decay_steps"]), mpmath.mpf(1))
    alpha = rounded(config["alpha"])
    return start * ((1 - alpha) * (1 + mpmath.cospi(fraction)) / 2 + alpha)


def cosine_restarts(config: Config, step: int) -> Any:
    time, t_mul = step / rounded(config["first_decay_steps"]), rounded(config["t_mul"])
    if t_mul == 1:
        restarts = floor_of_quotient(step, config["first_decay_steps"])
        fraction = time - restarts
    else:
        quotient = mpmath.log(1 + time * (t_mul - 1)) / mpmath.log(t_mul)
        restarts = int(mpmath.floor(quotient + mpmath.mpf(2) ** -400))
        length = t_mul**restarts
        fraction = (time - (length - 1) / (t_mul - 1)) / length
    factor = mpmath.mpf(1) if restarts == 0 else rounded(config["m_mul"]) ** restarts
    alpha = rounded(config["alpha"])
    multiplier = (1 - alpha) * factor * (1 + mpmath.cospi(fraction)) / 2 + alpha
    return rounded(config["initial_learning_rate"]) * multiplier


def draw_real(random: np.random.Generator, low: int = -149, high: int = 127) -> float:
    """Return a positive number: a usual one, or one of any magnitude in float32, or in between."""
    kind = random.integers(4)
    if kind == 0:
        return float(random.choice([0.1, 0.01, 0.5, 1.0, 0.9, 0.96, 1e-4, 0.125, 3.375, 0.25, 0.0, 2.0]))
    if kind == 1:
        return float(2.0 ** random.uniform(-12, 2))
    if kind == 2:
        return float(np.float32(2.0 ** random.uniform(max(-12, low), min(2, high))))
    return float(np.float32(2.0 ** random.uniform(low, high)))


def draw_signed(random: np.random.Generator) -> float:
    return draw_real(random) * (-1 if random.random() < 0.2 else 1)


def draw_length(random: np.random.Generator) -> float:
    kind = random.integers(5)
    if kind == 0:
        return int(random.integers(1, 20))
    if kind == 1:
        return int(random.choice([100, 1000, 10_000, 2**20, 2**24, 10**6, 3 * 2**10, 7, 3_000_000_000]))
    if kind == 2:
        return int(2 ** random.uniform(0, 40))
    if kind == 3:
        return float(2 ** random.uniform(0, 24))
    return float(2 ** random.uniform(-10, 3))


def draw_steps(random: np.random.Generator, marks: list[Fraction]) -> Iterator[int]:
    """Yield steps at, beside and halfway between the marks of a schedule, and some anywhere."""
    for _ in range(STEPS_PER_SETTING):
        kind = random.integers(8)
        if kind == 0:
            yield int(2 ** random.uniform(0, 64))
        elif kind == 1:
            yield int(random.choice([0, 1, 2**24 + 1, 2**24 + 3, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1]))
        elif kind == 2:
            yield math.floor(marks[random.integers(len(marks))] * Fraction(random.random()))
        elif kind == 3:
            part = Fraction(int(random.integers(1, 6)), int(random.choice([2, 3, 4, 6])))
            yield round(marks[random.integers(len(marks))] * part)
        else:
            yield max(0, math.floor(marks[random.integers(len(marks))]) + int(random.integers(-2, 3)))


def multiples(random: np.random.Generator, length: float) -> list[Fraction]:
    exact_length = Fraction(float(np.float32(length)))
    return [exact_length * int(2 ** random.uniform(0, power)) for power in (0, 1, 2, 4, 10, 20)]


Draw = Callable[[np.random.Generator], tuple[Config, list[Fraction]]]


def draw_exponential(random: np.random.Generator) -> tuple[Config, list[Fraction]]:
    length = draw_length(random)
    config = {
        "initial_learning_rate": draw_signed(random),
        "decay_steps": length,
        "decay_rate": draw_real(random),
        "staircase": bool(random.integers(2)),
    }
    return config, multiples(random, length)


def draw_piecewise(random: np.random.Generator) -> tuple[Config, list[Fraction]]:
    boundaries = sorted({int(2 ** random.uniform(0, 63)) - 1 for _ in range(random.integers(1, 8))})
    values = [draw_signed(random) for _ in range(len(boundaries) + 1)]
    return {"boundaries": boundaries, "values": values}, [Fraction(boundary) for boundary in boundaries]


def draw_polynomial(random: np.random.Generator) -> tuple[Config, list[Fraction]]:
    length = draw_length(random)
    config = {
        "initial_learning_rate": draw_signed(random),
        "decay_steps": length,
        "end_learning_rate": draw_signed(random),
        "power": float(random.choice([1.0, 1.0, 2.0, 0.5, 3.0, 0.0, draw_real(random)])),
        "cycle": bool(random.integers(2)),
    }
    return config, multiples(random, length)


def draw_cosine(random: np.random.Generator) -> tuple[Config, list[Fraction]]:
    length, warmup = draw_length(random), draw_length(random)
    config = {
        "initial_learning_rate": draw_signed(random),
        "decay_steps": length,
        "alpha": draw_signed(random),
        "warmup_target": None,
    }
    marks = multiples(random, length)
    if random.integers(2):
        config |= {"warmup_target": draw_signed(random), "warmup_steps": warmup}
        start = Fraction(float(np.float32(warmup)))
        marks = [start, start] + [start + mark for mark in marks]
    return config, marks


def draw_cosine_restarts(random: np.random.Generator) -> tuple[Config, list[Fraction]]:
    length = draw_length(random)
    usual = [1.0, 2.0, 2.0, 1.5, 1.25, 3.0, 7.0, 10.0, 1.1, 1.0000001, 1.9999999, random.uniform(1, 4)]
    t_mul = float(random.choice(usual))
    config = {
        "initial_learning_rate": draw_signed(random),
        "first_decay_steps": length,
        "t_mul": t_mul,
        "m_mul": float(random.choice([1.0, 1.0, 0.5, 0.9, draw_real(random)])),
        "alpha": float(random.choice([0.0, 0.0, 0.1, 1.0, draw_signed(random)])),
    }
    start, period = Fraction(0), Fraction(float(np.float32(length)))
    marks = []
    for _ in range(random.integers(1, 36)):
        start, period = start + period, period * Fraction(float(np.float32(t_mul)))
        marks.append(start)
    return config, marks[-6:]


CASES: dict[str, tuple[Callable[[Config, int], Any], Draw]] = {
    "ExponentialDecay": (exponential, draw_exponential),
    "PiecewiseConstantDecay": (piecewise, draw_piecewise),
    "PolynomialDecay": (polynomial, draw_polynomial),
    "InverseTimeDecay": (inverse_time, draw_exponential),
    "CosineDecay": (cosine, draw_cosine),
    "CosineDecayRestarts": (cosine_restarts, draw_cosine_restarts),
}


def draw_points(name: str, count: int, random: np.random.Generator) -> Iterator[tuple[Any, Config, int]]:
    draw = CASES[name][1]
    for _ in range(max(count // STEPS_PER_SETTING, 1)):
        config, marks = draw(random)
        schedule = getattr(schedules, name)(**config)
        for step in draw_steps(random, marks):
            yield schedule, config, step


@pytest.mark.parametrize("name", CASES)
def test_value_is_the_float32_nearest_to_the_formula(name: str, sweep: Any) -> None:
    formula = CASES[name][0]
    kinds = {"zero": 0, "subnormal": 0, "normal": 0, "infinite": 0}
    for schedule, config, step in draw_points(name, sweep.count(100_000), sweep.generator):
        value, expected = schedule(step), round_to_float32(formula(config, step))
        assert value.tobytes() == expected.tobytes(), f"{schedule!r} at {step}: {value!r}, not {expected!r}"
        magnitude = abs(expected)
        kind = "zero" if magnitude == 0 else "subnormal" if magnitude < 2.0**-126 else "normal"
        kinds[kind if magnitude < np.inf else "infinite"] += 1
    assert kinds["zero"] > 0
    assert kinds["subnormal"] > 0
    assert kinds["normal"] > sum(kinds.values()) / 2


@pytest.mark.parametrize("name", [name for name in CASES if name != "PiecewiseConstantDecay"])
def test_intervals_and_exact_numbers_agree(name: str, sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    points = list(draw_points(name, sweep.count(20_000), sweep.generator))
    values = [schedule(step) for schedule, _, step in points]

    def refuse(_: Any) -> Any:
        raise ArithmeticError

    monkeypatch.setattr(interval, "number", refuse)
    for (schedule, _, step), value in zip(points, values, strict=True):
        exactly = schedule(step)
        assert value.tobytes() == exactly.tobytes(), f"{schedule!r} at {step}: {value!r}, exactly {exactly!r}"


@pytest.mark.parametrize("name", [name for name in CASES if name != "PiecewiseConstantDecay"])
def test_intervals_alone_decide_usual_points(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {
        "initial_learning_rate": 0.1,
        "decay_steps": 10_000,
        "first_decay_steps": 10_000,
        "decay_rate": 0.9,
    }
    parameters = inspect.signature(getattr(schedules, name)).parameters
    schedule = getattr(schedules, name)(**{key: usual[key] for key in usual if key in parameters})
    expected = [schedule(step) for step in range(1, 9_000, 7)]

    def refuse(*_: Any) -> Any:
        pytest.fail("the exact path was taken")

    monkeypatch.setattr("sgd_ref.schedules.base.nearest", refuse)
    assert [schedule(step) for step in range(1, 9_000, 7)] == expected
