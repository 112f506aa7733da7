"""Sparse gradients mean their dense equivalent."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

from sgd_ref import SGD, SparseRows

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


def used(gradient: Any, dtype: Any) -> Array:
    """The gradient as it enters the update, recovered to the last bit: ``-(-0.0 - 1.0 * g)`` is g."""
    variable = np.full(gradient.shape, -0.0, dtype)
    SGD(1.0).apply([gradient], [variable])
    return -variable


@every_dtype
def test_the_first_occurrence_of_a_row_is_copied_and_later_ones_are_added(dtype: Any) -> None:
    values = np.array([[1, -0.0], [2, -math.inf], [4, -0.0], [8, math.inf], [16, -0.0]], dtype)
    rows = SparseRows([3, 1, 3, 0, 3], values, (5, 2))
    expected = np.array([[8, math.inf], [2, -math.inf], [0, 0], [21, -0.0], [0, 0]], dtype)
    assert rows.to_dense().tobytes() == expected.tobytes()
    assert used(rows, dtype).tobytes() == expected.tobytes()


@every_dtype
def test_the_order_of_duplicates_matters(dtype: Any) -> None:
    half = float(ml_dtypes.finfo(dtype).eps) / 2
    for values, expected in (([1.0, half, half], 1.0), ([half, half, 1.0], 1 + 2 * half)):
        assert used(SparseRows([0, 0, 0], np.array(values, dtype), (1,)), dtype)[0] == expected


@every_dtype
def test_a_copied_zero_keeps_its_sign(dtype: Any) -> None:
    rows = SparseRows([1, 2, 2], np.array([-0.0, -0.0, -0.0], dtype), (4,))
    assert rows.to_dense().tobytes() == np.array([0.0, -0.0, -0.0, 0.0], dtype).tobytes()


@pytest.mark.parametrize("indices", [[2, 0], (2, 0), np.array([2, 0], np.uint8), np.array([2, 0], np.uint64)])
def test_any_integers_are_indices(indices: Any) -> None:
    rows = SparseRows(indices, np.array([[1.0], [2.0]]), (3, 1))
    assert rows.to_dense().tolist() == [[2], [0], [1]]


def test_shapes_of_any_number_of_axes() -> None:
    values = np.arange(12.0).reshape(2, 3, 2)
    dense = SparseRows(np.array([3, 1]), values, (np.int64(4), 3, 2)).to_dense()  # type: ignore[arg-type]
    assert dense.shape == (4, 3, 2)
    assert dense[[3, 1]].tolist() == values.tolist()
    assert not dense[[0, 2]].any()


@pytest.mark.parametrize("shape", [(4,), (4, 2), (0, 2), (4, 0)])
def test_no_rows_are_zeros(shape: tuple[int, ...]) -> None:
    rows = SparseRows([], np.zeros((0, *shape[1:]), np.float32), shape)
    assert rows.to_dense().tobytes() == np.zeros(shape, np.float32).tobytes()


def test_rows_that_are_not_named_are_updated_too() -> None:
    """Momentum goes on, and weights decay, where a sparse gradient is zero."""
    w = np.ones(2)
    optimizer = SGD(1.0, momentum=0.5, weight_decay=0.25)
    optimizer.apply([SparseRows([0], np.array([1.0]), (2,))], [w])
    assert w.tolist() == [-0.25, 0.75]
    optimizer.apply([SparseRows([1], np.array([1.0]), (2,))])
    assert w.tolist() == [-0.25 * 0.75 - 0.5, 0.75 * 0.75 - 1]


def test_clipping_sees_the_dense_equivalent() -> None:
    w = np.zeros(2)
    SGD(1.0, clipnorm=5.0).apply([SparseRows([0, 0, 1], np.array([10.0, 20.0, 40.0]), (2,))], [w])
    assert w.tolist() == [-3, -4]


def test_duplicates_are_added_in_the_dtype_of_the_variable() -> None:
    rows = SparseRows([0, 0], np.array([60000.0, 60000.0], np.float16), (1,))
    assert used(rows, np.float16)[0] == math.inf
    assert used(rows, np.float32)[0] == 120000
    assert rows.values.dtype == np.float16


def test_a_sparse_gradient_is_left_alone() -> None:
    values = np.array([1.0, 2.0])
    values.flags.writeable = False
    indices = np.array([1, 1])
    optimizer, w = SGD(1.0, momentum=0.5, gradient_accumulation_steps=2), np.zeros(2)
    for _ in range(4):
        optimizer.apply([SparseRows(indices, values, (2,))], [w])
    assert (values.tolist(), indices.tolist()) == ([1, 2], [1, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["coo", "csr", "csc", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_scipy_sparse(dtype: Any, form: str, kind: str, sweep: Any) -> None:
    dense = sweep.generator.standard_normal((4, 6)).astype(np.float32)
    dense[sweep.generator.random((4, 6)) < 0.5] = 0
    dense[1] = 0
    gradient = getattr(scipy.sparse, f"{form}_{kind}")(dense)
    assert used(gradient, dtype).tobytes() == dense.astype(dtype).tobytes()


def test_an_array_of_scipy_has_two_axes() -> None:
    optimizer, w = SGD(1.0), np.ones(3)
    with pytest.raises(
        ValueError, match=r"^gradients\[0\]\.ndim must be 2 for an array of scipy\.sparse, got 1$"
    ):
        optimizer.apply([scipy.sparse.coo_array(np.ones(3))], [w])
    assert (w == 1).all()
    assert not optimizer.built


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elements_that_scipy_stores_more_than_once(dtype: Any) -> None:
    half = float(np.finfo(dtype).eps) / 2
    data = np.array([1, half, half, -0.0, half, half, 1, -0.0, -0.0], dtype)
    rows, columns = [2, 2, 2, 0, 2, 2, 2, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0, 0]
    expected = np.array([[-0.0, 0], [-0.0, 0], [1, 1 + 2 * half]], dtype)
    coordinates = scipy.sparse.coo_array((data, (rows, columns)), (3, 2))
    by_rows = scipy.sparse.csr_array(
        (data[[3, 7, 8, 0, 4, 1, 5, 2, 6]], [0, 0, 0, 0, 1, 0, 1, 0, 1], [0, 1, 3, 9]), (3, 2)
    )
    by_columns = scipy.sparse.csc_array(
        (data[[3, 7, 8, 0, 1, 2, 4, 5, 6]], [0, 1, 1, 2, 2, 2, 2, 2, 2], [0, 6, 9]), (3, 2)
    )
    for gradient in (coordinates, by_rows, by_columns):
        assert gradient.nnz == 9
        assert used(gradient, dtype).tobytes() == expected.tobytes()
        assert gradient.nnz == 9
    wide = scipy.sparse.coo_array((np.array([3e38, 3e38], np.float32), ([0, 0], [0, 0])), (1, 1))
    assert used(wide, np.float32)[0, 0] == math.inf
    assert used(wide, np.float64)[0, 0] == 2 * float(np.float32(3e38))


VALUES = np.ones((2, 3), np.float32)
INTEGERS = "indices must be an array of integers"
SHAPE = "shape must be at least one length, none of them negative"


@pytest.mark.parametrize(
    ("indices", "values", "shape", "error", "message"),
    [
        ([0, 4], VALUES, (4, 3), ValueError, "indices must be in 0 <= index < 4, got 4"),
        ([0, -1], VALUES, (4, 3), ValueError, "indices must be in 0 <= index < 4, got -1"),
        ([0, 0], VALUES, (0, 3), ValueError, "indices must be in 0 <= index < 0, got 0"),
        ([[0, 1]], VALUES, (4, 3), ValueError, "indices must be an array with one axis, got [[0, 1]]"),
        (0, VALUES, (4, 3), ValueError, "indices must be an array with one axis, got 0"),
        ([0.0, 1.0], VALUES, (4, 3), TypeError, f"{INTEGERS}, got [0.0, 1.0] of type list"),
        ([True, False], VALUES, (4, 3), TypeError, f"{INTEGERS}, got [True, False] of type list"),
        (["0", "1"], VALUES, (4, 3), TypeError, f"{INTEGERS}, got ['0', '1'] of type list"),
        (None, VALUES, (4, 3), TypeError, f"{INTEGERS}, got None of type NoneType"),
        ([[0], [1, 2]], VALUES, (4, 3), TypeError, f"{INTEGERS}, got [[0], [1, 2]] of type list"),
        ([0], VALUES, (4, 3), ValueError, "values.shape must be (1, 3), one row for each index, got (2, 3)"),
        ([0, 1], VALUES, (4,), ValueError, "values.shape must be (2,), one row for each index, got (2, 3)"),
        ([0], [1.0], (4,), TypeError, "values must be an ndarray, got [1.0] of type list"),
        ([0, 1], VALUES, (), ValueError, f"{SHAPE}, got ()"),
        ([0, 1], VALUES, (4, -3), ValueError, f"{SHAPE}, got (4, -3)"),
        ([0, 1], VALUES, 4, TypeError, "shape must be a tuple of integers, got 4 of type int"),
        ([0], VALUES, (4.0,), TypeError, "shape must be a tuple of integers, got (4.0,) of type tuple"),
    ],
)
def test_rows_that_make_no_gradient_are_rejected(
    indices: Any, values: Any, shape: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        SparseRows(indices, values, shape)
    assert str(caught.value) == message


def test_masked_values_are_rejected() -> None:
    with pytest.raises(TypeError, match=r"^values must be an ndarray, got masked_array"):
        SparseRows([0], np.ma.masked_array([1.0], [True]), (2,))


def test_rows_show_what_they_are() -> None:
    rows = SparseRows([2], np.array([1.5]), (3,))
    assert repr(rows) == "SparseRows(indices=array([2]), values=array([1.5]), shape=(3,))"
    assert rows.dtype == np.float64
