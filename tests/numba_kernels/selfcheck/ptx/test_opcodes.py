"""Each opcode against an independent source, at special values and at random ones."""

import itertools
import math
import operator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_kernels.selfcheck.ptx.opcodes.registry import OPERATIONS
from sgd_ref.arithmetic.rounded import nearest

GENERATOR = np.random.default_rng(20261129)

FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}

COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def special(suffix: str) -> Any:
    dtype = FLOATS[suffix]
    information = np.finfo(dtype)
    positive = [
        0.0,
        information.smallest_subnormal,
        information.smallest_normal,
        1.0,
        1 + information.eps,
        1.5,
    ]
    positive += [2 - information.eps, 3.0, 0.1, information.max / 2, information.max, np.inf]
    positive += [float(x) for x in np.exp2(GENERATOR.uniform(-20, 10, 6))]
    with np.errstate(over="ignore"):
        return np.array([*positive, *(-x for x in positive), np.nan], dtype)


def integers(suffix: str) -> Any:
    bits = int(suffix[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if suffix[0] == "s" else (0, 2**bits - 1)
    drawn = [int.from_bytes(GENERATOR.bytes(8), "little") % (high - low + 1) + low for _ in range(8)]
    values = [0, 1, 2, 3, high, high - 1, low, low + 1, high // 2, *drawn]
    return [value for value in values if low <= value <= high]


def wrapped(value: Any, suffix: str) -> Any:
    bits = int(suffix[1:])
    value %= 2**bits
    return value - 2**bits if suffix[0] == "s" and value >= 2 ** (bits - 1) else value


def array(values: Any, suffix: str) -> Any:
    return np.array(values, f"{'i' if suffix[0] == 's' else 'u'}{int(suffix[1:]) // 8}")


def same(found: Any, expected: Any) -> None:
    """Same bits, but for NaN, of which there is one kind."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    width = f"u{found.dtype.itemsize}"
    equal = found.view(width) == expected.view(width)
    np.testing.assert_array_equal(equal | (np.isnan(found) & np.isnan(expected)), True)


def rounded(value: Any, dtype: Any) -> Any:
    """The nearest number of a dtype to a fraction, from the reference's exact arithmetic."""
    return nearest(value, np.dtype(dtype))


def exact(name: str, a: Any, b: Any) -> Any:
    """The result of an operation, by fractions where both are finite; by NumPy's rules for others."""
    function = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}[name]
    dtype = a.dtype
    plain = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
    found = []
    for x, y in zip(a, b, strict=True):
        with np.errstate(all="ignore"):
            by_numpy = plain(x, y)
        if not (np.isfinite(x) and np.isfinite(y)) or (name == "div" and y == 0):
            found.append(by_numpy)
            continue
        value = function(Fraction(float(x)), Fraction(float(y)))
        # The sign of a zero is no matter of rounding.
        found.append(by_numpy if value == 0 else rounded(value, dtype))
    return np.array(found, dtype)


@pytest.mark.parametrize("suffix", ["f32", "f64"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_arithmetic_is_rounded_once(name: str, suffix: str) -> None:
    values = special(suffix)
    a, b = (np.array(part, values.dtype) for part in zip(*itertools.product(values, values), strict=True))
    with np.errstate(all="ignore"):
        same(OPERATIONS[f"{name}.rn.{suffix}"].function(a, b), exact(name, a, b))


@pytest.mark.parametrize("suffix", ["f32", "f64"])
def test_square_roots_and_reciprocals_are_nearest(suffix: str) -> None:
    values = special(suffix)
    with np.errstate(all="ignore"):
        roots = OPERATIONS[f"sqrt.rn.{suffix}"].function(values)
        reciprocals = OPERATIONS[f"rcp.rn.{suffix}"].function(values)
    for x, root, reciprocal in zip(values, roots, reciprocals, strict=True):
        if np.isnan(x) or x < 0:
            assert np.isnan(root) or x == 0
        elif np.isfinite(x) and x > 0:
            # No number is nearer: the square lies between those of the middles to its neighbours.
            one, below, above = (
                Fraction(float(n)) for n in (root, np.nextafter(root, 0), np.nextafter(root, np.inf))
            )
            assert ((one + below) / 2) ** 2 <= Fraction(float(x)) <= ((one + above) / 2) ** 2
        if np.isfinite(x) and x != 0:
            assert reciprocal == rounded(1 / Fraction(float(x)), x.dtype)
    assert np.signbit(roots[values == 0]).tolist() == np.signbit(values[values == 0]).tolist()


@pytest.mark.parametrize("suffix", ["f32", "f64"])
def test_fused_product_and_sum_is_rounded_once(suffix: str) -> None:
    values = special(suffix)
    dtype = values.dtype
    triples = [
        np.array(part, dtype)
        for part in zip(*itertools.product(values[::2], values, values[1::3]), strict=True)
    ]
    a = GENERATOR.uniform(-2, 2, 3000).astype(dtype)
    b = GENERATOR.uniform(-2, 2, 3000).astype(dtype)
    near = (-(a * b)).astype(dtype)
    for x, y, z in (triples, (a, b, near), (a, b, GENERATOR.uniform(-1e-16, 1e-16, 3000).astype(dtype))):
        with np.errstate(all="ignore"):
            found = OPERATIONS[f"fma.rn.{suffix}"].function(x, y, z)
            plain = x * y + z
        expected = []
        for p, q, r, by_numpy in zip(x, y, z, plain, strict=True):
            if not np.isfinite([p, q, r]).all():
                expected.append(by_numpy)
                continue
            value = Fraction(float(p)) * Fraction(float(q)) + Fraction(float(r))
            expected.append(by_numpy if value == 0 else rounded(value, dtype))
        same(found, np.array(expected, dtype))


def test_results_that_are_nan_have_the_bits_of_the_device() -> None:
    infinity = np.array([np.inf], np.float32)
    with np.errstate(all="ignore"):
        found = OPERATIONS["sub.rn.f32"].function(infinity, infinity)
    assert found.view(np.uint32)[0] == 0x7FFFFFFF


@pytest.mark.parametrize("suffix", ["f32", "f64"])
def test_extremes_prefer_numbers_and_the_smaller_zero(suffix: str) -> None:
    values = special(suffix)
    a, b = (np.array(part, values.dtype) for part in zip(*itertools.product(values, values), strict=True))
    for name, chosen in (("min", min), ("max", max)):
        found = OPERATIONS[f"{name}.{suffix}"].function(a, b)
        for x, y, z in zip(a, b, found, strict=True):
            numbers = [n for n in (x, y) if not np.isnan(n)]
            if not numbers:
                assert np.isnan(z)
                continue
            wanted = chosen(numbers, key=lambda n: (float(n), not np.signbit(n)))
            assert (z, np.signbit(z)) == (wanted, np.signbit(wanted))


@pytest.mark.parametrize("suffix", ["f16", "f32", "f64"])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_of_numbers_have_a_rule_for_nan(name: str, suffix: str) -> None:
    values = special(suffix)
    a, b = (np.array(part, values.dtype) for part in zip(*itertools.product(values, values), strict=True))
    ordered = OPERATIONS[f"setp.{name}.{suffix}"].function(a, b)
    unordered = OPERATIONS[f"setp.{name}u.{suffix}"].function(a, b)
    for x, y, first, second in zip(a.tolist(), b.tolist(), ordered, unordered, strict=True):
        has_nan = math.isnan(x) or math.isnan(y)
        assert first == (not has_nan and COMPARISONS[name](x, y))
        assert second == (has_nan or COMPARISONS[name](x, y))


@pytest.mark.parametrize("suffix", ["s16", "u16", "s32", "u32", "s64", "u64"])
def test_integers_wrap(suffix: str) -> None:
    pairs = list(itertools.product(integers(suffix), repeat=2))
    a, b = (array(part, suffix) for part in zip(*pairs, strict=True))
    functions = {"add": operator.add, "sub": operator.sub, "mul.lo": operator.mul, "min": min, "max": max}
    for name, function in functions.items():
        with np.errstate(over="ignore"):
            found = OPERATIONS[f"{name}.{suffix}"].function(a, b)
        assert found.tolist() == [wrapped(function(x, y), suffix) for x, y in pairs]
    for name, function in COMPARISONS.items():
        found = OPERATIONS[f"setp.{name}.{suffix}"].function(a, b)
        assert found.tolist() == [function(x, y) for x, y in pairs]


@pytest.mark.parametrize("suffix", ["s32", "u32", "s64", "u64"])
def test_quotients_are_rounded_towards_zero(suffix: str) -> None:
    pairs = [(x, y) for x, y in itertools.product(integers(suffix), repeat=2) if y]
    a, b = (array(part, suffix) for part in zip(*pairs, strict=True))
    quotients = [wrapped(int(Fraction(x, y)), suffix) for x, y in pairs]
    with np.errstate(over="ignore"):
        assert OPERATIONS[f"div.{suffix}"].function(a, b).tolist() == quotients
        remainders = OPERATIONS[f"rem.{suffix}"].function(a, b).tolist()
        assert OPERATIONS[f"mul.hi.{suffix}"].function(a, b).tolist() == [
            wrapped((x * y) >> int(suffix[1:]), suffix) for x, y in pairs
        ]
    assert remainders == [wrapped(x - int(Fraction(x, y)) * y, suffix) for x, y in pairs]


@pytest.mark.parametrize("suffix", ["s16", "u16", "s32", "u32", "s64", "u64"])
def test_shifts_beyond_the_width(suffix: str) -> None:
    width = int(suffix[1:])
    pairs = list(itertools.product(integers(suffix), [0, 1, 7, width - 1, width, width + 1, 2**32 - 1]))
    values, amounts = array([x for x, _ in pairs], suffix), np.array([n for _, n in pairs], np.uint32)
    found = OPERATIONS[f"shr.{suffix}"].function(values, amounts)
    assert found.tolist() == [wrapped(x >> min(n, width), suffix) for x, n in pairs]
    if suffix[0] == "u":
        left = OPERATIONS[f"shl.b{width}"].function(values, amounts)
        assert left.tolist() == [wrapped(x << n, suffix) if n < width else 0 for x, n in pairs]


@pytest.mark.parametrize("suffix", ["s16", "u16", "s32", "u32"])
def test_wide_products_are_whole(suffix: str) -> None:
    pairs = list(itertools.product(integers(suffix), repeat=2))
    a, b = (array(part, suffix) for part in zip(*pairs, strict=True))
    assert OPERATIONS[f"mul.wide.{suffix}"].function(a, b).tolist() == [x * y for x, y in pairs]


def test_bits() -> None:
    words = array(integers("u64"), "u64")
    assert OPERATIONS["clz.b64"].function(words).tolist() == [64 - int(w).bit_length() for w in words]
    assert OPERATIONS["popc.b64"].function(words).tolist() == [int(w).bit_count() for w in words]
    assert OPERATIONS["not.b64"].function(words).tolist() == [2**64 - 1 - int(w) for w in words]
    for position, length in itertools.product([0, 1, 31, 52, 63, 64, 70], [0, 1, 11, 32, 63, 64, 80]):
        source, target = words, words[::-1].copy()
        where = np.array([position], np.uint32), np.array([length], np.uint32)
        found = OPERATIONS["bfi.b64"].function(source, target, *where)
        mask = (((1 << length) - 1) << position) % 2**64
        expected = [
            (int(t) & ~mask) | ((int(s) << position) & mask) for s, t in zip(source, target, strict=True)
        ]
        assert found.tolist() == expected


def test_all_conversions_to_bfloat16_are_those_of_ml_dtypes() -> None:
    """All bit patterns whose upper half varies, with every kind of lower half."""
    upper = np.arange(65536, dtype=np.uint32) << np.uint32(16)
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (upper | np.uint32(lower)).view(np.float32)
        words = OPERATIONS["cvt.rn.bf16x2.f32"].function(x, x[::-1].copy())
        found = (words >> np.uint32(16)).astype(np.uint16).view(ml_dtypes.bfloat16)
        with np.errstate(all="ignore"):
            same(found, x.astype(ml_dtypes.bfloat16))
        low = (words & np.uint32(0xFFFF)).astype(np.uint16)
        assert (low == found.view(np.uint16)[::-1]).all()


def test_conversions_to_float16_and_back() -> None:
    every = np.arange(65536).astype(np.uint16).view(np.float16)
    wide = OPERATIONS["cvt.f32.f16"].function(every)
    same(OPERATIONS["cvt.rn.f16.f32"].function(wide), every)
    finite = every[np.isfinite(every)]
    for x in (np.nextafter(finite[5:40000:61].astype(np.float32), np.float32(np.inf)), special("f32")):
        with np.errstate(all="ignore"):
            found = OPERATIONS["cvt.rn.f16.f32"].function(x)
        for given, got in zip(x, found, strict=True):
            if np.isfinite(given) and given != 0:
                assert got == rounded(Fraction(float(given)), np.float16)
    doubles = OPERATIONS["cvt.f64.f16"].function(every)
    assert (doubles[np.isfinite(doubles)] == every[np.isfinite(every)].astype(object)).all()


def test_directed_roundings_lie_on_their_side_and_next_to_the_number() -> None:
    x = np.concatenate([special("f64"), GENERATOR.normal(size=500), [1e-50, -1e-50, 1e300, -1e300, 1e-42]])
    with np.errstate(all="ignore"):
        down, up = (OPERATIONS[f"cvt.{mode}.f32.f64"].function(x) for mode in ("rm", "rp"))
        towards_zero = OPERATIONS["cvt.rz.f32.f64"].function(x)
        nearest_ones = OPERATIONS["cvt.rn.f32.f64"].function(x)
    for given, low, high, cut, near in zip(x.tolist(), down, up, towards_zero, nearest_ones, strict=True):
        if math.isnan(given):
            assert np.isnan([low, high, cut, near]).all()
            continue
        assert float(low) <= given <= float(high)
        with np.errstate(over="ignore"):
            assert low == high or np.nextafter(low, np.float32(np.inf), dtype=np.float32) == high
        assert cut == (low if given > 0 else high)
        if math.isfinite(given) and given:
            assert near == rounded(Fraction(given), np.float32)


@pytest.mark.parametrize("source", ["u16", "u32", "u64", "s16", "s32", "s64"])
def test_conversions_of_integers(source: str) -> None:
    values = integers(source)
    given = array(values, source)
    for target in ("u16", "u32", "u64", "s16", "s32", "s64"):
        if target != source:
            found = OPERATIONS[f"cvt.{target}.{source}"].function(given)
            assert found.tolist() == [wrapped(value, target) for value in values]
    for suffix, dtype in (("f32", np.float32), ("f64", np.float64)):
        found = OPERATIONS[f"cvt.rn.{suffix}.{source}"].function(given)
        assert found.tolist() == [
            float(rounded(Fraction(value), dtype)) if value else 0.0 for value in values
        ]
        numbers = np.array([0.0, -0.0, 1.9, -1.9, 3e4, -3e4, 1e30, -1e30, np.inf, -np.inf], dtype)
        low, high = (int(bound) for bound in (np.iinfo(given.dtype).min, np.iinfo(given.dtype).max))
        with np.errstate(all="ignore"):
            whole = OPERATIONS[f"cvt.rzi.{source}.{suffix}"].function(numbers)
        for x, got in zip(numbers.tolist(), whole.tolist(), strict=True):
            bounded = high if x == math.inf else low if x == -math.inf else int(x)
            assert got == min(max(bounded, low), high)


def test_selection_takes_the_bits_as_they_are() -> None:
    a, b = special("f32"), special("f32")[::-1].copy()
    chosen = np.arange(len(a)) % 2 == 0
    found = OPERATIONS["selp.f32"].function(a, b, chosen)
    assert (found.view(np.uint32) == np.where(chosen, a.view(np.uint32), b.view(np.uint32))).all()
