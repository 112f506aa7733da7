"""The known deviations and errors of ``torch.optim.SGD`` of PyTorch 2.13.0, by variant.

`expected` says which deviations to look for in a case. Each contradiction was checked against an evaluation
of the formulas in float64 that includes it. PyTorch's answers to the standard cases differ from the
evaluation with the expected contradictions by at most 8 units in the last place of the largest intermediate
value. They are far from the evaluation that lacks any one of these contradictions. Contested cases are left
out. File names are those in ``torch``; the results were measured on a CPU with AVX-512 and fused
multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.known import Known, KnownDeviation, KnownFailure, expected_in, known_for
from sgd_ref.conformance.targets.torch.launch import VARIANTS
from sgd_ref.gradients import SparseRows


def expected(case: Case, variant: str) -> tuple[str, ...]:
    """Return the names of the deviations that a variant may show in a case.

    Parameters
    ----------
    case : Case
        The case.
    variant : {"loop", "foreach", "fused", "compiled"}
        The variant.

    Returns
    -------
    tuple of str
        Names of deviations, in the order of a step.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "axes/momentum/piecewise")
    >>> expected(case, "loop")
    ('rate-outside-velocity',)
    """
    return expected_in(case, variant, KNOWN_DEVIATIONS)


def has_momentum(case: Case) -> bool:
    """Whether there are velocities."""
    return bool(case.config["momentum"] != 0)


def rate_varies(case: Case) -> bool:
    """Whether the learning rate is a schedule or a callable."""
    return case.learning_rate_calls is not None or isinstance(case.config["learning_rate"], dict)


def decays(case: Case) -> bool:
    """Whether weight decay makes a difference to some variable."""
    patterns = case.excluded_from_weight_decay
    return bool(case.config["weight_decay"]) and any(
        not any(pattern in name for pattern in patterns) for name in case.names
    )


def clips_by_norm(case: Case) -> bool:
    """Whether gradients are clipped by a norm."""
    return case.config["clipnorm"] is not None or clips_globally(case)


def clips_globally(case: Case) -> bool:
    """Whether gradients are clipped by their common norm."""
    return case.config["global_clipnorm"] is not None


def clips_half_gradients_globally(case: Case) -> bool:
    """Whether gradients of half types contribute to a common norm of a wider type."""
    halves = {variable.dtype in (FLOAT16, BFLOAT16) for variable in case.variables}
    return clips_globally(case) and len(halves) == 2


def has_non_finite_numbers(case: Case) -> bool:
    """Whether infinities or NaN occur, other than by overflow."""
    gradients = [gradient for call in case.gradients for gradient in call if gradient is not None]
    values = [gradient.values if isinstance(gradient, SparseRows) else gradient for gradient in gradients]
    # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
    with np.errstate(invalid="ignore"):
        return not all(np.isfinite(array).all() for array in (*case.variables, *values))


def misses_gradients_while_accumulating(case: Case) -> bool:
    """Whether gradients are accumulated and some are missing."""
    return case.config["gradient_accumulation_steps"] is not None and any(
        gradient is None for call in case.gradients for gradient in call
    )


def has_half_variables(case: Case) -> bool:
    """Whether a variable of a half type fills the shortest vector register, of 256 bits."""
    return any(variable.dtype in (FLOAT16, BFLOAT16) and variable.size >= 16 for variable in case.variables)


def has_scalar_of_float64(case: Case) -> bool:
    """Whether a float64 variable without axes has a momentum buffer in a compiled step.

    A graph takes no sparse gradients, so a step with sparse gradients is not compiled.
    """
    has_scalar = any(variable.dtype == FLOAT64 and variable.ndim == 0 for variable in case.variables)
    return has_momentum(case) and has_scalar and not has_rows(case)


def has_rows(case: Case) -> bool:
    """Whether there are sparse gradients."""
    return any(isinstance(gradient, SparseRows) for call in case.gradients for gradient in call)


def has_arrays_by_columns(case: Case) -> bool:
    """Whether the tensor of a variable or of a gradient is not stored row by row.

    A tensor is made from a copy of the array, in which the axis of the smallest stride remains the fastest.
    """
    if case.layouts is None:
        return False
    return not {"transposed", "broadcast"}.isdisjoint((*case.layouts.variables, *case.layouts.gradients))


def scales_dynamically(case: Case) -> bool:
    """Whether there is a GradScaler."""
    return case.loss_scaling is not None


def _everywhere(name: str, evidence: str, concerns: Callable[[Case], bool]) -> KnownDeviation:
    return KnownDeviation(name, evidence, concerns, VARIANTS)


KNOWN_DEVIATIONS = (
    _everywhere(
        "scale-without-limits",
        "amp/grad_scaler.py, `update`: nothing keeps `backoff_factor` from subnormal scales, whose "
        "reciprocal in float32 is infinite",
        scales_dynamically,
    ),
    _everywhere(
        "accumulator-used-without-gradient",
        "autograd adds up in `p.grad`, which is there at the update though the last batch added nothing",
        misses_gradients_while_accumulating,
    ),
    _everywhere(
        "norm-of-rounded-squares",
        "nn/utils/clip_grad.py, `_get_total_norm`: squares in float32 overflow and underflow",
        clips_by_norm,
    ),
    _everywhere(
        "clip-adds-epsilon",
        "nn/utils/clip_grad.py, `_clip_grads_with_norm_`: `max_norm / (total_norm + 1e-6)`; "
        "https://github.com/pytorch/pytorch/pull/7492 has the line",
        clips_by_norm,
    ),
    _everywhere(
        "infinite-norm-hides-gradients",
        "nn/utils/clip_grad.py, `_clip_grads_with_norm_`: an infinite norm gives the factor 0; "
        "https://github.com/pytorch/pytorch/issues/46849",
        clips_globally,
    ),
    _everywhere(
        "decay-enters-velocity",
        "optim/sgd.py, `_single_tensor_sgd`: `grad.add(param, alpha=weight_decay)` before the momentum; "
        "there is no decoupled decay in SGD, https://github.com/pytorch/pytorch/pull/4429",
        lambda case: decays(case) and has_momentum(case),
    ),
    _everywhere(
        "rate-outside-velocity",
        "optim/sgd.py, `_single_tensor_sgd`: `buf.mul_(momentum).add_(grad)`, then `param.add_(grad, "
        "alpha=-lr)`; https://github.com/pytorch/pytorch/issues/1099",
        lambda case: has_momentum(case) and rate_varies(case),
    ),
    KnownDeviation(
        "scalar-gradient-lost",
        "fx/passes/_tensorify_python_scalars.py erases `add_` of a float64 scalar from the compiled step, "
        "so that its buffer never gets another gradient; with the pass switched off it does",
        has_scalar_of_float64,
        ("compiled",),
    ),
    KnownDeviation(
        "vector-body-skipped",
        "optim/sgd.py, `torch._fused_sgd_`: whole vectors of half types stay as they were, only the rest "
        "is updated; https://github.com/pytorch/pytorch/issues/191763",
        has_half_variables,
        ("fused",),
    ),
    KnownDeviation(
        "layouts-taken-for-alike",
        "`torch._fused_sgd_` pairs the elements of a parameter with those of its gradient as they lie in "
        "memory, without a word, where the two have other strides",
        has_arrays_by_columns,
        ("fused",),
    ),
    KnownDeviation(
        "average-by-difference",
        "optim/swa_utils.py, `get_ema_multi_avg_fn`: `torch._foreach_lerp_` subtracts infinity from "
        "itself; https://github.com/pytorch/pytorch/issues/111374 is about the same formula",
        lambda case: bool(case.config["use_ema"]) and has_non_finite_numbers(case),
        ("foreach", "fused", "compiled"),
    ),
    KnownDeviation(
        "reciprocal-of-scale-in-float32",
        "amp/grad_scaler.py, `_unscale_grads_`: `self._scale.double().reciprocal().float()`; the fused step "
        "divides",
        lambda case: scales_dynamically(case) and any(w.dtype == FLOAT64 for w in case.variables),
        ("loop", "foreach", "compiled"),
    ),
    _everywhere(
        "norm-of-half-norms",
        "nn/utils/clip_grad.py, `_get_total_norm`: each norm is rounded to the dtype of its gradient",
        clips_half_gradients_globally,
    ),
    _everywhere(
        "zero-decay-skipped",
        "optim/sgd.py: `if weight_decay != 0`, so that an infinite weight is not made NaN by 0.0",
        lambda case: case.config["weight_decay"] == 0,
    ),
    _everywhere(
        "rows-merged-late",
        "optim/sgd.py: gradients, and the momentum buffers made of them, stay lists of rows that `add_` adds",
        has_rows,
    ),
)
"""First contradictions in the order of a step, then faithful evaluations in other forms and other ways to
NaN."""


def starts_a_buffer_late(case: Case) -> bool:
    """Whether a variable has its first gradient in the same call as one that has had gradients before."""
    if not has_momentum(case) or (case.state is not None and case.state.velocities):
        return False
    window = case.config["gradient_accumulation_steps"] or 1
    calls = 0 if case.state is None else case.state.calls
    updates: dict[int, set[int]] = {}
    for call, gradients in enumerate(case.gradients, start=calls):
        present = {index for index, gradient in enumerate(gradients) if gradient is not None}
        updates.setdefault(call // window, set()).update(present)
    before: set[int] = set()
    for present in updates.values():
        if present & before and present - before:
            return True
        before |= present
    return False


_FAILURES: Mapping[str, tuple[KnownFailure, ...]] = {
    "fused": (
        KnownFailure(
            "momentum-of-a-late-parameter",
            r"TypeError: expected Tensor as element \d+ in argument 2, but got NoneType",
            starts_a_buffer_late,
            "optim/sgd.py, `_fused_sgd`: momentum buffers are made if all of a group are missing, or none",
        ),
    ),
}

KNOWN: Mapping[str, Known] = MappingProxyType(
    {variant: known_for(variant, KNOWN_DEVIATIONS, _FAILURES.get(variant, ())) for variant in VARIANTS}
)
"""By variant."""
