"""Enclosures: every number that any faithful evaluation of an expression can give.

Rounding to nearest is monotone. So if the exact results of an operation on intervals lie between two numbers
a and b, then the rounded results lie between a rounded and b rounded. A faithful evaluation may round a
result to the dtype, or to a wider format, or not at all, as a fused multiply-add does; each operation here
returns an interval with all three results. Nothing is estimated: an exact result in the dtype stays a single
point, and an interval between two neighbouring numbers of the dtype contains no other.

Sources: IEEE 754-2019, section 4.3.1, for the rounding; IEEE 1788-2015 for intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT16, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.bounds.endpoints import Directed, Endpoints, endpoints_of


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """The operations that faithful evaluations in a dtype can use.

    Attributes
    ----------
    dtype : dtype
        One of ``FORMATS``.
    endpoints : Endpoints
        The arithmetic of the ends of intervals.
    flushes : bool
        Whether subnormal operands and results may also become zero. Subnormal numbers of float16 stay, since
        processors do not flush them.
    """

    dtype: np.dtype[Any]
    endpoints: Endpoints
    flushes: bool = False

    def point(self, values: Any) -> Enclosure:
        """Return the enclosure of known numbers: an array of a dtype, or Python numbers."""
        array = np.atleast_1d(values)
        if array.dtype not in FORMATS:
            array = array.astype(FLOAT64)
        numbers = self.endpoints.point(array)
        nan = _is_nan(numbers)
        lower = _placed(numbers, nan, np.inf)
        upper = _placed(numbers, nan, -np.inf)
        return self.flushed(Enclosure(self, lower, upper, nan))

    def operation(self, lower: Array, upper: Array, nan: Array) -> Enclosure:
        """Return the possible results of one operation, given the range of its exact results."""
        ends = self.endpoints
        enclosure = Enclosure(
            self,
            _least(ends.nearest(lower), ends.below(lower)),
            _greatest(ends.nearest(upper), ends.above(upper)),
            nan,
        )
        return self.flushed(enclosure)

    def flushed(self, enclosure: Enclosure) -> Enclosure:
        """Return the same numbers, with zero added where subnormal numbers may become zero."""
        if not self.flushes or self.dtype == FLOAT16:
            return enclosure
        normal = self.endpoints.point(np.array(float(FORMATS[self.dtype].smallest_normal)))
        reached = np.asarray((enclosure.lower < normal) & (enclosure.upper > -normal), bool)
        zero = self.endpoints.point(np.array(0.0))
        return replace(
            enclosure,
            lower=np.where(reached, _least(enclosure.lower, zero), enclosure.lower),
            upper=np.where(reached, _greatest(enclosure.upper, zero), enclosure.upper),
        )


@dataclass(frozen=True, eq=False)
class Enclosure:
    """For each element an interval of numbers, and whether NaN is possible.

    The operators return all results that a faithful evaluation may give. Their operands are enclosures of
    the same arithmetic, or Python integers.

    Attributes
    ----------
    arithmetic : Arithmetic
        The arithmetic of the dtype of the computation.
    lower, upper : ndarray
        The ends, both included; where `lower` is greater, no number is possible.
    nan : ndarray of bool
        Whether NaN is possible.

    Examples
    --------
    >>> single = arithmetic_of(np.dtype("f4"))
    >>> third = single.point(1) / single.point(3)
    >>> third.stored().lower, third.stored().upper
    (array([0.33333334]), array([0.33333334]))
    """

    arithmetic: Arithmetic
    lower: Array
    upper: Array
    nan: Array

    def __add__(self, other: Enclosure) -> Enclosure:
        ends = self.arithmetic.endpoints
        nan = self.nan | other.nan | _cancels(self, other) | _cancels(other, self)
        lower, upper = ends.add(self.lower, other.lower)[0], ends.add(self.upper, other.upper)[1]
        return self.arithmetic.operation(with_numbers(lower, np.inf), with_numbers(upper, -np.inf), nan)

    def __neg__(self) -> Enclosure:
        return replace(self, lower=-self.upper, upper=-self.lower)

    def __sub__(self, other: Enclosure) -> Enclosure:
        return self + -other

    def __rsub__(self, number: int) -> Enclosure:
        return self.arithmetic.point(number) - self

    def __mul__(self, other: Enclosure) -> Enclosure:
        vanishes = (_has_zero(self) & _has_infinity(other)) | (_has_infinity(self) & _has_zero(other))
        return self._corners(other, self.arithmetic.endpoints.multiply, vanishes)

    def __truediv__(self, other: Enclosure) -> Enclosure:
        undefined = (_has_zero(self) & _has_zero(other)) | (_has_infinity(self) & _has_infinity(other))
        return self._corners(other, self.arithmetic.endpoints.divide, undefined)

    def __rtruediv__(self, number: int) -> Enclosure:
        return self.arithmetic.point(number) / self

    def _corners(self, other: Enclosure, operation: Any, nan: Array) -> Enclosure:
        """Return the result of a monotone operation from its values at the ends of both intervals."""
        lower_end, upper_end = self._lowest_and_highest(other, operation)
        empty = (self.lower > self.upper) | (other.lower > other.upper)
        lower, upper = _placed(lower_end, empty, np.inf), _placed(upper_end, empty, -np.inf)
        return self.arithmetic.operation(lower, upper, self.nan | other.nan | np.asarray(nan, bool))

    def _lowest_and_highest(self, other: Enclosure, operation: Any) -> Directed:
        points = [operation(x, y) for x in self._ends() for y in other._ends()]
        lower = reduce(_least, (with_numbers(down, np.inf) for down, _ in points))
        upper = reduce(_greatest, (with_numbers(up, -np.inf) for _, up in points))
        return lower, upper

    def _ends(self) -> tuple[Array, ...]:
        return (self.lower,) if (self.lower == self.upper).all() else (self.lower, self.upper)

    def over(self, other: Enclosure) -> Enclosure:
        """Return the quotient in real numbers, without rounding; all numbers of `other` have one sign."""
        if bool(np.asarray(other.upper < 0).all()):
            return (-self).over(-other)
        points = [self.arithmetic.endpoints.divide(x, y) for x in self._ends() for y in other._ends()]
        return replace(
            self,
            lower=reduce(_least, (with_numbers(down, np.inf) for down, _ in points)),
            upper=reduce(_greatest, (with_numbers(up, -np.inf) for _, up in points)),
        )

    def stored(self) -> Enclosure:
        """Return the numbers of the dtype that may be stored: each rounded to nearest."""
        ends = self.arithmetic.endpoints
        return replace(self, lower=ends.nearest(self.lower), upper=ends.nearest(self.upper))

    def kept(self) -> Enclosure:
        """Return the values that an implementation may keep: stored in the dtype, or in a wider format."""
        return self.arithmetic.operation(self.lower, self.upper, self.nan)

    def holds(self, observed: Array) -> Array:
        """Return where numbers of the dtype are possible results; both zeros are the same number."""
        with np.errstate(invalid="ignore"):
            nan = np.isnan(observed)
            numbers = self.arithmetic.endpoints.point(np.where(nan, np.zeros_like(observed), observed))
        inside = np.asarray((self.lower <= numbers) & (numbers <= self.upper), bool)
        return np.where(nan, self.nan, inside)

    def __getitem__(self, index: Any) -> Enclosure:
        return replace(self, lower=self.lower[index], upper=self.upper[index], nan=self.nan[index])

    def at_most(self, limit: Enclosure) -> Enclosure:
        """Return the minimum of each number and a limit; NaN stays NaN."""
        return self._limited(limit, _least)

    def at_least(self, limit: Enclosure) -> Enclosure:
        """Return the maximum of each number and a limit; NaN stays NaN."""
        return self._limited(limit, _greatest)

    def _limited(self, limit: Enclosure, choose: Any) -> Enclosure:
        empty = np.asarray(self.lower > self.upper, bool)
        return replace(
            self,
            lower=np.where(empty, self.lower, choose(self.lower, limit.lower)),
            upper=np.where(empty, self.upper, choose(self.upper, limit.upper)),
        )

    def rounded_to(self, observed: Array) -> Enclosure:
        """Return the numbers of the enclosure that round to the observed numbers of the dtype.

        Where the observed number is infinite or NaN, return the whole enclosure.
        """
        with np.errstate(invalid="ignore"):
            finite = np.isfinite(observed)
        points = self.arithmetic.endpoints.point(np.where(finite, observed, np.zeros_like(observed)))
        # Only the type of the endpoints holds half of the smallest number of float64.
        half = self.arithmetic.endpoints.point(_steps(observed, self.arithmetic.flushes)) / 2
        preimage = replace(self, lower=points - half, upper=points + half)
        narrowed = self.among(preimage)
        narrowed = replace(
            self,
            lower=np.where(finite, narrowed.lower, self.lower),
            upper=np.where(finite, narrowed.upper, self.upper),
        )
        # A stored subnormal number may be read as zero.
        return self.arithmetic.flushed(narrowed)

    def among(self, other: Enclosure) -> Enclosure:
        """Return the numbers that lie in both enclosures, each of which contains the true number."""
        return replace(
            self,
            lower=_greatest(self.lower, other.lower),
            upper=_least(self.upper, other.upper),
            nan=self.nan & other.nan,
        )


def arithmetic_of(dtype: np.dtype[Any], flushes: bool = False) -> Arithmetic:
    """Return the arithmetic of a dtype, with suitable endpoints."""
    return Arithmetic(dtype, endpoints_of(dtype), flushes)


def hull(*enclosures: Enclosure) -> Enclosure:
    """Return the smallest enclosure that holds several.

    >>> single = arithmetic_of(np.dtype("f4"))
    >>> both = hull(single.point(1), single.point(3))
    >>> both.lower, both.upper
    (array([1.]), array([3.]))
    """
    return Enclosure(
        enclosures[0].arithmetic,
        reduce(_least, (enclosure.lower for enclosure in enclosures)),
        reduce(_greatest, (enclosure.upper for enclosure in enclosures)),
        reduce(np.logical_or, (enclosure.nan for enclosure in enclosures)),
    )


def _steps(observed: Array, flushes: bool) -> Array:
    """Return the distance to the farther neighbour.

    If subnormal numbers are flushed, zero may stand for any of them.
    """
    form = FORMATS[observed.dtype]
    values = convert(observed, FLOAT64)
    _, exponent = np.frexp(values)
    lowest = form.minimum_exponent + 1
    step = np.ldexp(1.0, np.where(values == 0, lowest, np.maximum(exponent, lowest)) - form.precision)
    return np.where((values == 0) & flushes, 2.0 * float(form.smallest_normal), step)


def _cancels(x: Enclosure, y: Enclosure) -> Array:
    return np.asarray((x.upper == np.inf) & (y.lower == -np.inf), bool)


def _has_zero(x: Enclosure) -> Array:
    return np.asarray((x.lower <= 0) & (x.upper >= 0), bool)


def _has_infinity(x: Enclosure) -> Array:
    infinite = (np.abs(x.lower) == np.inf) | (np.abs(x.upper) == np.inf)
    return np.asarray(infinite & (x.lower <= x.upper), bool)


def _least(x: Array, y: Array) -> Array:
    return np.asarray(np.minimum(x, y))


def _greatest(x: Array, y: Array) -> Array:
    return np.asarray(np.maximum(x, y))


def with_numbers(numbers: Array, other: float) -> Array:
    """Return the numbers with another number in place of NaN."""
    return _placed(numbers, _is_nan(numbers), other)


_IS_NAN = np.frompyfunc(math.isnan, 1, 1)


def _is_nan(numbers: Array) -> Array:
    if numbers.dtype != object:
        return np.asarray(np.isnan(numbers))
    # np.isnan does not accept fractions.
    return np.asarray(_IS_NAN(numbers), bool)


def _placed(numbers: Array, where: Array, other: float) -> Array:
    return np.where(where, np.array(other, numbers.dtype), numbers) if where.any() else numbers
