"""Narrow cases of dynamic loss scaling: which calls are skipped, and when the scale doubles and halves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.named.narrow import narrow_case, numbers
from sgd_ref.gradients import SparseRows


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for dtype in (FLOAT16, FLOAT32, FLOAT64):
        yield _finite_to_the_end(dtype)
    yield _sums_beyond_the_end()
    for dtype in (FLOAT32, FLOAT64, FLOAT16):
        yield _infinite_in_turn(dtype)
    yield _infinite_rows()
    for dtype in (FLOAT32, FLOAT64):
        yield _skipped_at_once(dtype)
    for dtype in (FLOAT32, FLOAT64, BFLOAT16):
        yield _far(dtype)


def _finite_to_the_end(dtype: np.dtype[Any]) -> Case:
    largest = float(FORMATS[dtype].largest)
    return narrow_case(
        f"finite-to-the-end/{dtype}",
        "The largest number is finite, and a gradient is finite even if the sum of its elements is not.",
        {"w": numbers(dtype, 0.0, 1.0, -1.0), "other": numbers(dtype, 1.0)},
        [
            [numbers(dtype, largest, largest, 1.0), numbers(dtype, 3.0)],
            [numbers(dtype, -largest, -largest, 2.0), numbers(dtype, -largest)],
            [numbers(dtype, largest / 2, largest, 0.0), numbers(dtype, largest)],
        ],
        loss_scaling=LossScaling(4.0, 2),
        learning_rate=0.25,
        exposes=("finiteness-of-sums", "largest-counts-as-infinite"),
    )


def _sums_beyond_the_end() -> Case:
    half = float(FORMATS[FLOAT32].largest) / 2
    return narrow_case(
        "sums-beyond-the-end/float32",
        "A gradient is finite, and far from the largest number, even if the sum of its elements is not.",
        {"w": numbers(FLOAT32, 0.0, 1.0, -1.0), "other": numbers(FLOAT32, 1.0)},
        [
            [numbers(FLOAT32, half, half, half), numbers(FLOAT32, 3.0)],
            [numbers(FLOAT32, -half, -half, -half), numbers(FLOAT32, 5.0)],
        ],
        loss_scaling=LossScaling(4.0, 2),
        learning_rate=0.25,
        exposes=("finiteness-of-sums",),
    )


def _infinite_in_turn(dtype: np.dtype[Any]) -> Case:
    finite = [numbers(dtype, 4.0, -8.0), numbers(dtype, 2.0).reshape(()), numbers(dtype, 6.0)]
    first, scalar, last = (
        numbers(dtype, math.inf, 1.0),
        numbers(dtype, math.nan).reshape(()),
        numbers(dtype, -math.inf),
    )
    return narrow_case(
        f"infinite-in-turn/{dtype}",
        "In each skipped call only one variable has a gradient that is not finite: each variable in turn.",
        {
            "first": numbers(dtype, 1.0, -2.0),
            "scalar": np.asarray(dtype.type(1)),
            "last": numbers(dtype, 3.0),
        },
        [
            finite,
            [first, *finite[1:]],
            finite,
            [finite[0], scalar, finite[2]],
            finite,
            [*finite[:2], last],
            finite,
        ],
        loss_scaling=LossScaling(16.0, 2),
        learning_rate=0.25,
        exposes=("first-gradient-alone-tested", "last-gradient-alone-tested", "scalars-not-tested"),
    )


def _infinite_rows() -> Case:
    rows = SparseRows(np.array([1]), numbers(FLOAT32, 4.0, math.inf).reshape(1, 2), (3, 2))
    dense = numbers(FLOAT32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0).reshape(3, 2)
    return narrow_case(
        "infinite-rows",
        "The rows of a sparse gradient are tested, too.",
        {"table": np.ones((3, 2), FLOAT32), "other": numbers(FLOAT32, 1.0)},
        [[dense, numbers(FLOAT32, 2.0)], [rows, numbers(FLOAT32, 2.0)], [dense, numbers(FLOAT32, 2.0)]],
        loss_scaling=LossScaling(16.0, 2),
        learning_rate=0.25,
    )


def _skipped_at_once(dtype: np.dtype[Any]) -> Case:
    finite, infinite = [numbers(dtype, 4.0, -8.0)], [numbers(dtype, math.inf, 1.0)]
    return narrow_case(
        f"skipped-at-once/{dtype}",
        "The first calls are skipped, as training with a high scale begins; each of them halves the scale.",
        {"w": numbers(dtype, 1.0, -2.0)},
        [infinite, infinite, infinite, finite, infinite, finite, finite, finite],
        loss_scaling=LossScaling(64.0, 3),
        learning_rate=0.25,
        exposes=("halved-by-second-overflow", "first-overflow-alone-halves"),
    )


def _far(dtype: np.dtype[Any]) -> Case:
    return narrow_case(
        f"scale-grows-far/{dtype}",
        "The scale doubles in every call, and has no maximum but the largest number.",
        {"w": numbers(dtype, 1.0, -2.0)},
        [[numbers(dtype, 2.0 ** (20 + call), -(2.0 ** (22 + call)))] for call in range(6)],
        loss_scaling=LossScaling(2.0**22, 1),
        learning_rate=0.25,
        exposes=("scale-has-a-maximum",),
    )
