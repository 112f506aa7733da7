"""Faithful variants of wider precision: where they round, and where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.faithful.hidden import HiddenFloat32, HiddenFloat64
from sgd_ref.conformance.faithful.precision import (
    EXTENDED,
    FormulasInFloat64,
    StagesInFloat32,
    StagesInFloat64,
    StepInExtended,
    StepInFloat32,
    StepInFloat64,
)
from sgd_ref.conformance.trajectories.comparison import equal_bits

WEIGHT_DECAY, RATE = 0.3, 0.1


def numbers(dtype: np.dtype[np.generic]) -> tuple[Array, Array]:
    generator = np.random.default_rng(1)
    return convert(generator.standard_normal(500), dtype), convert(generator.standard_normal(500), dtype)


def stepped(optimizer_class: type[SGD], w: Array, g: Array) -> Array:
    variable = w.copy()
    optimizer_class(RATE, weight_decay=WEIGHT_DECAY).apply([g], [variable])
    return variable


def decayed(w: Array, weight_decay: float, rate: float) -> Array:
    wide = w.astype(FLOAT64)
    return np.asarray(wide - wide * weight_decay * rate)


def test_a_step_in_double_is_rounded_once() -> None:
    w, g = numbers(FLOAT32)
    rate = float(np.float32(RATE))
    expected = (decayed(w, WEIGHT_DECAY, rate) - rate * g.astype(FLOAT64)).astype(FLOAT32)
    assert equal_bits(expected, stepped(StepInFloat64, w, g)).all()
    assert not equal_bits(expected, stepped(StagesInFloat64, w, g)).all()


def test_stages_in_double_are_rounded_one_by_one() -> None:
    w, g = numbers(FLOAT32)
    rate = float(np.float32(RATE))
    between = decayed(w, WEIGHT_DECAY, rate).astype(FLOAT32)
    expected = (between.astype(FLOAT64) - rate * g.astype(FLOAT64)).astype(FLOAT32)
    assert equal_bits(expected, stepped(StagesInFloat64, w, g)).all()


def test_formulas_in_double_have_settings_of_the_dtype() -> None:
    w, g = numbers(FLOAT32)
    rate = float(np.float32(RATE))
    between = decayed(w, float(np.float32(WEIGHT_DECAY)), rate).astype(FLOAT32)
    expected = (between.astype(FLOAT64) - rate * g.astype(FLOAT64)).astype(FLOAT32)
    assert equal_bits(expected, stepped(FormulasInFloat64, w, g)).all()


@pytest.mark.parametrize("optimizer_class", [StepInFloat64, HiddenFloat64])
def test_double_is_rounded_to_bfloat16_at_once(optimizer_class: type[SGD]) -> None:
    # Through float32, the tie that 2**-40 breaks would go to the even neighbour.
    w, g, velocity = (convert(np.array([x]), BFLOAT16) for x in (1.0, -(2.0**-40), 2.0**-8))
    optimizer = optimizer_class(1.0, momentum=1.0)
    optimizer.build([w])
    optimizer.velocities[0][...] = velocity
    optimizer.apply([g])
    assert float(w[0]) == 1.0078125


@pytest.mark.parametrize("optimizer_class", [StepInFloat32, StagesInFloat32, HiddenFloat32])
def test_float32_inside_concerns_half_types_only(optimizer_class: type[SGD]) -> None:
    for dtype, same in ((FLOAT32, True), (FLOAT64, True), (BFLOAT16, False)):
        w, g = numbers(dtype)
        assert equal_bits(stepped(SGD, w, g), stepped(optimizer_class, w, g)).all() == same


@pytest.mark.skipif(EXTENDED == FLOAT64, reason="long double is double")
def test_extended_precision_is_that_of_float64_variables() -> None:
    for dtype, same in ((FLOAT32, True), (FLOAT64, False)):
        w, g = numbers(dtype)
        assert equal_bits(stepped(SGD, w, g), stepped(StepInExtended, w, g)).all() == same


def test_what_is_hidden_is_not_lost() -> None:
    # Each step is below half a unit of bfloat16, but 64 of them are not.
    w, g = convert(np.array([1.0]), BFLOAT16), convert(np.array([-(2.0**-12)]), BFLOAT16)
    kept, lost = w.copy(), w.copy()
    hidden, reference = HiddenFloat32(1.0), SGD(1.0)
    for _ in range(64):
        hidden.apply([g], [kept])
        reference.apply([g], [lost])
    assert (float(kept[0]), float(lost[0])) == (1 + 2.0**-6, 1.0)
