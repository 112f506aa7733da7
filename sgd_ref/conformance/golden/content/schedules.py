"""Vectors of the schedules alone: steps, and the float32 that each of them must give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.conformance.golden.content.schedule_edges import EDGES_OF_FLOATS, Vector
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.protocol.arrays import result_to_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.schedules.serialization import deserialize

LARGE = (2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1)
"""Steps at which counters of float32 and of 32 bits go wrong."""


def schedule_entries() -> Iterator[tuple[str, list[Json]]]:
    """Yield for each class of schedules the path of its file and its entries.

    >>> [path for path, _ in schedule_entries()][:2]
    ['schedules/ExponentialDecay.json', 'schedules/PiecewiseConstantDecay.json']
    """
    for class_name in dict.fromkeys(vector.class_name for vector in VECTORS):
        chosen = [vector for vector in VECTORS if vector.class_name == class_name]
        yield f"schedules/{class_name}.json", [_entry(vector) for vector in chosen]


def rates(schedule: Json, steps: Sequence[int]) -> Any:
    """Return the rates of the reference at each step, as float32.

    >>> config = {"initial_learning_rate": 0.5, "decay_steps": 1, "decay_rate": 0.5}
    >>> rates({"class_name": "ExponentialDecay", "config": config}, [0, 1])
    array([0.5 , 0.25], dtype=float32)
    """
    evaluated = deserialize(schedule)
    return np.array([evaluated(step) for step in steps], np.float32)


def _entry(vector: Vector) -> Json:
    schedule = {"class_name": vector.class_name, "config": vector.config}
    steps = sorted(set(vector.steps))
    return hashed(
        {
            "id": f"schedule/{vector.class_name}/{vector.name}",
            "schedule": schedule,
            "steps": steps,
            "expected": result_to_json(rates(schedule, steps)),
            "notes": vector.notes,
            "provenance": provenance(__name__),
        }
    )


ORDINARY = "Every step of a few periods, and counts that narrow counters cannot hold."
HARD = "The dozen steps below 60,000 at which the exact value lies nearest to the middle between two float32."
EDGES = "The steps at and beside each boundary."
ODD = 2**24 + 1
"""The smallest number of steps that is no float32; rounded, it is one less."""
ROUNDED = "A setting that is no float32: it is rounded before anything is computed from it."

VECTORS = (
    Vector(
        "dyadic",
        "ExponentialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5},
        [*range(20), *LARGE],
        ORDINARY,
    ),
    Vector(
        "decimal",
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 1000, "decay_rate": 0.96},
        [*range(0, 4000, 97), *LARGE],
        ORDINARY,
    ),
    Vector(
        "staircase",
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9, "staircase": True},
        [0, 6, 7, 8, 13, 14, 15, 69, 70, 71, 6999, 7000, 7001],
        EDGES,
    ),
    Vector(
        "staircase-of-a-fraction",
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 2.5, "decay_rate": 0.9, "staircase": True},
        range(16),
        EDGES,
    ),
    Vector(
        "growing",
        "ExponentialDecay",
        {"initial_learning_rate": 1e-3, "decay_steps": 10, "decay_rate": 1.1},
        [*range(0, 200, 9), 100000],
        "A rate that grows, in the end to infinity.",
    ),
    Vector(
        "hard",
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 100000, "decay_rate": 0.96},
        (15884, 18386, 28574, 38321, 38514, 39876, 40022, 41499, 52482, 53200, 55693, 57951),
        HARD,
    ),
    Vector(
        "long-staircase",
        "ExponentialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": ODD, "decay_rate": 0.5, "staircase": True},
        (ODD - 2, ODD - 1, ODD, ODD + 1, 2 * ODD - 2, 2 * ODD - 1),
        ROUNDED,
    ),
    Vector(
        "to-zero-at-once",
        "ExponentialDecay",
        {"initial_learning_rate": -0.5, "decay_steps": 4, "decay_rate": 0.0},
        (0, 1, 4, 5),
        "At step 0 zero to the power of zero is 1; later the value is exactly zero, which is 0.0.",
    ),
    Vector(
        "negative-underflow",
        "ExponentialDecay",
        {"initial_learning_rate": -0.5, "decay_steps": 1, "decay_rate": 0.5},
        (124, 125, 126, 147, 148, 149, 150),
        "A value too small for a float32, but not zero, keeps its sign: -0.0.",
    ),
    Vector(
        "two-boundaries",
        "PiecewiseConstantDecay",
        {"boundaries": [3, 8], "values": [0.1, 0.03, 0.7]},
        range(12),
        "A step equal to a boundary still has the value before it.",
    ),
    Vector(
        "boundary-at-zero",
        "PiecewiseConstantDecay",
        {"boundaries": [0], "values": [0.5, 0.25]},
        (0, 1, 2),
        EDGES,
    ),
    Vector(
        "large-boundaries",
        "PiecewiseConstantDecay",
        {"boundaries": [2**24, 2**31, 2**32], "values": [0.1, 0.2, 0.3, 0.4]},
        (*LARGE, 2**24 + 2, 2**31 + 1, 2**32 + 2),
        EDGES,
    ),
    Vector(
        "boundary-beyond-float32",
        "PiecewiseConstantDecay",
        {"boundaries": [ODD], "values": [0.5, 0.25]},
        (ODD - 1, ODD, ODD + 1),
        "A boundary is not rounded.",
    ),
    Vector(
        "zeros",
        "PiecewiseConstantDecay",
        {"boundaries": [1, 3], "values": [0.0, -1e-60, 1e-60]},
        range(5),
        "A number that is rounded to zero keeps its sign.",
    ),
    Vector(
        "quadratic",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 20, "end_learning_rate": 0.01, "power": 2.0},
        [*range(24), *LARGE],
        ORDINARY,
    ),
    Vector(
        "linear",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "end_learning_rate": 0.0001, "power": 1.0},
        range(34),
        "It ends exactly at the end value.",
    ),
    Vector(
        "root",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "end_learning_rate": 0.2, "power": 0.5},
        range(34),
        "It climbs.",
    ),
    Vector(
        "cycle",
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 10,
            "end_learning_rate": 0.01,
            "power": 1.5,
            "cycle": True,
        },
        [step for step in (*range(45), 99, 101, 999999, 1000001) if step % 10],
        "Each period is longer; what holds at its multiples is an open question and is left out.",
    ),
    Vector(
        "hard",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 100000, "end_learning_rate": 0.001, "power": 1.5},
        (1585, 2372, 8946, 9143, 12866, 17977, 23752, 25931, 33641, 33689, 38837, 59562),
        HARD,
    ),
    Vector(
        "odd-length",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": ODD, "end_learning_rate": 0.0},
        (ODD - 5, ODD - 3, ODD - 2, ODD - 1, ODD),
        ROUNDED,
    ),
    Vector(
        "power-beyond-float32",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 2**20, "end_learning_rate": 0.0, "power": 2.00000001},
        (2**20 - 4, 2**20 - 2, 2**20 - 1, 2**20),
        ROUNDED,
    ),
    Vector(
        "power-zero",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 4, "end_learning_rate": 0.125, "power": 0.0},
        (0, 3, 4, 5),
        "Zero to the power of zero is 1, so that the rate is constant.",
    ),
    Vector(
        "cycle-from-the-start",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 4, "end_learning_rate": 0.125, "cycle": True},
        (0, 1, 2, 3, 5),
        "At step 0 there is one period already, not none.",
    ),
    Vector(
        "dyadic",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 1.0},
        [*range(20), *LARGE],
        ORDINARY,
    ),
    Vector(
        "decimal",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.3},
        [*range(40), *LARGE],
        ORDINARY,
    ),
    Vector(
        "staircase",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.3, "staircase": True},
        [0, 6, 7, 8, 13, 14, 15, 69, 70, 71, 6999, 7000, 7001],
        EDGES,
    ),
    Vector(
        "hard",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 1000, "decay_rate": 0.3},
        (2281, 11962, 15023, 19406, 23235, 37862, 38119, 46409, 46885, 47319, 50000, 54438),
        HARD,
    ),
    Vector(
        "long-staircase",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.5, "decay_steps": ODD, "decay_rate": 1.0, "staircase": True},
        (ODD - 2, ODD - 1, ODD, ODD + 1, 2 * ODD - 2, 2 * ODD - 1),
        ROUNDED,
    ),
    Vector(
        "without-warmup",
        "CosineDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "alpha": 0.01},
        [*range(34), *LARGE],
        ORDINARY,
    ),
    Vector(
        "to-zero",
        "CosineDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 24},
        range(27),
        "Near the end 1 and the cosine cancel.",
    ),
    Vector(
        "warmup",
        "CosineDecay",
        {
            "initial_learning_rate": 0.0,
            "decay_steps": 20,
            "alpha": 0.1,
            "warmup_target": 0.3,
            "warmup_steps": 7,
        },
        range(30),
        EDGES,
    ),
    Vector(
        "hard",
        "CosineDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 100000, "alpha": 0.01},
        (5214, 5510, 6785, 13349, 15372, 15909, 33598, 34705, 44915, 50660, 52526, 59425),
        HARD,
    ),
    Vector(
        "odd-length",
        "CosineDecay",
        {"initial_learning_rate": 0.5, "decay_steps": ODD},
        (ODD // 2, ODD - 5, ODD - 3, ODD - 2, ODD - 1, ODD),
        ROUNDED,
    ),
    Vector(
        "odd-warmup",
        "CosineDecay",
        {"initial_learning_rate": 0.0, "decay_steps": 8, "warmup_target": 0.5, "warmup_steps": ODD},
        (0, ODD - 2, ODD - 1, ODD, ODD + 1, ODD + 6, ODD + 7, ODD + 8),
        ROUNDED,
    ),
    Vector(
        "target-without-warmup",
        "CosineDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 8, "warmup_target": 0.25},
        range(5),
        "Without steps of a warmup the decay begins at once, from the target.",
    ),
    Vector(
        "warmup-without-target",
        "CosineDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 8, "warmup_steps": 4},
        range(10),
        "Without a target there is no warmup.",
    ),
    Vector(
        "doubling",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 2.0, "alpha": 0.01},
        [*range(36), 74, 75, 76, 154, 155, 156, *LARGE],
        EDGES,
    ),
    Vector(
        "lower-each-time",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 1.0, "m_mul": 0.7},
        range(40),
        EDGES,
    ),
    Vector(
        "long-and-low",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.3, "first_decay_steps": 3, "t_mul": 1.5, "m_mul": 0.9},
        range(60),
        "Periods of 3, 4.5, 6.75 steps and so on.",
    ),
    Vector(
        "thirteenth-restart",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 2.0},
        [10 * (2**count - 1) + shift for count in range(1, 17) for shift in (-1, 0, 1)],
        "Each restart of many, where a logarithm in float32 loses some.",
    ),
    Vector(
        "hard",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 1000, "t_mul": 2.0, "alpha": 0.01},
        (5377, 11754, 11869, 18887, 19003, 20221, 24738, 38774, 39006, 41442, 50476, 58491),
        HARD,
    ),
    Vector(
        "odd-first-period",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.5, "first_decay_steps": ODD},
        (ODD - 3, ODD - 2, ODD - 1, ODD, 3 * ODD - 4, 3 * ODD - 3),
        ROUNDED,
    ),
    *EDGES_OF_FLOATS,
)
