"""Operands: registers, special registers, numbers and addresses, prepared once for many executions."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.machine.shared_memory import START
from numba_kernels.selfcheck.ptx.program import Instruction, Kernel
from sgd_ref.arithmetic.formats import Array

REGISTER = re.compile(r"%[a-z]+\d+")

FLOAT = re.compile(r"0([fFdD])([0-9A-Fa-f]+)")

INTEGER = re.compile(r"-?(?:0[xX][0-9A-Fa-f]+|\d+)U?")

ADDRESS = re.compile(r"\[\s*(?P<base>[%$\w]+)\s*(?:\+\s*(?P<offset>-?\d+))?\s*\]")

SPECIAL = ("%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x")


class Operand(NamedTuple):
    """The place where a step finds an operand.

    Attributes
    ----------
    key : str
        The key of its value in a frame.
    dtype : dtype or None
        The dtype as which the value is viewed; None for its own dtype.
    constant : ndarray or None
        The number, if the operand is a number.
    """

    key: str
    dtype: np.dtype[Any] | None
    constant: Array | None


class Address(NamedTuple):
    """An address in memory.

    Attributes
    ----------
    base : str
        The register; empty if the address is constant.
    offset : uint64
        The offset that is added to the register.
    """

    base: str
    offset: np.uint64


def operand(kernel: Kernel, instruction: Instruction, text: str, dtype: np.dtype[Any]) -> Operand:
    """Return an operand as numbers of a dtype.

    Raises
    ------
    NotUnderstood
        If it is not an operand, or a register of another width.
    """
    if REGISTER.fullmatch(text) and text.rstrip("0123456789") in kernel.registers:
        kept = kernel.dtype_of(text)
        if kept.itemsize != dtype.itemsize or (kept.kind == "b") != (dtype.kind == "b"):
            raise NotUnderstood(f"line {instruction.line}: {text} must be as wide as {dtype}: {instruction}")
        return Operand(text, None if kept == dtype else dtype, None)
    if text in SPECIAL and dtype.itemsize == 4:
        return Operand(text, None if dtype == np.uint32 else dtype, None)
    if text in kernel.shared:
        return Operand(text, None, np.array([kernel.shared[text][0] + START], np.uint64).astype(dtype))
    return Operand(text, None, number(instruction, text, dtype))


def number(instruction: Instruction, text: str, dtype: np.dtype[Any]) -> Array:
    """Return a number that is written in an instruction, as an array of one element.

    >>> float(number(Instruction("mov.f32", (), "", 1), "0f3F800000", np.dtype("float32"))[0])
    1.0
    """
    bits = FLOAT.fullmatch(text)
    if bits:
        size = 4 if bits[1] in "fF" else 8
        if dtype.kind == "f" and dtype.itemsize == size and len(bits[2]) == 2 * size:
            return np.array([int(bits[2], 16)], f"u{size}").view(dtype)
    elif INTEGER.fullmatch(text) and dtype.kind in "iu":
        value = int(text.rstrip("U"), 0) % 2 ** (8 * dtype.itemsize)
        return np.array([value], f"u{dtype.itemsize}").view(dtype)
    elif INTEGER.fullmatch(text) and dtype.kind == "b":
        return np.array([int(text) != 0])
    raise NotUnderstood(f"line {instruction.line}: {text!r} is no operand of {dtype}: {instruction}")


def address(kernel: Kernel, instruction: Instruction, text: str) -> Address:
    """Return an address in global or shared memory.

    Raises
    ------
    NotUnderstood
        If it is not an address.
    """
    match = ADDRESS.fullmatch(text)
    if match:
        offset = int(match["offset"] or 0)
        base = match["base"]
        if base in kernel.shared:
            return Address("", np.uint64(kernel.shared[base][0] + START + offset))
        if REGISTER.fullmatch(base) and kernel.dtype_of(base) == np.uint64:
            return Address(base, np.uint64(offset % 2**64))
    raise NotUnderstood(f"line {instruction.line}: {text!r} is no address: {instruction}")


def vector(text: str) -> list[str]:
    """Return the elements of an operand: the operands between its braces, or the operand itself.

    >>> vector("{%f1, %f2}")
    ['%f1', '%f2']
    """
    return [part.strip() for part in text[1:-1].split(",")] if text.startswith("{") else [text]
