"""Learning-rate schedules: each value is the float32 nearest to the documented formula.

Constructors, defaults and configs are those of ``keras.optimizers.schedules``, Keras 3.15.1.
"""

from sgd_ref.schedules.base import LearningRateSchedule
from sgd_ref.schedules.cosine import CosineDecay, CosineDecayRestarts
from sgd_ref.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from sgd_ref.schedules.serialization import deserialize, serialize

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]
