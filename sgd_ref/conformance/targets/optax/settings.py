"""The settings of a case in Optax: the transformations and schedules that a user would write.

If Optax has no counterpart, the answer is ``Unsupported``. If a counterpart means something else in some
situations, it is used nevertheless, and the contradiction is in ``targets.optax.known``. Only the worker
calls these functions: they import Optax and JAX.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Unsupported
from sgd_ref.gradients import SparseRows

Schedule = Callable[[Any], Any]

MOST_CYCLES = 50


def refuse_unsupported(case: Case) -> None:
    """Raise ``Unsupported``, with the reason, for a case with features that Optax lacks."""
    if case.kind != "trajectory":
        raise Unsupported(f"cases of kind {case.kind}")
    if case.loss_scaling is not None:
        raise Unsupported(
            "Optax has no loss scaling: apply_if_finite skips updates, and nothing adapts a scale"
        )
    gradients = [gradient for gradients in case.gradients for gradient in gradients]
    if any(isinstance(gradient, SparseRows) for gradient in gradients):
        raise Unsupported("the gradient of an embedding is dense in JAX")
    if any(gradient is None for gradient in gradients):
        raise Unsupported(
            "no gradient is missing in JAX, where that of an unused variable is zero; "
            "and the state of Optax has the structure of the gradients, in which None has no place"
        )


def optimizer(case: Case) -> Any:
    """Return the optimizer: an ``optax.GradientTransformation``, or ``optax.MultiSteps`` around it."""
    optax = importlib.import_module("optax")
    config = case.config
    rates = case.learning_rate_calls
    descent = _descent(case)
    if rates is not None:
        transformation = optax.inject_hyperparams(descent)(learning_rate=float(rates[0]))
    else:
        transformation = descent(learning_rate(case))
    clipping = _clipping(case)
    if clipping is not None:
        transformation = optax.chain(clipping, transformation)
    steps = config.get("gradient_accumulation_steps")
    return transformation if steps is None else optax.MultiSteps(transformation, every_k_schedule=steps)


def learning_rate(case: Case) -> float | Schedule:
    """Return the learning rate if it is not a callable: a number or a schedule."""
    rate = case.config.get("learning_rate", 0.01)
    if not isinstance(rate, dict):
        return float(rate)
    schedules: dict[str, Callable[..., Schedule]] = {
        "ExponentialDecay": _exponential,
        "PiecewiseConstantDecay": _piecewise_constant,
        "PolynomialDecay": _polynomial,
        "InverseTimeDecay": _inverse_time,
        "CosineDecay": _cosine,
    }
    settings = {name: value for name, value in rate["config"].items() if name != "name"}
    if rate["class_name"] == "CosineDecayRestarts":
        calls_before = 0 if case.state is None else case.state.calls
        return _cosine_with_restarts(calls_before + len(case.gradients), **settings)
    if rate["class_name"] not in schedules:
        raise Unsupported(f"the schedule {rate['class_name']}")
    return schedules[rate["class_name"]](**settings)


def _descent(case: Case) -> Callable[[Any], Any]:
    """Return the factory of the transformations that come after the clipping."""
    optax = importlib.import_module("optax")
    config = case.config
    momentum = config.get("momentum", 0.0) or None
    nesterov = config.get("nesterov", False)
    weight_decay = config.get("weight_decay")

    def descent(learning_rate: Any) -> Any:
        if weight_decay is None:
            return optax.sgd(learning_rate, momentum, nesterov)
        # Decay comes after the trace, so that it never enters the velocity.
        parts = [] if momentum is None else [optax.trace(momentum, nesterov)]
        parts += [optax.add_decayed_weights(weight_decay, mask), optax.scale_by_learning_rate(learning_rate)]
        return optax.chain(*parts)

    mask = [not any(part in name for part in case.excluded_from_weight_decay) for name in case.names]
    return descent


def _clipping(case: Case) -> Any:
    optax = importlib.import_module("optax")
    config = case.config
    if config.get("clipvalue") is not None:
        return optax.clip(config["clipvalue"])
    if config.get("global_clipnorm") is not None:
        return optax.clip_by_global_norm(config["global_clipnorm"])
    if config.get("clipnorm") is not None:
        # Every variable is a part of its own, so that the norm of each part is the norm of a variable.
        labels = list(range(len(case.variables)))
        return optax.partition(
            {label: optax.clip_by_global_norm(config["clipnorm"]) for label in labels}, labels
        )
    return None


def _exponential(
    initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    if decay_rate == 0:
        raise Unsupported("for exponential_decay of Optax a decay_rate of 0 means that nothing decays")
    optax = importlib.import_module("optax")
    schedule: Schedule = optax.exponential_decay(
        initial_learning_rate, decay_steps, decay_rate, staircase=staircase
    )
    return schedule


def _piecewise_constant(boundaries: list[float], values: list[float]) -> Schedule:
    optax = importlib.import_module("optax")
    # piecewise_constant_schedule takes the rounded ratios of the values; both change at count == boundary.
    schedule: Schedule = optax.join_schedules(
        [optax.constant_schedule(value) for value in values], boundaries
    )
    return schedule


def _polynomial(
    initial_learning_rate: float,
    decay_steps: float,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
) -> Schedule:
    if cycle:
        raise Unsupported("polynomial_schedule of Optax has no cycles")
    optax = importlib.import_module("optax")
    schedule: Schedule = optax.polynomial_schedule(
        initial_learning_rate, end_learning_rate, power, decay_steps
    )
    return schedule


def _inverse_time(
    initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    jnp = importlib.import_module("jax.numpy")

    def schedule(count: Any) -> Any:
        # Optax has no such schedule, but it takes any function of the count as a schedule.
        fraction = count / decay_steps
        return initial_learning_rate / (1 + decay_rate * (jnp.floor(fraction) if staircase else fraction))

    return schedule


def _cosine(
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: float = 0,
) -> Schedule:
    optax = importlib.import_module("optax")
    schedule: Schedule
    if warmup_target is None:
        schedule = optax.cosine_decay_schedule(initial_learning_rate, decay_steps, alpha)
    else:
        # In Optax, decay_steps includes the warmup, and end_value is a rate, not a fraction.
        schedule = optax.warmup_cosine_decay_schedule(
            initial_learning_rate,
            warmup_target,
            warmup_steps,
            warmup_steps + decay_steps,
            end_value=alpha * warmup_target,
        )
    return schedule


def _cosine_with_restarts(
    calls: int,
    initial_learning_rate: float,
    first_decay_steps: float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> Schedule:
    optax = importlib.import_module("optax")
    cycles: list[dict[str, float]] = []
    length, factor, covered = first_decay_steps, 1.0, 0.0
    while covered < calls:
        if len(cycles) == MOST_CYCLES:
            raise Unsupported(f"sgdr_schedule of Optax takes a list of all cycles, here over {MOST_CYCLES}")
        peak = initial_learning_rate * ((1 - alpha) * factor + alpha)
        cycles.append(
            {
                "init_value": peak,
                "peak_value": peak,
                "warmup_steps": 0,
                "decay_steps": length,
                "end_value": initial_learning_rate * alpha,
            }
        )
        length, factor, covered = length * t_mul, factor * m_mul, covered + length
    schedule: Schedule = optax.sgdr_schedule(cycles)
    return schedule
