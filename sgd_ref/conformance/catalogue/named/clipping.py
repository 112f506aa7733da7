"""Named cases of the three clippings."""

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
    numbers = NumberStream("clipping")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    yield named_case(
        "clipping-without-need",
        "With a norm far below clipnorm = 777.7 the formula still rounds (g * c) / c.",
        numbers.array((40,), FLOAT32, 1.0),
        lambda call: ordinary[call],
        clipnorm=777.7,
        exposes=("clipped-in-place", "scales-up-to-clipnorm", "last-element-skipped"),
    )
    yield named_case(
        "global-clipping-without-need",
        "With a norm far below global_clipnorm = 1777.7 every gradient is multiplied by c * (1 / c).",
        numbers.array((40,), FLOAT32, 1.0),
        lambda call: ordinary[call],
        global_clipnorm=1777.7,
        exposes=("clipped-in-place", "scales-up-to-clipnorm", "last-element-skipped"),
    )
    yield named_case(
        "squares-overflow",
        "The norm of gradients near 1e20 is finite though their squares are not.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e20),
        clipnorm=1.5,
        exposes=(
            "norm-of-rounded-squares",
            "clipnorm-is-global",
            "first-gradient-alone-clipped",
            "norm-of-previous-call",
        ),
    )
    yield named_case(
        "squares-overflow-globally",
        "The global norm of gradients near 1e20 is finite though their squares are not.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e20),
        global_clipnorm=1.5,
        exposes=(
            "norm-of-rounded-squares",
            "norm-without-root",
            "global-norm-without-first-gradient",
            "norm-in-bfloat16",
            "global-norm-is-mean-of-norms",
            "global-norm-of-squared-norms",
            "norm-of-replicas",
        ),
    )
    yield named_case(
        "squares-underflow",
        "Gradients near 1e-25 have a norm though their squares vanish in float32.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e-25),
        global_clipnorm=2.0**-84,
        companion_magnitude=2.0**-86,
        exposes=(
            "norm-of-rounded-squares",
            "norm-without-root",
            "global-norm-is-largest-norm",
            "norm-in-bfloat16",
        ),
    )
    yield named_case(
        "squares-overflow-in-half",
        "The norm of (300, 400) is 500 in float16 too, where their squares overflow.",
        floats(0.0, 0.5, dtype=FLOAT16),
        lambda call: floats(300.0, 400.0 - call, dtype=FLOAT16),
        clipnorm=1.5,
        exposes=(
            "clipnorm-is-global",
            "first-gradient-alone-clipped",
            "norm-of-previous-call",
            "norm-added-in-half",
        ),
    )
    yield named_case(
        "non-finite-gradient-is-clipped",
        "A norm that is infinite makes finite elements 0 and infinite ones NaN; one that is NaN, all NaN.",
        floats(1.0, 2.0, 3.0),
        lambda call: floats(math.inf if call == 4 else 0.5, 1.0, math.nan if call == 8 else 0.25),
        clipnorm=1.5,
        exposes=(
            "non-finite-norm-is-minus-one",
            "first-gradient-alone-clipped",
            "norm-of-previous-call",
            "norm-of-finite-elements",
            "non-finite-gradients-replaced",
            "clipnorm-by-columns",
            "limit-added-to-norm",
            "gradients-in-bfloat16",
        ),
    )
    rows = [numbers.rows((12, 3), FLOAT32, 2.0) for _ in range(CALLS)]
    yield named_case(
        "duplicate-rows-are-added-before-clipping",
        "Rows that occur twice in a sparse gradient are added first; their sum is what is clipped.",
        numbers.array((12, 3), FLOAT32, 1.0),
        lambda call: rows[call],
        clipvalue=0.625,
        exposes=("rows-clipped-one-by-one", "first-duplicate-wins", "indices-sorted-alone"),
    )
