"""Named cases of questions that the documentation leaves open, each of one question only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import CALLS, floats, named_case
from sgd_ref.conformance.catalogue.named.schedules import scheduled
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly
from sgd_ref.gradients import SparseRows

POLYNOMIAL = ("schedule-ends-one-early", "schedule-one-ahead", "schedule-frozen")
RESTARTS = ("restart-missed", "cosine-never-restarts", "schedule-one-behind")
NARROW_GRADIENTS = ("scaled-gradients-in-float16", "loss-scale-kept", "scaled-again")
NARROW_ROWS = ("last-duplicate-wins", "first-duplicate-wins", "duplicates-averaged")
"""The known deviations that each kind of case is for."""

ROWS = (0, 2, 0, 1, 2, 0)
"""The index of each row of a sparse gradient."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _schedules()
    for dtype, factor in ((FLOAT32, 3.0), (FLOAT16, 96.0), (BFLOAT16, 3.0)):
        yield _narrow_gradient(dtype, factor)
    for dtype, wide in ((FLOAT32, FLOAT64), (FLOAT16, FLOAT32), (BFLOAT16, FLOAT32)):
        yield _narrow_rows(dtype, wide)


def _schedules() -> Iterator[Case]:
    yield scheduled(
        "polynomial-cycle-at-two-multiples",
        "A cyclic polynomial is read at two multiples of decay_steps (contested).",
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.5,
            "decay_steps": 4,
            "end_learning_rate": 0.0625,
            "power": 2.0,
            "cycle": True,
        },
        units=8,
        exposes=POLYNOMIAL,
    )
    for name, more in (
        ("equal-periods", {"first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.25}),
        ("longer-periods", {"first_decay_steps": 2, "t_mul": 2.0, "m_mul": 0.75, "alpha": 0.5}),
    ):
        yield scheduled(
            f"minimum-of-lowered-restarts-of-{name}",
            "Restarts are lower by m_mul, above a minimum alpha (contested).",
            "CosineDecayRestarts",
            {"initial_learning_rate": 0.5, **more},
            units=64,
            exposes=RESTARTS,
        )


def _narrow_gradient(dtype: np.dtype[Any], factor: float) -> Case:
    numbers = NumberStream(f"narrow-gradient-{dtype}")
    gradients = [readonly(numbers.array((6,), dtype, 4.0)) for _ in range(CALLS)]
    return named_case(
        f"{dtype}-gradient-of-a-float64-variable",
        f"A {dtype} gradient of a float64 variable is unscaled by {factor:g} (contested).",
        floats(0.5, -0.25, 1.0, -2.0, 3.0, -0.125, dtype=FLOAT64),
        lambda call: gradients[call],
        loss_scale_factor=factor,
        exposes=NARROW_GRADIENTS,
    )


def _narrow_rows(dtype: np.dtype[Any], wide: np.dtype[Any]) -> Case:
    numbers = NumberStream(f"narrow-rows-{dtype}")
    values = [readonly(numbers.array((len(ROWS), 2), dtype, 2.0)) for _ in range(CALLS)]
    return named_case(
        f"duplicate-rows-of-{dtype}-in-{wide}",
        f"Rows of a {wide} variable occur twice and three times, in {dtype} (contested).",
        floats(0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, dtype=wide).reshape(4, 2),
        lambda call: SparseRows(readonly(np.array(ROWS)), values[call], (4, 2)),
        exposes=NARROW_ROWS,
    )
