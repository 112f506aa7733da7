"""The bounds of the formulas: the definition is inside, the forms of others too, and mistakes are outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sgd_ref import rule as definition
from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.bounds import rule
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of

SIZE = 500
SETTINGS = {"rate": 0.0123, "mu": 0.9, "decay": 0.0437, "clip": 0.7, "norm": 1.9, "scale": 96.0, "steps": 3.0}

Numbers = dict[str, Array]
Enclosures = dict[str, Enclosure]


def drawn(dtype: np.dtype[Any]) -> tuple[Numbers, Enclosures]:
    generator = np.random.default_rng(1)
    names = ("w", "g", "v", "average", "accumulator")
    numbers = {name: convert(generator.standard_normal(SIZE), dtype) for name in names}
    numbers |= {name: convert(np.array([value]), dtype) for name, value in SETTINGS.items()}
    return numbers, {name: arithmetic_of(dtype).point(array) for name, array in numbers.items()}


def with_velocity(e: Enclosures) -> Enclosure:
    step = rule.descent(e["g"], e["rate"])
    velocity = rule.accelerate(e["v"], [step], e["mu"])
    return rule.move_nesterov(e["w"], velocity, e["v"], step, e["mu"], e["rate"], None)


def nesterov(n: Numbers) -> Any:
    velocity = definition.accelerate(n["v"], n["g"], n["mu"], n["rate"])
    return definition.move_nesterov(n["w"], velocity, n["g"], n["mu"], n["rate"])


FORMULAS: dict[str, tuple[Callable[[Numbers], Any], Callable[[Enclosures], Enclosure]]] = {
    "unscale": (lambda n: definition.unscale(n["g"], n["scale"]), lambda e: rule.unscale(e["g"], e["scale"])),
    "accumulate": (
        lambda n: definition.accumulate(n["g"], n["accumulator"]),
        lambda e: rule.accumulate(e["g"], e["accumulator"]),
    ),
    "mean": (
        lambda n: definition.mean_of_accumulated(n["g"], n["accumulator"], n["steps"]),
        lambda e: rule.mean_of_accumulated([e["g"], e["accumulator"]], e["steps"]),
    ),
    "clipnorm": (
        lambda n: definition.clip_by_norm(n["g"], n["norm"], n["clip"]),
        lambda e: rule.clip_by_norm(e["g"], e["norm"], e["clip"]),
    ),
    "clipvalue": (
        lambda n: definition.clip_by_value(n["g"], n["clip"]),
        lambda e: rule.clip_by_value(e["g"], e["clip"]),
    ),
    "global-clipnorm": (
        lambda n: definition.clip_by_global_norm(
            n["g"], definition.global_clip_factor(n["norm"], n["clip"], 1 / n["clip"])
        ),
        lambda e: rule.clip_by_global_norm(e["g"], e["norm"], e["clip"], 1 / e["clip"]),
    ),
    "decay-and-descend": (
        lambda n: definition.descend(
            definition.decay_weights(n["w"], n["decay"], n["rate"]), n["g"], n["rate"]
        ),
        lambda e: rule.move(e["w"], [rule.descent(e["g"], e["rate"])], e["rate"], e["decay"]),
    ),
    "accelerate": (
        lambda n: definition.accelerate(n["v"], n["g"], n["mu"], n["rate"]),
        lambda e: rule.accelerate(e["v"], [rule.descent(e["g"], e["rate"])], e["mu"]),
    ),
    "move": (
        lambda n: definition.move(n["w"], n["v"]),
        lambda e: rule.move(e["w"], [e["v"]], e["rate"], None),
    ),
    "nesterov": (nesterov, with_velocity),
    "average": (
        lambda n: definition.average(n["average"], n["w"], n["mu"]),
        lambda e: rule.average(e["average"], e["w"], e["mu"], 1 - e["mu"]),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_the_definition_is_inside_and_what_is_a_percent_off_is_not(dtype: np.dtype[Any], name: str) -> None:
    numbers, enclosures = drawn(dtype)
    defined, bound = FORMULAS[name]
    result, stored = defined(numbers), bound(enclosures).stored()
    assert stored.holds(result).all()
    if dtype == FLOAT32:
        wrong = (result * np.float32(1.01)).astype(FLOAT32)
        assert np.mean(stored.holds(wrong)) < 0.05


def enclosed(*values: float) -> Enclosure:
    return arithmetic_of(FLOAT32).point(np.array(values, FLOAT32))


def holds(enclosure: Enclosure, *values: float) -> bool:
    with np.errstate(all="ignore"):
        return bool(enclosure.stored().holds(np.array(values, FLOAT32)).all())


def test_a_global_norm_that_is_not_finite_makes_everything_nan() -> None:
    for norm in (math.inf, math.nan):
        with np.errstate(all="ignore"):
            found = rule.clip_by_global_norm(enclosed(0, 1), enclosed(norm), enclosed(2), enclosed(0.5))
        assert holds(found, math.nan, math.nan)
        assert not found.stored().holds(np.zeros(2, FLOAT32)).any()
    found = rule.clip_by_global_norm(enclosed(0, 1), enclosed(4), enclosed(2), enclosed(0.5))
    assert holds(found, 0, 0.5)
    assert not found.stored().holds(np.full(2, math.nan, FLOAT32)).any()


def test_gradients_that_are_short_stay_as_they_are() -> None:
    g = enclosed(0.1, -0.3)
    assert holds(rule.clip_by_norm(g, enclosed(0.7), enclosed(1.3)), 0.1, -0.3)
    assert holds(rule.clip_by_global_norm(g, enclosed(0.7), enclosed(1.3), enclosed(1 / 1.3)), 0.1, -0.3)
    assert holds(rule.clip_by_norm(g, enclosed(1.3), enclosed(1.3)), 0.1, -0.3)


def test_a_clipped_value_is_the_limit_and_nan_stays() -> None:
    found = rule.clip_by_value(enclosed(-5, -0.5, 5, math.inf, math.nan), enclosed(1))
    assert holds(found, -1, -0.5, 1, 1, math.nan)
    assert not found.holds(np.array([-2, -0.4, 2, math.inf, 1], FLOAT32)).any()


def test_velocities_without_the_rate_are_of_real_numbers() -> None:
    old = np.float32(0.1)
    rate, momentum, g = np.float32(0.3), np.float32(0.9), np.float32(0.2)
    found = rule.accelerate_without_rate(enclosed(old), [enclosed(g)], enclosed(momentum), enclosed(rate))
    assert holds(found, momentum * (old / -rate) + g)
    assert not holds(found, momentum * (old / rate) + g)


def test_a_late_descent_divides_last() -> None:
    rate, scale, steps = np.float32(0.3), np.float32(96), np.float32(3)
    g, h = np.float32(0.7), np.float32(0.9)
    divisors = rule.Factors((), (enclosed(scale), enclosed(steps)))
    found = rule.late_descent([enclosed(g), enclosed(h)], enclosed(rate), divisors)
    one = np.float32(1)
    for result in (
        -((g + h) * rate / scale / steps),
        -((g + h) * (rate / (scale * steps))),
        -((g + h) * (one / (scale * steps)) * rate),
    ):
        assert holds(found, result)
    assert not holds(found, -((g + h) * rate / scale))
