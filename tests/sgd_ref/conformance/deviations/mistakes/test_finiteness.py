"""Which calls are skipped: three variables of 8, a scale of 4, and gradients of 8, which are 2 unscaled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS

FINE = [[8.0], 8.0, [8.0]]


@pytest.mark.parametrize(
    ("name", "wrong", "is_made"),
    [
        (None, [[math.inf], 8.0, [8.0]], False),
        ("first-gradient-alone-tested", [[math.inf], 8.0, [8.0]], False),
        ("first-gradient-alone-tested", [[8.0], math.nan, [8.0]], True),
        ("first-gradient-alone-tested", [None, math.nan, [8.0]], False),
        ("last-gradient-alone-tested", [[math.inf], 8.0, [8.0]], True),
        ("last-gradient-alone-tested", [[8.0], 8.0, [math.nan]], False),
        ("scalars-not-tested", [[8.0], math.inf, [8.0]], True),
        ("scalars-not-tested", [[8.0], 8.0, [math.inf]], False),
    ],
)
def test_one_gradient_that_is_not_finite(after: Any, name: str | None, wrong: Any, is_made: bool) -> None:
    optimizer = after(name, FINE, wrong, loss_scale=4.0).optimizer
    assert (optimizer.calls, optimizer.loss_scale) == ((1, 4.0) if is_made else (0, 2.0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_large_gradients_are_finite(after: Any, dtype: str) -> None:
    largest = next(float(form.largest) for key, form in FORMATS.items() if key.name == dtype)
    for name, gradient, is_made in (
        (None, [largest, largest], True),
        ("finiteness-of-sums", [largest, largest], False),
        ("finiteness-of-sums", [largest, -largest], True),
        ("largest-counts-as-infinite", [-largest, 1.0], False),
        ("largest-counts-as-infinite", [largest / 2, 1.0], True),
    ):
        with np.errstate(over="ignore"):
            optimizer = after(name, [[1.0, 1.0]], [gradient], dtype=dtype, loss_scale=4.0).optimizer
        assert optimizer.calls == is_made, (name, gradient)


def test_only_updates_are_tested(after: Any) -> None:
    settings = {"loss_scale": 4.0, "gradient_accumulation_steps": 2}
    first = after("tested-in-updates-only", [[8.0]], [[math.inf]], **settings).optimizer
    assert (first.calls, first.loss_scale) == (1, 4.0)
    second = after("tested-in-updates-only", [[8.0]], [[8.0]], [[math.inf]], **settings).optimizer
    assert (second.calls, second.loss_scale) == (1, 2.0)
