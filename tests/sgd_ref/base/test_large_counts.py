"""Counts beyond int64: training goes on, and what cannot be exported is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref import LossScaleOptimizer, save

LARGEST = 2**63 - 1
PACKAGES = [sgd_ref, numba_kernels]
every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


def message(what: str) -> str:
    return f"^{what} must be at most {LARGEST}, the largest int64, got {LARGEST + 1}$"


@every_package
@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, LossScaleOptimizer], ids=["alone", "wrapped"])
def test_a_number_of_calls_beyond_int64_is_not_exported(package: Any, wrap: Any, tmp_path: Path) -> None:
    w, inner = np.zeros(2, np.float32), package.SGD(0.5)
    optimizer = wrap(inner)
    optimizer.build([w])
    values = optimizer.get_weights()
    inner.set_weights([LARGEST, np.float32(0.5)])
    assert optimizer.get_weights()[-2] == LARGEST
    optimizer.apply([np.zeros(2, np.float32)])
    assert (optimizer.calls, optimizer.iterations) == (LARGEST + 1, LARGEST + 1)
    for use in (
        lambda: optimizer.variables,
        optimizer.get_weights,
        lambda: save(tmp_path / "checkpoint", optimizer, [w]),
    ):
        with pytest.raises(ValueError, match=message("the number of calls")):
            use()
    # What it takes to go on from there.
    optimizer.set_weights(values)
    assert optimizer.get_weights()[-2] == 0


@every_package
def test_a_growth_counter_beyond_int64_is_not_exported(package: Any) -> None:
    optimizer = LossScaleOptimizer(package.SGD(0.5), dynamic_growth_steps=2**65)
    optimizer.build([np.zeros(2, np.float32)])
    values = optimizer.get_weights()
    optimizer.set_weights([*values[:2], np.array(LARGEST), *values[3:]])
    optimizer.apply([np.zeros(2, np.float32)])
    assert optimizer.growth_counter == LARGEST + 1
    for use in (lambda: optimizer.variables, optimizer.get_weights):
        with pytest.raises(ValueError, match=message("the growth counter")):
            use()
    optimizer.set_weights(values)
    assert optimizer.growth_counter == 0
