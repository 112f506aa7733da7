"""The exact sum of squares: an integer, as limbs."""

from __future__ import annotations

LIMBS = 144


LOWEST_EXPONENT = -2148
"""The exact sum is an integer of 32-bit limbs times two to this power: the square of the least float64."""
