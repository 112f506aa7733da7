"""Intervals of doubles: fast arithmetic that carries a bound on its own error.

An interval contains the true value of a formula. An operation on two intervals gives a third interval, which
contains the result for any number of the first and any number of the second. The ends of this interval are
computed in float64 and moved outward by at least the error of that computation. If no such interval exists
(overflow, division by an interval around zero), the operation raises an ArithmeticError.
"""

from __future__ import annotations

import math
from fractions import Fraction

_POWER_ERROR = 2.0**-50
"""Relative error of `math.pow`: 2**-51 if it is wrong by 2 units in the last place (the common libraries
stay below 1), doubled so that the rounding of the ends themselves is covered."""

_SUBNORMAL_ERROR = 2.0**-1070
"""The same where the result is subnormal and a unit is 2**-1074."""

_COSINE_ERROR = 2.0**-49
"""Absolute error of `math.cos(math.pi * x)` for 0 <= x <= 1: 2**-51 in the argument (half a unit of the
product and the error of `math.pi`), 2**-52 if the cosine is wrong by 2 units in the last place, doubled."""


class Interval:
    """All real numbers from `lower` to `upper`, two finite floats.

    >>> third = 1 / number(3.0)
    >>> third.lower < Fraction(1, 3) < third.upper
    True
    """

    __slots__ = ("lower", "upper")

    def __init__(self, lower: float, upper: float) -> None:
        if not (-math.inf < lower <= upper < math.inf):
            raise OverflowError(f"an interval from {lower} to {upper} is not finite")
        self.lower = lower
        self.upper = upper

    def __add__(self, other: Interval | int) -> Interval:
        other = _interval(other)
        return _outward(self.lower + other.lower, self.upper + other.upper)

    __radd__ = __add__

    def __sub__(self, other: Interval | int) -> Interval:
        other = _interval(other)
        return _outward(self.lower - other.upper, self.upper - other.lower)

    def __rsub__(self, other: int) -> Interval:
        return _interval(other) - self

    def __mul__(self, other: Interval | int) -> Interval:
        other = _interval(other)
        products = (
            self.lower * other.lower,
            self.lower * other.upper,
            self.upper * other.lower,
            self.upper * other.upper,
        )
        return _outward(min(products), max(products))

    __rmul__ = __mul__

    def __truediv__(self, other: Interval | int) -> Interval:
        other = _interval(other)
        if other.lower <= 0 <= other.upper:
            raise ZeroDivisionError("division by an interval that contains zero")
        quotients = (
            self.lower / other.lower,
            self.lower / other.upper,
            self.upper / other.lower,
            self.upper / other.upper,
        )
        return _outward(min(quotients), max(quotients))

    def __rtruediv__(self, other: int) -> Interval:
        return _interval(other) / self

    def __repr__(self) -> str:
        return f"Interval({self.lower!r}, {self.upper!r})"


def number(value: Fraction | float) -> Interval:
    """Return an interval around one number: the float itself, or the neighbours of its float."""
    if isinstance(value, float):
        return Interval(value, value)
    nearby = float(value)
    return _outward(nearby, nearby)


def power(base: Interval, exponent: Interval) -> Interval:
    """Return `base` to the power of `exponent`; both true values are 0 or more, even if an interval is not.

    A power is monotonic in its base and in its exponent, so the extremes lie at ends of the intervals.
    """
    bases = (max(base.lower, 0.0), base.upper)
    exponents = (max(exponent.lower, 0.0), exponent.upper)
    powers = [math.pow(b, e) for b in bases for e in exponents]
    lower = min(powers) * (1 - _POWER_ERROR) - _SUBNORMAL_ERROR
    upper = max(powers) * (1 + _POWER_ERROR) + _SUBNORMAL_ERROR
    return Interval(max(lower, 0.0), upper)


def cosine_of_pi_times(x: Interval) -> Interval:
    """Return cos(pi * x), which falls on [0, 1]; the true `x` is in [0, 1], even if the interval is wider."""
    lower = math.cos(math.pi * min(x.upper, 1.0)) - _COSINE_ERROR
    upper = math.cos(math.pi * max(x.lower, 0.0)) + _COSINE_ERROR
    return Interval(max(lower, -1.0), min(upper, 1.0))


def _interval(value: Interval | int) -> Interval:
    return value if isinstance(value, Interval) else Interval(float(value), float(value))


def _outward(lower: float, upper: float) -> Interval:
    """Move both ends to the next float: further than rounding to nearest can have moved them inward."""
    return Interval(math.nextafter(lower, -math.inf), math.nextafter(upper, math.inf))
