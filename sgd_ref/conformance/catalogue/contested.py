"""Contested cases: the closed list of questions that the documentation and the code of Keras leave open.

This module decides which cases depend on a question; ``conformance/answers`` has the right answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.axes import Pair
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.gradients import SparseRows


class Question(NamedTuple):
    """A question left open, and whether a case depends on its answer."""

    name: str
    concerns: Callable[[Case], bool]


def missing_on_update_call(case: Case) -> bool:
    """Whether a variable with accumulated gradients has no gradient in the call that updates."""
    steps = case.config.get("gradient_accumulation_steps")
    if steps is None:
        return False
    calls = 0 if case.state is None else case.state.calls
    nothing = [False] * len(case.variables)
    accumulated = nothing
    if case.state is not None and case.state.accumulators:
        accumulated = [bool((accumulator != 0).any()) for accumulator in case.state.accumulators]
    for gradients in case.gradients:
        if case.loss_scaling is not None and any(_is_not_finite(gradient) for gradient in gradients):
            # The call is skipped, and not counted.
            continue
        calls += 1
        pairs = list(zip(gradients, accumulated, strict=True))
        if calls % steps:
            accumulated = [gradient is not None or something for gradient, something in pairs]
        elif any(gradient is None and something for gradient, something in pairs):
            return True
        else:
            accumulated = nothing
    return False


def polynomial_cycle_at_multiple(case: Case) -> bool:
    """Whether a cyclic polynomial is read at an exact multiple of its period."""
    schedule = case.config.get("learning_rate")
    if not isinstance(schedule, dict) or schedule["class_name"] != "PolynomialDecay":
        return False
    period = schedule["config"]["decay_steps"]
    first = 0 if case.state is None else case.state.calls
    steps = range(max(first, 1), first + len(case.gradients))
    return bool(schedule["config"].get("cycle")) and any(step % period == 0 for step in steps)


def restarts_lowered_to_a_minimum(case: Case) -> bool:
    """Whether a cosine with restarts has both a minimum and a factor for the height of its restarts."""
    schedule = case.config.get("learning_rate")
    if not isinstance(schedule, dict) or schedule["class_name"] != "CosineDecayRestarts":
        return False
    settings = schedule["config"]
    return bool(settings.get("alpha", 0.0) != 0.0 and settings.get("m_mul", 1.0) != 1.0)


def wide_global_norm(case: Case) -> bool:
    """Whether the gradients under a global norm have different dtypes."""
    dtypes = {variable.dtype for variable in case.variables}
    return case.config.get("global_clipnorm") is not None and len(dtypes) > 1


def narrow_gradient_of_float64(case: Case) -> bool:
    """Whether a gradient that is narrower than its float64 variable is unscaled."""
    scaled = case.config.get("loss_scale_factor") is not None or case.loss_scaling is not None
    return scaled and any(
        gradient is not None and variable.dtype == np.float64 and gradient.dtype != np.float64
        for gradients in case.gradients
        for variable, gradient in zip(case.variables, gradients, strict=True)
    )


def narrow_duplicate_rows(case: Case) -> bool:
    """Whether rows that occur twice come in a dtype narrower than that of their variable."""
    return any(
        isinstance(gradient, SparseRows)
        and gradient.dtype != variable.dtype
        and len(np.unique(gradient.indices)) < len(gradient.indices)
        for gradients in case.gradients
        for variable, gradient in zip(case.variables, gradients, strict=True)
    )


def loss_scale_at_a_limit(case: Case) -> bool:
    """Whether the loss scale could double to infinity or be halved below the smallest normal number."""
    if case.loss_scaling is None:
        return False
    start, counted = case.loss_scaling.initial_scale, 0
    if case.state is not None:
        start = start if case.state.loss_scale is None else case.state.loss_scale
        counted = case.state.growth_counter or 0
    doublings = (counted + len(case.gradients)) // case.loss_scaling.dynamic_growth_steps
    halvings = sum(any(_is_not_finite(gradient) for gradient in call) for call in case.gradients)
    exponent = math.log2(start)
    return exponent + doublings >= 128 or exponent - halvings < -126


def growth_counter_past_its_end(case: Case) -> bool:
    """Whether a run begins with a finite call and a growth counter of at least `dynamic_growth_steps`.

    A run has such a counter if it resumes with fewer growth steps than before.
    """
    if case.loss_scaling is None or case.state is None or not case.gradients:
        return False
    counted = case.state.growth_counter or 0
    first_is_skipped = any(_is_not_finite(gradient) for gradient in case.gradients[0])
    return counted >= case.loss_scaling.dynamic_growth_steps and not first_is_skipped


QUESTIONS = (
    Question("missing-on-update-call", missing_on_update_call),
    Question("polynomial-cycle-at-multiple", polynomial_cycle_at_multiple),
    Question("restarts-lowered-to-a-minimum", restarts_lowered_to_a_minimum),
    Question("wide-global-norm", wide_global_norm),
    Question("narrow-gradient-of-float64", narrow_gradient_of_float64),
    Question("narrow-duplicate-rows", narrow_duplicate_rows),
    Question("loss-scale-at-a-limit", loss_scale_at_a_limit),
    Question("growth-counter-past-its-end", growth_counter_past_its_end),
)


CONTESTED_PAIRS: frozenset[Pair] = frozenset(
    {
        (("dtype", "mixed"), ("clipping", "global_clipnorm")),
        (("accumulation", "2"), ("gradients", "missing")),
        (("accumulation", "3"), ("gradients", "missing")),
    }
)
"""The pairs of features that leave a question open in every combination with them; no other pairs do.

Cases with these pairs are judged by each answer to the question, with its own bits and bounds: a result
that no answer allows diverges. But no combination judges these pairs by the bits of the reference alone. So
combinations for a profile leave these pairs out.
"""


def contested(case: Case) -> tuple[str, ...]:
    """Return the names of the open questions that a case depends on.

    >>> from sgd_ref import conformance
    >>> [contested(case) for case in conformance.cases("smoke")][0]
    ()
    """
    return tuple(question.name for question in QUESTIONS if question.concerns(case))


def _is_not_finite(gradient: Array | SparseRows | None) -> bool:
    if gradient is None:
        return False
    values = gradient.values if isinstance(gradient, SparseRows) else gradient
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        return not np.isfinite(values).all()
