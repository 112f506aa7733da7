"""Layouts: what is read or written where strides are not what an implementation thinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.catalogue.layouts import LAYOUTS, laid_out
from sgd_ref.conformance.deviations import DEVIATIONS

GRADIENT = np.array([[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]], np.float32)
EQUAL_ROWS = np.array([[2.0, 4.0, 6.0]] * 2, np.float32)

RIGHT = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def moved(name: str, gradient: Any, layout: str = "contiguous") -> Any:
    """Return by how much a variable of a layout falls in one call at a rate of 1/2."""
    variable = laid_out(np.zeros(gradient.shape, np.float32), layout)
    DEVIATIONS[name].optimizer(0.5).apply([gradient], [variable])
    return (-variable).tolist()


@pytest.mark.parametrize(
    ("name", "layout", "expected"),
    [
        # What lies between the elements is 7.
        ("strides-of-gradient-ignored", "strided", [[1.0, 3.5, 2.0], [3.5, 3.0, 3.5]]),
        ("strides-of-gradient-ignored", "transposed", [[1.0, 4.0, 2.0], [5.0, 3.0, 6.0]]),
        ("strides-of-gradient-ignored", "reversed", [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        ("strides-of-gradient-ignored", "offset", RIGHT),
        ("start-within-memory-ignored", "offset", [[3.5, 3.5, 3.5], [1.0, 2.0, 3.0]]),
        ("start-within-memory-ignored", "strided", RIGHT),
        ("signs-of-strides-ignored", "reversed", [[6.0, 5.0, 4.0], [3.0, 2.0, 1.0]]),
        ("signs-of-strides-ignored", "transposed", RIGHT),
        ("first-of-broadcast-only", "transposed", RIGHT),
        ("layouts-taken-for-alike", "transposed", [[1.0, 4.0, 2.0], [5.0, 3.0, 6.0]]),
        ("layouts-taken-for-alike", "offset", RIGHT),
        ("copy-of-variable-updated", "strided", RIGHT),
    ],
)
def test_a_gradient_is_read_otherwise(name: str, layout: str, expected: list[list[float]]) -> None:
    assert moved(name, laid_out(GRADIENT, layout)) == expected


def test_layouts_of_a_pair() -> None:
    name = "layouts-taken-for-alike"
    assert moved(name, laid_out(GRADIENT, "transposed"), "transposed") == RIGHT
    assert moved(name, GRADIENT, "transposed") == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]


def test_a_gradient_that_is_broadcast() -> None:
    given = laid_out(EQUAL_ROWS, "broadcast")
    assert moved("strides-of-gradient-ignored", given) == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    assert moved("first-of-broadcast-only", given) == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    assert moved("first-of-broadcast-only", EQUAL_ROWS) == [[1.0, 2.0, 3.0]] * 2


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "broadcast"])
def test_a_copy_is_updated(layout: str) -> None:
    is_copied = layout in ("transposed", "strided", "reversed")
    assert moved("copy-of-variable-updated", GRADIENT, layout) == (
        np.zeros((2, 3)).tolist() if is_copied else RIGHT
    )


@pytest.mark.parametrize("name", [name for name in DEVIATIONS if "strides" in name or "broadcast" in name])
def test_empty_and_missing_gradients_are_left_alone(name: str) -> None:
    empty, full = np.zeros((0, 2), np.float32), np.zeros(1, np.float32)
    optimizer = DEVIATIONS[name].optimizer(0.5)
    optimizer.apply([np.zeros((0, 2), np.float32), np.ones(1, np.float32)], [empty, full])
    assert full.tolist() == [-0.5]
