"""The exact sum of squares, as an integer of several limbs."""

from __future__ import annotations

LIMBS = 144


LOWEST_EXPONENT = -2148
"""The exact sum is an integer of 32-bit limbs times two to this power, the square of the smallest float64."""
