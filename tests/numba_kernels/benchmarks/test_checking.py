"""A peer whose result is wrong is told from one that rounds otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.checking import fault
from numba_kernels.benchmarks.peers import Prepared, numpy_peer
from numba_kernels.benchmarks.workload import NORM, SETTINGS, Workload

FLOAT64 = np.dtype(np.float64)


def wide(workload: Workload, threads: int) -> Prepared:
    """Return plain steps that are rounded once, from float64."""
    variables, gradients = workloads.variables(workload), workloads.gradients(workload)

    def step() -> None:
        for w, g in zip(variables, gradients, strict=True):
            w[...] = (w.astype(FLOAT64) - 0.01 * g.astype(FLOAT64)).astype(w.dtype)

    return Prepared(step, lambda: variables)


def without_the_last_element(workload: Workload, threads: int) -> Prepared:
    variables, gradients = workloads.variables(workload), workloads.gradients(workload)

    def step() -> None:
        for w, g in zip(variables, gradients, strict=True):
            w[:-1] -= w.dtype.type(0.01) * g[:-1]

    return Prepared(step, lambda: variables)


@pytest.fixture
def numpy_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda peer: monkeypatch.setitem(numpy_peer.PREPARE, "numpy", peer)


@pytest.mark.parametrize("settings", SETTINGS)
def test_steps_by_hand_are_right(settings: str) -> None:
    assert fault("numpy", Workload("ResNet-50", settings), 1) == ""


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_other_roundings_are_right(dtype: str, numpy_is: Callable[[Any], None]) -> None:
    numpy_is(wide)
    assert fault("numpy", Workload("2 x 100", "plain", dtype), 1) == ""


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_an_element_that_is_left_out_is_wrong(dtype: str, numpy_is: Callable[[Any], None]) -> None:
    numpy_is(without_the_last_element)
    found = fault("numpy", Workload("2 x 100", "plain", dtype), 1)
    assert found is not None
    assert found.startswith("after 3 steps the variables are off by ")


def test_momentum_that_is_ignored_is_wrong(numpy_is: Callable[[Any], None]) -> None:
    numpy_is(wide)
    assert fault("numpy", Workload("2 x 100", "momentum"), 1)


def test_what_shows_no_variables_is_not_checked() -> None:
    assert fault("numpy", Workload("1 x 100", NORM), 1) is None
    assert fault("numpy", Workload("embedding", "plain"), 1) is None
    assert fault("roof numpy", Workload("1 x 100", "plain"), 1) is None
