"""The bits of a register that holds numbers: two halves, which PTX moves, masks, shifts and joins."""

from __future__ import annotations

from typing import NamedTuple

from numba_kernels.selfcheck.proof.expressions import FLOAT, HALF, Expressions, Node
from numba_kernels.selfcheck.proof.normal import is_of_half
from numba_kernels.selfcheck.ptx.faults import NotUnderstood

LOW_HALF = 0xFFFF


class Bits(NamedTuple):
    """Thirty-two bits, or sixteen of which the upper half is zero.

    Attributes
    ----------
    low, high : Node or int
        Sixteen bits each: an expression, or a known number.
    """

    low: Node | int
    high: Node | int


def known(value: int) -> Bits:
    """Return known bits.

    >>> known(-65536)
    Bits(low=0, high=65535)
    """
    return Bits(value & LOW_HALF, value >> 16 & LOW_HALF)


def masked(bits: Bits, mask: int) -> Bits:
    """Return the bits with some halves set to zero.

    Raises
    ------
    NotUnderstood
        If the mask is not one of whole halves.
    """
    low, high = known(mask)
    if low not in (0, LOW_HALF) or high not in (0, LOW_HALF):
        raise NotUnderstood(f"numbers are masked with {mask & 0xFFFFFFFF:#x}")
    return Bits(bits.low if low else 0, bits.high if high else 0)


def shifted(bits: Bits, places: int) -> Bits:
    """Return the bits shifted by one half, to the left if `places` is 16 and to the right if it is -16."""
    if places == 16:
        return Bits(0, bits.low)
    if places == -16:
        return Bits(bits.high, 0)
    raise NotUnderstood(f"numbers are shifted by {places}")


def joined(first: Bits, second: Bits) -> Bits:
    """Return the union of bits, of which one has zero where the other has not."""
    halves = []
    for one, other in zip(first, second, strict=True):
        if one != 0 and other != 0:
            raise NotUnderstood("an or of two numbers")
        halves.append(other if one == 0 else one)
    return Bits(*halves)


def of_number(e: Expressions, half: str, number: Node) -> Bits:
    """Return the bits of a float32."""
    if number.is_constant:
        return known(number.args[0])
    if half == "bfloat16" and is_of_half(number):
        return Bits(0, e.make("narrow", HALF, half, number))
    # Nothing that the rule has is equal to a half of another number.
    return Bits(e.raw("low half of", HALF, number), e.raw("high half of", HALF, number))


def to_number(e: Expressions, bits: Bits) -> Node:
    """Return the float32 of some bits."""
    low, high = bits
    if isinstance(low, int) and isinstance(high, int):
        return e.constant(FLOAT, high << 16 | low)
    if low == 0 and isinstance(high, Node):
        return e.make("widen", FLOAT, "bfloat16", high)
    if (
        isinstance(low, Node)
        and isinstance(high, Node)
        and (low.op, high.op) == ("low half of", "high half of")
        and low.args == high.args
    ):
        return low.operands[0]
    raise NotUnderstood(f"a float32 is made of {low} and {high}")


def rounded(e: Expressions, half: str, number: Node) -> Node | int:
    """Return the sixteen bits of the nearest number of a half type, as PTX defines ``cvt.rn``."""
    if number.is_constant and number.args == (0,):
        return 0
    return e.make("narrow", HALF, half, e.make("round", FLOAT, half, number))
