"""Named cases of gradient accumulation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import CALLS, floats, named_case
from sgd_ref.conformance.catalogue.numbers import NumberStream


def cases() -> Iterator[Case]:
    """Yield the cases."""
    numbers = NumberStream("accumulation")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    yield named_case(
        "missing-on-update-call",
        "A variable without a gradient at the end of its window is not updated; what it accumulated is "
        "dropped (contested).",
        floats(0.0, 1.0),
        lambda call: None if call in (3, 7) else floats(-1.0, 0.5 + call),
        gradient_accumulation_steps=2,
        exposes=("missing-as-before",),
    )
    yield named_case(
        "missing-within-windows-of-two",
        "A gradient is missing in calls that accumulate, and there in those that update.",
        floats(1.0, -2.0, 0.5),
        lambda call: None if call in (2, 6) else floats(2.5, 0.25 * call, 1.0),
        gradient_accumulation_steps=2,
        exposes=("last-gradient-only", "mean-of-those-present", "sum-instead-of-mean"),
    )
    yield named_case(
        "non-finite-in-one-window",
        "The accumulators are reset by storing zeros: NaN and infinity do not reach the next window.",
        floats(0.0, 1.0, 2.0),
        lambda call: floats(math.inf, math.nan, 1.0) if call == 4 else floats(1.0, -0.5, 0.25 * call),
        gradient_accumulation_steps=2,
        exposes=(
            "accumulator-reset-by-multiplication",
            "nan-in-gradients-zeroed",
            "infinity-in-running-mean",
        ),
    )
    yield named_case(
        "mean-of-three",
        "The mean is a division by 3, not a multiplication by the rounded 1 / 3.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call],
        gradient_accumulation_steps=3,
        exposes=("accumulator-reset-by-multiplication", "summed-in-place", "mean-of-means"),
    )
    yield named_case(
        "narrower-gradient-is-accumulated",
        "A float16 gradient of a float32 variable is accumulated in float32.",
        floats(1.0, 2.0, -1.0),
        lambda call: floats(0.1, 2049.0 / 2048.0, 0.3 * call, dtype=FLOAT16),
        gradient_accumulation_steps=2,
        exposes=("sum-instead-of-mean", "mean-over-one-less", "accumulator-in-bfloat16", "window-one-longer"),
    )
    yield named_case(
        "sum-overflows-though-the-mean-fits",
        "In float16 the accumulator of 60000 and 60000 is infinite.",
        floats(0.0, 1.0, dtype=FLOAT16),
        lambda call: floats(60000.0, 0.5 + call, dtype=FLOAT16),
        gradient_accumulation_steps=2,
        exposes=("accumulator-reset-by-multiplication", "sum-instead-of-mean", "accumulator-in-bfloat16"),
    )
