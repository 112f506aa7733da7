"""Distinct rows and their tables, against NumPy; an index that cannot be used never becomes an address."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from numba_kernels.cpu.distinct import (
    distinct_rows,
    elements_of_compressed,
    elements_of_coordinates,
    is_free,
    tables_of,
)
from numba_kernels.shared.rows import Rows, from_sparse
from numba_kernels.shared.slots import GRADIENT, VARIABLE
from sgd_ref import SparseRows

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
numbers, assert_equal_bits = agreement["numbers"], agreement["assert_equal_bits"]
every_dtype = pytest.mark.parametrize("dtype", agreement["DTYPES"], ids=lambda dtype: dtype.name)

INDICES: dict[str, Any] = {
    "none": [],
    "one": [5],
    "rising": [0, 3, 9],
    "falling": [9, 3, 0],
    "all-the-same": [4] * 50,
    "last-again": [1, 2, 3, 1],
    "far-apart": [(k * 2**40) % 2**62 for k in (5, 1, 5, 0, 3, 1, 4)],
    "many": np.random.default_rng(1).integers(0, 300, 1000).tolist(),
}


@every_dtype
@pytest.mark.parametrize("name", INDICES)
def test_sums_of_duplicates_have_the_bits_of_numpy(name: str, dtype: Any) -> None:
    indices = np.array(INDICES[name], np.int64)
    values = numbers(np.random.default_rng(2), (len(indices), 3), dtype, 0.05)
    expected = from_sparse(SparseRows(indices, values, (2**62, 3)), np.zeros(0, dtype))
    found = distinct_rows(indices.copy(), values, 2**62)
    assert found is not None
    assert found.indices.tolist() == list(dict.fromkeys(indices.tolist()))
    in_order = found.in_order()
    assert in_order.indices.tolist() == expected.indices.tolist()
    assert_equal_bits("values", [expected.values], [in_order.values])


def test_values_without_duplicates_are_not_copied() -> None:
    values = np.ones((3, 4), np.float32)
    found = distinct_rows(np.array([7, 2, 5]), values, 8)
    assert found is not None
    assert found.values is values


@pytest.mark.parametrize("index", [-1, 8, 2**62, -(2**63)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_that_does_not_exist_is_found(index: int, place: int) -> None:
    units = np.array([1, 7, 3], np.int64)
    assert distinct_rows(units.copy(), np.ones((3, 1)), 8) is not None
    units[place] = index
    assert distinct_rows(units, np.ones((3, 1)), 8) is None


@pytest.mark.parametrize("integer", [np.int32, np.int64])
@pytest.mark.parametrize("height", [1, 63, 64, 65, 128, 300])
def test_elements_of_matrices(integer: Any, height: int) -> None:
    generator = np.random.default_rng(height)
    dense = np.where(generator.random((height, 5)) < 0.02, 1.0, 0.0)
    dense[generator.integers(0, height)] = 1.0
    matrix = scipy.sparse.csr_array(dense)
    starts, columns = matrix.indptr.astype(integer), matrix.indices.astype(integer)
    expected = np.flatnonzero(dense).tolist()
    found = elements_of_compressed(starts, columns, dense.shape)
    assert found is not None
    assert found.tolist() == expected
    rows, columns = (axis.astype(integer) for axis in np.nonzero(dense))
    found = elements_of_coordinates(rows, columns, dense.shape)
    assert found is not None
    assert found.tolist() == expected


def test_elements_outside_of_a_matrix_are_found() -> None:
    rows, columns = np.array([0, 199, 3]), np.array([0, 1, 1])
    for axis, length in ((rows, 200), (columns, 2)):
        for index in (-1, length, 2**40):
            kept, axis[1] = axis[1], index
            assert elements_of_coordinates(rows, columns, (200, 2)) is None
            axis[1] = kept
    assert elements_of_coordinates(rows, columns, (200, 2)) is not None


def test_starts_that_do_not_rise_from_zero_are_found() -> None:
    columns = np.zeros(4, np.int64)
    starts = np.repeat([0, 1, 4], [100, 50, 51])
    assert elements_of_compressed(starts, columns, (200, 1)) is not None
    for place, start in ((0, 1), (120, 0), (120, -1), (120, 5), (200, 5), (200, 3), (200, -1)):
        others = starts.copy()
        others[place] = start
        assert elements_of_compressed(others, columns, (200, 1)) is None, (place, start)
    for column in (1, -1):
        assert elements_of_compressed(starts, np.array([0, 0, column, 0]), (200, 1)) is None


def test_neighbours_are_one_run_in_the_tables() -> None:
    values = np.ones((5, 2), np.float32)
    rows = Rows(np.array([8, 9, 3, 4, 2]), values)
    table, chunks, runs, factors = tables_of(rows, 1_000_000, np.array([0.5, 2.0]))
    assert runs == 3
    assert (table[:3, VARIABLE] - 1_000_000).tolist() == [8 * 8, 3 * 8, 2 * 8]
    assert (table[:3, GRADIENT] - values.ctypes.data).tolist() == [0, 2 * 8, 4 * 8]
    assert chunks[:3].tolist() == [[0, 0, 4], [1, 0, 4], [2, 0, 2]]
    assert factors[:3].tolist() == [[0.5, 2.0]] * 3


def test_memory_that_is_written_is_not_free() -> None:
    memory = np.zeros(12, np.float32)
    occupied = np.array([memory[4:].ctypes.data, memory[8:].ctypes.data], np.int64)
    assert is_free(memory[:4], occupied)
    assert is_free(memory[8:], occupied)
    assert is_free(memory[5:5], occupied)
    assert not is_free(memory[:5], occupied)
