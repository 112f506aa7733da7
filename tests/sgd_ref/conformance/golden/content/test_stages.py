"""The vectors of stages, against exact fractions that are rounded after each operation."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance.golden.content.norms import NORM, replayed_norm
from sgd_ref.conformance.golden.content.stages import STAGES, replayed
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.format.schemas import STAGE
from sgd_ref.conformance.protocol.arrays import array_from_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories.comparison import equal_bits

Round = Callable[[Fraction], Fraction]

FORMULAS: dict[str, Callable[..., Fraction]] = {
    "unscale": lambda r, gradient, loss_scale_factor: r(gradient / loss_scale_factor),
    "accumulate": lambda r, gradient, accumulator: r(gradient + accumulator),
    "mean_of_accumulated": lambda r, gradient, accumulator, steps: r(r(gradient + accumulator) / steps),
    "clip_by_norm": lambda r, gradient, norm, clipnorm: r(r(gradient * clipnorm) / max(norm, clipnorm)),
    "clip_by_value": lambda r, gradient, clipvalue: max(-clipvalue, min(clipvalue, gradient)),
    "global_clip_factor": lambda r, norm, clipnorm, reciprocal_of_clipnorm: r(
        clipnorm * min(r(1 / norm), reciprocal_of_clipnorm)
    ),
    "clip_by_global_norm": lambda r, gradient, factor: r(gradient * factor),
    "decay_weights": lambda r, w, weight_decay, learning_rate: r(w - r(r(w * weight_decay) * learning_rate)),
    "descend": lambda r, w, g, learning_rate: r(w - r(learning_rate * g)),
    "accelerate": lambda r, velocity, g, momentum, learning_rate: r(
        r(momentum * velocity) - r(learning_rate * g)
    ),
    "move": lambda r, w, velocity: r(w + velocity),
    "move_nesterov": lambda r, w, velocity, g, momentum, learning_rate: r(
        w + r(r(momentum * velocity) - r(learning_rate * g))
    ),
    "average": lambda r, old_average, w, ema_momentum: r(
        r(ema_momentum * old_average) + r(r(1 - ema_momentum) * w)
    ),
}


@pytest.fixture(scope="module")
def stage_places(places: list[Place]) -> list[Place]:
    return [place for place in places if place.kind == STAGE]


def test_there_are_vectors_of_every_formula_of_the_rule(stage_places: list[Place]) -> None:
    functions = {name for name in vars(rule) if callable(getattr(rule, name)) and name.islower()}
    assert functions - {"annotations"} == set(FORMULAS) == {stage.name for stage in STAGES}
    found = {(place.entry["stage"], place.entry["dtype"]) for place in stage_places}
    assert found == {(name, dtype.name) for name in (*FORMULAS, NORM) for dtype in FORMATS}


def _arguments(entry: Json) -> dict[str, Array]:
    return {name: array_from_json(array) for name, array in entry["arguments"].items()}


def _element(array: Array, index: int) -> Any:
    return array.reshape(-1)[index if array.ndim else 0]


def test_every_finite_element_is_rounded_after_each_operation(stage_places: list[Place]) -> None:
    checked = dict.fromkeys(FORMULAS, 0)
    for place in stage_places:
        entry = place.entry
        if entry["stage"] == NORM:
            continue
        arguments, expected = _arguments(entry), array_from_json(entry["expected"])
        computed_in = next(iter(arguments.values())).dtype

        def rounded(value: Fraction, dtype: np.dtype[Any] = computed_in) -> Fraction:
            return Fraction(float(nearest(value, dtype)))

        for index in range(expected.size):
            operands = {name: _element(array, index) for name, array in arguments.items()}
            if not all(np.isfinite(operand) for operand in operands.values()):
                continue
            exact = {name: Fraction(float(operand)) for name, operand in operands.items()}
            try:
                value = FORMULAS[entry["stage"]](rounded, **exact)
            except (OverflowError, ZeroDivisionError):
                # An intermediate result is infinite, which is no fraction.
                continue
            result = nearest(value, expected.dtype)
            assert float(_element(expected, index)) == float(result), (entry["id"], index)
            checked[entry["stage"]] += 1
    assert min(checked.values()) >= 12, checked


def test_special_values_give_what_ieee_754_says(stage_places: list[Place]) -> None:
    place = next(place for place in stage_places if place.entry["id"] == "stage/move/float32/special-1")
    arguments, expected = _arguments(place.entry), array_from_json(place.entry["expected"])
    found = {
        (str(w), str(velocity)): str(result)
        for w, velocity, result in zip(arguments["w"], arguments["velocity"], expected, strict=True)
    }
    assert found["inf", "-inf"] == found["nan", "0.0"] == "nan"
    assert found["-0.0", "-0.0"] == "-0.0"
    assert found["0.0", "-0.0"] == found["-0.0", "0.0"] == "0.0"
    assert found["inf", "1.0"] == "inf"


def test_norms_are_correctly_rounded(stage_places: list[Place]) -> None:
    with mpmath.workprec(8000):
        for place in stage_places:
            entry = place.entry
            if entry["stage"] != NORM:
                continue
            arrays = [array_from_json(array) for array in entry["arguments"]["arrays"]]
            numbers = [float(number) for array in arrays for number in convert(array, FLOAT64).reshape(-1)]
            expected = array_from_json(entry["expected"])
            if any(np.isnan(numbers)):
                assert np.isnan(expected), entry["id"]
            elif any(np.isinf(numbers)):
                assert float(expected) == np.inf, entry["id"]
            else:
                root = mpmath.sqrt(mpmath.fsum(mpmath.mpf(number) ** 2 for number in numbers))
                value = Fraction(*map(int, mpmath.libmp.to_rational(root._mpf_)))
                assert equal_bits(expected, np.asarray(nearest(value, expected.dtype))).all(), entry["id"]


def test_a_replay_finds_another_result(stage_places: list[Place]) -> None:
    for place in stage_places[::11]:
        again = replayed_norm if place.entry["stage"] == NORM else replayed
        assert equal_bits(array_from_json(place.entry["expected"]), again(place.entry)).all()
