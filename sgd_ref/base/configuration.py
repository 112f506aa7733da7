"""Configs with the keys of Keras: `sgd_ref` loads configs of Keras, and Keras loads configs of `sgd_ref`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from sgd_ref import schedules
from sgd_ref.base.settings import SETTINGS, Settings
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.schedules.serialization import CLASSES

KEYS = ("learning_rate", *SETTINGS)
"""The arguments of the constructor, which are the keys of a config."""


def of_sgd(
    settings: Settings, learning_rate: np.float32 | LearningRateSchedule | Callable[[], Any]
) -> dict[str, Any]:
    """Return the config of an SGD optimizer.

    A learning rate that is a callable, or a schedule of a class of the user's own, cannot be exported and
    is None.
    """
    exported: Any = None
    if isinstance(learning_rate, LearningRateSchedule) and type(learning_rate) in CLASSES.values():
        exported = schedules.serialize(learning_rate)
    elif isinstance(learning_rate, np.float32):
        exported = float(learning_rate)
    return {"learning_rate": exported, **asdict(settings)}


def arguments_of_sgd(config: Mapping[str, Any], learning_rate: Any) -> dict[str, Any]:
    """Return the arguments for the constructor of SGD.

    Raises
    ------
    TypeError
        If `config` is not a mapping.
    ValueError
        If a key is unknown, or the config has no learning rate because the rate could not be exported.
    """
    arguments = known(config, KEYS)
    if learning_rate is not None:
        arguments["learning_rate"] = learning_rate
    elif isinstance(arguments.get("learning_rate"), Mapping):
        arguments["learning_rate"] = schedules.deserialize(arguments["learning_rate"])
    elif "learning_rate" in arguments and arguments["learning_rate"] is None:
        raise ValueError(
            "config['learning_rate'] is None, since it was a callable or a schedule of a class of your own, "
            "which a config cannot hold; give it as learning_rate"
        )
    return arguments


def known(config: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return a copy of `config`; all of its keys must be among `keys`."""
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping, got {config!r} of type {type(config).__name__}")
    unknown = [key for key in config if key not in keys]
    if unknown:
        raise ValueError(f"config has unknown keys {unknown}; accepted are {list(keys)}")
    return dict(config)
