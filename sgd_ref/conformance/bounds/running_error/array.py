"""An array that knows the sizes of its terms and how often they were rounded.

A formula of sums, products and quotients is a sum of products of its inputs, which are called its terms. The
terms may be added in any order, and each operation may have any precision from that of the dtype upward. The
error of the result is at most ``n * u`` times the sum of the absolute values of the terms. Here ``u`` is half
a unit in the last place of 1, and ``n`` is the number of roundings that a term goes through.

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, second edition, sections 3.1 to 3.4
(lemma 3.1, and the running error analysis of J. H. Wilkinson).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.deviations.observed.subnormals import flush

PER_OPERATION = 2
"""The number of roundings that an operation adds: its own, and one for another order of terms or for a
setting that is not rounded to the dtype."""

KEEPING = (np.negative, np.positive, np.absolute, np.copysign, np.conjugate)
"""Operations that round nothing."""

CHOOSING = (np.maximum, np.minimum, np.fmax, np.fmin)
"""Operations that return one of their operands."""


class TermedArray(np.ndarray[Any, Any]):
    """A float array with the sizes of its terms.

    In every use, its elements equal those of a plain array to the last bit. Operations that are unknown here
    keep the elements, and treat each element of the result as a single term.

    Attributes
    ----------
    terms : ndarray of float64
        For each element the sum of the absolute values of its terms.
    roundings : int
        The largest number of roundings of a term of any element.
    flushes : bool
        Whether operations replace subnormal operands and results by zeros.

    Examples
    --------
    >>> w, g = termed(np.array([1.0], "f4")), termed(np.array([0.75], "f4"))
    >>> moved = w - np.float32(1) * g
    >>> float(moved[0]), float(moved.terms[0]), moved.roundings
    (0.25, 1.75, 4)
    """

    _terms: Array | None
    roundings: int
    flushes: bool

    def __array_finalize__(self, source: Any) -> None:
        self._terms = None
        self.roundings = getattr(source, "roundings", 0)
        self.flushes = getattr(source, "flushes", False)

    @property
    def terms(self) -> Array:
        """The sum of the absolute values of the terms of each element."""
        if self._terms is None or self._terms.shape != self.shape:
            self._terms = _sizes(self)
        return self._terms

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        plain = [_plain(operand) for operand in inputs]
        flushes = any(getattr(operand, "flushes", False) for operand in inputs)
        if flushes:
            plain = [flush(operand) if _is_float(operand) else operand for operand in plain]
        targets = settings.get("out", ())
        if targets:
            settings["out"] = tuple(_plain(target) for target in targets)
        with np.errstate(all="ignore"):
            result = getattr(ufunc, method)(*plain, **settings)
            if not _is_float(result):
                return result
            if flushes:
                result = flush(result)
            made = termed(result, _terms_of(ufunc, method, inputs, result), _roundings(ufunc, inputs))
            made.flushes = flushes
        for target in targets:
            if isinstance(target, TermedArray):
                target._terms, target.roundings = made.terms, made.roundings
        return targets[0] if targets else made

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        """Do the same with the terms as with the elements: move them, choose among them, add them."""
        with np.errstate(all="ignore"):
            result = _called(function, args, settings, _plain)
            if not _is_float(result):
                return result
            operands = list(_arrays((args, settings)))
            roundings = max((array.roundings for array in operands), default=0) + PER_OPERATION
            made = termed(result, _moved_terms(function, args, settings, result), roundings)
            made.flushes = any(array.flushes for array in operands)
            return made

    def __getitem__(self, index: Any) -> Any:
        found = np.asarray(self)[index]
        if not _is_float(found):
            return found
        return self._alike(termed(found, self.terms[index], self.roundings))

    def __setitem__(self, index: Any, value: Any) -> None:
        terms = self.terms.copy()
        terms[index] = value.terms if isinstance(value, TermedArray) else _sizes(value)
        super().__setitem__(index, _plain(value))
        self._terms, self.roundings = terms, max(self.roundings, getattr(value, "roundings", 0))

    def _with_terms(self, result: Array, terms: Array) -> TermedArray:
        return self._alike(termed(result, terms, self.roundings))

    def _alike(self, array: TermedArray) -> TermedArray:
        array.flushes = self.flushes
        return array

    def astype(self, dtype: Any, *arguments: Any, **settings: Any) -> Any:
        """Convert the elements, and keep the terms."""
        converted = np.asarray(self).astype(dtype, *arguments, **settings)
        if not _is_float(converted):
            return converted
        return self._alike(termed(converted, self.terms, self.roundings + 1))

    def copy(self, *arguments: Any) -> Any:
        """Copy the elements and the terms."""
        return self._with_terms(np.asarray(self).copy(*arguments), self.terms.copy())

    def reshape(self, *shape: Any, **settings: Any) -> Any:
        """Reshape the elements and the terms."""
        return self._with_terms(
            np.asarray(self).reshape(*shape, **settings), self.terms.reshape(*shape, **settings)
        )

    def ravel(self, *arguments: Any) -> Any:
        """Flatten the elements and the terms."""
        return self._with_terms(np.asarray(self).ravel(*arguments), self.terms.ravel(*arguments))

    def flatten(self, *arguments: Any) -> Any:
        """Copy the elements and the terms, flattened."""
        return self.ravel(*arguments).copy()


def termed(array: Any, terms: Array | None = None, roundings: int = 0) -> TermedArray:
    """Return an array with the sizes of its terms.

    Parameters
    ----------
    array : ndarray or numpy scalar
        Of one of the four dtypes.
    terms : ndarray of float64, optional
        Of a shape that broadcasts to that of `array`; by default each element is one term.
    roundings : int, default 0
        How often each term was rounded.

    Examples
    --------
    >>> termed(np.array([-2.0])).terms
    array([2.])
    """
    plain = np.array(_plain(array), copy=None)
    made = plain.view(TermedArray)
    sizes = _sizes(plain)
    if terms is not None:
        # Terms are infinite or NaN if a factor of 0 or a limit kept them out of the result. Finite terms of
        # an infinite element show that it is infinite by overflow.
        larger = np.where(np.isfinite(sizes), np.maximum(terms, sizes), terms)
        sizes = np.where(np.isfinite(terms), larger, sizes)
    made._terms = sizes
    made.roundings = roundings
    return made


def allowance(array: TermedArray) -> Array:
    """Return the largest distance of any other evaluation of an array from its elements, as float64.

    Both evaluations may have an error of ``n * u`` times the terms, in either direction, and of ``n`` times
    the smallest number.

    Examples
    --------
    >>> w = termed(np.array([1.0], "f4"))
    >>> float(allowance(w - np.float32(1))[0] / 2.0**-24)
    8.0
    """
    form = FORMATS[array.dtype]
    unit = 2.0**-form.precision
    with np.errstate(all="ignore"):
        smallest = float(form.smallest_normal)
        sizes = array.terms + (smallest if array.roundings else 0.0)
        # In another order, another subnormal number may be flushed.
        flushed = array.roundings * smallest if array.flushes else 0.0
        return np.asarray(2 * array.roundings * unit * sizes + flushed)


def _is_float(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype in FORMATS


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, TermedArray) else value


def _sizes(value: Any) -> Array:
    array = np.asarray(_plain(value))
    with np.errstate(all="ignore"):
        wide = convert(array, FLOAT64) if array.dtype in FORMATS else array.astype(FLOAT64)
        return np.asarray(np.abs(wide))


def _terms(value: Any) -> Array:
    return value.terms if isinstance(value, TermedArray) else _sizes(value)


def _roundings(ufunc: np.ufunc, inputs: Iterable[Any]) -> int:
    before = max(operand.roundings if isinstance(operand, TermedArray) else 0 for operand in inputs)
    return before if ufunc in (*KEEPING, *CHOOSING) else before + PER_OPERATION


def _terms_of(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], result: Any) -> Array | None:
    if method != "__call__":
        return np.asarray(_terms(inputs[0]).sum()) if ufunc is np.add and np.ndim(result) == 0 else None
    if ufunc is np.subtract and inputs[0] is inputs[1]:
        # A difference that is written only to give 0 or NaN is never rounded.
        return np.zeros_like(_terms(inputs[0]))
    if ufunc in KEEPING:
        return _terms(inputs[0])
    formula = FORMULAS.get(ufunc)
    return None if formula is None else np.asarray(formula(*(_terms(operand) for operand in inputs)))


def _of_quotient(dividend: Array, divisor: Array) -> Array:
    """Return the terms of a quotient, whose divisor is a positive number or a single term such as a norm."""
    return np.asarray(np.where(np.isinf(divisor), 0.0, dividend / divisor))


FORMULAS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.add,
    np.subtract: np.add,
    np.multiply: np.multiply,
    np.divide: _of_quotient,
    np.square: np.square,
    np.sqrt: np.sqrt,
    **dict.fromkeys(CHOOSING, np.maximum),
}
"""For each operation, the terms of its result from the terms of its operands."""


def _moved_terms(function: Any, args: Any, settings: Any, result: Any) -> Array | None:
    try:
        moved = _called(function, args, settings, _terms)
    # The function may not accept float64; then the result is a single term.
    except (TypeError, ValueError):
        return None
    is_alike = isinstance(moved, (np.ndarray, np.generic)) and np.shape(moved) == np.shape(result)
    return _sizes(moved) if is_alike else None


def _called(function: Any, args: Any, settings: Any, of: Callable[[Any], Any]) -> Any:
    return function(*_each(args, of), **{name: _each(value, of) for name, value in settings.items()})


def _each(value: Any, of: Callable[[Any], Any]) -> Any:
    """Return a value in which each array that knows its terms is replaced by a function of it."""
    if isinstance(value, TermedArray):
        return of(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_each(item, of) for item in value)
    return value


def _arrays(value: Any) -> Iterable[TermedArray]:
    if isinstance(value, TermedArray):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
