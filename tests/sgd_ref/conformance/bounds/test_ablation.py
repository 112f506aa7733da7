"""Ablation: every line of a hull is a form that some faithful evaluation needs, or it would be rejected."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.conformance.bounds import rule as bounds
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of

Change = Callable[[ModuleType, str, str], ModuleType]
Numbers = dict[str, Array]
Bound = Callable[[ModuleType, dict[str, Enclosure]], Enclosure]
Form = Callable[[Numbers], Array]

SINGLE = arithmetic_of(FLOAT32)
ONE = np.float32(1)
SIZE = 20_000


def drawn(seed: int) -> Numbers:
    """Arrays for what varies by element, and settings that are inexact in every operation."""
    generator = np.random.default_rng(seed)
    names = ("w", "g", "h", "i", "old", "v", "average")
    numbers = {name: generator.standard_normal(SIZE).astype(FLOAT32) for name in names}
    settings = {"rate": 0.0123, "mu": 0.9, "decay": 0.0437, "clip": 0.7, "norm": 1.9, "scale": 96.0}
    settings |= {"steps": 3.0, "ema": 0.97, "low": 0.1, "apart": 0.9, "divisor": 7.0, "inverse": 1 / 0.7}
    return numbers | {name: np.array([value], FLOAT32) for name, value in settings.items()}


NUMBERS = drawn(1)
ENCLOSED = {name: SINGLE.point(array) for name, array in NUMBERS.items()}


def fma(x: Array, y: Array, z: Array) -> Array:
    """``x * y + z`` rounded once, but for ties of float64, which do not occur with these numbers."""
    return (x.astype(FLOAT64) * y + z).astype(FLOAT32)


def kept(n: Numbers) -> Array:
    return n["w"] * (ONE - n["rate"] * n["decay"])


def unscaled(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.unscale(e["g"], e["scale"])


def mean(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.running_mean(e["g"], 1, [e["h"], e["i"]])


def mean_of_two(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.mean_of_accumulated([e["g"], e["h"]], e["steps"])


def clipped(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.clip_by_norm(e["g"], e["norm"], e["clip"])


def globally_clipped_short(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.clip_by_global_norm(e["g"], e["ema"], e["clip"].at_least(e["norm"]), e["inverse"])


def moved(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.move(e["w"], [e["v"], e["h"]], e["rate"], e["decay"])


def moved_against(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.move_against(e["w"], e["g"], e["rate"], e["decay"])


def averaged(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    return module.average(e["average"], e["w"], e["ema"], 1 - e["ema"])


def nesterov(module: ModuleType, e: dict[str, Enclosure]) -> Enclosure:
    step = module.descent(e["g"], e["rate"])
    velocity = module.accelerate(e["old"], [step], e["mu"])
    return module.move_nesterov(e["w"], velocity, e["old"], step, e["mu"], e["rate"], None)


def decayed(n: Numbers) -> Array:
    return n["w"] - n["w"] * n["decay"] * n["rate"] + n["v"] + n["h"]


def accelerated(n: Numbers) -> Array:
    return n["mu"] * n["old"] - n["rate"] * n["g"]


def running_mean(n: Numbers) -> Array:
    mean = n["g"] + (n["h"] - n["g"]) / np.float32(2)
    return mean + (n["i"] - mean) / np.float32(3)


def running_mean_by_reciprocal(n: Numbers) -> Array:
    mean = n["g"] + (n["h"] - n["g"]) * np.float32(0.5)
    return mean + (n["i"] - mean) * (ONE / np.float32(3))


def running_mean_of_products(n: Numbers) -> Array:
    mean = n["g"] * np.float32(0.5) + n["h"] * np.float32(0.5)
    return mean * (np.float32(2) / np.float32(3)) + n["i"] * (ONE / np.float32(3))


def mean_of_quotients(n: Numbers) -> Array:
    return n["g"] / n["steps"] + n["h"] / n["steps"]


def mean_of_products(n: Numbers) -> Array:
    third = ONE / n["steps"]
    return n["g"] * third + n["h"] * third


ABLATIONS: list[tuple[str, str, Bound, Form]] = [
    (
        "return hull(sum_in_any_order(terms) * reciprocal, ",
        "return hull(",
        mean_of_two,
        lambda n: (n["g"] + n["h"]) / n["steps"],
    ),
    (", sum_in_any_order(parts))", ")", mean_of_two, mean_of_quotients),
    ("hull(mean + (term - mean) * reciprocal, ", "hull(", mean, running_mean),
    (", mean * before + term * reciprocal)", ")", mean, running_mean_of_products),
    (
        "        ways.append(Factors((clipnorm, reciprocal_of_clipnorm)))",
        "        pass",
        globally_clipped_short,
        lambda n: n["g"] * (n["norm"] * n["inverse"]),
    ),
    ("hull(sum_in_any_order([w, -lost, *terms]), ", "hull(", moved, decayed),
    (", sum_in_any_order([kept, *terms]))", ")", moved, lambda n: kept(n) + n["v"] + n["h"]),
    (
        "return hull(moved, w - learning_rate * (direction + w * weight_decay))",
        "return moved",
        moved_against,
        lambda n: n["w"] - n["rate"] * (n["g"] + n["w"] * n["decay"]),
    ),
    (
        "return hull(moved, w - ",
        "return hull(w - ",
        moved_against,
        lambda n: kept(n) - n["rate"] * n["g"],
    ),
    (
        "        move(w, [velocity * momentum, step], learning_rate, weight_decay),\n",
        "",
        nesterov,
        lambda n: n["w"] + (n["mu"] * accelerated(n) - n["rate"] * n["g"]),
    ),
    (
        "        move(w, [-(old_velocity * momentum), velocity * (one + momentum)],",
        "        move(w, [velocity * momentum, step],",
        nesterov,
        lambda n: n["w"] - n["mu"] * n["old"] + (ONE + n["mu"]) * accelerated(n),
    ),
    (
        "        old_average * ema_momentum + w * complement,\n",
        "",
        lambda module, e: module.average(e["average"], e["w"], e["low"], e["apart"]),
        lambda n: n["low"] * n["average"] + n["apart"] * n["w"],
    ),
    (
        "        old_average * (1 - complement) + w * complement,\n",
        "",
        lambda module, e: module.average(e["average"], e["w"], e["low"], 1 - e["low"]),
        lambda n: (ONE - (ONE - n["low"])) * n["average"] + (ONE - n["low"]) * n["w"],
    ),
    (
        "        old_average + complement * (w - old_average),\n",
        "",
        averaged,
        lambda n: n["average"] + (ONE - n["ema"]) * (n["w"] - n["average"]),
    ),
    (
        "        w - (1 - complement) * (w - old_average),\n",
        "",
        averaged,
        lambda n: n["w"] - n["ema"] * (n["w"] - n["average"]),
    ),
]


@pytest.mark.parametrize(("old", "new", "bound", "form"), ABLATIONS)
def test_every_line_of_a_hull_is_needed(
    old: str, new: str, bound: Bound, form: Form, changed: Change
) -> None:
    result = form(NUMBERS)
    assert bound(bounds, ENCLOSED).stored().holds(result).all()
    assert not bound(changed(bounds, old, new), ENCLOSED).stored().holds(result).all()
