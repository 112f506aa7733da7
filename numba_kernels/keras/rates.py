"""Learning rates of Keras: where each kind of rate is read, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from sgd_ref.base.learning_rate import checked, read
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.schedules.serialization import CLASSES, deserialize, serialize

KERAS_SCHEDULES = keras.optimizers.schedules
BUILT_IN: dict[Any, str] = {getattr(KERAS_SCHEDULES, name): name for name in CLASSES}


class HostRate:
    """A rate that is read in Python, in each step: a schedule of ``sgd_ref``, or a callable.

    Parameters
    ----------
    source : LearningRateSchedule or callable
        A schedule takes the number of calls; a callable takes nothing.
    """

    def __init__(self, source: LearningRateSchedule | Callable[[], Any]) -> None:
        self._source = source

    @property
    def is_pure(self) -> bool:
        """Whether reading the rate changes nothing, as with a schedule."""
        return isinstance(self._source, LearningRateSchedule)

    def read(self, calls: int, losses: Losses | None = None) -> np.float32:
        """Return the rate of the call after `calls` calls."""
        return read(self._source, calls, losses)


def as_keras(learning_rate: Any) -> Any:
    """Return a rate in the form that an optimizer of Keras keeps: a number as float32.

    A built-in schedule of ``sgd_ref`` becomes the schedule of Keras with the same settings, which Keras can
    save.

    Raises
    ------
    TypeError, ValueError
        If it is no number that is finite in float32, no schedule and no callable without arguments.

    Examples
    --------
    >>> from sgd_ref.schedules import CosineDecay
    >>> type(as_keras(CosineDecay(0.1, 100))).__module__.partition(".")[0], as_keras(0.5)
    ('keras', np.float32(0.5))
    """
    if isinstance(learning_rate, LearningRateSchedule) and type(learning_rate) in CLASSES.values():
        return KERAS_SCHEDULES.deserialize(serialize(learning_rate))
    if isinstance(learning_rate, KERAS_SCHEDULES.LearningRateSchedule):
        return learning_rate
    if isinstance(learning_rate, keras.Variable):
        learning_rate = float(keras.ops.stop_gradient(learning_rate))
    return checked(learning_rate)


def host_rate(learning_rate: Any) -> HostRate | None:
    """Return how a rate in the form of `as_keras` is read in Python; None if the backend has to compute it.

    The six schedules of Keras are read by those of ``sgd_ref``, whose values are rounded correctly and do not
    depend on the backend. The backend computes the value of a schedule of another class.
    """
    name = BUILT_IN.get(type(learning_rate))
    if name is not None:
        return HostRate(deserialize({"class_name": name, "config": learning_rate.get_config()}))
    if isinstance(learning_rate, LearningRateSchedule):
        return HostRate(learning_rate)
    if isinstance(learning_rate, (keras.Variable, KERAS_SCHEDULES.LearningRateSchedule)):
        return None
    return HostRate(learning_rate)
