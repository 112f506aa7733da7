"""The known deviations and errors of Optax 0.2.8, with evidence.

A run shows which of them a case has; see ``explain`` and ``known_failure``. File names are those in
``optax``. All results were measured on a CPU, with JAX 0.10.2; both modes show the same deviations, except
for the operations that XLA fuses. An emulation in float64 with exactly these contradictions agrees with both
modes to a few units in the last place. Without any one of them, it does not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.known import Known, KnownDeviation, KnownFailure, expected_in, known_for
from sgd_ref.conformance.targets.optax.launch import MODES
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_value

HALF = (FLOAT16, BFLOAT16)
MANY_ADDENDS = 2.0**20


def accumulates(case: Case) -> bool:
    """Whether gradients are accumulated."""
    return case.config["gradient_accumulation_steps"] is not None


def changes_rate_under_momentum(case: Case) -> bool:
    """Whether there is a velocity, and a learning rate that may change."""
    changes = _schedule(case) is not None or len(set(case.learning_rate_calls or ())) > 1
    return changes and case.config["momentum"] != 0


def schedules_while_accumulating(case: Case) -> bool:
    """Whether a schedule is read under gradient accumulation."""
    return accumulates(case) and _schedule(case) is not None


def reads_at_boundary(case: Case) -> bool:
    """Whether a piecewise constant learning rate is read exactly at one of its boundaries."""
    window = case.config["gradient_accumulation_steps"] or 1
    return any(_calls_before(case) // window <= boundary < _updates(case) for boundary in _boundaries(case))


def accumulates_float64(case: Case) -> bool:
    """Whether accumulated gradients are wider than float32."""
    return accumulates(case) and any(variable.dtype == FLOAT64 for variable in case.variables)


def accumulates_what_is_not_finite(case: Case) -> bool:
    """Whether accumulated gradients have an infinite or NaN element."""
    return accumulates(case) and _not_finite(_gradients(case))


def notices_zeros_added(case: Case) -> bool:
    """Whether adding 0 times an update can change a variable: -0.0, infinities, NaN, or flushed numbers."""
    zeros = any((np.signbit(variable) & (variable == 0)).any() for variable in case.variables)
    special = zeros or _not_finite(case.variables) or _not_finite(_gradients(case))
    return accumulates(case) and (special or meets_subnormals(case))


def clips_by_rounded_squares(case: Case) -> bool:
    """Whether a norm is computed in a half type, or from squares out of the range of their dtype."""
    if case.config["clipnorm"] is None and case.config["global_clipnorm"] is None:
        return False
    half = any(variable.dtype in HALF for variable in case.variables)
    return half or any(_squares_overflow(case, g) or _squares_vanish(case, g) for g in _gradients(case))


def clips_by_infinite_norm(case: Case) -> bool:
    """Whether the norm of all gradients may be infinite."""
    if case.config["global_clipnorm"] is None:
        return False
    return _not_finite(_gradients(case)) or any(_squares_overflow(case, g) for g in _gradients(case))


def unscales_by_rounded_scale(case: Case) -> bool:
    """Whether a gradient of a half type is divided by a scale that this type cannot represent."""
    scale = case.config["loss_scale_factor"]
    return scale is not None and any(
        variable.dtype in HALF and float(setting(scale, variable.dtype)) != scale
        for variable in case.variables
    )


def unscales_float16_by_reciprocal(case: Case) -> bool:
    """Whether a float16 gradient is divided by a scale whose reciprocal float16 cannot represent."""
    scale = case.config["loss_scale_factor"]
    return scale is not None and any(
        variable.dtype == FLOAT16 and float(setting(1 / scale, FLOAT16)) * scale != 1
        for variable in case.variables
    )


def meets_subnormals(case: Case) -> bool:
    """Whether there are numbers that are subnormal, or nearly, in a dtype that XLA flushes."""
    return any(
        ((array != 0) & (np.abs(array.astype(np.float64)) < _smallest_normal(array) * MANY_ADDENDS)).any()
        for array in (*case.variables, *_gradients(case))
        if array.dtype != FLOAT16
    )


def passes_32_bits(case: Case) -> bool:
    """Whether Optax counts updates, and its count goes past 2**31 - 1."""
    counts = accumulates(case) or _schedule(case) is not None or case.learning_rate_calls is not None
    return counts and _updates(case) >= 2**31


def has_large_boundary(case: Case) -> bool:
    """Whether a piecewise constant learning rate has a boundary past 2**31 - 1."""
    return any(boundary >= 2**31 for boundary in _boundaries(case))


def has_polynomial(case: Case) -> bool:
    """Whether the learning rate decays as a polynomial."""
    schedule = _schedule(case)
    return schedule is not None and schedule["class_name"] == "PolynomialDecay"


def _everywhere(name: str, evidence: str, concerns: Callable[[Case], bool]) -> KnownDeviation:
    return KnownDeviation(name, evidence, concerns, MODES)


KNOWN_DEVIATIONS = (
    _everywhere(
        "rate-outside-velocity",
        "_src/alias.py, `sgd`: `trace` sums gradients, and `scale_by_learning_rate` follows, so that a rate "
        "scales all earlier gradients, too; as in "
        "https://github.com/pytorch/pytorch/issues/1099 and https://github.com/apache/mxnet/issues/15533",
        changes_rate_under_momentum,
    ),
    _everywhere(
        "schedule-counts-updates",
        "transforms/_accumulation.py, `MultiSteps.update`: the state of the inner optimizer, with the count "
        "of its schedule, moves where `emit` only; https://github.com/AI-Hypercomputer/maxtext/pull/3428",
        schedules_while_accumulating,
    ),
    _everywhere(
        "boundary-excluded",
        "schedules/_join.py, `join_schedules`: `step < boundary` keeps the value, as `threshold - count` "
        "does in schedules/_schedule.py, `piecewise_constant_schedule`; Keras keeps it at the boundary",
        reads_at_boundary,
    ),
    _everywhere(
        "accumulator-in-single",
        "transforms/_accumulation.py, `MultiSteps.__init__`: `accumulator_dtype` is float32 unless it is "
        "given, also for float64; https://github.com/google-deepmind/optax/pull/1122",
        accumulates_float64,
    ),
    _everywhere(
        "updates-times-zero",
        "transforms/_accumulation.py, `MultiSteps.update`: `emit * ga` is the update of every call, so that "
        "calls that accumulate add 0 times infinity, or 0.0 to -0.0",
        notices_zeros_added,
    ),
    _everywhere(
        "infinity-in-running-mean",
        "transforms/_accumulation.py, `MultiSteps._acc_update`: `acc + (grad - acc) / (n_acc + 1)` is NaN "
        "from an infinity on",
        accumulates_what_is_not_finite,
    ),
    _everywhere(
        "accumulator-reset-by-multiplication",
        "transforms/_accumulation.py, `MultiSteps.update`: `(1 - emit) * ga`",
        accumulates_what_is_not_finite,
    ),
    _everywhere(
        "norm-of-rounded-squares",
        "transforms/_clipping.py, `clip_by_global_norm`: `optax.tree.norm` squares and sums in the dtype of "
        "the gradients; https://github.com/AI-Hypercomputer/maxtext/pull/5143",
        clips_by_rounded_squares,
    ),
    _everywhere(
        "infinite-norm-hides-gradients",
        "transforms/_clipping.py, `clip_by_global_norm`: `(t / g_norm) * max_norm`",
        clips_by_infinite_norm,
    ),
    _everywhere(
        "zero-decay-skipped",
        "transforms/_adding.py, `add_decayed_weights`: a constant decay of 0 adds nothing, so that an "
        "infinite weight is not made NaN",
        lambda case: case.config["weight_decay"] == 0,
    ),
    _everywhere(
        "unscale-in-dtype-of-gradient",
        "JAX converts the Python number in `gradient / scale` to the dtype of the gradient",
        unscales_by_rounded_scale,
    ),
    _everywhere(
        "float16-unscale-by-reciprocal",
        "XLA, of `gradient / scale`, in both modes: the reciprocal is rounded to float16",
        unscales_float16_by_reciprocal,
    ),
    _everywhere(
        "subnormals-flushed",
        "XLA computes in flush-to-zero mode on a CPU, float16 aside; "
        "https://github.com/jax-ml/jax/issues/16200, https://github.com/jax-ml/jax/issues/37762, "
        "https://github.com/openxla/xla/issues/22858",
        meets_subnormals,
    ),
    _everywhere(
        "count-saturates",
        "_src/numerics.py, `safe_increment`: the int32 count stays at 2**31 - 1",
        passes_32_bits,
    ),
    KnownDeviation(
        "polynomial-remainder-fused",
        "XLA multiplies by the reciprocal and contracts `1 - count / transition_steps` of "
        "schedules/_schedule.py, `polynomial_schedule`",
        has_polynomial,
        ("jitted",),
    ),
    KnownDeviation(
        "update-fused",
        "XLA contracts products with sums",
        lambda case: case.config["momentum"] == 0,
        ("jitted",),
    ),
)
"""The deviations, in the order in which they are tried: first contradictions, then mere roundings."""

FAILURES = (
    KnownFailure(
        "boundary-too-large",
        r"OverflowError: .* with value \d+",
        has_large_boundary,
        "schedules/_join.py, `join_schedules`: JAX converts the boundary to int32",
    ),
    KnownFailure(
        "count-too-large",
        r"OverflowError: Python int(eger)? .*too large|OverflowError: .*out of bounds for int32",
        passes_32_bits,
        "_src/transform.py, `scale_by_schedule`, and MultiSteps: the counts are int32",
    ),
)
"""Errors that both modes raise."""

KNOWN: Mapping[str, Known] = MappingProxyType(
    {mode: known_for(mode, KNOWN_DEVIATIONS, FAILURES) for mode in MODES}
)
"""By mode."""


def expected(case: Case, mode: str) -> tuple[str, ...]:
    """Return the names of the deviations to look for in a case.

    Parameters
    ----------
    case : Case
        The case.
    mode : {"eager", "jitted"}
        How Optax is run.

    Raises
    ------
    ValueError
        If `mode` is unknown.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> expected(conformance.cases("standard")[0], "eager")
    ()
    """
    if mode not in MODES:
        reject_value("mode", mode, f"one of {', '.join(MODES)}")
    return expected_in(case, mode, KNOWN_DEVIATIONS)


def _schedule(case: Case) -> dict[str, Any] | None:
    rate = case.config["learning_rate"]
    return rate if isinstance(rate, dict) else None


def _boundaries(case: Case) -> list[float]:
    schedule = _schedule(case)
    boundaries: list[float] = [] if schedule is None else schedule["config"].get("boundaries", [])
    return boundaries


def _calls_before(case: Case) -> int:
    return 0 if case.state is None else case.state.calls


def _updates(case: Case) -> int:
    """Return the number of updates by the end of a case, earlier ones included."""
    return (_calls_before(case) + len(case.gradients)) // (case.config["gradient_accumulation_steps"] or 1)


def _gradients(case: Case) -> list[Array]:
    return [
        gradient.values if isinstance(gradient, SparseRows) else gradient
        for gradients in case.gradients
        for gradient in gradients
        if gradient is not None
    ]


def _not_finite(arrays: Iterable[Array]) -> bool:
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        return not all(np.isfinite(array).all() for array in arrays)


def _smallest_normal(array: Array) -> float:
    return float(FORMATS[array.dtype].smallest_normal)


def _squares_overflow(case: Case, gradient: Array) -> bool:
    return _sum_of_squares(case, gradient) > float(FORMATS[gradient.dtype].largest)


def _squares_vanish(case: Case, gradient: Array) -> bool:
    return 0 < _sum_of_squares(case, gradient) < _smallest_normal(gradient) * MANY_ADDENDS


def _sum_of_squares(case: Case, gradient: Array) -> float:
    with np.errstate(all="ignore"):
        wide = gradient.astype(np.longdouble) / (case.config["loss_scale_factor"] or 1.0)
        return float(np.sum(np.square(wide)))
