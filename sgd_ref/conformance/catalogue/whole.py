"""Completed configs: a setting that a schedule leaves out gets its default, as in Keras' ``get_config``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from sgd_ref.schedules.serialization import CLASSES


def whole(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of an optimizer whose schedule, if it has one, has all of its settings.

    Given settings stay as they are, even integers. A learning rate that is not one of the six schedules is
    not changed.

    >>> given = {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 1, "decay_rate": 0.5}}
    >>> whole({"learning_rate": given})["learning_rate"]["config"]
    {'initial_learning_rate': 1, 'decay_rate': 0.5, 'staircase': False, 'name': 'ExponentialDecay'}
    """
    schedule: Any = config.get("learning_rate")
    if not _is_known(schedule):
        return dict(config)
    settings = schedule["config"]
    in_order = {
        name: settings.get(name, default) for name, default in _defaults(schedule["class_name"]).items()
    }
    completed = {
        name: value for name, value in in_order.items() if value is not inspect.Parameter.empty
    } | settings
    return {**config, "learning_rate": {**schedule, "config": completed}}


def _is_known(schedule: Any) -> bool:
    return (
        isinstance(schedule, Mapping)
        and schedule.get("class_name") in CLASSES
        and isinstance(schedule.get("config"), Mapping)
    )


@cache
def _defaults(class_name: str) -> dict[str, Any]:
    """Return the default of each setting, in order; ``Parameter.empty`` for a required setting."""
    parameters = inspect.signature(CLASSES[class_name]).parameters
    return {name: parameter.default for name, parameter in parameters.items()}
