"""Narrow cases of sparse gradients: no rows, rows of several axes, rows of -0.0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.narrow import ALL, narrow_case, numbers
from sgd_ref.gradients import SparseRows

MOMENTUM = 0.5


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for dtype in ALL:
        yield narrow_case(
            f"row-of-negative-zeros/{dtype}",
            "A row that occurs once is copied, so that -0.0 stays; a second one is added to the first.",
            {"table": numbers(dtype, *[-0.0] * 6).reshape(3, 2)},
            [[_rows(dtype, [2, 0], [-0.0, 0.0, -0.0, -0.0], (3, 2))]] * 2
            + [[_rows(dtype, [1, 1], [-0.0, 1.0, -0.0, -1.0], (3, 2))]],
        )
        yield narrow_case(
            f"no-rows/{dtype}",
            "A sparse gradient without rows is one of zeros, not a missing one: velocity and decay go on.",
            {"table": numbers(dtype, 1.0, -2.0, 0.5, -0.0).reshape(2, 2)},
            [
                [_rows(dtype, [1], [3.0, -1.0], (2, 2))],
                [_rows(dtype, [], [], (2, 2))],
                [_rows(dtype, [], [], (2, 2))],
            ],
            momentum=MOMENTUM,
            weight_decay=0.25,
        )
        yield narrow_case(
            f"rows-of-a-matrix-each/{dtype}",
            "The rows of a variable of three axes are matrices.",
            {"table": numbers(dtype, *range(-6, 6)).reshape(3, 2, 2)},
            [
                [_rows(dtype, [2, 0, 2], np.arange(12) / 8 - 0.5, (3, 2, 2))],
                [_rows(dtype, [1], [1.0, -0.0, 0.0, 2.0], (3, 2, 2))],
            ],
            momentum=MOMENTUM,
        )
        yield narrow_case(
            f"rows-of-one-axis/{dtype}",
            "The rows of a variable of one axis are numbers.",
            {"table": numbers(dtype, 1.0, 2.0, -3.0)},
            [[_rows(dtype, [2, 2, 0], [0.5, 0.25, -0.0], (3,))]] * 2,
        )
    for shape in ((0,), (0, 2), (2, 0), (3, 0, 2)):
        yield narrow_case(
            f"rows-of-nothing-{'x'.join(map(str, shape))}",
            "A sparse gradient of a variable without elements is one like any other.",
            {"empty": np.zeros(shape, FLOAT32), "w": numbers(FLOAT32, 1.0)},
            [[_rows(FLOAT32, [1, 1] if shape[0] else [], [], shape), numbers(FLOAT32, 0.5)]] * 2,
        )
    yield narrow_case(
        "order-of-equal-rows",
        "Equal rows are added from the first to the last: here another order has another sum.",
        {"table": np.zeros((2, 2), FLOAT32)},
        [[_rows(FLOAT32, [1, 1, 0, 1, 1], [1.0, 2.0**25, 2.0**-24, 1, 3, 3, 2.0**-24, 1.0, 1, 1], (2, 2))]],
    )


def _rows(dtype: np.dtype[Any], indices: Sequence[int], values: Any, shape: tuple[int, ...]) -> SparseRows:
    given: Array = numbers(dtype, *values).reshape(len(indices), *shape[1:])
    return SparseRows(list(indices), given, shape)
