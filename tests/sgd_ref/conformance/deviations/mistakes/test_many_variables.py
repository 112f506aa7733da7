"""Variables whose index has more than 8 bits: the variable 256 is taken for the variable 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

COUNT = 258


@pytest.mark.parametrize(
    ("name", "last_two"),
    [
        (None, [[-2.5], [-5.0]]),
        ("gradient-index-of-8-bits", [[-5.0], [-5.0]]),
        ("velocity-index-of-8-bits", [[-5.0], [-5.0]]),
    ],
)
def test_indices_of_8_bits(after: Any, name: str | None, last_two: list[Any]) -> None:
    variables: list[Any] = [[0.0]] * COUNT
    # Variable 257 is alone in its shape, so that nothing fits it.
    variables[1] = [0.0, 0.0]
    gradients: list[Any] = [[0.0]] * COUNT
    gradients[0], gradients[1], gradients[256], gradients[257] = [4.0], [0.0, 0.0], [2.0], [4.0]
    outcome = after(name, variables, *[gradients] * 2, momentum=0.5)
    if name == "velocity-index-of-8-bits":
        # The velocity is -2, then -1 - 1, then -1 - 2, then -1.5 - 1.
        assert outcome.variables[256] == [-2.0 - 2.5]
        assert outcome.variables[257] == last_two[1]
    else:
        assert outcome.variables[256:] == last_two


def test_rows_and_columns_of_long_matrices(after: Any) -> None:
    rows, columns = np.zeros((65537, 1), np.float32), np.zeros((2, 1026), np.float32)
    calls = [[np.ones_like(rows), np.ones_like(columns)]]
    moved = after("rows-past-a-grid-skipped", [rows, columns], *calls).variables
    assert [sum(row == [-0.5] for row in moved[0]), moved[0][65535:]] == [65535, [[0.0], [0.0]]]
    assert moved[1] == [[-0.5] * 1026] * 2
    moved = after("columns-past-a-block-skipped", [rows, columns], *calls).variables
    assert moved[0] == [[-0.5]] * 65537
    assert moved[1] == [[-0.5] * 1024 + [0.0] * 2] * 2
