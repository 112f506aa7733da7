"""Workloads: their arrays, and the bytes that a step has to move."""

from __future__ import annotations

import numpy as np
import pytest

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.workload import Workload


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_arrays_are_random_and_their_own(dtype: str) -> None:
    workload = Workload("3 x 100000", "momentum", dtype)
    arrays = [*workloads.variables(workload), *workloads.gradients(workload)]
    assert {(array.dtype.name, array.shape) for array in arrays} == {(dtype, (100_000,))}
    assert len({array.tobytes() for array in arrays}) == 6
    assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)
    values = arrays[0].astype(np.float64)
    assert np.isfinite(values).all()
    assert 0.005 < values.std() < 0.02
    again = workloads.variables(workload)
    assert [array.tobytes() for array in again] == [array.tobytes() for array in arrays[:3]]


def test_sparse_gradients_have_distinct_rows() -> None:
    workload = Workload("embedding", "plain")
    (rows,) = workloads.sparse_gradients(workload)
    assert rows.shape == (1_000_000, 64)
    assert rows.values.shape == (1000, 64)
    assert len(set(rows.indices.tolist())) == 1000


@pytest.mark.parametrize(
    ("settings", "dtype", "arrays"),
    [
        ("plain", "float32", 3),
        ("momentum", "float32", 5),
        ("momentum", "bfloat16", 2.5),
        # Four arrays read and three written, after one read for the norm.
        ("everything", "float32", 8),
        ("norm", "float64", 2),
    ],
)
def test_bytes_that_have_to_be_moved(settings: str, dtype: str, arrays: float) -> None:
    assert Workload("2 x 50", settings, dtype).bytes_moved == arrays * 100 * 4
