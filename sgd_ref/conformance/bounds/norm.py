"""The enclosure of a Euclidean norm: in any order of summation, scaled or not, also from partial norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import promoted
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, arithmetic_of, hull
from sgd_ref.conformance.bounds.endpoints import as_fraction

ROOT_BITS = 128


def norm(gradients: Sequence[Enclosure], dtype: np.dtype[Any]) -> Enclosure:
    r"""Return the norm of all elements, as one element: an enclosure of every faithful evaluation.

    The computation is in float32, or in float64 if that is the dtype. It is never in a half type, in which
    squares of ordinary gradients overflow. The result may be rounded to the dtype.

    The sum of n squares has, in any order and with any fused multiply-add, a relative error of at most
    n u: one u for each square, n - 1 for the additions. If the format holds all squares and all their partial
    sums, there is no error. Squares that underflow are no excuse: by the definition, the range of squares
    must not affect the norm of representable gradients. The loss by underflow is bounded by u times the sum.
    The other forms are the scaled one, :math:`m \sqrt{\sum (g_i / m)^2}` with the largest magnitude m, and
    the norm of the norms of each variable, which may be kept in the dtype of the variable.

    Source: C.-P. Jeannerod and S. M. Rump, Improved error bounds for inner products in floating-point
    arithmetic, SIAM Journal on Matrix Analysis and Applications 34 (2013).

    Parameters
    ----------
    gradients : sequence of Enclosure
        One for each variable, of any shapes and arithmetics.
    dtype : dtype
        The dtype of the result.
    """
    wide = promoted([dtype, FLOAT32])
    arithmetic = arithmetic_of(wide, any(g.arithmetic.flushes for g in gradients))
    present = [gradient for gradient in gradients if gradient.lower.size]
    parts = [_moved(gradient, arithmetic) for gradient in present]
    if not parts:
        return arithmetic_of(dtype).point(0.0)
    together = _joined(parts)
    if (together.lower > together.upper).any():
        only_nan = np.array([math.nan], dtype)
        return arithmetic_of(dtype, arithmetic.flushes).point(only_nan)
    ways = [_plain(together), _scaled(together)]
    if len(parts) > 1:
        norms = [_kept(_scaled(part), g.arithmetic) for part, g in zip(parts, present, strict=True)]
        ways.append(_scaled(_joined(norms)))
    return _moved(hull(*ways), arithmetic_of(dtype, arithmetic.flushes), is_rounded=True)


def _plain(x: Enclosure) -> Enclosure:
    """The root of a sum of squares."""
    arithmetic = x.arithmetic
    form = FORMATS[arithmetic.dtype]
    reaches_zero = np.asarray((x.lower <= 0) & (x.upper >= 0), bool)
    largest = _magnitudes(np.maximum(np.abs(x.lower), np.abs(x.upper)))
    is_known = bool((x.lower == x.upper).all())
    nearer = np.where(reaches_zero, 0.0, np.minimum(np.abs(x.lower), np.abs(x.upper)))
    smallest = largest if is_known else _magnitudes(nearer)
    nan = np.array([bool(x.nan.any())])
    if math.inf in largest:
        lower = np.array([math.inf if math.inf in smallest else _root(_sum(smallest), False)], object)
        return _enclosure(arithmetic, lower, np.array([math.inf], object), nan)
    count = sum(value != 0 for value in largest)
    unit = Fraction(1, 2**form.precision)
    greatest = _sum(largest)
    least = greatest if is_known else _sum(smallest)
    if not _is_exact(smallest, largest, form.precision):
        lost = count * Fraction(2) ** (form.minimum_exponent - form.precision)
        least, greatest = (
            least * (1 - count * unit) - (lost if lost <= unit * least else 0),
            greatest * (1 + count * unit) + (lost if lost <= unit * greatest else 0),
        )
    ends = _root(max(least, Fraction(0)), False), _root(greatest, True)
    return _enclosure(arithmetic, np.array(ends[:1], object), np.array(ends[1:], object), nan)


def _scaled(x: Enclosure) -> Enclosure:
    """The root of a sum of scaled squares, times the scale.

    Since no operation here has to be rounded, this also encloses the plain root, except where squares are
    subnormal.
    """
    magnitude = np.maximum(np.abs(x.lower), np.abs(x.upper))
    largest = x.arithmetic.endpoints.nearest(np.max(magnitude, keepdims=True))
    if largest[0] == 0 or largest[0] == math.inf:
        return _plain(x)
    scale = Enclosure(x.arithmetic, largest, largest, np.array([False]))
    return _plain(x / scale) * scale


def _kept(x: Enclosure, own: Arithmetic) -> Enclosure:
    """Return a partial norm as it may be kept until it is combined: rounded to its own dtype, or not."""
    return _moved(_moved(x, own, is_rounded=True), x.arithmetic)


def _is_exact(smallest: list[Any], largest: list[Any], precision: int) -> bool:
    """Whether every partial sum of the squares, in every order, is a number of the format."""
    if smallest != largest:
        return False
    values = [value for value in largest if value]
    if not values:
        return True
    lowest = min(_lowest_exponent(value) for value in values)
    return _sum(values) <= Fraction(2) ** (2 * lowest + precision)


def _lowest_exponent(value: Fraction) -> int:
    """Return the exponent of the lowest bit that is set."""
    numerator = value.numerator
    return (numerator & -numerator).bit_length() - value.denominator.bit_length()


def _magnitudes(array: Array) -> list[Any]:
    """Return the elements as fractions, or infinities."""
    return [as_fraction(value) for value in array.tolist()]


def _sum(magnitudes: list[Any]) -> Fraction:
    """Return the sum of the squares; floating-point numbers have powers of two as denominators."""
    lengths = [value.denominator.bit_length() for value in magnitudes]
    if any(value.denominator != 1 << length - 1 for value, length in zip(magnitudes, lengths, strict=True)):
        return sum((value * value for value in magnitudes), Fraction(0))
    most = max(lengths, default=1)
    integers = (value.numerator << most - length for value, length in zip(magnitudes, lengths, strict=True))
    return Fraction(sum(integer * integer for integer in integers), 1 << 2 * (most - 1))


def _root(x: Fraction, upwards: bool) -> Fraction:
    """Return a square root, exact or with a relative error below 2**-ROOT_BITS in the given direction."""
    if x == 0:
        return x
    shift = max(ROOT_BITS + (x.denominator.bit_length() - x.numerator.bit_length()) // 2 + 1, 0)
    scaled = (x.numerator << 2 * shift) // x.denominator
    root = math.isqrt(scaled)
    is_exact = root * root == scaled and scaled * x.denominator == x.numerator << 2 * shift
    return Fraction(root + (upwards and not is_exact), 1 << shift)


def _enclosure(arithmetic: Arithmetic, lower: Array, upper: Array, nan: Array) -> Enclosure:
    """Return the enclosure whose exact ends are the given fractions."""
    ends = arithmetic.endpoints
    return arithmetic.operation(ends.enclosing(lower)[0], ends.enclosing(upper)[1], nan)


def _moved(x: Enclosure, arithmetic: Arithmetic, is_rounded: bool = False) -> Enclosure:
    """Return the same numbers in another arithmetic, in which they may be rounded once more."""
    ends = arithmetic.endpoints
    if arithmetic.dtype != x.arithmetic.dtype and FLOAT64 in (arithmetic.dtype, x.arithmetic.dtype):
        lower, upper = ends.enclosing(x.lower)[0], ends.enclosing(x.upper)[1]
    else:
        lower, upper = x.lower, x.upper
    if is_rounded and arithmetic.dtype != x.arithmetic.dtype:
        return arithmetic.operation(lower, upper, x.nan)
    return Enclosure(arithmetic, lower, upper, x.nan)


def _joined(parts: Sequence[Enclosure]) -> Enclosure:
    return reduce(
        lambda x, y: Enclosure(
            x.arithmetic,
            np.concatenate([x.lower, y.lower]),
            np.concatenate([x.upper, y.upper]),
            np.concatenate([x.nan, y.nan]),
        ),
        parts,
    )
