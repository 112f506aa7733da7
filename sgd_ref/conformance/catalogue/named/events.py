"""Named cases of events that are rare in random data. Each event has cases in three dtypes or settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.named.building import COMPANION, floats, named_case
from sgd_ref.conformance.catalogue.numbers import NumberStream


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for dtype, steps in ((FLOAT32, 2), (FLOAT16, 3), (FLOAT64, 2)):
        yield _resumed(dtype, steps)
    yield _staircase("ExponentialDecay", 4, FLOAT32)
    yield _staircase("ExponentialDecay", 3, FLOAT16)
    yield _staircase("InverseTimeDecay", 3, FLOAT64)
    for dtype in (FLOAT32, FLOAT16, FLOAT64):
        yield from _special(str(dtype), dtype)
    for scale in (0.5, 0.25, 0.125):
        yield _overflows_when_unscaled(scale)


def _resumed(dtype: np.dtype[Any], steps: int) -> Case:
    """Return a case that resumes in the middle of a window, with every kind of state."""
    numbers = NumberStream(f"resumed-{dtype}")

    def arrays() -> tuple[Array, Array]:
        return numbers.array((3,), dtype, 1.0), numbers.array(COMPANION, dtype, 1.0)

    return named_case(
        f"resumed-in-mid-training-{dtype}",
        "A run resumes in the middle of a window of accumulated gradients, one finite call before the loss "
        "scale doubles; later a call in the middle of a window is skipped.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(math.inf if call == steps else 0.5, 0.25 * call, -0.125, dtype=dtype),
        learning_rate={
            "class_name": "PiecewiseConstantDecay",
            "config": {"boundaries": [3, 7, 9], "values": [0.5, 0.25, 0.125, 0.0625]},
        },
        momentum=0.875,
        nesterov=True,
        use_ema=True,
        gradient_accumulation_steps=steps,
        loss_scaling=LossScaling(32.0, 3),
        state=State(2 * steps + 1, arrays(), arrays(), arrays(), loss_scale=4.0, growth_counter=2),
        exposes=(
            "growth-counter-lost-on-restore",
            "scale-never-grows",
            "last-of-window-unscaled",
            "finalize-lost-in-wrapper",
        ),
    )


def _staircase(class_name: str, decay_steps: int, dtype: np.dtype[Any]) -> Case:
    """Return a case in which each rate stays the same for some calls."""
    return named_case(
        f"staircase-{class_name}-{decay_steps}",
        "The rate stays for `decay_steps` calls.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, 0.25, -0.125 * (call + 1), dtype=dtype),
        learning_rate={
            "class_name": class_name,
            "config": {
                "initial_learning_rate": 0.5,
                "decay_steps": decay_steps,
                "decay_rate": 0.5,
                "staircase": True,
            },
        },
        units=8,
        exposes=("schedule-one-ahead", "staircase-ignored", "schedule-frozen"),
    )


def _special(name: str, dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield cases, each with one event."""
    yield named_case(
        f"one-nan-under-loss-scaling-{name}",
        "A call with a NaN and no infinity is skipped, and halves the scale, once below 1.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, math.nan if call in (2, 3, 7) else 0.25, -0.125 * call, dtype=dtype),
        momentum=0.875,
        loss_scaling=LossScaling(2.0, 3),
        exposes=(
            "scale-grown-before-unscaling",
            "growth-counter-kept-after-overflow",
            "scale-never-shrinks",
            "only-infinity-tested",
        ),
    )
    yield named_case(
        f"one-infinity-under-loss-scaling-{name}",
        "A call with an infinity is skipped; velocities stay what they are.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, math.inf if call in (2, 3) else 0.25, -0.125 * call, dtype=dtype),
        momentum=0.875,
        loss_scaling=LossScaling(2.0, 4),
        exposes=(
            "growth-counts-skipped-calls",
            "scale-at-least-one",
            "non-finite-variables-alone-skipped",
            "skipped-call-resets-velocities",
        ),
    )
    yield named_case(
        f"infinite-global-norm-{name}",
        "One infinite element makes all gradients NaN under a global norm.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, 0.25, math.inf if call == 6 else 1.0, dtype=dtype),
        global_clipnorm=1.5,
        exposes=(
            "non-finite-norm-is-minus-one",
            "infinite-norm-hides-gradients",
            "root-of-mean-square-as-norm",
            "norm-of-finite-elements",
        ),
    )
    yield named_case(
        f"gradient-of-zeros-{name}",
        "A gradient of zeros is a gradient: the velocity goes on and the weights decay.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(*([0.0] * 3 if call in (3, 4) else [0.5, 0.25, 1.0]), dtype=dtype),
        momentum=0.875,
        weight_decay=0.0625,
        exposes=("zero-as-missing", "decay-before-unscaling", "decay-of-signs", "momentum-and-decay-swapped"),
    )
    yield named_case(
        f"missing-under-global-norm-{name}",
        "A missing gradient is not in the global norm.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: None if call in (3, 4, 8) else floats(2.5, 0.25, 1.0, dtype=dtype),
        global_clipnorm=1.5,
        momentum=0.875,
        exposes=("missing-resets-velocity", "global-norm-with-stale-gradients", "norm-of-bfloat16-copies"),
    )
    yield named_case(
        f"missing-within-a-window-{name}",
        "A gradient is missing in a call that accumulates, and there in the one that updates.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: None if call in (1, 3) else floats(2.5, 0.25 * call, 1.0, dtype=dtype),
        gradient_accumulation_steps=3,
        exposes=("last-gradient-only", "mean-of-those-present", "accumulator-lost-when-missing"),
    )
    yield named_case(
        f"count-passes-32-bits-{name}",
        "Counts are integers of any size.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, 0.25 * call, 1.0, dtype=dtype),
        gradient_accumulation_steps=2,
        state=State(2**31 - 6, accumulators=(np.zeros(3, dtype), np.zeros(COMPANION, dtype))),
        exposes=("count-wraps", "count-saturates", "mean-over-one-less", "window-one-longer"),
    )
    yield named_case(
        f"infinity-within-a-window-{name}",
        "The mean of infinity and numbers is infinity, and weights stay what they are until it is taken.",
        floats(1.0, -2.0, -0.0, dtype=dtype),
        lambda call: floats(math.inf if call == 3 else 0.5, -0.25 * call, 0.0, dtype=dtype),
        gradient_accumulation_steps=3,
        exposes=("iterations-count-calls", "infinity-in-running-mean", "mean-of-means"),
    )
    yield named_case(
        f"part-of-a-name-excluded-{name}",
        "Variables are excluded from weight decay by parts of their names, each of several strings.",
        floats(1.0, -2.0, 0.5, dtype=dtype),
        lambda call: floats(0.5, 0.25 * call, 1.0, dtype=dtype),
        excluded=("pan", "rob"),
        weight_decay=0.0625,
        exposes=("decayed-in-place", "exclusion-by-whole-name", "exclusion-by-first-name-only"),
    )


def _overflows_when_unscaled(scale: float) -> Case:
    """Return a case in which unscaling finite gradients overflows."""
    return named_case(
        f"overflows-when-unscaled-by-{scale}",
        "Finite gradients overflow as they are divided by a scale below 1; the call is made.",
        floats(1.0, -2.0, 0.5, dtype=FLOAT16),
        lambda call: floats(0.5, 60000.0 if call == 6 else 0.25, 1.0, dtype=FLOAT16),
        loss_scaling=LossScaling(scale, 50),
        companion_magnitude=scale,
        exposes=("iterations-lost-in-wrapper", "finiteness-tested-after-unscaling", "unscaled-twice"),
    )
