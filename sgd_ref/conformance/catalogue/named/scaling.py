"""Named cases of loss scaling, fixed and dynamic."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.named.building import CALLS, floats, named_case
from sgd_ref.conformance.catalogue.numbers import NumberStream


def cases() -> Iterator[Case]:
    """Yield the cases."""
    numbers = NumberStream("scaling")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    rows = [numbers.rows((12, 3), FLOAT32, 2000.0) for _ in range(CALLS)]
    yield named_case(
        "unscale-by-three",
        "Unscaling is a division by 3, not a multiplication by the rounded 1 / 3.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call],
        loss_scale_factor=3.0,
        exposes=("unscaled-in-place", "loss-scale-kept", "scaled-gradients-in-float16"),
    )
    yield named_case(
        "large-scale-of-half-gradients",
        "float16 gradients are unscaled in float32, where the scale 1e6 is finite.",
        floats(0.5, -0.25, dtype=FLOAT16),
        lambda call: floats(1000.0, 30000.0 - call, dtype=FLOAT16),
        loss_scale_factor=1e6,
        exposes=(
            "float16-unscale-by-reciprocal",
            "unscale-in-dtype-of-gradient",
            "rate-unscaled-instead-of-gradients",
        ),
    )
    yield named_case(
        "half-gradient-of-a-wider-variable",
        "A float16 gradient of a float32 variable is widened before it is unscaled.",
        floats(0.0, 1e-9),
        lambda call: floats(6.2e-5, 7e-5 + 1e-5 * call, dtype=FLOAT16),
        loss_scale_factor=1024.0,
        exposes=("unscale-in-dtype-of-gradient", "quotient-in-dtype-of-gradient", "scaled-again"),
    )
    yield named_case(
        "half-gradient-under-a-large-scale",
        "A float16 gradient of a float32 variable is unscaled by 1e6, which float16 does not hold.",
        floats(0.5, -0.25),
        lambda call: floats(1000.0, 30000.0 - call, dtype=FLOAT16),
        loss_scale_factor=1e6,
        exposes=("unscale-in-dtype-of-gradient", "quotient-in-dtype-of-gradient", "unscaled-twice"),
    )
    yield named_case(
        "bfloat16-gradient-of-a-wider-variable",
        "A bfloat16 gradient of a float32 variable is unscaled by 1023, which bfloat16 does not hold.",
        floats(0.5, -0.25),
        lambda call: floats(1000.0, 300.0 - 2 * call, dtype=BFLOAT16),
        loss_scale_factor=1023.0,
        exposes=("bfloat16-unscale-by-reciprocal", "quotient-in-dtype-of-gradient", "scaled-again"),
    )
    yield named_case(
        "unscale-by-ninety-six-in-bfloat16",
        "Unscaling is a division by 96, or a product with a float32: not with 1 / 96 in bfloat16.",
        convert(np.zeros(40, FLOAT32), BFLOAT16),
        lambda call: convert(ordinary[call], BFLOAT16),
        loss_scale_factor=96.0,
        exposes=("bfloat16-unscale-by-reciprocal", "unscaled-twice", "rate-unscaled-instead-of-gradients"),
    )
    yield named_case(
        "sparse-rows-are-unscaled",
        "A sparse gradient is divided by the loss scale like a dense one.",
        numbers.array((12, 3), FLOAT32, 1.0),
        lambda call: rows[call],
        loss_scale_factor=1024.0,
        exposes=("last-duplicate-wins", "duplicates-averaged", "indices-sorted-alone"),
    )
    yield named_case(
        "scale-stays-finite",
        "The loss scale does not double to infinity (contested).",
        floats(1.0, 2.0),
        lambda call: floats(2.0**124, -(2.0**120)),
        loss_scaling=LossScaling(2.0**124, 1),
        companion_magnitude=2.0**124,
        exposes=("scale-never-grows",),
    )
    yield named_case(
        "scale-stays-normal",
        "The loss scale is not halved below the smallest normal float32 (contested).",
        floats(1.0, 2.0),
        lambda call: floats(math.inf if call < 6 else 2.0**-124, 2.0**-125),
        loss_scaling=LossScaling(2.0**-123, 4),
        companion_magnitude=2.0**-123,
        exposes=("scale-at-least-one",),
    )
