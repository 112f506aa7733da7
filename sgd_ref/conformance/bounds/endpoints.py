"""Endpoints of enclosures: numbers with directed rounding, in a wider format than the judged dtype.

Enclosures of float16, bfloat16 and float32 have endpoints in float64; enclosures of float64 have them in the
64-bit format of x87 registers. Each operation rounds outward, and not at all if it is exact. On machines
without such registers, endpoints are fractions, which are slower; the tests compare the other endpoints with
them. Infinities can be endpoints, NaN cannot.

Source of the error terms: T. J. Dekker, A floating-point technique for extending the available precision,
Numerische Mathematik 18 (1971); D. E. Knuth, The Art of Computer Programming 2, section 4.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from sgd_ref.arithmetic.exact import exact
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest

Directed = tuple[Array, Array]
"""A result rounded down, and the same result rounded up."""

WIDER = {FLOAT32: 53, FLOAT64: 64}
"""Precision of the next wider format in use: float64 for float32, and the 64 bits of x87 registers for
float64."""


class Endpoints(Protocol):
    """The operations on endpoints that enclosures need, on arrays of any shapes that broadcast."""

    def point(self, array: Array) -> Array:
        """Return the numbers of an array of a dtype, exactly; NaN stays NaN."""

    def enclosing(self, x: Array) -> Directed:
        """Return fractions, or infinite floats, as endpoints, rounded down and up."""

    def add(self, x: Array, y: Array) -> Directed:
        """Return the sum; NaN where infinities cancel."""

    def multiply(self, x: Array, y: Array) -> Directed:
        """Return the product; NaN for zero times infinity."""

    def divide(self, x: Array, y: Array) -> Directed:
        """Return the quotient by a number that is not negative."""

    def nearest(self, x: Array) -> Array:
        """Return the numbers rounded to nearest in the dtype."""

    def below(self, x: Array) -> Array:
        """Return lower bounds of the numbers after any rounding to a wider format."""

    def above(self, x: Array) -> Array:
        """Return upper bounds of the numbers after any rounding to a wider format."""


class FloatEndpoints:
    """Endpoints of a floating-point type that is wider than the dtype."""

    def __init__(self, dtype: np.dtype[Any], wide: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._wide = wide
        precision = np.finfo(wide).nmant + 1
        self._splitter = wide.type(2) ** ((precision + 1) // 2) + 1
        # For such small numbers, the error term of a product is itself not exact.
        self._tiny = wide.type(2) ** (int(np.finfo(wide).minexp) + 2 * precision)

    def point(self, array: Array) -> Array:
        """See `Endpoints`."""
        return convert(np.asarray(array), FLOAT64).astype(self._wide, copy=False)

    def enclosing(self, x: Array) -> Directed:
        """See `Endpoints`."""
        exact = [as_fraction(value) for value in x.tolist()]
        values = np.array([self._approximate(value) for value in exact], self._wide)
        pairs = zip(exact, (as_fraction(value) for value in values.tolist()), strict=True)
        passed = np.array([float(wanted > got) - float(wanted < got) for wanted, got in pairs])
        return _directed(values, passed)

    def _approximate(self, x: Any) -> Any:
        if isinstance(x, float) or x == 0:
            return self._wide.type(x)
        exponent = x.numerator.bit_length() - x.denominator.bit_length()
        scaled = x / Fraction(2) ** exponent
        nearby = _to_float64(scaled)
        rest = _to_float64(scaled - Fraction(nearby))
        return np.ldexp(self._wide.type(nearby) + self._wide.type(rest), exponent)

    def add(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        total = x + y
        part = total - x
        error = (x - (total - part)) + (y - part)
        return _directed(total, error)

    def multiply(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        product = x * y
        down, up = _directed(product, self._error_of_product(x, y, product))
        tiny = (np.abs(product) < self._tiny) & (x != 0) & (y != 0)
        if not tiny.any():
            return down, up
        return (
            np.where(tiny, np.nextafter(product, self._wide.type(-math.inf)), down),
            np.where(tiny, np.nextafter(product, self._wide.type(math.inf)), up),
        )

    def divide(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        quotient = x / y
        product = quotient * y
        remainder = (x - product) - self._error_of_product(quotient, y, product)
        return _directed(quotient, remainder)

    def nearest(self, x: Array) -> Array:
        """See `Endpoints`."""
        rounded = x.astype(FLOAT64) if self._dtype == FLOAT64 else convert(x, self._dtype)
        return convert(rounded, FLOAT64).astype(self._wide, copy=False)

    def below(self, x: Array) -> Array:
        """See `Endpoints`."""
        return x if self._dtype in WIDER else _to_float32(x, -math.inf)

    def above(self, x: Array) -> Array:
        """See `Endpoints`."""
        return x if self._dtype in WIDER else _to_float32(x, math.inf)

    def _error_of_product(self, x: Array, y: Array, product: Array) -> Array:
        x_high, x_low = self._halves(x)
        y_high, y_low = self._halves(y)
        error: Array = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
        return error

    def _halves(self, x: Array) -> tuple[Array, Array]:
        scaled = x * self._splitter
        high = scaled - (scaled - x)
        return high, x - high


class FractionEndpoints:
    """Endpoints for any dtype that are fractions or infinite floats: slower, but without error terms."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._precision = WIDER.get(dtype, FORMATS[FLOAT32].precision)
        self._lowest = _lowest_bit(dtype)
        self._nearest = np.frompyfunc(_rounding(dtype), 1, 1)
        self._below = np.frompyfunc(lambda x: _outward(x, self._precision, self._lowest, True), 1, 1)
        self._above = np.frompyfunc(lambda x: _outward(x, self._precision, self._lowest, False), 1, 1)

    def point(self, array: Array) -> Array:
        """See `Endpoints`."""
        values = convert(np.asarray(array), FLOAT64)
        finite = np.isfinite(values)
        numbers = np.where(finite, exact(np.where(finite, values, 0.0)), values.astype(object))
        return np.asarray(numbers, object)

    def enclosing(self, x: Array) -> Directed:
        """See `Endpoints`."""
        made = np.empty(x.shape, object)
        made[:] = [as_fraction(value) for value in x.tolist()]
        return made, made

    def add(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        return (np.asarray(_ADD(x, y), object),) * 2

    def multiply(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        return (np.asarray(_MULTIPLY(x, y), object),) * 2

    def divide(self, x: Array, y: Array) -> Directed:
        """See `Endpoints`."""
        return (np.asarray(_DIVIDE(x, y), object),) * 2

    def nearest(self, x: Array) -> Array:
        """See `Endpoints`."""
        return np.asarray(self._nearest(x), object)

    def below(self, x: Array) -> Array:
        """See `Endpoints`."""
        return np.asarray(self._below(x), object)

    def above(self, x: Array) -> Array:
        """See `Endpoints`."""
        return np.asarray(self._above(x), object)


def endpoints_of(dtype: np.dtype[Any]) -> Endpoints:
    """Return suitable endpoints for a dtype on this machine."""
    if dtype != FLOAT64:
        return FloatEndpoints(dtype, FLOAT64)
    extended = np.dtype(np.longdouble)
    if np.finfo(extended).nmant + 1 == WIDER[FLOAT64]:
        return FloatEndpoints(dtype, extended)
    return FractionEndpoints(dtype)


def as_fraction(x: Any) -> Any:
    """Return an endpoint as a fraction, or an infinite float."""
    if isinstance(x, Fraction):
        return x
    is_finite = math.isfinite(x) if type(x) is float else np.isfinite(x)
    return Fraction(*x.as_integer_ratio()) if is_finite else float(x)


def _directed(value: Array, error: Array) -> Directed:
    infinity = value.dtype.type(math.inf)
    low, high = error < 0, error > 0
    return (
        np.where(low, np.nextafter(value, -infinity), value) if low.any() else value,
        np.where(high, np.nextafter(value, infinity), value) if high.any() else value,
    )


def _to_float32(x: Array, direction: float) -> Array:
    single = convert(x, FLOAT32)
    passed = single > x if direction < 0 else single < x
    return convert(np.where(passed, np.nextafter(single, np.float32(direction)), single), FLOAT64)


def _lowest_bit(dtype: np.dtype[Any]) -> int:
    """Return the exponent of the smallest number of the next wider format."""
    if dtype == FLOAT64:
        return -16445
    form = FORMATS[FLOAT64 if dtype == FLOAT32 else FLOAT32]
    return form.minimum_exponent - form.precision + 1


def _rounding(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """Return the function that rounds one fraction to nearest."""

    def rounded(x: Any) -> Any:
        if isinstance(x, float):
            return x
        result = _to_float64(x) if dtype == FLOAT64 else float(nearest(x, dtype))
        return Fraction(result) if math.isfinite(result) else result

    return rounded


def _to_float64(x: Any) -> float:
    if isinstance(x, float):
        return x
    try:
        # The quotient of two Python integers is rounded correctly.
        return float(x.numerator / x.denominator)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def _outward(x: Any, precision: int, lowest: int, downwards: bool) -> Any:
    if isinstance(x, float) or x == 0:
        return x
    numerator, denominator = x.numerator, x.denominator
    is_dyadic = denominator & (denominator - 1) == 0
    if is_dyadic and numerator.bit_length() <= precision and denominator.bit_length() <= -lowest:
        return x
    length = numerator.bit_length() - denominator.bit_length()
    unit = max(length + (abs(x) >= Fraction(2) ** length) - precision, lowest)
    if unit > 0:
        denominator <<= unit
    else:
        numerator <<= -unit
    # The quotient of integers is rounded down.
    integer = numerator // denominator if downwards else -(-numerator // denominator)
    return Fraction(integer << unit) if unit > 0 else Fraction(integer, 1 << -unit)


def _added(x: Any, y: Any) -> Any:
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return x + y
    return _as_float(x) + _as_float(y)


def _multiplied(x: Any, y: Any) -> Any:
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return x * y
    return _as_float(x) * _as_float(y)


def _divided(x: Any, y: Any) -> Any:
    if isinstance(x, Fraction) and isinstance(y, Fraction) and y != 0:
        return x / y
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x)
    if isinstance(x, Fraction):
        return Fraction(0)
    return math.nan if isinstance(y, float) else x


def _as_float(x: Any) -> float:
    """Return the sign of a fraction, which is enough for an operation with an infinity."""
    return x if isinstance(x, float) else float((x > 0) - (x < 0))


_ADD = np.frompyfunc(_added, 2, 1)
_MULTIPLY = np.frompyfunc(_multiplied, 2, 1)
_DIVIDE = np.frompyfunc(_divided, 2, 1)
