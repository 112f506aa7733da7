"""Rows of sparse gradients are updated where they are, by kernels alone, and the others are left alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.cpu import optimizer as module
from numba_kernels.cpu.threads import run_as_one
from numba_kernels.shared.rows import from_sparse
from sgd_ref import SparseRows

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
DTYPES, LAYOUTS, Pair, numbers = (agreement[name] for name in ("DTYPES", "LAYOUTS", "Pair", "numbers"))
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

SETTINGS: list[dict[str, Any]] = [
    {"learning_rate": 0.1},
    {"learning_rate": 0.1, "clipnorm": 0.5, "loss_scale_factor": 8.0},
    {"learning_rate": 0.1, "global_clipnorm": 0.5},
    {"learning_rate": 0.1, "clipvalue": 0.5},
    {"learning_rate": 0.1, "momentum": 0.9},
]


def rising(generator: np.random.Generator, count: int, among: int) -> Any:
    """Return distinct indices in order."""
    return np.sort(generator.choice(among, count, replace=False))


@pytest.mark.share(4)
@every_dtype
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_rows_in_order_and_in_any_order(dtype: Any, settings: dict[str, Any], layout: Any) -> None:
    generator = np.random.default_rng(21)
    shapes = [(50, 3, 5), (40,), (30, 0), (20, 70)]
    pair = Pair([numbers(generator, shape, dtype, 0.1) for shape in shapes], layout, **settings)
    for call in range(4):
        gradients = []
        for shape in shapes:
            indices = rising(generator, 15, shape[0])
            if call == 2:
                indices = generator.permutation(np.concatenate([indices, indices[:4]]))
            values = numbers(generator, (len(indices), *shape[1:]), dtype, 0.02 if call == 3 else 0.0)
            gradients.append(SparseRows(indices, values, shape))
        pair.apply(gradients)


@every_dtype
def test_rows_in_order_are_taken_as_they_are(dtype: Any) -> None:
    values = np.ones((3, 4), dtype)
    rows = from_sparse(SparseRows([2, 5, 6], values, (9, 4)), np.zeros((9, 4), dtype))
    assert np.shares_memory(rows.values, values)
    assert rows.indices.tolist() == [2, 5, 6]
    for indices in ([2, 2, 6], [2, 6, 5], [6, 5, 2]):
        again = from_sparse(SparseRows(indices, values, (9, 4)), np.zeros((9, 4), dtype))
        assert again.indices.tolist() == sorted(set(indices))


def test_no_interrupt_comes_between_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are one task, and that is a kernel; only another layout needs Python."""
    seen: list[int] = []

    def run(tasks: Any) -> None:
        seen.append(len(tasks))
        run_as_one(tasks)

    monkeypatch.setattr(module, "run_as_one", run)
    variables = [np.zeros((500, 8), np.float32), np.zeros((500, 8), np.float32)]
    rows = SparseRows([3, 400], np.ones((2, 8), np.float32), (500, 8))
    optimizer = numba_kernels.SGD(0.5, threads=2)
    optimizer.apply([rows, np.ones((500, 8), np.float32)], variables)
    assert not seen  # several tasks, in two threads
    optimizer = numba_kernels.SGD(0.5)
    optimizer.apply([rows, rows], variables)
    optimizer.apply([rows, np.ones((500, 8), np.float32)])
    # For each variable one, and two that count and keep the state. In the second call the first task is of
    # all others, and the state is kept already.
    assert seen == [4, 3]
    assert variables[0][[3, 400, 5]].tolist() == [[-1.5] * 8, [-1.5] * 8, [0.0] * 8]
    scattered = np.zeros((500, 16), np.float32)[:, ::2]
    optimizer = numba_kernels.SGD(0.5)
    optimizer.apply([rows], [scattered])
    assert seen == [4, 3]
    assert scattered[3].tolist() == [-0.5] * 8


@pytest.mark.filterwarnings("ignore:learning_rate=1000000.0 becomes inf in float16:UserWarning")
def test_a_rate_that_is_infinite_in_the_dtype_reaches_every_row() -> None:
    variables = []
    for package in (sgd_ref, numba_kernels):
        w = np.ones((5, 2), np.float16)
        gradient = SparseRows([1], np.full((1, 2), 0.5, np.float16), w.shape)
        with np.errstate(all="ignore"):
            package.SGD(1e6).apply([gradient], [w])
        variables.append(w)
    assert np.isnan(variables[0][0]).all()
    np.testing.assert_array_equal(*variables)
