"""Sparse gradients on the short way: the bits of the reference, and its refusals before anything changes."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import numba_kernels
import sgd_ref
from numba_kernels.cpu import distinct
from sgd_ref import SparseRows

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
Pair, numbers, DTYPES = agreement["Pair"], agreement["numbers"], agreement["DTYPES"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

SHAPE = 40, 6
Form = Callable[[np.random.Generator, Any], Any]


def rows_of(integer: Any, *, again: bool) -> Form:
    """Return the form of rows in any order, some of them again."""

    def make(generator: np.random.Generator, dtype: Any) -> SparseRows:
        indices = generator.permutation(SHAPE[0])[: generator.integers(0, 20)]
        if again:
            indices = generator.permutation(np.concatenate([indices, indices[:7], indices[:2]]))
        return SparseRows(indices.astype(integer), numbers(generator, (len(indices), 6), dtype, 0.05), SHAPE)

    return make


def matrix_of(kind: str) -> Form:
    """Return the form of a matrix of SciPy with elements in any order, some of them again."""

    def make(generator: np.random.Generator, dtype: Any) -> Any:
        places = generator.integers(0, SHAPE[0], 50), generator.integers(0, SHAPE[1], 50)
        matrix = scipy.sparse.coo_array((numbers(generator, (50,), dtype, 0.05), places), shape=SHAPE)
        return matrix.asformat(kind)

    return make


FORMS: dict[str, Form] = {
    "any-order": rows_of(np.int64, again=False),
    "again": rows_of(np.int64, again=True),
    "int32": rows_of(np.int32, again=True),
    "uint64": rows_of(np.uint64, again=True),
    **{kind: matrix_of(kind) for kind in ("coo", "csr", "csc")},
}
SETTINGS: list[dict[str, Any]] = [
    {"learning_rate": 0.1},
    {"learning_rate": -0.1},
    {"learning_rate": 0.1, "clipnorm": 0.5, "loss_scale_factor": 8.0},
    {"learning_rate": 0.1, "global_clipnorm": 0.5},
]


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the list to which each call adds whether it went the short way."""
    taken: list[bool] = []
    short_way = numba_kernels.SGD.quickly_validated

    def noted(self: Any, gradients: Any, variables: Any) -> Any:
        call = short_way(self, gradients, variables)
        taken.append(call is not None)
        return call

    monkeypatch.setattr(numba_kernels.SGD, "quickly_validated", noted)
    return taken


@every_dtype
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_short_way_has_the_bits_of_the_reference(
    form: str, settings: dict[str, Any], dtype: Any, short_ways: list[bool]
) -> None:
    if dtype.itemsize == 2 and form in ("coo", "csr", "csc"):
        pytest.skip("scipy.sparse has no half types")
    generator = np.random.default_rng(3)
    # Sparse gradients beside a dense one, and the same gradient for two variables.
    pair = Pair([numbers(generator, shape, dtype, 0.05) for shape in (SHAPE, (9,), SHAPE)], **settings)
    for call in range(4):
        gradient = FORMS[form](generator, dtype)
        other = FORMS[form](generator, dtype) if call % 2 else gradient
        pair.apply([gradient, numbers(generator, (9,), dtype), other])
    assert short_ways == [False, True, True, True]


@pytest.mark.parametrize("form", ["again", "coo", "csr"])
def test_nothing_is_compiled_after_the_first_step(form: str) -> None:
    makers: list[Any] = [maker for maker in vars(distinct).values() if hasattr(maker, "cache_info")]
    for maker in makers:
        maker.cache_clear()
    generator = np.random.default_rng(4)
    optimizer = numba_kernels.SGD(0.5)
    variables = [np.ones(SHAPE, np.float32)]
    optimizer.apply([FORMS[form](generator, np.float32)], variables)
    made = [maker.cache_info().misses for maker in makers]
    for _ in range(3):
        optimizer.apply([FORMS[form](generator, np.float32)])
    assert sum(made) > 3
    assert [maker.cache_info().misses for maker in makers] == made


def test_kinds_of_gradients_that_alternate_stay_on_the_short_way(short_ways: list[bool]) -> None:
    pair = Pair([np.ones(SHAPE, np.float32)], learning_rate=0.5)
    rows = SparseRows([9, 4, 9], np.ones((3, 6), np.float32), SHAPE)
    dense = np.full(SHAPE, 0.25, np.float32)
    for gradient in (dense, dense, rows, dense, rows, rows, dense, dense):
        pair.apply([gradient])
    assert short_ways == [False] + [True] * 7


def refused_by_both(settings: dict[str, Any], gradient: Any, spoil: Callable[[Any], Any]) -> str:
    """Return the error of the kernels, which must be that of the reference; nothing has changed."""
    messages = []
    for module in (sgd_ref, numba_kernels):
        w, b = np.ones(SHAPE, np.float32), np.ones(3, np.float32)
        optimizer = module.SGD(**settings)
        good = SparseRows([3, 1], np.ones((2, 6), np.float32), SHAPE)
        for _ in range(2):
            optimizer.apply([good, np.ones(3, np.float32)], [w, b])
        before = w.copy(), b.copy()
        spoiled = spoil(gradient())
        with pytest.raises((TypeError, ValueError)) as refusal:
            optimizer.apply([spoiled, np.ones(3, np.float32)])
        messages.append(str(refusal.value))
        assert np.array_equal(w, before[0])
        assert np.array_equal(b, before[1])
        assert optimizer.calls == 2
        optimizer.apply([good, np.ones(3, np.float32)])
        assert optimizer.calls == 3
    assert messages[0] == messages[1]
    return messages[1]


def with_index(index: int) -> Callable[[Any], Any]:
    def spoil(rows: Any) -> Any:
        rows.indices[1] = index
        return rows

    return spoil


def with_attribute(name: str, value: Any) -> Callable[[Any], Any]:
    def spoil(rows: Any) -> Any:
        setattr(rows, name, value)
        return rows

    return spoil


SPOILED: dict[str, Callable[[Any], Any]] = {
    "negative-row": with_index(-1),
    "row-behind-the-last": with_index(SHAPE[0]),
    "far-row": with_index(2**62),
    "row-of-2**63": with_attribute("indices", np.array([1, 2**63], np.uint64)),
    "too-few-rows": with_attribute("indices", np.array([1])),
    "fractions": with_attribute("indices", np.array([1.0, 2.0])),
    "two-axes": with_attribute("indices", np.array([[1, 2]])),
    "too-few-values": with_attribute("values", np.ones((1, 6), np.float32)),
    "short-values": with_attribute("values", np.ones((2, 5), np.float32)),
    "wide-values": with_attribute("values", np.ones((2, 6))),
    "other-shape": with_attribute("shape", (SHAPE[0] + 1, 6)),
}


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rows_that_were_changed_are_refused(name: str, momentum: float) -> None:
    def gradient() -> SparseRows:
        return SparseRows(np.array([7, 2]), np.ones((2, 6), np.float32), SHAPE)

    refused_by_both({"learning_rate": 0.5, "momentum": momentum}, gradient, SPOILED[name])


@pytest.mark.parametrize("place", ["row", "col", "indices", "indptr"])
@pytest.mark.parametrize("index", [-1, 100])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_elements_outside_of_a_matrix_are_refused(place: str, index: int, momentum: float) -> None:
    w = np.ones(SHAPE, np.float32)
    optimizer = numba_kernels.SGD(0.5, momentum=momentum)
    matrix = scipy.sparse.coo_array((np.ones(3, np.float32), ([1, 5, 7], [0, 5, 2])), shape=SHAPE)
    if place in ("indices", "indptr"):
        matrix = matrix.tocsr()
    for _ in range(2):
        optimizer.apply([matrix], [w])
    before = w.copy()
    getattr(matrix, place)[1] = index
    with pytest.raises(ValueError, match=r"within its shape|rises from 0|axis 1 index"):
        optimizer.apply([matrix])
    assert np.array_equal(w, before)
    assert optimizer.calls == 2


def test_values_in_memory_that_is_written_are_refused() -> None:
    w = np.ones(SHAPE, np.float32)
    optimizer = numba_kernels.SGD(0.5)
    rows = SparseRows([3, 1], np.ones((2, 6), np.float32), SHAPE)
    for _ in range(2):
        optimizer.apply([rows], [w])
    before = w.copy()
    rows.values = w[5:7]
    with pytest.raises(ValueError, match="must not share memory"):
        optimizer.apply([rows])
    matrix = scipy.sparse.coo_array((np.ones(2, np.float32), ([1, 2], [0, 1])), shape=SHAPE)
    matrix.data = w[4, :2]
    with pytest.raises(ValueError, match="must not share memory"):
        optimizer.apply([matrix])
    assert np.array_equal(w, before)


def test_a_read_only_variable_is_refused_and_a_read_only_gradient_is_not(short_ways: list[bool]) -> None:
    w = np.ones(SHAPE, np.float32)
    rows = SparseRows(np.array([3, 1]), np.ones((2, 6), np.float32), SHAPE)
    for array in (rows.indices, rows.values):
        array.flags.writeable = False
    optimizer = numba_kernels.SGD(0.5)
    for _ in range(2):
        optimizer.apply([rows], [w])
    assert w[:4, 0].tolist() == [1.0, 0.0, 1.0, 0.0]
    w.flags.writeable = False
    with pytest.raises(ValueError, match="must be writable"):
        optimizer.apply([rows])
    assert optimizer.calls == 2
    assert short_ways == [False, True, False]


@pytest.mark.parametrize("what", ["dtype", "layout", "gap"])
def test_values_of_another_form_go_the_long_way(what: str, short_ways: list[bool]) -> None:
    pair = Pair([np.ones(SHAPE, np.float32)], learning_rate=0.5)
    values = np.arange(12.0, dtype=np.float32).reshape(2, 6)
    others = {
        "dtype": values.astype(np.float16),
        "layout": np.asfortranarray(values),
        "gap": np.repeat(values, 2, axis=1)[:, ::2],
    }
    for given in (values, values, others[what], values):
        pair.apply([SparseRows([9, 4], given, SHAPE)])
    assert short_ways == [False, True, False, True]


def test_a_missing_gradient_beside_rows_goes_the_long_way(short_ways: list[bool]) -> None:
    pair = Pair([np.ones(SHAPE, np.float32), np.ones(3, np.float32)], learning_rate=0.5)
    rows = SparseRows([9, 4], np.ones((2, 6), np.float32), SHAPE)
    for gradient in (np.ones(3, np.float32), None, np.ones(3, np.float32)):
        pair.apply([rows, gradient])
    assert short_ways == [False, False, True]


def test_a_callable_rate_cannot_smuggle_an_index_in() -> None:
    w = np.ones(SHAPE, np.float32)
    rows = SparseRows(np.array([3, 1]), np.ones((2, 6), np.float32), SHAPE)
    calls: list[None] = []

    def rate() -> float:
        calls.append(None)
        if len(calls) == 3:
            rows.indices[0] = 10**9
        return 0.5

    optimizer = numba_kernels.SGD(rate)
    for _ in range(2):
        optimizer.apply([rows], [w])
    before = w.copy()
    with pytest.raises(RuntimeError, match="must not change"):
        optimizer.apply([rows])
    assert np.array_equal(w, before)
    assert optimizer.calls == 2


def test_read_only_rows_in_order_of_a_narrower_dtype_go_the_long_way() -> None:
    indices, values = np.array([1, 4]), np.arange(4, dtype=np.float16).reshape(2, 2)
    indices.flags.writeable = values.flags.writeable = False
    found, expected = np.ones((6, 2), np.float32), np.ones((6, 2), np.float32)
    kernels, reference = numba_kernels.SGD(0.5), sgd_ref.SGD(0.5)
    for _ in range(3):
        rows = sgd_ref.SparseRows(indices, values, (6, 2))
        kernels.apply([rows], [found])
        reference.apply([rows], [expected])
    assert found.tobytes() == expected.tobytes()
