"""Exact numbers: fractions, on which a formula computes its value without rounding.

Sums, products and quotients of fractions are exact. Square roots, powers and cosines are exact where they
are rational. Otherwise they are rationals very close to the true value (`BITS`): results computed from them
round to any of the four dtypes exactly as true results would. There are no infinities and no NaN.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.validation import reject_type, reject_value

BITS = 512
"""Irrational results are within 2**-BITS of the true value: relative for roots and powers, absolute for
cosines. About 200 bits would be enough for one value; the other bits are for cancellation in sums such as 1 +
cosine."""

_LONGEST_EXACT_POWER = 2**15
_LARGEST_LOGARITHM = 2840
_GUARD_BITS = 32


def exact(array: Any) -> Array:
    """Return the elements of an array as fractions.

    Parameters
    ----------
    array : array_like
        Of float16, bfloat16, float32 or float64, any shape, every element finite.

    Returns
    -------
    ndarray of object
        Of the same shape, every element a Fraction.

    Raises
    ------
    TypeError
        If the dtype is not one of the four.
    ValueError
        If an element is NaN or infinite.

    Examples
    --------
    >>> exact(np.array([0.5, -3.0], np.float32))
    array([Fraction(1, 2), Fraction(-3, 1)], dtype=object)
    """
    values = np.asarray(array)
    if values.dtype not in FORMATS:
        reject_type("array", array, "an array of float16, bfloat16, float32 or float64")
    elements = convert(values, FLOAT64).ravel()
    not_finite = elements[~np.isfinite(elements)]
    if not_finite.size:
        reject_value("array", float(not_finite[0]), "finite in every element")
    fractions = np.empty(elements.shape, object)
    fractions[:] = [Fraction(element) for element in elements.tolist()]
    return fractions.reshape(values.shape)


def number(value: Fraction | float) -> Fraction:
    """Return one finite number as a fraction.

    >>> number(0.75)
    Fraction(3, 4)
    """
    return Fraction(value)


def square_root(x: Fraction) -> Fraction:
    """Return the square root of `x`, exact where it is rational, else within 2**-BITS of it, relative.

    >>> square_root(Fraction(9, 4))
    Fraction(3, 2)
    >>> abs(square_root(Fraction(2)) ** 2 / 2 - 1) < Fraction(1, 2**BITS)
    True
    """
    if x < 0:
        reject_value("x", x, "at least 0")
    # sqrt(n / d) = sqrt(n * d) / d, and the integer below a square root is off by less than 1.
    product = x.numerator * x.denominator
    shift = max(0, BITS + 2 - product.bit_length() // 2)
    return Fraction(math.isqrt(product << (2 * shift)), x.denominator << shift)


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return `base` to the power of `exponent`.

    Parameters
    ----------
    base : Fraction
        0 or more; 0 to the power of 0 is 1.
    exponent : Fraction
        0 or more if `base` is 0.

    Returns
    -------
    Fraction
        Exact where the power is rational and no longer than some 32,000 bits. Otherwise within 2**-BITS of
        the true power, relative. A power above 2**4096 or below 2**-4096 is replaced by another number beyond
        the same limit, since all of these overflow or vanish in every dtype.

    Raises
    ------
    ValueError
        If `base` is negative, or 0 with a negative exponent.

    Examples
    --------
    >>> power(Fraction(27, 8), Fraction(-2, 3))
    Fraction(4, 9)
    """
    if base < 0:
        reject_value("base", base, "at least 0")
    if base == 0:
        if exponent < 0:
            reject_value("exponent", exponent, "at least 0 for a base of 0")
        return Fraction(int(exponent == 0))
    root = _rational_root(base, exponent.denominator)
    if root is not None:
        length = max(root.numerator.bit_length(), root.denominator.bit_length())
        if length * abs(exponent.numerator) <= _LONGEST_EXACT_POWER:
            return root**exponent.numerator
    return _exponential_of_logarithm(base, exponent)


def cosine_of_pi_times(x: Fraction) -> Fraction:
    """Return cos(pi * x), exact where it is rational, else within 2**-BITS of it, absolute.

    For rational `x` the cosine is rational only at multiples of 1/2 and of 1/3 (Niven's theorem).

    >>> cosine_of_pi_times(Fraction(1)), cosine_of_pi_times(Fraction(5, 3))
    (Fraction(-1, 1), Fraction(1, 2))
    """
    turned = abs(x) % 2
    if turned > Fraction(1, 2):
        return -cosine_of_pi_times(1 - turned)
    rational = {Fraction(0): Fraction(1), Fraction(1, 3): Fraction(1, 2), Fraction(1, 2): Fraction(0)}
    if turned in rational:
        return rational[turned]
    return _cosine_series(turned)


class Norm(Fraction):
    """A norm as a fraction; the reciprocal of zero is infinite, as it is for floats.

    So ``c * min(1 / norm, 1 / c)``, the documented formula of global clipping, also works for a norm of zero.
    """

    def __rtruediv__(self, numerator: Any) -> Any:
        return math.inf if self == 0 else numerator / Fraction(self)


def norm(arrays: Iterable[Array]) -> Norm:
    """Return the Euclidean norm of all elements of all arrays, as accurate as `square_root`.

    Parameters
    ----------
    arrays : iterable of ndarray of object
        Arrays of fractions, of any shapes.

    Examples
    --------
    >>> norm([exact(np.array([3.0])), exact(np.array([[4.0]]))]) == 5
    True
    >>> 1 / norm([])
    inf
    """
    squares = (element * element for array in arrays for element in array.flat)
    return Norm(square_root(sum(squares, Fraction(0))))


def _rational_root(base: Fraction, degree: int) -> Fraction | None:
    if degree == 1:
        return base
    numerator = _integer_root(base.numerator, degree)
    denominator = _integer_root(base.denominator, degree)
    if numerator is None or denominator is None:
        return None
    return Fraction(numerator, denominator)


def _integer_root(n: int, degree: int) -> int | None:
    """Return the integer root of the given `degree` of `n`, a positive integer, if there is such a root."""
    if degree >= n.bit_length():
        return 1 if n == 1 else None
    low, high = 1, 1 << -(-n.bit_length() // degree)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < n:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == n else None


def _exponential_of_logarithm(base: Fraction, exponent: Fraction) -> Fraction:
    """Return exp(exponent * log(base)).

    `decimal` rounds quotients, logarithms and exponentials correctly, so that each is off by 10**-digits at
    most, relative. The rounding of `base` changes its logarithm by 10**-digits, and the exponent magnifies
    this error: hence the number of digits grows with the exponent. The total error of the result is less than
    10**-157.
    """
    digits = 160 + math.ceil(abs(exponent)).bit_length() // 3 + 1
    context = decimal.Context(
        prec=digits,
        Emin=decimal.MIN_EMIN,
        Emax=decimal.MAX_EMAX,
        traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
    )
    logarithm = context.multiply(_decimal(exponent, context), context.ln(_decimal(base, context)))
    limit = decimal.Decimal(_LARGEST_LOGARITHM)
    return Fraction(context.exp(max(-limit, min(logarithm, limit))))


def _decimal(x: Fraction, context: decimal.Context) -> decimal.Decimal:
    return context.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator))


def _cosine_series(x: Fraction) -> Fraction:
    """Sum 1 - a**2/2! + a**4/4! - ... for a = pi * x, 0 <= x <= 1/2, in integers of one unit.

    Each of the fewer than 200 terms loses less than 2 units, and pi is off by less than 2**13 units: far less
    than the 2**32 units that make 2**-BITS.
    """
    one = 1 << (BITS + _GUARD_BITS)
    angle = _PI * x.numerator // x.denominator
    squared = angle * angle // one
    total, term, count = 0, one, 0
    while term:
        total += term
        term = -(term * squared // one) // ((count + 1) * (count + 2))
        count += 2
    return Fraction(total, one)


def _arctangent_of_reciprocal(n: int, one: int) -> int:
    """Sum 1/n - 1/(3 n**3) + 1/(5 n**5) - ... in integers of one unit; off by a unit for each term."""
    total, power_of_n, odd = 0, one // n, 1
    while power_of_n:
        total += power_of_n // odd if odd % 4 == 1 else -(power_of_n // odd)
        power_of_n //= n * n
        odd += 2
    return total


def _machin(one: int) -> int:
    """Return pi by Machin's formula, pi = 16 arctan(1/5) - 4 arctan(1/239), in integers of one unit."""
    return 16 * _arctangent_of_reciprocal(5, one) - 4 * _arctangent_of_reciprocal(239, one)


_PI = _machin(1 << (BITS + _GUARD_BITS))
