"""Sums without an error: of two numbers, with what rounding loses, and of squares, as an integer of limbs."""

from __future__ import annotations

from typing import Any

from numba_kernels.shared.inlining import inlined

LIMBS = 144


LOWEST_EXPONENT = -2148
"""The exact sum is an integer of 32-bit limbs times two to this power, the square of the smallest float64."""


@inlined
def sum_and_error(first: float, second: float) -> Any:
    """Return the rounded sum of two numbers, and its rounding error, which is exact.

    Source: D. E. Knuth, The Art of Computer Programming 2, 4.2.2.

    >>> sum_and_error(1.0, 2.0**-60)
    (1.0, 8.673617379884035e-19)
    """
    total = first + second
    grown = total - first
    return total, (first - (total - grown)) + (second - grown)
