"""Named cases of the averages of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import floats, named_case


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield named_case(
        "overwrite-not-due",
        "Where no overwrite is due, infinities and -0.0 in the variables stay what they are.",
        floats(math.inf, -0.0, 1.0, -math.inf),
        lambda call: floats(0.0, 0.0, 0.5, 0.25),
        use_ema=True,
        ema_overwrite_frequency=4,
        exposes=("overwrite-blends", "overwrite-in-every-update", "finalize-averages-once-more"),
    )
    yield named_case(
        "first-average-is-stored",
        "The first update stores the variables as averages; -0.0 stays -0.0.",
        floats(-0.0, 0.0, 2.0),
        lambda call: floats(0.0, 0.0, 0.5 * call),
        use_ema=True,
        exposes=(
            "first-average-computed",
            "finalize-overwrites-averages",
            "averages-in-bfloat16",
            "averages-from-initial-weights",
        ),
    )
    yield named_case(
        "averages-while-accumulating",
        "Calls that accumulate are no updates: they neither average nor overwrite.",
        floats(0.0, 1.0, -2.0),
        lambda call: floats(-2.0, 0.5, 0.25 * call),
        use_ema=True,
        ema_overwrite_frequency=2,
        gradient_accumulation_steps=2,
        exposes=("first-average-by-calls", "overwrite-counts-calls", "overwrite-while-accumulating"),
    )
    yield named_case(
        "averages-of-an-empty-matrix",
        "A variable of shape (0, 3) has an average like any other.",
        np.zeros((0, 3), FLOAT32),
        lambda call: np.zeros((0, 3), FLOAT32),
        use_ema=True,
        exposes=("finalize-ignored", "finalize-exchanges", "averages-in-bfloat16"),
    )
