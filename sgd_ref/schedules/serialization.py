"""Conversion of schedules to plain data and back, in the form that Keras exports."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from sgd_ref.schedules.base import LearningRateSchedule
from sgd_ref.schedules.cosine import CosineDecay, CosineDecayRestarts
from sgd_ref.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from sgd_ref.validation import reject_type, reject_value, text

MODULE = "keras.optimizers.schedules"
CLASSES: dict[str, type[LearningRateSchedule]] = {
    schedule.__name__: schedule
    for schedule in (
        ExponentialDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        InverseTimeDecay,
        CosineDecay,
        CosineDecayRestarts,
    )
}


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return a schedule as plain data that Keras 3 loads too.

    Raises
    ------
    TypeError
        If `schedule` is not an instance of one of the six classes, for example of a class of your own.

    Examples
    --------
    >>> data = serialize(PolynomialDecay(0.1, 100))
    >>> data["class_name"], data["config"]["power"]
    ('PolynomialDecay', 1.0)
    >>> deserialize(data) == PolynomialDecay(0.1, 100)
    True
    """
    class_name = type(schedule).__name__
    if type(schedule) is not CLASSES.get(class_name):
        reject_type("schedule", schedule, f"an instance of one of {', '.join(CLASSES)}")
    return {
        "module": MODULE,
        "class_name": class_name,
        "config": schedule.get_config(),
        "registered_name": None,
    }


def deserialize(data: Mapping[str, Any]) -> LearningRateSchedule:
    """Return the schedule for the data that `serialize`, of this module or of Keras, returned.

    Parameters
    ----------
    data : dict
        With "class_name" and "config"; "module" and "registered_name" may be left out.

    Raises
    ------
    TypeError, ValueError
        If there are other keys, if the class is not one of the six, or if its settings are not accepted.

    Examples
    --------
    >>> config = {"initial_learning_rate": 0.5, "decay_steps": 10, "decay_rate": 0.5}
    >>> deserialize({"class_name": "ExponentialDecay", "config": config})(10)
    np.float32(0.25)
    """
    if not isinstance(data, Mapping):
        reject_type("data", data, 'a dict with "class_name" and "config"')
    _check_keys("data", data, {"class_name", "config"}, {"module", "registered_name"})
    if data.get("module", MODULE) != MODULE:
        reject_value("module", data["module"], repr(MODULE))
    if data.get("registered_name") is not None:
        reject_value("registered_name", data["registered_name"], "None")
    class_name = text("class_name", data["class_name"])
    if class_name not in CLASSES:
        reject_value("class_name", class_name, f"one of {', '.join(CLASSES)}")
    config = data["config"]
    if not isinstance(config, Mapping):
        reject_type("config", config, "a dict")
    parameters = inspect.signature(CLASSES[class_name]).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    _check_keys(f"config of {class_name}", config, required, set(parameters) - required)
    return CLASSES[class_name].from_config(dict(config))


def _check_keys(name: str, data: Mapping[str, Any], required: set[str], optional: set[str]) -> None:
    if not required <= data.keys() <= required | optional:
        accepted = f"a dict with the keys {sorted(required)}, and any of {sorted(optional)}"
        reject_value(name, list(data), accepted)
