"""Vectors of schedules where a value vanishes in float32 or a setting is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Vector(NamedTuple):
    """One schedule and the steps at which it is read."""

    name: str
    class_name: str
    config: dict[str, Any]
    steps: Sequence[int]
    notes: str


EDGES_OF_FLOATS = (
    Vector(
        "negative-underflow-long-after",
        "ExponentialDecay",
        {"initial_learning_rate": -0.5, "decay_steps": 1, "decay_rate": 0.5},
        (150, 299, 300, 301, 439, 440, 441, 823, 824, 825, 866, 867, 1000, 5000),
        "However small the value is, it keeps its sign.",
    ),
    Vector(
        "negative-zero-among-values",
        "PiecewiseConstantDecay",
        {"boundaries": [1, 3], "values": [-0.0, 0.5, -0.0]},
        range(5),
        "A -0.0 among the settings is the number 0.",
    ),
    Vector(
        "many-boundaries",
        "PiecewiseConstantDecay",
        {"boundaries": list(range(300)), "values": [piece / 512 for piece in range(301)]},
        (0, 1, 2, 127, 128, 255, 256, 257, 298, 299, 300, 301),
        "There may be more pieces than a byte counts.",
    ),
    Vector(
        "defaults",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 6},
        range(9),
        "A line to 0.0001, once.",
    ),
    Vector(
        "negative-underflow",
        "PolynomialDecay",
        {"initial_learning_rate": -0.5, "decay_steps": 8, "end_learning_rate": 0.0, "power": 1000.0},
        range(10),
        "A value too small for a float32, but not zero, keeps its sign; at the end it is zero.",
    ),
    Vector(
        "defaults",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 4},
        range(30),
        "Each period is twice as long, and begins at the same rate.",
    ),
    Vector(
        "negative-underflow",
        "CosineDecayRestarts",
        {"initial_learning_rate": -0.5, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.25},
        (0, 3, 200, 222, 300, 1000, 3000),
        "However low a restart is, it keeps its sign.",
    ),
    Vector(
        "from-the-largest",
        "ExponentialDecay",
        {"initial_learning_rate": float.fromhex("0x1.fffffep+127"), "decay_steps": 1, "decay_rate": 0.75},
        range(5),
        "The largest float32 is a rate.",
    ),
    Vector(
        "falling-to-infinity",
        "ExponentialDecay",
        {"initial_learning_rate": -1e-3, "decay_steps": 1, "decay_rate": 1.5},
        (0, 1, 230, 231, 232, 235, 236, 237, 100000),
        "A negative rate that grows, in the end to minus infinity.",
    ),
    Vector(
        "restart-that-a-logarithm-misses",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 3.0, "m_mul": 1.25},
        (39, 40, 41, 120, 121, 122, 363, 364, 365, 1092, 1093, 1094),
        "The fifth restart is at 3^5 = 243. In double, log(243) / log(3) is below 5.",
    ),
    Vector(
        "tenth-restart-that-a-logarithm-misses",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 3.0, "m_mul": 1.25},
        (29523, 29524, 29525),
        "The tenth restart is at a length of 3^10, and log(3^10) / log(3) is below 10 in double.",
    ),
    Vector(
        "restart-that-a-logarithm-sees-too-early",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 2.0, "m_mul": 0.75},
        (2**52 - 3, 2**52 - 2, 2**52 - 1, 2**52),
        "The last step before a restart: in double the logarithm of its length is that of the next length.",
    ),
    Vector(
        "restart-seen-too-early-among-lengths-with-fractions",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 2.5, "m_mul": 0.75},
        (56468863150285, 56468863150286, 56468863150287),
        "The same where the length of a period, 2.5^34, is no integer.",
    ),
    Vector(
        "just-after-a-restart-that-a-logarithm-misses",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 2**45, "t_mul": 3.0, "m_mul": 1.25},
        (121 * 2**45 - 1, 121 * 2**45, 121 * 2**45 + 1, 121 * 2**45 + 2),
        "The length 3^5 is passed by a little, and in double the logarithm is still below.",
    ),
)
