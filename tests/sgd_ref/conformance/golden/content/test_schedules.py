"""The vectors of schedules: all six, also at boundaries and where rounding is hard."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.format.schemas import SCHEDULE
from sgd_ref.conformance.protocol.arrays import array_from_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.schedules.serialization import CLASSES


def single(value: float) -> mpmath.mpf:
    return mpmath.mpf(float(np.float32(value)))


def exponential(c: Json, step: int) -> mpmath.mpf:
    return single(c["initial_learning_rate"]) * single(c["decay_rate"]) ** (step / single(c["decay_steps"]))


def inverse_time(c: Json, step: int) -> mpmath.mpf:
    return single(c["initial_learning_rate"]) / (
        1 + single(c["decay_rate"]) * step / single(c["decay_steps"])
    )


def polynomial(c: Json, step: int) -> mpmath.mpf:
    rate, end, steps = (
        single(c[key]) for key in ("initial_learning_rate", "end_learning_rate", "decay_steps")
    )
    return (rate - end) * (1 - min(step, steps) / steps) ** single(c["power"]) + end


def cosine(c: Json, step: int) -> mpmath.mpf:
    alpha, steps = single(c.get("alpha", 0.0)), single(c["decay_steps"])
    wave = (1 + mpmath.cos(mpmath.pi * min(step, steps) / steps)) / 2
    return single(c["initial_learning_rate"]) * ((1 - alpha) * wave + alpha)


FORMULAS: dict[str, Callable[[Json, int], mpmath.mpf]] = {
    "schedule/ExponentialDecay/decimal": exponential,
    "schedule/ExponentialDecay/hard": exponential,
    "schedule/InverseTimeDecay/decimal": inverse_time,
    "schedule/InverseTimeDecay/hard": inverse_time,
    "schedule/PolynomialDecay/quadratic": polynomial,
    "schedule/PolynomialDecay/hard": polynomial,
    "schedule/CosineDecay/without-warmup": cosine,
    "schedule/CosineDecay/hard": cosine,
}


@pytest.fixture(scope="module")
def vectors(places: list[Place]) -> dict[str, Json]:
    return {place.entry["id"]: place.entry for place in places if place.kind == SCHEDULE}


def test_every_schedule_is_there_with_hard_steps(vectors: dict[str, Json]) -> None:
    classes = {entry["schedule"]["class_name"] for entry in vectors.values()}
    assert classes == set(CLASSES)
    hard = {identifier.split("/")[1] for identifier in vectors if identifier.endswith("/hard")}
    assert hard == classes - {"PiecewiseConstantDecay"}


@pytest.mark.parametrize("identifier", FORMULAS)
def test_values_are_those_of_the_formula(vectors: dict[str, Json], identifier: str) -> None:
    entry = vectors[identifier]
    with mpmath.workprec(400):
        exact = [FORMULAS[identifier](entry["schedule"]["config"], step) for step in entry["steps"]]
        expected = [nearest(Fraction(*map(int, mpmath.libmp.to_rational(x._mpf_))), FLOAT32) for x in exact]
    assert array_from_json(entry["expected"]).tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("identifier", [name for name in FORMULAS if name.endswith("/hard")])
def test_hard_steps_lie_near_the_middle_between_two_numbers(
    vectors: dict[str, Json], identifier: str
) -> None:
    entry = vectors[identifier]
    with mpmath.workprec(400):
        for step in entry["steps"]:
            mantissa, _ = mpmath.frexp(FORMULAS[identifier](entry["schedule"]["config"], step))
            units = mantissa * 2**24
            assert abs(units - mpmath.floor(units) - 0.5) < 2e-4


def test_no_value_rests_on_an_open_question(vectors: dict[str, Json]) -> None:
    for entry in vectors.values():
        config = {"learning_rate": entry["schedule"]}
        for step in entry["steps"]:
            case = Case("one", config, (), (), ((),), state=State(step))
            assert contested(case) == (), (entry["id"], step)
