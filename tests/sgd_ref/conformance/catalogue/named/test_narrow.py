"""Narrow cases: each tells the definition from the near miss that it is for, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sgd_ref import rule
from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted
from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.catalogue.named import narrow
from sgd_ref.conformance.catalogue.named.narrow_misses import hard_gradients
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.trajectories import reference
from sgd_ref.optimizer import SGD
from sgd_ref.schedules.base import FormulaSchedule
from sgd_ref.schedules.serialization import deserialize

CASES = {case.id.removeprefix(narrow.PREFIX): case for case in cases() if case.id.startswith(narrow.PREFIX)}


class NormInDouble(SGD):
    def norm(self, gradients: list[Array]) -> Any:
        elements = np.concatenate([convert(g, FLOAT64).ravel() for g in gradients])
        return convert(np.sqrt(np.sum(elements * elements)), promoted([g.dtype for g in gradients]))[()]


class NormCutOff(SGD):
    def norm(self, gradients: list[Array]) -> Any:
        found = super().norm(gradients)
        return (
            np.nextafter(found, found.dtype.type(0))
            if found.dtype != BFLOAT16
            else found * found.dtype.type(0.996)
        )


class ComplementInDouble(SGD):
    @staticmethod
    def averaged(old: Array, w: Array, momentum: Any) -> Array:
        wide = convert(old, FLOAT64) * float(momentum) + convert(w, FLOAT64) * (1 - float(momentum))
        return convert(wide, w.dtype)


class Saturating(SGD):
    @staticmethod
    def descended(w: Array, g: Array, rate: Any) -> Array:
        largest = convert(np.array(float(FORMATS[w.dtype].largest)), w.dtype)
        return np.asarray(np.clip(rule.descend(w, g, rate), -largest, largest), w.dtype)


class ZerosWithoutSign(SGD):
    def clip(self, gradients: list[Array | None]) -> list[Array | None]:
        return [None if g is None else g + g.dtype.type(0) for g in super().clip(gradients)]


class NesterovAlways(SGD):
    @staticmethod
    def descended(w: Array, g: Array, rate: Any) -> Array:
        return rule.move_nesterov(w, np.zeros_like(w), g, w.dtype.type(0), rate)


class VanishedMomentumIsNone(SGD):
    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Array:  # type: ignore[override]
        return -(rate * g) if momentum == 0 else rule.accelerate(velocity, g, momentum, rate)


BREAKS: tuple[tuple[str, type[SGD]], ...] = (
    *((f"norms/{dtype}", NormInDouble) for dtype in (FLOAT32, FLOAT64)),
    *((f"global-norms/{dtype}", NormInDouble) for dtype in (FLOAT32, FLOAT64)),
    *((f"norms/{dtype}", NormCutOff) for dtype in FORMATS),
    *((f"global-norms/{dtype}", NormCutOff) for dtype in FORMATS),
    *(
        (f"complement-{way}/{dtype}", ComplementInDouble)
        for dtype in (*HALF_FORMATS, FLOAT32)
        for way in ("down", "up")
    ),
    *((f"overflow/{dtype}", Saturating) for dtype in FORMATS),
    *(
        (f"signed-zeros-{name}/{dtype}", ZerosWithoutSign)
        for dtype in FORMATS
        for name in ("clipnorm", "clipvalue")
    ),
    *((f"zeros-by-nesterov-without-momentum/{dtype}", NesterovAlways) for dtype in FORMATS),
    *((f"momentum-that-vanishes/{dtype}", VanishedMomentumIsNone) for dtype in (FLOAT16, FLOAT32, BFLOAT16)),
)


@pytest.mark.parametrize(
    ("name", "wrong"), BREAKS, ids=lambda part: part if isinstance(part, str) else part.__name__
)
def test_a_near_miss_has_other_bits(name: str, wrong: type[SGD]) -> None:
    assert grade(lambda case: reference.run(case, wrong), CASES[name]).grade != "exact"


@pytest.mark.parametrize("name", [name for name in CASES if "in-double" in name or "-hard" in name])
def test_double_rounds_these_rates_wrongly(name: str) -> None:
    case = CASES[name]
    (record,) = reference.run(case)
    assert case.state is not None
    step, schedule, documented = case.state.calls, case.config["learning_rate"], record["learning_rate"]
    in_double = np.float32(FORMULAS[schedule["class_name"]](schedule["config"], step))
    # A hard one is so near to the middle of two floats that anything less than double decides wrongly.
    distance = abs(float(FORMULAS[schedule["class_name"]](schedule["config"], step)) - float(documented))
    assert in_double != documented or distance > 0.499 * float(np.spacing(documented))


def _single(config: dict[str, Any], name: str) -> float:
    return float(np.float32(config[name]))


def _polynomial(config: dict[str, Any], step: int) -> float:
    end = _single(config, "end_learning_rate")
    left = (1 - step / config["decay_steps"]) ** _single(config, "power")
    return (_single(config, "initial_learning_rate") - end) * left + end


def _cosine(config: dict[str, Any], step: int) -> float:
    alpha = _single(config, "alpha")
    decayed = (1 + math.cos(math.pi * (step / config["decay_steps"]))) / 2
    return _single(config, "initial_learning_rate") * ((1 - alpha) * decayed + alpha)


def _restarts(config: dict[str, Any], step: int) -> float:
    length = config["first_decay_steps"]
    while step >= length:
        step, length = step - length, 2 * length
    return _cosine({**config, "decay_steps": length}, step)


FORMULAS: dict[str, Callable[[dict[str, Any], int], float]] = {
    "ExponentialDecay": lambda config, step: (
        _single(config, "initial_learning_rate")
        * _single(config, "decay_rate") ** (step / config["decay_steps"])
    ),
    "InverseTimeDecay": lambda config, step: (
        _single(config, "initial_learning_rate")
        / (1 + _single(config, "decay_rate") * (step / config["decay_steps"]))
    ),
    "PolynomialDecay": _polynomial,
    "CosineDecay": _cosine,
    "CosineDecayRestarts": _restarts,
}


@pytest.mark.parametrize(
    ("name", "bits"), [("rates/inverse-in-double", 0x3D755FA4), ("rates/linear-in-double", 0x3CE47CDA)]
)
def test_rates_that_were_seen_to_be_missed(name: str, bits: int) -> None:
    (record,) = reference.run(CASES[name])
    assert record["learning_rate"].view(np.uint32) == bits


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_sums_of_squares_lie_at_and_beside_the_square_of_a_tie(dtype: np.dtype[Any]) -> None:
    p = FORMATS[dtype].precision
    sums = {name: sum(Fraction(float(x)) ** 2 for x in g) for name, g in hard_gradients(dtype).items()}
    down, up = (2**p + 1) ** 2, (2**p + 3) ** 2
    assert sums["tie-down"] == down < sums["above-a-tie"] < down + Fraction(1, 2**20)
    assert sums["tie-up"] == up > sums["below-a-tie"]


def test_narrow_cases_are_small() -> None:
    assert len(CASES) > 150
    for case in CASES.values():
        assert sum(variable.size for variable in case.variables) <= 64, case.id


def test_every_narrow_case_is_exact_for_the_reference() -> None:
    wrong: list[Case] = [case for case in CASES.values() if grade(reference.run, case).grade != "exact"]
    assert not wrong


def _formulas(name: str) -> list[tuple[Any, int]]:
    case = CASES[name]
    first = 0 if case.state is None else case.state.calls
    schedule = deserialize(case.config["learning_rate"])
    return [(schedule, first + call) for call in range(len(case.gradients))]


@pytest.mark.parametrize("name", [name for name in CASES if "-tie" in name and name.startswith("rates/")])
def test_one_of_these_rates_is_a_tie(name: str) -> None:
    distances = []
    for schedule, step in _formulas(name):
        value, rate = schedule.formula(step, schedule.exact_settings, exact), schedule(step)
        distances.append(abs(value - Fraction(float(rate))) / Fraction(float(np.spacing(np.float32(rate)))))
    # Above a power of two the unit is twice as large as below.
    assert {Fraction(1, 2), Fraction(1, 4)} & set(distances), distances


@pytest.mark.parametrize("name", [name for name in CASES if "-nearest" in name])
def test_these_rates_need_more_than_intervals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    rounded_exactly = FormulaSchedule._rounded_exactly

    def noted(self: FormulaSchedule, step: int) -> np.float32:
        asked.append(step)
        return rounded_exactly(self, step)

    monkeypatch.setattr(FormulaSchedule, "_rounded_exactly", noted)
    for schedule, step in _formulas(name):
        schedule(step)
    assert len(asked) == len(_formulas(name))
