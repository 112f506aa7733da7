"""Norms of a part of the elements; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.optimizer import SGD


@pytest.mark.parametrize(("name", "moved"), [(None, -0.125), ("norm-of-first-block", -0.25)])
def test_a_norm_of_more_than_a_block(after: Any, name: str | None, moved: float) -> None:
    # The norm of 4 * 65536 ones is 512, and that of the first 65536 is 256.
    outcome = after(name, [np.zeros(2**18)], [np.ones(2**18)], clipnorm=128.0)
    assert set(outcome.variables[0]) == {moved}


def test_a_norm_of_one_block_is_right(after: Any) -> None:
    assert after("norm-of-first-block", [[0.0, 0.0]], [[6.0, 8.0]], clipnorm=5.0).variables == [[-1.5, -2.0]]


@pytest.mark.parametrize(
    ("name", "moved"), [(None, (-0.75, -1.0)), ("global-norm-of-each-dtype", (-1.25, -1.25))]
)
def test_a_global_norm_of_two_dtypes(name: str | None, moved: tuple[float, float]) -> None:
    optimizer_class = SGD if name is None else DEVIATIONS[name].optimizer
    optimizer = optimizer_class(learning_rate=0.5, global_clipnorm=2.5)
    variables = [np.zeros(1, np.float32), np.zeros(1, BFLOAT16)]
    # The norm is 5; that of each alone is 3 or 4.
    optimizer.apply([np.array([3.0], np.float32), np.array([4.0], BFLOAT16)], variables)
    assert [float(variable[0]) for variable in variables] == pytest.approx(moved, rel=2.0**-7)
