"""Conversions of all 2**32 float32 to half types: the instructions of the kernels against the definition.

The instructions that ``halves.py`` has found are compiled again on their own. The definition is a table: for
each number of the half type, the first float32 to which it is the nearest, where the midpoint between two
neighbours belongs to the even one (IEEE 754-2019, 4.3.1).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable
from typing import Any

import numba
import numpy as np
from llvmlite import binding
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from numba_kernels.selfcheck.proof.expressions import FLOAT, HALF
from numba_kernels.selfcheck.proof.halves import ROUND_AND_NARROW, Claim, Form
from sgd_ref.arithmetic.formats import BY_NAME, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert

BLOCK = 1 << 16
"""The size of a block: all numbers with one high half."""

BLOCKS = 1 << 16

INFINITY = 0x7F800000


def differing(claim: Claim, blocks: Iterable[int]) -> tuple[int, int]:
    """Return how many float32 were tried, and how many are not converted as defined.

    Parameters
    ----------
    claim : Claim
        The instructions, and their claimed meaning.
    blocks : iterable of int
        High halves of the numbers, below ``BLOCKS``; each is tried with all low halves.
    """
    run, count = compiled(claim.form), _counting()
    is_narrow = claim.meaning == ROUND_AND_NARROW
    edges, values = table(claim.half, is_narrow)
    found: Array = np.empty(BLOCK, np.uint32)
    infinity = int(values[len(edges) - 1])
    sign = 15 if is_narrow else 31
    # For bfloat16, the low half of every NaN in a kernel is zero, and must stay zero.
    low_half = 0xFFFF if claim.half == "bfloat16" else 0
    tried = wrong = 0
    for block in blocks:
        run(block << 16, found)
        compared, different = count(
            np.uint32(block << 16),
            found,
            edges,
            values,
            sign,
            infinity,
            low_half,
            0 if is_narrow else low_half,
        )
        tried += compared
        wrong += different
    return tried, wrong


@functools.cache
def table(half: str, is_narrow: bool) -> tuple[Array, Array]:
    """Return the definition for numbers that are not negative.

    Returns
    -------
    edges : ndarray of int64
        For each number of the half type, in increasing order and up to infinity: the bits of the first
        float32 to which no other number is nearer.
    values : ndarray of uint32
        The bits of these numbers, in 16 bits or as float32.
    """
    count = _bits_of_infinity(half)
    numbers = np.arange(count + 1, dtype=np.uint16).view(BY_NAME[half])
    wide = convert(numbers, FLOAT64)
    # Beyond the largest number, rounding goes on as if the next power of two were a number of the type (7.4).
    wide[-1] = 2.0 ** (2 - FORMATS[BY_NAME[half]].minimum_exponent)
    middles = (wide[:-1] + wide[1:]) / 2
    edges = np.zeros(count + 1, np.int64)
    edges[1:] = middles.astype(np.float32).view(np.uint32)
    if not np.array_equal(middles.astype(np.float32).astype(np.float64), middles):
        raise AssertionError("the middle of two neighbours is no float32")
    # The midpoint belongs to the lower number if that is even.
    edges[1:] += np.arange(count) % 2 == 0
    values = np.arange(count + 1, dtype=np.uint32)
    if not is_narrow:
        values = np.ascontiguousarray(numbers.astype(np.float32)).view(np.uint32)
    return edges, values


def _bits_of_infinity(half: str) -> int:
    return int(np.array(np.inf).astype(BY_NAME[half]).view(np.uint16))


@functools.cache
def _counting() -> Any:
    """Return the function that counts the numbers of a block that are not converted as defined."""

    @numba.njit(error_model="numpy", nogil=True)
    def count(
        start: Any, found: Any, edges: Any, values: Any, sign: Any, infinity: Any, given: Any, kept: Any
    ) -> Any:
        magnitude = np.int64(start) & 0x7FFFFFFF
        negative = np.uint32((np.int64(start) >> 31) << sign)
        end = min(found.shape[0], max(0, 0x7F800001 - magnitude))
        place = different = compared = 0
        index = np.searchsorted(edges, magnitude, side="right") - 1
        while place < end:
            upto = end
            if index + 1 < edges.shape[0]:
                upto = min(end, edges[index + 1] - magnitude)
            expected = np.uint32(values[index] | negative)
            for number in range(place, upto):
                different += found[number] != expected
            compared += upto - place
            place, index = upto, index + 1
        for number in range(end, found.shape[0]):
            if (magnitude + number) & given == 0:
                compared += 1
                bits = np.int64(found[number])
                is_nan = (bits & ((1 << sign) - 1)) > infinity and bits & kept == 0
                different += not is_nan
        return compared, different

    return count


def compiled(form: Form) -> Callable[[int, Array], None]:
    """Return the function that applies instructions to the float32 of a block.

    It takes the bits of the first float32, and an array of uint32 for the bits of the results.
    """
    return _Compiled(form)


class _Compiled:
    """Instructions compiled as Numba compiles kernels, in a loop over a block."""

    def __init__(self, form: Form) -> None:
        with global_compiler_lock:
            self._compile(form)

    def _compile(self, form: Form) -> None:
        name = "converted"
        self._library = cpu_target.target_context.codegen().create_library(name)
        self._library.add_llvm_module(binding.parse_assembly(_module(form, name)))
        self._library.finalize()
        address = self._library.get_pointer_to_function(name)
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_void_p)(address)

    def __call__(self, start: int, found: Array) -> None:
        self._function(start, found.ctypes.data)


_NAMES = {HALF: "i16", FLOAT: "float"}
_CAST = {"bits": "bitcast", "float": "bitcast"}


def _module(form: Form, name: str) -> str:
    """Return the module in LLVM's textual form."""
    lines = [f"%v0 = bitcast i32 %x to {_NAMES[form[0][1]]}"]
    for place, (op, kind, operands, words) in enumerate(form[1:], start=1):
        lines += _line(f"%v{place}", op, kind, operands, words, form)
    last = f"%v{len(form) - 1}"
    lines.append(
        f"%result = zext i16 {last} to i32"
        if form[-1][1] == HALF
        else f"%result = bitcast float {last} to i32"
    )
    body = "\n  ".join(lines)
    return f"""
declare float @llvm.fabs.f32(float)
define void @{name}(i32 %start, ptr %found) {{
entry:
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %next, %loop ]
  %x = add i32 %start, %i
  {body}
  %wide = zext i32 %i to i64
  %place = getelementptr i32, ptr %found, i64 %wide
  store i32 %result, ptr %place, align 4
  %next = add i32 %i, 1
  %done = icmp eq i32 %next, {BLOCK}
  br i1 %done, label %end, label %loop
end:
  ret void
}}
"""


def _line(name: str, op: str, kind: str, operands: Any, words: Any, form: Form) -> list[str]:
    type_, given = _NAMES.get(kind, kind), [f"%v{operand}" for operand in operands]
    kinds = [_NAMES.get(form[operand][1], form[operand][1]) for operand in operands]
    if op == "constant":
        if kind == FLOAT:
            return [f"{name} = bitcast i32 {words[0]} to float"]
        return [f"{name} = add {type_} {words[0]}, 0"]
    if op in ("icmp", "fcmp"):
        return [f"{name} = {op} {words[0]} {kinds[0]} {given[0]}, {given[1]}"]
    if op == "select":
        return [f"{name} = select i1 {given[0]}, {type_} {given[1]}, {type_} {given[2]}"]
    if op == "not":
        return [f"{name} = xor i1 {given[0]}, true"]
    if op == "fabs":
        return [f"{name} = call float @llvm.fabs.f32(float {given[0]})"]
    if op == "fptrunc":
        return [
            f"{name}.half = fptrunc float {given[0]} to half",
            f"{name} = bitcast half {name}.half to i16",
        ]
    if op == "fpext":
        return [f"{name}.half = bitcast i16 {given[0]} to half", f"{name} = fpext half {name}.half to float"]
    if op in ("bits", "float", "zext", "sext", "trunc"):
        return [f"{name} = {_CAST.get(op, op)} {kinds[0]} {given[0]} to {type_}"]
    return [f"{name} = {op} {type_} {', '.join(given)}"]
