"""The end of training."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer

both = pytest.mark.parametrize(
    "wrap", [lambda optimizer: optimizer, LossScaleOptimizer], ids=["SGD", "scaled"]
)


def trained(optimizer: Any) -> list[Any]:
    variables = [np.array([1.0, -0.0]), np.array(4.0, np.float16)]
    optimizer.build(variables)
    for _ in range(2):
        optimizer.apply([np.array([-1.0, 0.0]), np.float16(2)])
    return variables


@both
def test_the_averages_become_the_variables(wrap: Any) -> None:
    optimizer = wrap(SGD(1.0, use_ema=True, ema_momentum=0.5))
    variables = trained(optimizer)
    averages = [array.tobytes() for array in optimizer.averages]
    assert averages != [array.tobytes() for array in variables]
    calls = optimizer.calls
    optimizer.finalize_variable_values(variables[::-1])
    assert [array.tobytes() for array in variables] == averages
    assert [array.tobytes() for array in optimizer.averages] == averages
    assert optimizer.calls == calls


@both
def test_without_averages_nothing_is_done(wrap: Any) -> None:
    optimizer = wrap(SGD(1.0))
    variables = trained(optimizer)
    before = [array.tobytes() for array in variables]
    optimizer.finalize_variable_values(variables)
    assert [array.tobytes() for array in variables] == before


@both
def test_before_the_first_update_nothing_is_done_and_that_is_said(wrap: Any) -> None:
    optimizer = wrap(SGD(1.0, use_ema=True, gradient_accumulation_steps=3))
    variables = trained(optimizer)
    assert (optimizer.calls, optimizer.iterations) == (2, 0)
    before = [array.tobytes() for array in variables]
    with pytest.warns(
        UserWarning, match=r"^no update was made yet, so there is no average to finalize with$"
    ):
        optimizer.finalize_variable_values(variables)
    assert [array.tobytes() for array in variables] == before


@both
def test_all_variables_or_none(wrap: Any) -> None:
    optimizer = wrap(SGD(1.0, use_ema=True, ema_momentum=0.5))
    variables = trained(optimizer)
    before = [array.tobytes() for array in variables]
    variables[1].flags.writeable = False
    for given, message in (
        (variables[:1], "variables must be all 2 arrays that the optimizer was built with, got 1"),
        (variables, "variable_1 must be writable, since it is updated in place, got a read-only array"),
        (
            [variables[0], np.ones(3)],
            "variables[1] must be one of the 2 arrays that the optimizer was built with, "
            "got another one of shape (3,) and dtype float64",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            optimizer.finalize_variable_values(given)
        assert [array.tobytes() for array in variables] == before
