"""The operations of kernels: each is rounded once, and neither fused nor reordered by the compiler."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_kernels.cpu import cache
from numba_kernels.cpu.storage import storage
from numba_kernels.shared.operations import Operations
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.conformance.trajectories.comparison import equal_bits

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

BITS = {2: "uint16", 4: "float32", 8: "float64"}


@pytest.fixture(scope="module")
def operate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, Any], Any]:
    """Return the function from two arrays to their products, sums, differences and quotients."""
    folder = tmp_path_factory.mktemp("kernels")
    made = {}

    def operated(first: Any, second: Any) -> Any:
        dtype = first.dtype
        if dtype not in made:
            made[dtype] = compiled(dtype, folder)
        results = np.zeros((4, len(first)), dtype)
        in_memory = "uint16" if dtype.itemsize == 2 else dtype.name
        made[dtype](first.view(in_memory), second.view(in_memory), results.view(in_memory))
        return results

    return operated


def compiled(dtype: Any, folder: Path) -> Any:
    stored = storage(dtype)
    load, store = stored.load, stored.store
    multiply, add, subtract, divide = stored.operations
    element = BITS[dtype.itemsize]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "base_folder", lambda: folder)

        @cache.kernel(f"operate_{dtype.name}", f"void({element}[::1], {element}[::1], {element}[:, ::1])")
        def operated(first: Any, second: Any, results: Any) -> None:
            for index in range(first.shape[0]):
                a, b = load(first[index]), load(second[index])
                results[0, index] = store(multiply(a, b))
                results[1, index] = store(add(a, b))
                results[2, index] = store(subtract(a, b))
                results[3, index] = store(divide(a, b))

        return operated


def in_numpy(first: Any, second: Any) -> list[Any]:
    with np.errstate(all="ignore"):
        return [first * second, first + second, first - second, first / second]


def assert_same(found: Any, expected: Any, first: Any, second: Any) -> None:
    for name, given, wanted in zip(Operations._fields, found, expected, strict=True):
        differing = np.flatnonzero(~equal_bits(wanted, given))[:3]
        assert differing.size == 0, (name, first[differing], second[differing], given[differing])


@every_dtype
def test_all_patterns_with_random_partners(dtype: Any, operate: Any, sweep: Any) -> None:
    unsigned = f"u{dtype.itemsize}"
    for _ in range(sweep.count(200)):
        if dtype.itemsize == 2:
            first = np.arange(1 << 16, dtype=np.uint16).view(dtype)
        else:
            first = sweep.generator.integers(0, 256, (1 << 16) * dtype.itemsize, np.uint8).view(dtype)
        second = sweep.generator.permutation(first.view(unsigned)).view(dtype)
        assert_same(operate(first, second), in_numpy(first, second), first, second)


@every_dtype
def test_special_values_with_each_other(dtype: Any, operate: Any) -> None:
    special = [0.0, 1.0, np.inf, np.nan, 3.0, 2.0**-8, *limits(dtype)]
    numbers = np.array([*special, *(-number for number in special)]).astype(dtype)
    first, second = np.repeat(numbers, len(numbers)), np.tile(numbers, len(numbers))
    assert_same(operate(first, second), in_numpy(first, second), first, second)


def limits(dtype: Any) -> list[float]:
    """Return the largest, the least normal and the least number, as float64."""
    found = ml_dtypes.finfo(dtype)
    return [float(found.max), float(found.smallest_normal), float(found.smallest_subnormal)]


@every_dtype
def test_each_result_is_the_number_nearest_to_the_exact_one(dtype: Any, operate: Any, sweep: Any) -> None:
    """NumPy computes half types in float32, too; exact rationals are asked here."""
    count = sweep.count(40_000)
    numbers = sweep.generator.standard_normal((2, count)) * 2.0 ** sweep.generator.integers(-7, 7, (2, count))
    first, second = numbers.astype(dtype)
    found = operate(first, second)
    for index in range(count):
        a, b = Fraction(float(first[index])), Fraction(float(second[index]))
        for row, exact in enumerate((a * b, a + b, a - b, a / b if b else None)):
            if exact:
                assert found[row, index] == nearest(exact, dtype), (row, a, b)


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("length", [1, 3, 16, 67])
def test_a_product_and_a_sum_are_rounded_each(
    dtype: Any, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``x * x`` loses its last digit, and what is left after ``1 + 2 d`` is subtracted shows whether."""
    monkeypatch.setattr(cache, "base_folder", lambda: tmp_path)
    multiply, add, subtract, _ = storage(dtype).operations
    element = dtype.name

    @cache.kernel("fused", f"void({element}[::1], {element}[::1], {element}[:, ::1])")
    def combined(x: Any, y: Any, results: Any) -> None:
        for index in range(x.shape[0]):
            results[0, index] = subtract(multiply(x[index], x[index]), y[index])
            results[1, index] = subtract(y[index], multiply(x[index], x[index]))
            results[2, index] = add(multiply(x[index], x[index]), -y[index])

    digit = dtype.type(2.0) ** -(12 if dtype.itemsize == 4 else 27)
    x, y = np.full(length, 1 + digit, dtype), np.full(length, 1 + 2 * digit, dtype)
    results = np.full((3, length), 7, dtype)
    combined(x, y, results)
    assert not results.any()


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=lambda dtype: dtype.name)
def test_sums_are_made_in_the_order_in_which_they_are_written(
    dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "base_folder", lambda: tmp_path)
    add = storage(dtype).operations.add

    @cache.kernel("ordered", f"{dtype.name}({dtype.name}[::1])")
    def total(x: Any) -> Any:
        result = x[0]
        for index in range(1, x.shape[0]):
            result = add(result, x[index])
        return result

    # Every small number is lost when it is added by itself; four lanes would add some of them first.
    x = np.full(65, dtype.type(2.0) ** -(24 if dtype.itemsize == 4 else 53), dtype)
    x[0] = 1
    assert total(x) == 1


@every_dtype
def test_division_by_zero_is_that_of_ieee_754(dtype: Any, operate: Any) -> None:
    first = np.array([1.0, -1.0, 1.0, 0.0, np.nan] * 7, dtype)
    second = np.array([0.0, 0.0, -0.0, 0.0, 0.0] * 7, dtype)
    quotients = operate(first, second)[3].astype(np.float64)
    assert quotients[:3].tolist() == [np.inf, -np.inf, -np.inf]
    assert np.isnan(quotients[3:5]).all()
