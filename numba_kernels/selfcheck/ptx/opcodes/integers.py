"""Integers, bits and predicates, with wrap-around and with shifts beyond the width.

From "PTX ISA", chapters "Integer Arithmetic Instructions" and "Logic and Shift Instructions".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.opcodes.operation import (
    B16,
    B32,
    B64,
    DTYPES,
    PRED,
    S32,
    S64,
    Operation,
)
from sgd_ref.arithmetic.formats import Array

WIDE: dict[str, np.dtype[Any]] = {"s16": S32, "s32": S64, "u16": B32, "u32": B64}


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield all operations with their opcodes."""
    yield from _arithmetic()
    yield from _logic()
    yield from _of_bits()


def _arithmetic() -> Iterator[tuple[str, Operation]]:
    for width in (16, 32, 64):
        for kind in "su":
            dtype = DTYPES[f"{kind}{width}"]
            pair = (dtype, dtype)
            name = f"{kind}{width}"
            yield f"add.{name}", Operation(dtype, pair, np.add)
            yield f"sub.{name}", Operation(dtype, pair, np.subtract)
            yield f"mul.lo.{name}", Operation(dtype, pair, np.multiply)
            yield f"min.{name}", Operation(dtype, pair, np.minimum)
            yield f"max.{name}", Operation(dtype, pair, np.maximum)
            yield f"shr.{name}", Operation(dtype, (dtype, B32), shift_right)
            yield f"mad.lo.{name}", Operation(dtype, (dtype, dtype, dtype), _multiply_add)
        signed = DTYPES[f"s{width}"]
        yield f"neg.s{width}", Operation(signed, (signed,), np.negative)
        yield f"abs.s{width}", Operation(signed, (signed,), np.abs)
    for name, wide in WIDE.items():
        yield f"mul.wide.{name}", Operation(wide, (DTYPES[name], DTYPES[name]), _wide(wide))
    for name in ("s32", "u32", "s64", "u64"):
        dtype = DTYPES[name]
        yield f"mul.hi.{name}", Operation(dtype, (dtype, dtype), high_product)
        for operation, function in (("div", divide), ("rem", remainder)):
            yield f"{operation}.{name}", Operation(dtype, (dtype, dtype), function)


def _logic() -> Iterator[tuple[str, Operation]]:
    for dtype in (B16, B32, B64):
        name = f"b{dtype.itemsize * 8}"
        yield f"shl.{name}", Operation(dtype, (dtype, B32), shift_left)
        yield f"mov.{name}", Operation(dtype, (dtype,), _same)
    for name in ("u16", "u32", "u64", "s16", "s32", "s64"):
        yield f"mov.{name}", Operation(DTYPES[name], (DTYPES[name],), _same)
    yield "mov.pred", Operation(PRED, (PRED,), _same)
    kinds: tuple[tuple[np.dtype[Any], str], ...] = (
        (PRED, "pred"),
        (B16, "b16"),
        (B32, "b32"),
        (B64, "b64"),
    )
    for kind, name in kinds:
        for operation, logical in (("and", np.bitwise_and), ("or", np.bitwise_or), ("xor", np.bitwise_xor)):
            yield f"{operation}.{name}", Operation(kind, (kind, kind), logical)
        yield f"not.{name}", Operation(kind, (kind,), np.bitwise_not)
    for name in ("b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64"):
        number = DTYPES[name]
        yield f"selp.{name}", Operation(number, (number, number, PRED), _select)


def _of_bits() -> Iterator[tuple[str, Operation]]:
    for width, dtype in ((32, B32), (64, B64)):
        yield f"clz.b{width}", Operation(B32, (dtype,), leading_zeros)
        yield f"popc.b{width}", Operation(B32, (dtype,), _population)
        yield f"bfi.b{width}", Operation(dtype, (dtype, dtype, B32, B32), insert_bits)
        for kind in "us":
            typed = DTYPES[f"{kind}{width}"]
            yield f"bfe.{kind}{width}", Operation(typed, (typed, B32, B32), extract_bits)


def _same(x: Array) -> Array:
    return x


def _select(a: Array, b: Array, chosen: Array) -> Array:
    return np.where(chosen, a, b)


def _multiply_add(a: Array, b: Array, c: Array) -> Array:
    return np.add(np.multiply(a, b), c)


def _wide(dtype: np.dtype[Any]) -> Any:
    return lambda a, b: np.multiply(a.astype(dtype), b.astype(dtype))


def shift_left(x: Array, amount: Array) -> Array:
    """Return bits shifted to the left; shifts beyond the width give zero."""
    width = x.dtype.itemsize * 8
    shifted = np.left_shift(x, np.minimum(amount, width - 1).astype(x.dtype))
    return np.asarray(np.where(amount < width, shifted, x.dtype.type(0)))


def shift_right(x: Array, amount: Array) -> Array:
    """Return an integer shifted to the right; shifts beyond the width leave only copies of the sign."""
    width = x.dtype.itemsize * 8
    shifted = np.right_shift(x, np.minimum(amount, width - 1).astype(x.dtype))
    if x.dtype.kind == "i":
        return np.asarray(shifted)
    return np.asarray(np.where(amount < width, shifted, x.dtype.type(0)))


def high_product(a: Array, b: Array) -> Array:
    """Return the upper half of a product of twice the width."""
    # Python's integers are the shortest obviously correct way, and the opcode is rare.
    shape = np.broadcast(a, b).shape
    pairs = zip(np.broadcast_to(a, shape).tolist(), np.broadcast_to(b, shape).tolist(), strict=True)
    return np.array([(x * y) >> 8 * a.dtype.itemsize for x, y in pairs], a.dtype)


def divide(a: Array, b: Array) -> Array:
    """Return quotients rounded towards zero; a division by zero sets all bits."""
    a, b = np.broadcast_arrays(a, b)
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    quotient = _magnitude(a) // np.maximum(_magnitude(b), unsigned.type(1))
    quotient = np.where((a < 0) != (b < 0), np.negative(quotient), quotient)
    return np.asarray(np.where(b == 0, ~unsigned.type(0), quotient).view(a.dtype))


def remainder(a: Array, b: Array) -> Array:
    """Return the remainder for the quotient of `divide`."""
    return np.subtract(a, np.multiply(divide(a, b), b))


def _magnitude(x: Array) -> Array:
    bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")
    return np.where(x < 0, np.negative(bits), bits)


def _from_integers(values: list[int], dtype: np.dtype[Any]) -> Array:
    return np.array(values, f"u{dtype.itemsize}").view(dtype)


def leading_zeros(x: Array) -> Array:
    """Return the number of zeros in front of the first bit that is set."""
    width = x.dtype.itemsize * 8
    left = x.copy()
    count = np.full(x.shape, width, np.uint32)
    for position in range(width):
        is_set = (left >> x.dtype.type(position)) & x.dtype.type(1) != 0
        count[is_set] = width - 1 - position
    return count


def _population(x: Array) -> Array:
    return np.bitwise_count(x).astype(np.uint32)


def insert_bits(source: Array, target: Array, position: Array, length: Array) -> Array:
    """Return a target with some bits from a source at a position; beyond the width nothing is inserted."""
    width = target.dtype.itemsize * 8
    position, length = position & np.uint32(255), length & np.uint32(255)
    one = target.dtype.type(1)
    ones = np.where(length >= width, ~target.dtype.type(0), shift_left(one + 0 * target, length) - one)
    mask = shift_left(ones, position)
    return (target & ~mask) | (shift_left(source, position) & mask)


def extract_bits(x: Array, position: Array, length: Array) -> Array:
    """Return some bits from a position, with the sign of the last one if signed."""
    width = x.dtype.itemsize * 8
    found = []
    for value, start, count in zip(*np.broadcast_arrays(x, position & 255, length & 255), strict=True):
        bits = (int(value) >> int(start)) & ((1 << int(count)) - 1)
        if x.dtype.kind == "i" and count:
            last = min(int(start) + int(count) - 1, width - 1)
            # Python's integers already have their sign in all higher bits.
            bits = (
                bits - (1 << int(count)) if int(value) >> last & 1 and bits >> (int(count) - 1) & 1 else bits
            )
        found.append(bits % 2**width)
    return _from_integers(found, x.dtype)
