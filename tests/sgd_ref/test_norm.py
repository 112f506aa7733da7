"""The norm, bit for bit, against an evaluation by mpmath that shares no code with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

from sgd_ref.norm import BLOCK, euclidean_norm

Array = np.ndarray[Any, np.dtype[Any]]
Family = Callable[[np.random.Generator, Any], list[float]]

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

# Squares of float64 span 2**-2148 to 2**2048. A root that is not on a midpoint of two numbers is off it by
# a relative 2**-4250 or more, so at this precision it stays off, and rounding once more is harmless.
PRECISION = 4500


def high_precision_norm(values: Sequence[float], dtype: Any) -> Any:
    """Return the norm of `values`, rounded to `dtype` by mpmath."""
    information = ml_dtypes.finfo(dtype)
    with mpmath.workprec(PRECISION):
        root = mpmath.sqrt(mpmath.fsum(map(mpmath.mpf, values), squared=True))
    smallest_normal = mpmath.mpf(float(information.smallest_normal))
    with mpmath.workprec(information.nmant + 1):
        # Subnormal numbers are spaced like those from the smallest normal number to its double.
        lift = smallest_normal if root < smallest_normal else 0
        rounded = (root + lift) - lift
    return dtype(math.inf if rounded > float(information.max) else float(rounded))


def bits(number: Any) -> str:
    """Return the dtype and the bytes of a scalar."""
    return f"{number.dtype.name} {number.tobytes().hex()}"


def random_integer(generator: np.random.Generator, bit_length: int) -> int:
    """Return an integer of exactly `bit_length` bits."""
    return 1 << (bit_length - 1) | int.from_bytes(generator.bytes(8)) >> (65 - bit_length)


def as_sum_of_squares(generator: np.random.Generator, total: int, precision: int) -> list[int]:
    """Return integers of at most `precision` bits whose squares add up to `total`, the first at random."""
    share = int(generator.integers(1, 257))
    integers = []
    while total:
        largest = max(math.isqrt(total) * share >> 8, 1)
        excess = max(largest.bit_length() - precision, 0)
        integers.append(largest >> excess << excess)
        total -= integers[-1] ** 2
        share = 256
    return integers


def scaled(integers: Sequence[int], exponent: int) -> list[float]:
    """Return the integers times ``2**exponent``, which are floats even where the integers are not."""
    return [float(integer * Fraction(2) ** exponent) for integer in integers]


def near_midpoint(generator: np.random.Generator, dtype: Any) -> list[float]:
    """Vectors whose norm is a number of `dtype` or a midpoint of two, or only just misses one.

    The root has one bit more than the dtype, so it is a midpoint where it is odd. The sum of squares is
    exactly its square, or one unit above or below, a unit that may be as small as the dtype allows.
    """
    information = ml_dtypes.finfo(dtype)
    precision, lowest = information.nmant + 1, information.minexp - information.nmant
    room = information.maxexp - precision - 1 - lowest
    shift = int(room * generator.random() ** 3)
    highest = lowest + room - shift
    exponent = int(generator.choice([lowest, generator.integers(lowest, highest + 1), highest]))
    ends = [1 << precision, (1 << precision) + 1, (2 << precision) - 1]
    root = int(generator.choice([*ends, *(random_integer(generator, precision + 1) for _ in range(5))]))
    total = (root << shift) ** 2 + int(generator.integers(-1, 2))
    return scaled(as_sum_of_squares(generator, total, precision), exponent)


def subnormal_result(generator: np.random.Generator, dtype: Any) -> list[float]:
    """Vectors with norms around ``(n + 1/2) * u``, where `u` is the smallest number of `dtype`.

    In units of `u` the midpoint squared is ``n * n + n + 1/4``, between two integers.
    """
    information = ml_dtypes.finfo(dtype)
    n = random_integer(generator, int(generator.integers(1, information.nmant + 1)))
    total = n * n + int(generator.choice([-1, 0, 1, n, n + 1]))
    integers = as_sum_of_squares(generator, total, information.nmant + 1)
    return scaled(integers, information.minexp - information.nmant)


def finer_than_the_result(generator: np.random.Generator, dtype: Any) -> list[float]:
    """Vectors of float64 with norms at midpoints of subnormals of `dtype`, or where it overflows."""
    information = ml_dtypes.finfo(dtype)
    if dtype == np.float64 or generator.integers(2):
        root, exponent = (4 << information.nmant) - 1, information.maxexp - information.nmant - 2
    else:
        root = random_integer(generator, int(generator.integers(1, information.nmant + 2)))
        exponent = information.minexp - information.nmant - 1
    shift = int(generator.integers(0, 60))
    total = (root << shift) ** 2 + int(generator.integers(-1, 2))
    return scaled(as_sum_of_squares(generator, total, 53), exponent - shift)


def any_numbers(generator: np.random.Generator, dtype: Any) -> list[float]:
    """Finite numbers with random bits, so with exponents all over the range, and some zeros."""
    count = int(generator.integers(0, 40))
    with np.errstate(invalid="ignore"):
        numbers = np.frombuffer(generator.bytes(count * np.dtype(dtype).itemsize), dtype).astype(np.float64)
    numbers[generator.random(count) < 0.05] = 0.0
    return list(numbers[np.isfinite(numbers)].tolist())


def of_one_scale(generator: np.random.Generator, dtype: Any) -> list[float]:
    """0 to 10,000 normally distributed numbers, at a scale where squares are in the range or are not."""
    information = ml_dtypes.finfo(dtype)
    count = int(10 ** generator.uniform(0, 4 if generator.random() < 0.05 else 2)) - 1
    lowest, highest = information.minexp - information.nmant, information.maxexp - 4
    exponent = int(generator.choice([lowest + 3, highest, generator.integers(lowest, highest)]))
    with np.errstate(all="ignore"):
        numbers = np.ldexp(generator.standard_normal(count), exponent).astype(dtype).astype(np.float64)
    return list(numbers[np.isfinite(numbers)].tolist())


def in_mixed_arrays(generator: np.random.Generator, values: Sequence[float]) -> list[Array]:
    """`values` with random signs and in random order, cut into arrays of any dtypes that hold them."""
    shuffled = generator.permutation(np.array(values, np.float64))
    shuffled *= generator.choice([-1.0, 1.0], shuffled.size)
    cuts = np.sort(generator.integers(0, shuffled.size + 1, generator.integers(0, 4)))
    arrays = []
    for piece in np.split(shuffled, cuts):
        with np.errstate(all="ignore"):
            candidates = [piece.astype(dtype) for dtype in DTYPES]
        exact = [array for array in candidates if np.array_equal(array.astype(np.float64), piece)]
        arrays.append(exact[generator.integers(len(exact))])
    return arrays


FAMILIES: list[Family] = [near_midpoint, subnormal_result, finer_than_the_result, any_numbers, of_one_scale]


@every_dtype
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_equals_the_evaluation_in_high_precision(family: Family, dtype: Any, sweep: Any) -> None:
    for _ in range(sweep.count(12_000)):
        values = family(sweep.generator, dtype)
        norm = euclidean_norm(in_mixed_arrays(sweep.generator, values), dtype)
        expected = high_precision_norm(values, dtype)
        assert bits(norm) == bits(expected), f"norm of {[value.hex() for value in values]}"


@every_dtype
def test_the_sweep_tells_an_exact_sum_from_a_rounded_one(dtype: Any, sweep: Any) -> None:
    differing = 0
    for _ in range(300):
        values = near_midpoint(sweep.generator, dtype)
        with np.errstate(all="ignore"):
            rounded_twice = np.float64(math.sqrt(math.fsum(value * value for value in values))).astype(dtype)
        differing += bits(rounded_twice) != bits(high_precision_norm(values, dtype))
    assert differing > 0


def test_a_sum_just_above_a_midpoint_squared_rounds_up() -> None:
    values = [2.0**24, 4096.0, 4096.0, 1.0, 2.0**-20]
    assert euclidean_norm([np.array(values, np.float32)], np.float32) == 16777218
    assert euclidean_norm([np.array(values[:4], np.float32)], np.float32) == 16777216
    assert np.float32(math.sqrt(math.fsum(value * value for value in values))) == 16777216


@every_dtype
def test_one_element_gives_its_magnitude(dtype: Any, sweep: Any) -> None:
    numbers = np.frombuffer(sweep.generator.bytes(1000 * np.dtype(dtype).itemsize), dtype)
    with np.errstate(invalid="ignore"):
        finite = numbers[np.isfinite(numbers)]
    for number in finite:
        assert bits(euclidean_norm([np.array(number)], dtype)) == bits(abs(number))


@every_dtype
def test_squares_may_leave_the_range(dtype: Any) -> None:
    information = ml_dtypes.finfo(dtype)
    smallest = float(information.smallest_subnormal)
    large = 2.0 ** (information.maxexp - 3)
    for unit in (smallest, large):
        norm = euclidean_norm([np.array([3 * unit, -4 * unit], dtype)], dtype)
        assert bits(norm) == bits(dtype(5 * unit))
    below = euclidean_norm([np.array([large, smallest], dtype)], dtype)
    assert bits(below) == bits(dtype(large))


@every_dtype
@pytest.mark.parametrize("nudge", [-1, 0, 1])
def test_the_midpoint_after_the_largest_number_overflows(dtype: Any, nudge: int) -> None:
    information = ml_dtypes.finfo(dtype)
    precision = information.nmant + 1
    largest, midpoint = 4 * ((2 << precision) - 2), 4 * ((2 << precision) - 1)
    rest = as_sum_of_squares(np.random.default_rng(0), midpoint**2 - largest**2 + nudge, precision)
    values = np.array(scaled([largest, *rest], information.maxexp - precision - 3), dtype)
    assert values[0] == information.max
    assert bits(euclidean_norm([values], dtype)) == bits(dtype(information.max if nudge < 0 else math.inf))


@every_dtype
@pytest.mark.parametrize("others", [[], [0.0], [-0.0], [1.0], [math.inf], [-math.inf]])
def test_any_nan_gives_nan(dtype: Any, others: list[float]) -> None:
    for values in itertools.permutations([math.nan, *others]):
        together = [np.array(values, dtype)]
        for arrays in (together, np.split(together[0], len(values))):
            norm = euclidean_norm(arrays, dtype)
            assert type(norm) is dtype
            assert np.isnan(norm)


@every_dtype
@pytest.mark.parametrize("values", [[math.inf], [-math.inf], [1.0, -math.inf], [-math.inf, math.inf, 0.0]])
def test_any_infinity_without_nan_gives_infinity(dtype: Any, values: list[float]) -> None:
    array = np.array(values, dtype)
    for arrays in ([array], np.split(array, array.size), [np.ones(3, np.float64), array]):
        assert bits(euclidean_norm(arrays, dtype)) == bits(dtype(math.inf))


@every_dtype
def test_signalling_nan_gives_nan_without_a_warning(dtype: Any) -> None:
    integer = np.dtype(f"u{np.dtype(dtype).itemsize}")
    signalling = np.array([math.inf], dtype).view(integer) + integer.type(1)
    with np.errstate(all="raise"):
        assert np.isnan(euclidean_norm([signalling.view(dtype)], dtype))


@every_dtype
@pytest.mark.parametrize("shapes", [[], [(0,)], [(0, 3), (2, 0)], [()], [(3,), ()], [(2, 2), (0,)]])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_nothing_and_zeros_give_positive_zero(dtype: Any, shapes: list[tuple[int, ...]], zero: float) -> None:
    norm = euclidean_norm([np.full(shape, zero, dtype) for shape in shapes], dtype)
    assert bits(norm) == bits(dtype(0.0))


@every_dtype
def test_order_sign_shape_and_split_do_not_matter(dtype: Any, sweep: Any) -> None:
    generator = sweep.generator
    with np.errstate(all="ignore"):
        array = (generator.standard_normal(120) * 2.0 ** generator.integers(-12, 6, 120)).astype(dtype)
    expected = bits(high_precision_norm(array.astype(np.float64).tolist(), dtype))
    cube = array.reshape(4, 5, 6)
    spaced = np.zeros((4, 10, 6), dtype)
    spaced[:, ::2] = cube
    variants: list[list[Array]] = [
        [array],
        [array[::-1]],
        [-array],
        [generator.permutation(array)],
        [cube],
        [cube.T],
        [np.asfortranarray(cube)],
        [spaced[:, ::2]],
        [spaced, np.zeros((0, 7), dtype)],
        [np.broadcast_to(dtype(0.0), (3, 3)), cube],
        list(cube),
        list(array),
        [np.array(number) for number in array],
        [array[60:], array[:60]],
    ]
    for arrays in variants:
        assert bits(euclidean_norm(arrays, dtype)) == expected
        assert bits(euclidean_norm(tuple(arrays), dtype)) == expected


def test_mixed_dtypes_are_rounded_once_to_the_given_dtype() -> None:
    """3 and 4 give 5; what is then added to the square is seen by float32 and by no half type."""
    arrays = [np.array([3.0], np.float16), np.array(4.0, ml_dtypes.bfloat16), np.array([2.0**-9], np.float16)]
    assert bits(euclidean_norm(arrays, np.float32)) == bits(np.float32(5 + 2.0**-21))
    assert bits(euclidean_norm(arrays, np.float16)) == bits(np.float16(5))
    assert bits(euclidean_norm(arrays, ml_dtypes.bfloat16)) == bits(ml_dtypes.bfloat16(5))
    assert euclidean_norm(arrays, np.float64) == math.sqrt(25 + 2.0**-18)


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7])
def test_long_arrays(count: int, sweep: Any) -> None:
    array = sweep.generator.integers(-9, 10, count).astype(np.float64)
    total = sum(int(number) ** 2 for number in array)
    same_norm = as_sum_of_squares(sweep.generator, total, 53)
    assert bits(euclidean_norm([array], np.float64)) == bits(high_precision_norm(same_norm, np.float64))


def test_many_equal_elements_lose_nothing() -> None:
    """All 53 bits are set, so that every sum of squares needs the most room."""
    element = math.nextafter(2.0, 0.0)
    norm = euclidean_norm([np.full(2**18, element)], np.float64)
    assert bits(norm) == bits(np.float64(element * 2**9))


@every_dtype
def test_arguments_are_left_alone(dtype: Any) -> None:
    array = np.array([3.0, -0.0, 4.0], dtype)
    before = array.tobytes()
    array.flags.writeable = False
    norm = euclidean_norm([array], dtype)
    assert type(norm) is dtype
    assert array.tobytes() == before


@pytest.mark.parametrize("rejected", [np.int32, np.bool_, np.complex64, ">f4", np.longdouble, object])
def test_other_dtypes_are_rejected(rejected: Any) -> None:
    accepted = "must be float16, bfloat16, float32 or float64"
    with pytest.raises(ValueError, match=rf"^arrays\[1\]\.dtype {accepted}, got "):
        euclidean_norm([np.ones(1), np.ones(1).astype(rejected)], np.float64)
    with pytest.raises(ValueError, match=f"^dtype {accepted}, got "):
        euclidean_norm([np.ones(1)], rejected)
