"""Roundings, compared by bits with what the encodings of IEEE 754 say, and with exact rationals."""

from __future__ import annotations

import ctypes
import math
import operator
import platform
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FORMATS, is_supported
from sgd_ref.arithmetic.rounded import convert, flushes_subnormals, holds, nearest, promoted, setting

Array = np.ndarray[Any, np.dtype[Any]]
FLOAT16, FLOAT32, FLOAT64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
DTYPES: list[np.dtype[Any]] = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]
HALVES = [FLOAT16, BFLOAT16]
OPERATIONS = [operator.add, operator.sub, operator.mul, operator.truediv]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_half = pytest.mark.parametrize("dtype", HALVES, ids=str)


def unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the integers as wide as `dtype`."""
    return np.dtype(f"u{dtype.itemsize}")


def bits(number: Any) -> tuple[str, list[int]]:
    """Return the dtype and the bit patterns of a scalar or an array, for comparison."""
    array = np.asarray(number)
    return array.dtype.name, array.view(unsigned(array.dtype)).ravel().tolist()


def scalar(number: float, dtype: np.dtype[Any]) -> Any:
    """Return a number that `dtype` holds, as its scalar."""
    return np.array(number, FLOAT64).astype(dtype)[()]


def number_at(index: int, dtype: np.dtype[Any]) -> Any:
    """Return the number whose bit pattern is `index`; from 0 upwards these rise."""
    return np.array(index, unsigned(dtype)).view(dtype)[()]


def index_of_infinity(dtype: np.dtype[Any]) -> int:
    """Return one more than the bit pattern of the largest finite number."""
    return int(np.array(math.inf, dtype).view(unsigned(dtype)))


def decoded(index: int, dtype: np.dtype[Any]) -> Fraction:
    """Return what a bit pattern means; for infinity, the power of two after the largest number."""
    mantissa_bits = ml_dtypes.finfo(dtype).nmant
    exponent, mantissa = index >> mantissa_bits, index & ((1 << mantissa_bits) - 1)
    if exponent:
        mantissa, exponent = mantissa | 1 << mantissa_bits, exponent - 1
    return mantissa * Fraction(2) ** (exponent + ml_dtypes.finfo(dtype).minexp - mantissa_bits)


def indices(generator: np.random.Generator, dtype: np.dtype[Any], count: int) -> list[int]:
    """Return patterns of positive finite numbers: all for half types, otherwise `count` and the ends."""
    end = index_of_infinity(dtype)
    if dtype in HALVES:
        return list(range(end))
    smallest_normal = 1 << ml_dtypes.finfo(dtype).nmant
    ends = [0, 1, 2, smallest_normal - 1, smallest_normal, 2 * smallest_normal - 1, end - 2, end - 1]
    return ends + generator.integers(0, end, count).tolist()


@every_dtype
def test_formats_agree_with_their_encodings(dtype: np.dtype[Any]) -> None:
    information, number_format = ml_dtypes.finfo(dtype), FORMATS[dtype]
    assert number_format.precision == information.nmant + 1
    assert number_format.minimum_exponent == information.minexp
    assert number_format.largest == decoded(index_of_infinity(dtype) - 1, dtype)
    assert number_format.smallest_normal == decoded(1 << information.nmant, dtype)


@every_half
def test_widening_a_half_is_exact(dtype: np.dtype[Any]) -> None:
    halves = np.arange(index_of_infinity(dtype), dtype=np.uint16).view(dtype)
    for index, number in enumerate(halves.astype(FLOAT64).tolist()):
        assert Fraction(number) == decoded(index, dtype)
    assert bits(halves.astype(FLOAT32).astype(FLOAT64)) == bits(halves.astype(FLOAT64))


@every_dtype
def test_nearest_at_numbers_and_between_neighbours(dtype: np.dtype[Any], sweep: Any) -> None:
    speck = Fraction(1, 2**1200)
    for index in indices(sweep.generator, dtype, sweep.count(20_000, 800)):
        sign = -1 if index % 3 else 1
        number, next_number = (sign * number_at(neighbour, dtype) for neighbour in (index, index + 1))
        value = decoded(index, dtype)
        midpoint = (value + decoded(index + 1, dtype)) / 2
        below, above = bits(number), bits(next_number)
        assert bits(nearest(sign * value, dtype)) == (below if index else bits(number_at(0, dtype)))
        assert bits(nearest(sign * (midpoint - speck), dtype)) == below
        assert bits(nearest(sign * midpoint, dtype)) == (above if index % 2 else below)
        assert bits(nearest(sign * (midpoint + speck), dtype)) == above


def test_nearest_agrees_with_division_of_integers(sweep: Any) -> None:
    for _ in range(sweep.count(100_000)):
        numerator, denominator = (int.from_bytes(sweep.generator.bytes(20)) + 1 for _ in range(2))
        shift = int(sweep.generator.integers(-1080, 1026))
        value = Fraction(numerator, denominator) * Fraction(2) ** shift
        try:
            expected = value.numerator / value.denominator
        except OverflowError:
            expected = math.inf
        assert bits(nearest(value, FLOAT64)) == bits(np.float64(expected)), value


@pytest.mark.parametrize("dtype", [FLOAT16, FLOAT32], ids=str)
def test_nearest_agrees_with_the_casts_of_numpy(dtype: np.dtype[Any], sweep: Any) -> None:
    information = ml_dtypes.finfo(dtype)
    count = sweep.count(100_000)
    lowest, highest = information.minexp - information.nmant - 3, information.maxexp + 2
    exponents = sweep.generator.integers(lowest, highest, count)
    numbers = np.ldexp(sweep.generator.uniform(-1, 1, count), exponents)
    with np.errstate(all="ignore"):
        expected = numbers.astype(dtype)
    for number, cast in zip(numbers.tolist(), expected, strict=True):
        assert bits(nearest(Fraction(number), dtype)) == bits(cast), number.hex()


@every_dtype
def test_nearest_far_outside_of_the_range(dtype: np.dtype[Any]) -> None:
    for value in (10**400, Fraction(10**5000, 3)):
        assert bits(nearest(value, dtype)) == bits(scalar(math.inf, dtype))
        assert bits(nearest(-value, dtype)) == bits(scalar(-math.inf, dtype))
        assert bits(nearest(1 / Fraction(value), dtype)) == bits(scalar(0.0, dtype))
        assert bits(nearest(-1 / Fraction(value), dtype)) == bits(scalar(-0.0, dtype))


@every_dtype
@pytest.mark.parametrize("zero", [0, Fraction(0)])
def test_nearest_of_zero_is_positive(dtype: np.dtype[Any], zero: Any) -> None:
    assert bits(nearest(zero, dtype)) == bits(scalar(0.0, dtype))
    assert type(nearest(zero, dtype)) is dtype.type


@every_dtype
def test_setting_is_rounded_once(dtype: np.dtype[Any], sweep: Any) -> None:
    for value in (0.1, 1 / 3, 1e-3, 5e-324, *sweep.generator.uniform(-1, 1, 500).tolist()):
        assert type(setting(value, dtype)) is dtype.type
        assert bits(setting(value, dtype)) == bits(nearest(Fraction(value), dtype))
    for value in (0.0, -0.0, 1.0, -0.5, math.inf, -math.inf):
        assert bits(setting(value, dtype)) == bits(scalar(value, dtype))
    assert np.isnan(setting(math.nan, dtype))


def test_setting_below_the_smallest_subnormal_keeps_its_sign() -> None:
    assert bits(setting(-1e-30, FLOAT16)) == bits(np.float16(-0.0))
    assert bits(setting(2.0**-25, FLOAT16)) == bits(np.float16(0.0))
    assert bits(setting(math.nextafter(2.0**-25, 1.0), FLOAT16)) == bits(np.float16(2.0**-24))


def test_ml_dtypes_alone_rounds_float64_to_bfloat16_twice() -> None:
    """Through float32, where this number becomes the midpoint of 1 and the next bfloat16."""
    above_midpoint = np.array([1 + 2.0**-8 + 2.0**-40])
    assert above_midpoint.astype(BFLOAT16).astype(FLOAT64) == 1
    assert convert(above_midpoint, BFLOAT16).astype(FLOAT64) == 1 + 2.0**-7
    assert float(setting(float(above_midpoint[0]), BFLOAT16)) == 1 + 2.0**-7


@every_half
@pytest.mark.parametrize("wide", [FLOAT32, FLOAT64], ids=str)
def test_convert_to_a_half_between_all_neighbours(dtype: np.dtype[Any], wide: np.dtype[Any]) -> None:
    end = index_of_infinity(dtype)
    index = np.arange(end, dtype=np.uint16)
    values = index.view(dtype).astype(wide)
    beyond = np.array([float(decoded(end, dtype))]) / 2
    midpoints = (values / 2 + np.append(values[1:] / 2, beyond.astype(wide))).astype(wide)
    away = wide.type(math.inf)
    expected = {
        "number": (values, index),
        "below the midpoint": (np.nextafter(midpoints, -away), index),
        "midpoint": (midpoints, index + index % 2),
        "above the midpoint": (np.nextafter(midpoints, away), index + 1),
    }
    sign = np.uint16(0x8000)
    for place, (numbers, patterns) in expected.items():
        assert bits(convert(numbers, dtype).view(np.uint16)) == bits(patterns.astype(np.uint16)), place
        assert bits(convert(-numbers, dtype).view(np.uint16)) == bits(patterns.astype(np.uint16) | sign), (
            place
        )


@every_dtype
@pytest.mark.parametrize("given", DTYPES, ids=str)
def test_convert_agrees_with_nearest(given: np.dtype[Any], dtype: np.dtype[Any], sweep: Any) -> None:
    count = sweep.count(40_000)
    array = np.frombuffer(sweep.generator.bytes(count * given.itemsize), given)
    with np.errstate(invalid="ignore"):
        array = array[np.isfinite(array)]
        exact = array.astype(FLOAT64).tolist()
    for value, converted in zip(exact, convert(array, dtype), strict=True):
        expected = nearest(Fraction(value), dtype) if value else scalar(value, dtype)
        assert bits(converted) == bits(expected), value.hex()


@every_dtype
@pytest.mark.parametrize("given", DTYPES, ids=str)
def test_convert_keeps_special_values(given: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    special = np.array([0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan]).astype(given)
    with np.errstate(all="raise"):
        converted = convert(special, dtype)
    assert bits(converted[:4]) == bits(np.array([0.0, -0.0, math.inf, -math.inf]).astype(dtype))
    assert np.isnan(converted[4:]).all()


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
def test_convert_raises_no_warning_when_numbers_do_not_fit(dtype: np.dtype[Any]) -> None:
    signalling = np.array([0x7FF0000000000001], np.uint64).view(FLOAT64)
    with np.errstate(all="raise"):
        ends = convert(np.array([1.7e308, -1.7e308, 2.0**-160, -5e-324]), dtype)
        assert np.isnan(convert(signalling, dtype)).all()
    assert bits(ends) == bits(np.array([math.inf, -math.inf, 0.0, -0.0]).astype(dtype))


@every_dtype
@pytest.mark.parametrize("given", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0, 3), (2, 3)])
def test_convert_keeps_the_shape(given: np.dtype[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    array = np.full(shape, 1.5, given)
    converted = convert(array, dtype)
    assert isinstance(converted, np.ndarray)
    assert bits(converted) == bits(np.full(shape, 1.5, dtype))
    assert converted.shape == shape
    assert (converted is array) == (given == dtype)


def test_convert_of_a_view() -> None:
    array = np.arange(24.0).reshape(4, 6) + 2.0**-40
    view = array.T[::-2, 1:3]
    assert bits(convert(view, BFLOAT16)) == bits(convert(np.ascontiguousarray(view), BFLOAT16))


def test_promoted() -> None:
    expected = {
        (FLOAT16, FLOAT16): FLOAT16,
        (BFLOAT16, BFLOAT16): BFLOAT16,
        (FLOAT16, BFLOAT16): FLOAT32,
        (FLOAT16, FLOAT32): FLOAT32,
        (BFLOAT16, FLOAT32): FLOAT32,
        (FLOAT32, FLOAT32): FLOAT32,
        (FLOAT16, FLOAT64): FLOAT64,
        (BFLOAT16, FLOAT64): FLOAT64,
        (FLOAT32, FLOAT64): FLOAT64,
        (FLOAT64, FLOAT64): FLOAT64,
    }
    for (one, other), result in expected.items():
        assert promoted([one, other]) == result
        assert promoted([other, one, one]) == result
    assert promoted([FLOAT16, BFLOAT16, FLOAT64]) == FLOAT64
    assert promoted([FLOAT16, BFLOAT16, FLOAT32]) == FLOAT32


@every_dtype
@pytest.mark.parametrize("wide", DTYPES, ids=str)
def test_holds_means_that_widening_is_exact(wide: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    end = index_of_infinity(dtype)
    exact = all(
        bits(convert(convert(number, wide), dtype)) == bits(number)
        for number in (np.asarray(number_at(index, dtype)) for index in (1, end - 1, end // 2 + 1))
    )
    assert holds(wide, dtype) == exact


def test_is_supported() -> None:
    for dtype in DTYPES:
        assert is_supported(dtype)
        assert is_supported(dtype.type)
    for other in (
        *(dtype.newbyteorder() for dtype in (FLOAT16, FLOAT32, FLOAT64)),
        np.int32,
        np.bool_,
        np.complex64,
        np.longdouble,
        object,
        "U3",
        ml_dtypes.float8_e4m3fn,
    ):
        assert not is_supported(other)


def exactly(operation: Callable[[Any, Any], Any], left: Any, right: Any, dtype: np.dtype[Any]) -> Any:
    """Round the operation on rationals once; where it is exactly zero, the sign is that of float64."""
    left, right = float(left), float(right)
    exact = operation(Fraction(left), Fraction(right))
    return nearest(exact, dtype) if exact else scalar(operation(left, right), dtype)


def operands(generator: np.random.Generator, dtype: np.dtype[Any], count: int) -> tuple[Array, Array]:
    """Return pairs of any finite numbers, of close ones, with subnormal products, and with few bits."""
    integer = unsigned(dtype)
    end, one, binade = (
        index_of_infinity(dtype),
        int(scalar(1.0, dtype).view(integer)),
        1 << ml_dtypes.finfo(dtype).nmant,
    )

    def magnitudes(first: int, last: int) -> Any:
        return generator.integers(first, last, count // 4, dtype=integer)

    few_bits = ~integer.type(binade // 8 - 1)
    close = magnitudes(0, end - 4 * binade)
    left = [magnitudes(0, end), close, magnitudes(0, 2 * binade), magnitudes(one, end) & few_bits]
    right = [
        magnitudes(0, end),
        close + magnitudes(0, 4 * binade),
        magnitudes(0, one + binade),
        magnitudes(0, end) & few_bits,
    ]
    signs = generator.integers(0, 2, (2, 4 * (count // 4)), dtype=integer) << integer.type(
        8 * dtype.itemsize - 1
    )
    return (np.concatenate(left) | signs[0]).view(dtype), (np.concatenate(right) | signs[1]).view(dtype)


@every_dtype
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_arithmetic_is_rounded_once(operation: Any, dtype: np.dtype[Any], sweep: Any) -> None:
    left, right = operands(sweep.generator, dtype, sweep.count(100_000))
    if operation is operator.truediv:
        left, right = left[right != 0], right[right != 0]
    with np.errstate(all="ignore"):
        results = operation(left, right)
        by_scalars = [operation(one, other) for one, other in zip(left, right, strict=True)]
    assert results.dtype == dtype
    assert bits(results) == bits(np.array(by_scalars, dtype))
    for one, other, result in zip(left, right, results, strict=True):
        assert bits(result) == bits(exactly(operation, one, other, dtype)), (
            float(one).hex(),
            float(other).hex(),
        )


@every_dtype
def test_arithmetic_between_an_array_and_a_scalar_stays_in_the_dtype(
    dtype: np.dtype[Any], sweep: Any
) -> None:
    left, right = operands(sweep.generator, dtype, 64)
    with np.errstate(all="ignore"):
        for operation in OPERATIONS:
            for number in right[right != 0]:
                assert bits(operation(left, number)) == bits(operation(left, np.full_like(left, number)))
                assert bits(operation(number, left)) == bits(operation(np.full_like(left, number), left))


FLUSH_RESULTS, READ_AS_ZERO = (0x8000, 0x40) if platform.machine() == "x86_64" else (1 << 24, 1 << 24)


def in_a_thread_that_flushes(mode: int, function: Callable[[], bool]) -> bool:
    """Call `function` in a thread of its own, in which the control register has the bits of `mode` set.

    The C library reads and writes that register as one word of its floating-point environment.
    """
    library = ctypes.CDLL(None)
    word = 7 if platform.machine() == "x86_64" else 0
    environment = (ctypes.c_uint32 * 64)()
    answers = []

    def run() -> None:
        assert library.fegetenv(environment) == 0
        environment[word] |= mode
        assert library.fesetenv(environment) == 0
        answers.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="where the C library keeps the control register is known for Linux on x86_64 and aarch64 only",
)
@pytest.mark.parametrize("mode", [FLUSH_RESULTS, READ_AS_ZERO, FLUSH_RESULTS | READ_AS_ZERO])
def test_flushing_is_noticed_in_the_thread_that_does_it(mode: int) -> None:
    assert in_a_thread_that_flushes(mode, flushes_subnormals)
    assert not flushes_subnormals()
    assert not in_a_thread_that_flushes(0, flushes_subnormals)
