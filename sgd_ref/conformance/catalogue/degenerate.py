"""Checks against degenerate cases, which can show nothing: they are refused when a case is made."""

from __future__ import annotations

import numpy as np

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.gradients import SparseRows

FEWEST_CALLS = 9
VECTOR_REGISTER = 64
"""More elements of the narrowest dtype than any vector register holds: twice 512 bits of 16-bit numbers."""


def refuse_degenerate(case: Case) -> None:
    """Check that a case can show something.

    Raises
    ------
    ValueError
        If it has too few calls, only small variables, gradients that are all zero, or settings that
        cancel: a learning rate or loss scale without effect, a momentum or an average that is trivial,
        or an accumulation that never updates twice.
    """
    config = case.config
    if len(case.gradients) < FEWEST_CALLS:
        _refuse(case, f"it has {len(case.gradients)} calls, fewer than {FEWEST_CALLS}")
    if max(variable.size for variable in case.variables) <= VECTOR_REGISTER:
        _refuse(case, f"no variable has more than {VECTOR_REGISTER} elements")
    if not any(_has_effect(gradient) for call in case.gradients for gradient in call):
        _refuse(case, "every gradient is zero or missing")
    if config.get("learning_rate") in (0.0, 1.0):
        _refuse(case, "a constant learning rate of 0 or 1 hides the multiplication")
    if config.get("momentum") == 1.0:
        _refuse(case, "a momentum of 1 hides the multiplication")
    if config.get("use_ema") and config.get("ema_momentum") in (0.0, 0.5, 1.0):
        _refuse(case, "an ema_momentum of 0, 1/2 or 1 hides which of its two factors is which")
    if config.get("use_ema") and config.get("ema_overwrite_frequency") == 1:
        _refuse(case, "averages that overwrite the variables in every update equal them")
    if config.get("loss_scale_factor") == 1.0 or (
        case.loss_scaling is not None and case.loss_scaling.initial_scale == 1.0
    ):
        _refuse(case, "a loss scale of 1 hides the division")
    steps = config.get("gradient_accumulation_steps")
    if steps is not None and len(case.gradients) < 2 * steps:
        _refuse(case, f"{len(case.gradients)} calls are fewer than two windows of {steps}")


def _refuse(case: Case, why: str) -> None:
    raise ValueError(f"case {case.id} is degenerate: {why}")


def _has_effect(gradient: object) -> bool:
    if gradient is None:
        return False
    values = gradient.values if isinstance(gradient, SparseRows) else np.asarray(gradient)
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        return bool((values != 0).any())
