"""Windows of accumulated gradients in faithful variants: the order of the sums, and where each begins."""

from __future__ import annotations

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32
from sgd_ref.conformance.faithful.accumulation import (
    AddedBackwards,
    AddedSmallestFirst,
    OwnAccumulators,
    ProductsAccumulated,
    QuotientsAccumulated,
    RunningMean,
    UnscaledAtTheEnd,
    WideAccumulators,
)

LARGE = 2.0**24


def moved(optimizer_class: type[SGD], gradients: list[float], **settings: float) -> float:
    """How far a window of gradients moves a weight of 0, times the number of gradients."""
    w = np.zeros((), FLOAT32)
    optimizer = optimizer_class(1.0, gradient_accumulation_steps=len(gradients), **settings)  # type: ignore[arg-type]
    for gradient in gradients:
        optimizer.apply([np.array(gradient, FLOAT32)], [w])
    return -float(w) * len(gradients)


@pytest.mark.parametrize(
    ("optimizer_class", "gradients", "expected"),
    [
        (SGD, [LARGE, 1, 1, 0], LARGE),
        (AddedBackwards, [LARGE, 1, 1, 0], LARGE + 2),
        (AddedBackwards, [1, LARGE, 1, 0], LARGE),
        (AddedSmallestFirst, [1, LARGE, 1, 0], LARGE + 2),
        (AddedSmallestFirst, [LARGE, -1, 0, -1], LARGE - 2),
        (WideAccumulators, [1, LARGE, 1, 0], LARGE + 2),
    ],
)
def test_gradients_are_added_in_the_order_that_is_named(
    optimizer_class: type[SGD], gradients: list[float], expected: float
) -> None:
    assert moved(optimizer_class, gradients) == expected


OWN = (
    QuotientsAccumulated,
    ProductsAccumulated,
    RunningMean,
    AddedBackwards,
    AddedSmallestFirst,
    WideAccumulators,
    UnscaledAtTheEnd,
)


@pytest.mark.parametrize("optimizer_class", OWN)
def test_every_window_begins_anew(optimizer_class: type[OwnAccumulators]) -> None:
    w = np.zeros((), FLOAT32)
    optimizer = optimizer_class(1.0, gradient_accumulation_steps=2, loss_scale_factor=4.0)
    for gradient in (4.0, 12.0, 8.0, 8.0):
        optimizer.apply([np.array(gradient, FLOAT32)], [w])
    assert float(w) == -4.0


@pytest.mark.parametrize("optimizer_class", OWN)
def test_a_window_goes_on_from_the_sums_of_the_state(optimizer_class: type[OwnAccumulators]) -> None:
    w = np.zeros((), FLOAT32)
    optimizer = optimizer_class(1.0, gradient_accumulation_steps=4, loss_scale_factor=4.0)
    optimizer.build([w])
    optimizer.set_weights([np.array(2, np.int64), np.array(1.0, FLOAT32), np.array(5.0, FLOAT32)])
    for gradient in (4.0, 8.0):
        optimizer.apply([np.array(gradient, FLOAT32)])
    assert float(w) == -2.0


def test_scaled_sums_that_half_types_cannot_hold_are_kept_wider() -> None:
    w = np.zeros((), FLOAT16)
    optimizer = UnscaledAtTheEnd(1.0, gradient_accumulation_steps=2, loss_scale_factor=2.0**15)
    for _ in range(2):
        optimizer.apply([np.array(2.0**15, FLOAT16)], [w])
    assert float(w) == -1.0
