"""Arrays as bits and as float32: all patterns, and nothing that does not fit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref.conformance import from_bits, from_float32, to_bits, to_float32

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_pattern_of_the_half_types_goes_to_float32_and_back(name: str) -> None:
    patterns = np.arange(2**16, dtype=np.uint16)
    array = from_bits(patterns, name)
    assert array.dtype == DTYPES[name]
    np.testing.assert_array_equal(to_bits(array), patterns)
    wide = to_float32(array)
    assert wide.dtype == np.float32
    if name == "bfloat16":
        # It is the first half of a float32; of signalling NaN alone a bit changes.
        numbers = ~np.isnan(wide)
        np.testing.assert_array_equal(wide.view(np.uint32)[numbers] >> 16, patterns[numbers])
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(to_bits(from_float32(wide, name))[numbers], patterns[numbers])
    assert np.isnan(np.asarray(from_float32(wide, name), np.float32)[~numbers]).all()


@pytest.mark.parametrize(
    ("number", "pattern"),
    [
        (1 + 2.0**-8, 0x3F80),  # a tie goes to the even one
        (1 + 3 * 2.0**-8, 0x3F82),
        (np.nextafter(np.float32(1 + 2.0**-8), np.float32(2)), 0x3F81),
        (3.4e38, 0x7F80),  # above the largest number and half a unit
        (-0.0, 0x8000),
        (2.0**-133, 0x0001),
        (2.0**-134, 0x0000),
        (-np.inf, 0xFF80),
    ],
)
def test_float32_is_rounded_to_nearest_ties_to_even(number: Any, pattern: int) -> None:
    with np.errstate(over="ignore"):
        assert to_bits(from_float32(number, "bfloat16")) == pattern


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_shapes_stay(name: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, DTYPES[name])
    bits = to_bits(array)
    assert bits.shape == shape
    assert bits.dtype == np.dtype(f"u{array.dtype.itemsize}")
    again = from_bits(bits, name)
    assert again.shape == shape
    np.testing.assert_array_equal(to_bits(again), bits)
    signed = bits.astype(f"i{array.dtype.itemsize}")
    np.testing.assert_array_equal(to_bits(from_bits(signed, name)), bits)


def test_bits_of_a_strided_array_are_those_of_its_elements() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T[::-1]
    np.testing.assert_array_equal(to_bits(array), to_bits(np.ascontiguousarray(array)))
    np.testing.assert_array_equal(from_bits(to_bits(array), "float32"), array)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: to_bits(np.zeros(2, np.int32)), TypeError, "array must be an array of float16, bfloat16"),
        (lambda: to_bits(np.zeros(2, ">f4")), TypeError, "array must be an array of float16, bfloat16"),
        (lambda: to_float32(np.zeros(2)), TypeError, "of float16, bfloat16 or float32, got .*float64"),
        (
            lambda: from_bits(np.zeros(2, np.uint32), "bfloat16"),
            TypeError,
            "bits must be integers of 16 bits",
        ),
        (lambda: from_bits(np.zeros(2, np.float16), "bfloat16"), TypeError, "bits must be integers of 16"),
        (
            lambda: from_bits(np.zeros(2, np.uint16), "half"),
            ValueError,
            "dtype must be one of .*, got 'half'",
        ),
        (lambda: from_float32([1.0], "half"), ValueError, "dtype must be one of .*, got 'half'"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_is_made_from_bits_does_not_change_with_them() -> None:
    bits = np.array([0x3F80], np.uint16)
    array = from_bits(bits, "bfloat16")
    bits[0] = 0
    assert array[0] == 1
