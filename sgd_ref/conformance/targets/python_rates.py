"""Learning-rate schedules as users write them for a library that takes functions: in Python floats."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from sgd_ref.conformance.catalogue.case import Unsupported

Config = Mapping[str, Any]


def rate_function(schedule: Mapping[str, Any]) -> Callable[[int], float]:
    """Return the documented formula of a schedule, as a function of the number of calls made before.

    Parameters
    ----------
    schedule : dict
        With "class_name" and "config", as in a case.

    Returns
    -------
    callable
        From a step to a learning rate, computed in double precision from settings that are not rounded.

    Raises
    ------
    Unsupported
        If the formula of the class is not written here.

    Notes
    -----
    Source: documentation of ``keras.optimizers.schedules``, Keras 3.15.1.

    Examples
    --------
    >>> halved = {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.25}
    >>> rate_function({"class_name": "ExponentialDecay", "config": halved})(2)
    0.25
    """
    formula, config = FORMULAS.get(schedule["class_name"]), schedule["config"]
    if formula is None:
        raise Unsupported(f"the schedule {schedule['class_name']}")
    return lambda step: float(formula(step, config))


def exponential_decay(step: int, config: Config) -> float:
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``."""
    p = step / config["decay_steps"]
    if config.get("staircase", False):
        p = math.floor(p)
    rate: float = config["initial_learning_rate"] * config["decay_rate"] ** p
    return rate


def piecewise_constant_decay(step: int, config: Config) -> float:
    """``values[i]`` for the first i with ``step <= boundaries[i]``, else the last value."""
    rate: float = config["values"][bisect_left(config["boundaries"], step)]
    return rate


def polynomial_decay(step: int, config: Config) -> float:
    """``(initial - end) * (1 - min(step, decay_steps) / decay_steps) ** power + end``."""
    decay_steps, end = config["decay_steps"], config.get("end_learning_rate", 0.0001)
    if config.get("cycle", False):
        decay_steps *= max(1, math.ceil(step / decay_steps))
    remainder = 1 - min(step, decay_steps) / decay_steps
    rate: float = (config["initial_learning_rate"] - end) * remainder ** config.get("power", 1.0) + end
    return rate


def inverse_time_decay(step: int, config: Config) -> float:
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``."""
    p = step / config["decay_steps"]
    if config.get("staircase", False):
        p = math.floor(p)
    rate: float = config["initial_learning_rate"] / (1 + config["decay_rate"] * p)
    return rate


def cosine_decay(step: int, config: Config) -> float:
    """A linear warmup, if there is a target, and half a period of the cosine."""
    start, target = config["initial_learning_rate"], config.get("warmup_target")
    if target is not None:
        warmup_steps = config.get("warmup_steps", 0)
        if step < warmup_steps:
            rate: float = start + (target - start) * step / warmup_steps
            return rate
        start, step = target, step - warmup_steps
    completed = min(step, config["decay_steps"]) / config["decay_steps"]
    return _lowered(start, completed, config.get("alpha", 0.0))


def cosine_decay_restarts(step: int, config: Config) -> float:
    """Repeated half periods of the cosine, each `t_mul` times as long and `m_mul` times as high."""
    period, t_mul, height = config["first_decay_steps"], config.get("t_mul", 2.0), 1.0
    remaining = float(step)
    if t_mul == 1:
        restarts = math.floor(remaining / period)
        remaining -= restarts * period
        height = config.get("m_mul", 1.0) ** restarts
    while remaining >= period:
        remaining -= period
        period *= t_mul
        height *= config.get("m_mul", 1.0)
    return _lowered(config["initial_learning_rate"], remaining / period, config.get("alpha", 0.0), height)


def _lowered(start: float, completed: float, alpha: float, height: float = 1.0) -> float:
    cosine = 0.5 * height * (1 + math.cos(math.pi * completed))
    return start * ((1 - alpha) * cosine + alpha)


FORMULAS: Mapping[str, Callable[[int, Config], float]] = {
    "ExponentialDecay": exponential_decay,
    "PiecewiseConstantDecay": piecewise_constant_decay,
    "PolynomialDecay": polynomial_decay,
    "InverseTimeDecay": inverse_time_decay,
    "CosineDecay": cosine_decay,
    "CosineDecayRestarts": cosine_decay_restarts,
}
