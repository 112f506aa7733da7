"""Narrow cases of rates: schedules at or near midpoints of two floats, and settings of unusual size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.catalogue.named.narrow import narrow_case, numbers

UNITS = 64
"""The error in units that an evaluation in float32 may have, since cancellation can occur in these cases."""

DOUBLE = "Evaluated in double and then rounded, the rate is one unit off."
HARD = "The exact value lies very near to the middle of two floats."
NEAREST = "The exact value, an irrational number, is nearer to the middle of two floats than double can tell."
TIE = "Rates in the middle of two floats, of which the even one is below, then above."
ZERO = "A setting that is 0 is given, and does not have its default."
FRACTION = "A number of steps that is no integer."


class Row(NamedTuple):
    """A schedule, read in consecutive calls."""

    name: str
    notes: str
    class_name: str
    config: Mapping[str, Any]
    first: int
    calls: int = 1
    units: int = UNITS


def _inverse(initial: float, steps: float, rate: float, **others: Any) -> dict[str, Any]:
    return {"initial_learning_rate": initial, "decay_steps": steps, "decay_rate": rate, **others}


def _polynomial(initial: float, steps: float, end: float, power: float, **others: Any) -> dict[str, Any]:
    return {
        "initial_learning_rate": initial,
        "decay_steps": steps,
        "end_learning_rate": end,
        "power": power,
        **others,
    }


def _cosine(initial: float, steps: float, alpha: float, **others: Any) -> dict[str, Any]:
    return {"initial_learning_rate": initial, "decay_steps": steps, "alpha": alpha, **others}


def _restarts(initial: float, steps: float, t_mul: float, m_mul: float, alpha: float) -> dict[str, Any]:
    return {
        "initial_learning_rate": initial,
        "first_decay_steps": steps,
        "t_mul": t_mul,
        "m_mul": m_mul,
        "alpha": alpha,
    }


UNIT = 2.0**-24
"""Half a unit in the last place of numbers from 1 on, which is a unit of those from 1/2 on."""

SMALLEST = 2.0**-149

ROWS = (
    Row("inverse-in-double", DOUBLE, "InverseTimeDecay", _inverse(0.1, 254, 0.25), 680),
    Row("inverse-in-double-again", DOUBLE, "InverseTimeDecay", _inverse(0.001, 740, 0.5), 792),
    Row("linear-in-double", DOUBLE, "PolynomialDecay", _polynomial(1.0, 664, 0.01, 1.0), 652),
    Row("linear-in-double-again", DOUBLE, "PolynomialDecay", _polynomial(1.0, 249, 0.01, 1.0), 152),
    Row("square-in-double", DOUBLE, "PolynomialDecay", _polynomial(0.3, 496, 0.01, 2.0), 336),
    Row("root-in-double", DOUBLE, "PolynomialDecay", _polynomial(0.01, 27, 0.001, 0.5), 24),
    Row("exponential-hard", HARD, "ExponentialDecay", _inverse(0.1, 100000, 0.96), 15884),
    Row("exponential-hard-again", HARD, "ExponentialDecay", _inverse(0.1, 100000, 0.96), 55693),
    Row("cosine-hard", HARD, "CosineDecay", _cosine(0.1, 100000, 0.01), 13349),
    Row("cosine-hard-again", HARD, "CosineDecay", _cosine(0.1, 100000, 0.01), 59425),
    Row("restarts-hard", HARD, "CosineDecayRestarts", _restarts(0.1, 1000, 2.0, 1.0, 0.01), 38774),
    Row("restarts-hard-again", HARD, "CosineDecayRestarts", _restarts(0.1, 1000, 2.0, 1.0, 0.01), 5377),
    Row("cosine-nearest", NEAREST, "CosineDecay", _cosine(0.543554, 2725, 0.0337144), 1672),
    Row("cosine-nearest-again", NEAREST, "CosineDecay", _cosine(0.40068, 1799, 0.0491554), 897),
    Row("exponential-nearest", NEAREST, "ExponentialDecay", _inverse(0.782872, 2079, 0.832404), 415),
    Row("exponential-nearest-again", NEAREST, "ExponentialDecay", _inverse(0.903517, 2903, 0.058872), 1048),
    Row(
        "root-tie-down", TIE, "PolynomialDecay", _polynomial(1.0, 2.0**50, 0.0, 0.5), 2**50 - (2**24 + 1) ** 2
    ),
    Row("root-tie-up", TIE, "PolynomialDecay", _polynomial(1.0, 2.0**50, 0.0, 0.5), 2**50 - (2**24 + 3) ** 2),
    Row(
        "root-of-rate-tie-down",
        TIE,
        "ExponentialDecay",
        _inverse(1 + 2.0**-13, 2, (1 + 2.0**-11) ** 2),
        1,
    ),
    Row(
        "root-of-rate-tie-up",
        TIE,
        "ExponentialDecay",
        _inverse(1 + 3 * 2.0**-13, 2, (1 + 2.0**-11) ** 2),
        1,
    ),
    Row("linear-tie", TIE, "PolynomialDecay", _polynomial(1.0, 2.0**25, 0.0, 1.0), 1, 3),
    Row("square-tie", TIE, "PolynomialDecay", _polynomial(1.0, 2.0**13, 0.0, 2.0), 1, 3),
    Row("exponential-tie", TIE, "ExponentialDecay", _inverse(1 + 2.0**-12, 1, 1 + 2.0**-12), 0, 4),
    Row("exponential-tie-up", TIE, "ExponentialDecay", _inverse(1 + 2.0**-12, 1, 1 + 3 * 2.0**-12), 0, 4),
    Row("inverse-tie", TIE, "InverseTimeDecay", _inverse(SMALLEST, 1, 1.0), 0, 3),
    Row("inverse-tie-up", TIE, "InverseTimeDecay", _inverse(3 * SMALLEST, 1, 1.0), 0, 4),
    Row("cosine-tie-down", TIE, "CosineDecay", _cosine(1.0, 4, UNIT), 2),
    Row("cosine-tie-up", TIE, "CosineDecay", _cosine(1.0, 4, 3 * UNIT), 2),
    Row("cosine-of-a-third-tie-down", TIE, "CosineDecay", _cosine(1.0, 6, 2 * UNIT), 2),
    Row("cosine-of-a-third-tie-up", TIE, "CosineDecay", _cosine(1.0, 6, 6 * UNIT), 2),
    Row(
        "warmup-tie-down",
        TIE,
        "CosineDecay",
        _cosine(1.0, 4, 0.0, warmup_target=1 + 2 * UNIT, warmup_steps=2),
        0,
        3,
    ),
    Row(
        "warmup-tie-up",
        TIE,
        "CosineDecay",
        _cosine(1.0, 4, 0.0, warmup_target=1 + 6 * UNIT, warmup_steps=2),
        0,
        3,
    ),
    Row("restarts-tie-down", TIE, "CosineDecayRestarts", _restarts(1.0, 2, 1.0, 1.0, UNIT), 1, 3),
    Row("restarts-tie-up", TIE, "CosineDecayRestarts", _restarts(1.0, 2, 2.0, 1.0, 3 * UNIT), 1, 4),
    Row("exponential-fraction", FRACTION, "ExponentialDecay", _inverse(0.1, 2.5, 0.9), 0, 6),
    Row("staircase-fraction", FRACTION, "ExponentialDecay", _inverse(0.1, 2.5, 0.9, staircase=True), 0, 9),
    Row("inverse-fraction", FRACTION, "InverseTimeDecay", _inverse(0.1, 2.5, 0.3), 0, 6),
    Row(
        "inverse-staircase-fraction",
        FRACTION,
        "InverseTimeDecay",
        _inverse(0.1, 2.5, 0.3, staircase=True),
        0,
        9,
    ),
    Row("linear-fraction", FRACTION, "PolynomialDecay", _polynomial(0.1, 2.5, 0.01, 1.0), 0, 5),
    Row("cycle-fraction", FRACTION, "PolynomialDecay", _polynomial(0.1, 2.5, 0.01, 1.0, cycle=True), 0, 5),
    Row("cosine-fraction", FRACTION, "CosineDecay", _cosine(0.1, 2.5, 0.01), 0, 5),
    Row(
        "warmup-fraction",
        FRACTION,
        "CosineDecay",
        _cosine(0.01, 3.5, 0.1, warmup_target=0.3, warmup_steps=2.5),
        0,
        8,
    ),
    Row("restarts-fraction", FRACTION, "CosineDecayRestarts", _restarts(0.1, 2.5, 1.0, 0.7, 0.0), 0, 9),
    Row(
        "boundary-fraction",
        "A boundary of 1.5 lies between steps.",
        "PiecewiseConstantDecay",
        {"boundaries": [1.5, 3], "values": [0.1, 0.2, 0.3]},
        0,
        6,
        0,
    ),
    Row(
        "negative-zero-among-values",
        "A rate of -0.0 is the number 0, and a rate that vanishes keeps its sign.",
        "PiecewiseConstantDecay",
        {"boundaries": [0, 1], "values": [-0.0, -1e-60, 0.5]},
        0,
        3,
        0,
    ),
    Row(
        "negative-rate-that-vanishes",
        "However small a negative rate is, it keeps its sign.",
        "ExponentialDecay",
        _inverse(-0.5, 1, 0.5),
        400,
        2,
    ),
    Row(
        "negative-rate-that-vanishes-long-after",
        "However small a negative rate is, it keeps its sign.",
        "ExponentialDecay",
        _inverse(-0.5, 1, 0.5),
        950,
        2,
    ),
    Row(
        "alpha-negative",
        "An end below zero.",
        "CosineDecay",
        _cosine(0.1, 4, -0.5),
        0,
        6,
    ),
    Row("power-zero", ZERO, "PolynomialDecay", _polynomial(0.5, 4, 0.125, 0.0), 0, 4),
    Row("restarts-to-zero", ZERO, "CosineDecayRestarts", _restarts(0.5, 2, 1.0, 0.0, 0.0), 0, 5),
    Row("exponential-to-zero", ZERO, "ExponentialDecay", _inverse(0.5, 2, 0.0), 0, 4),
    Row("inverse-without-decay", ZERO, "InverseTimeDecay", _inverse(0.5, 2, 0.0), 0, 4),
    *(
        Row(
            f"restarts-by-{t_mul:g}",
            "Each period is longer by an unusual factor.",
            "CosineDecayRestarts",
            _restarts(0.1, 2, t_mul, 1.0, 0.01),
            0,
            9,
        )
        for t_mul in (1.1, 1.7, 2.5, 3.0)
    ),
    Row(
        "restarts-by-three-higher",
        "Each period begins higher than the one before.",
        "CosineDecayRestarts",
        _restarts(0.1, 1, 3.0, 1.25, 0.0),
        0,
        15,
    ),
    Row(
        "restarts-lowered-to-a-minimum",
        "Restarts that are lowered to a minimum (contested).",
        "CosineDecayRestarts",
        _restarts(0.1, 2, 1.5, 0.8, 0.1),
        0,
        9,
    ),
    Row(
        "cycle-of-one",
        "A cycle of one step is always at its end (contested).",
        "PolynomialDecay",
        _polynomial(0.1, 1, 0.01, 1.0, cycle=True),
        0,
        4,
    ),
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for row in ROWS:
        yield narrow_case(
            f"rates/{row.name}",
            row.notes,
            {"w": numbers(FLOAT32, 0.0, -0.0)},
            [[numbers(FLOAT32, 1.0, 0.0)]] * row.calls,
            learning_rate={"class_name": row.class_name, "config": dict(row.config)},
            state=State(calls=row.first) if row.first else None,
            units=row.units,
        )
