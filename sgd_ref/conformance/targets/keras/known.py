"""The known deviations and errors of Keras 3.15.1, for each backend and mode.

A run shows which of them a case has; see ``explain`` and ``known_failure``. The docstring of each deviation
has the evidence; this module has the details of each backend. File names are those in ``keras/src``. All
results were measured on a CPU with fused multiply-add, with JAX 0.10.2, TensorFlow 2.21.0 and PyTorch 2.13.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.known import Known, KnownFailure
from sgd_ref.gradients import SparseRows


def excludes_every_variable(case: Case) -> bool:
    """Whether weight decay is set and applies to no variable."""
    patterns = case.excluded_from_weight_decay
    return case.config["weight_decay"] is not None and all(
        any(re.search(pattern, name) for pattern in patterns) for name in case.names
    )


def passes_32_bits(case: Case) -> bool:
    """Whether the count of calls goes past 2**31 - 1."""
    return case.state is not None and case.state.calls + len(case.gradients) >= 2**31


def has_large_boundary(case: Case) -> bool:
    """Whether a piecewise constant learning rate has a boundary past 2**31 - 1."""
    schedule = case.config["learning_rate"]
    boundaries = schedule["config"].get("boundaries", ()) if isinstance(schedule, dict) else ()
    return any(boundary >= 2**31 for boundary in boundaries)


def starts_from_an_integer(case: Case) -> bool:
    """Whether the initial learning rate of a schedule is given as an integer."""
    schedule = case.config["learning_rate"]
    return isinstance(schedule, dict) and isinstance(schedule["config"].get("initial_learning_rate"), int)


def accumulates_another_dtype(case: Case) -> bool:
    """Whether an accumulated gradient, after unscaling, has another dtype than its variable."""
    if case.config["gradient_accumulation_steps"] is None:
        return False
    widened = case.loss_scaling is not None and any(v.dtype in (FLOAT16, BFLOAT16) for v in case.variables)
    return widened or any(
        gradient is not None and gradient.dtype != variable.dtype
        for gradients in case.gradients
        for gradient, variable in zip(gradients, case.variables, strict=True)
    )


def has_unscaled_rows(case: Case) -> bool:
    """Whether a sparse gradient is divided by a fixed loss scale."""
    return case.config["loss_scale_factor"] is not None and any(
        isinstance(gradient, SparseRows) for gradients in case.gradients for gradient in gradients
    )


def clips_mixed_dtypes_globally(case: Case) -> bool:
    """Whether gradients of different dtypes share one norm."""
    return case.config["global_clipnorm"] is not None and len({v.dtype for v in case.variables}) > 1


def averages_an_empty_matrix(case: Case) -> bool:
    """Whether a variable with averages has two axes, one of length 0."""
    return bool(case.config["use_ema"]) and any(v.ndim == 2 and v.size == 0 for v in case.variables)


def scales_dynamically(case: Case) -> bool:
    """Whether the optimizer is wrapped in a LossScaleOptimizer."""
    return case.loss_scaling is not None


_COUNT_WRAPS = KnownFailure(
    "count-wraps",
    r"iterations must be an integer of at least 0, got -\d+",
    passes_32_bits,
    "optimizers/base_optimizer.py: `iterations` is an int32 variable, and a negative count is no answer",
)

_COUNT_TOO_LARGE = KnownFailure(
    "count-too-large",
    r"value cannot be converted to type int32|Python integer \d+ out of bounds for int32",
    passes_32_bits,
    "optimizers/base_optimizer.py: `iterations` is an int32 variable, which holds no larger count",
)

_JAX_CONDITION = KnownFailure(
    "accumulation-in-another-dtype",
    r"cond branches must have equal output types",
    accumulates_another_dtype,
    "backend/jax/optimizer.py: both branches of `jax.lax.cond` must return the dtype of the accumulator",
)

_JAX_BOUNDARY = KnownFailure(
    "boundary-too-large",
    r"OverflowError: Python int \d+ too large to convert to int32",
    has_large_boundary,
    "optimizers/schedules/learning_rate_schedule.py: the boundary becomes an int32 array",
)

_TENSORFLOW_FAILURES = (
    KnownFailure(
        "sparse-gradient-not-unscaled",
        r"unsupported operand type\(s\) for /: 'IndexedSlices' and 'float'",
        has_unscaled_rows,
        "optimizers/base_optimizer.py: `g / scale` in `apply`, which IndexedSlices do not have",
    ),
    KnownFailure(
        "accumulation-in-another-dtype",
        r"cannot compute AddV2 as input|Input 'y' of 'AddV2' Op has type",
        accumulates_another_dtype,
        "backend/tensorflow/optimizer.py: `var + grad` in `update_accumulator`, without a cast",
    ),
    KnownFailure(
        "global-clipping-of-mixed-dtypes",
        r"cannot compute Mul as input #1|Input 'y' of 'Mul' Op has type",
        clips_mixed_dtypes_globally,
        "optimizers/base_optimizer.py: `v * scale` in `clip_by_global_norm`, without a cast",
    ),
    KnownFailure(
        "averages-of-an-empty-matrix",
        r"Biases must be 1D|BiasAdd",
        averages_an_empty_matrix,
        "backend/tensorflow/numpy.py: `add` takes an operand of shape (0, n) for a bias",
    ),
    KnownFailure(
        "schedule-from-an-integer",
        r"Mul as input #1.* int32 tensor|'Mul' Op has type float64 that does not match type int32",
        starts_from_an_integer,
        "optimizers/schedules/learning_rate_schedule.py: `initial_learning_rate` gives its dtype to the rest",
    ),
)

_EVERYWHERE = {
    "averages-on-every-call": "optimizers/base_optimizer.py: `use_ema` stands outside of `is_update_step`",
    "first-average-computed": "optimizers/base_optimizer.py: multiplies by `not_first_step`",
    "exclusion-by-pattern": "optimizers/base_optimizer.py: `re.search` in `_use_weight_decay`",
    "norm-of-rounded-squares": "optimizers/base_optimizer.py: `ops.sum(ops.square(v))`",
    "norm-summed-in-another-order": "the order of the vector registers",
    "scale-without-limits": "optimizers/loss_scale_optimizer.py: `dynamic_scale` times 2.0 or 0.5",
    "restart-missed": "optimizers/schedules/learning_rate_schedule.py: the floor of a quotient of logarithms",
    "settings-become-integers": "optimizers/schedules/learning_rate_schedule.py: casts to an integer dtype",
    "schedule-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 throughout",
}

_TENSORFLOW = {
    "subnormals-flushed": "TensorFlow computes in flush-to-zero mode",
    "unscale-in-dtype-of-gradient": "optimizers/base_optimizer.py: `g / scale` converts the scale",
    "wide-unscaled-gradients": "optimizers/loss_scale_optimizer.py: `ops.divide` promotes to float32",
    "momentum-through-float32": "backend/tensorflow/core.py: `cast` makes a float32 tensor first",
    "rows-clipped-one-by-one": "backend/tensorflow/optimizer.py: clips the values of IndexedSlices",
    "rows-merged-late": "backend/tensorflow/optimizer.py: `scatter_sub` in `assign_sub`",
}

_JAX = {
    "subnormals-flushed": "XLA computes in flush-to-zero mode on a CPU",
    "overwrite-blends": "backend/jax/optimizer.py: average and variable times 0 or 1",
    "accumulator-kept-without-gradient": "backend/jax/optimizer.py: assigns the accumulators of gradients",
    "mean-by-reciprocal": "XLA, of `(g + acc_g.value) / steps`",
    "unscale-by-reciprocal": "XLA, of `g / scale`",
    "float16-unscale-by-reciprocal": "XLA, of `g / scale`",
    "unscale-in-dtype-of-gradient": "optimizers/base_optimizer.py: `g / scale`, in bfloat16 a division",
    "wide-unscaled-gradients": "optimizers/loss_scale_optimizer.py: `ops.divide` promotes to float32",
    "rate-not-rounded": "with float64 enabled, schedules and callables give float64 rates",
    "count-wraps": "optimizers/base_optimizer.py: `iterations` is an int32 variable",
}

KNOWN: Mapping[tuple[str, str], Known] = MappingProxyType(
    {
        ("torch", "eager"): Known(
            {
                **_EVERYWHERE,
                "quotient-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 steps",
                "half-averages-with-float32-momentum": "`ops.multiply(bool tensor, 0.99)` is float32",
                "averaging-through-float32": "`ops.multiply(bool tensor, 0.99)` is float32",
                "accumulator-reset-by-multiplication": "`_foreach_mul_(acc_list, 0.0)`",
                "quotient-in-dtype-of-gradient": "`g / scale` is rounded to the dtype of the gradient",
                "scalar-gradients-in-float32": "operands without axes are promoted among each other",
                "clipnorm-not-rounded": "a half tensor times a Python number is computed in float32",
                "global-clipnorm-not-rounded": "a half tensor times a Python number is computed in float32",
                "clipping-through-float32": "`ops.maximum` and `ops.minimum` return float32",
                "decay-by-one-factor": "backend/torch/optimizers/torch_optimizer.py: `_foreach_mul_`",
                "decay-factor-in-single": "backend/torch/optimizers/torch_optimizer.py: a float32 tensor",
                "update-in-fused-steps": "backend/torch/optimizers/torch_sgd.py: `_foreach_add_`",
                "half-update-in-blocks": "backend/torch/optimizers/torch_sgd.py: `_foreach_add_`",
                "rate-not-rounded": "a Python number as `alpha` stays a double",
                "boundary-wraps": "`ops.cast` of a boundary to int32 wraps silently",
                "count-wraps": "optimizers/base_optimizer.py: `iterations` is an int32 variable",
            },
            (
                KnownFailure(
                    "every-variable-excluded",
                    r"Tensor list must have at least one tensor",
                    excludes_every_variable,
                    "backend/torch/optimizers/torch_optimizer.py: `_foreach_mul_` of an empty list",
                ),
                _COUNT_WRAPS,
                _COUNT_TOO_LARGE,
            ),
        ),
        ("tensorflow", "eager"): Known(
            {
                **_EVERYWHERE,
                **_TENSORFLOW,
                "quotient-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 steps",
            },
            _TENSORFLOW_FAILURES,
        ),
        ("tensorflow", "compiled"): Known(
            {
                **_EVERYWHERE,
                **_TENSORFLOW,
                "rate-frozen": "`tf.function` calls Python code while it traces only",
                "mean-by-reciprocal": "Grappler, of `(g + acc_g) / steps`",
                "bfloat16-mean-by-reciprocal": "Grappler, of `(g + acc_g) / steps`",
                "unscale-by-reciprocal": "Grappler, of `g / scale`",
                "single-unscale-by-reciprocal": "Grappler, of `g / scale`",
                "float16-unscale-by-reciprocal": "Grappler, of `g / scale`",
                "bfloat16-unscale-by-reciprocal": "Grappler, of `g / scale`",
                "global-clip-with-rate": "Grappler, of `v * scale` and `gradient * learning_rate`",
                "decay-reassociated": "Grappler, of `variable * wd * lr`",
                "quotient-by-reciprocal": "Grappler, of `step / decay_steps`",
            },
            _TENSORFLOW_FAILURES,
        ),
        ("jax", "eager"): Known(
            {
                **_EVERYWHERE,
                **_JAX,
                "clipnorm-by-reciprocal": "XLA, of `ops.multiply(values, clipnorm) / ops.maximum(...)`",
                "quotient-in-float32": "optimizers/schedules/learning_rate_schedule.py: float32 steps",
            },
            (
                KnownFailure(
                    "loss-scale-optimizer-outside-of-jit",
                    r"UnexpectedTracerError",
                    scales_dynamically,
                    "optimizers/loss_scale_optimizer.py: assigns variables inside of `ops.cond`",
                ),
                _JAX_CONDITION,
                _JAX_BOUNDARY,
                _COUNT_WRAPS,
                _COUNT_TOO_LARGE,
            ),
        ),
        ("jax", "compiled"): Known(
            {
                **_EVERYWHERE,
                **_JAX,
                "rate-frozen": "`jax.jit` calls Python code while it traces only",
                "single-unscale-by-reciprocal": "XLA, of `g / scale`",
                "unscale-with-rate": "XLA, of `g / scale * learning_rate`",
                "clipnorm-by-one-factor": "XLA, of `ops.multiply(values, clipnorm) / ops.maximum(...)`",
                "update-fused": "XLA contracts products with sums",
                "decay-fused": "XLA contracts products with sums",
                "decay-reassociated": "XLA, of `variable * wd * lr` in half types",
                "averages-fused": "XLA contracts products with sums",
                "polynomial-remainder-fused": "XLA contracts `1 - step * (1 / decay_steps)`",
                "quotient-by-reciprocal": "XLA, of `step / decay_steps`",
            },
            (_JAX_CONDITION, _JAX_BOUNDARY, _COUNT_WRAPS, _COUNT_TOO_LARGE),
        ),
    }
)
"""By backend and mode."""
