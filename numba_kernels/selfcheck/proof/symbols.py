"""A third kind of numbers for the rule: symbols, on which each operation makes a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, Expressions, Node
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array

KINDS = {FLOAT16: FLOAT, BFLOAT16: FLOAT, FLOAT32: FLOAT, FLOAT64: DOUBLE}
"""The kind of number in which each dtype is computed."""


class Symbol:
    """An unknown number, in place of an array of one dtype.

    The formulas and stages of ``sgd_ref`` treat it like an array. In a half type, each operation is a float32
    operation followed by a rounding, as in NumPy and ml_dtypes. The result equals that of a single rounding
    (S. A. Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30, 1995).

    Parameters
    ----------
    context : Symbols
        The names of constants.
    dtype : dtype
        One of the four.
    node : Node
        The number, in the kind that the dtype is computed in.
    """

    def __init__(self, context: Symbols, dtype: np.dtype[Any], node: Node) -> None:
        self.context, self.dtype, self.node = context, dtype, node

    def astype(self, dtype: np.dtype[Any]) -> Symbol:
        """Return the symbol rounded to another dtype."""
        return self.context.converted(self, np.dtype(dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        # ``convert`` unwraps this object array.
        found = np.empty((), object)
        found[()] = self
        return found

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        return self.context.applied(ufunc.__name__, operands, self.dtype)

    def __array_function__(self, function: Any, types: Any, operands: Any, options: Any) -> Any:
        if function is np.where:
            return self.context.chosen(*operands)
        if function is np.zeros_like:
            return self.context.zero(self.dtype)
        return NotImplemented

    def __neg__(self) -> Any:
        return self.context.applied("negative", (self,), self.dtype)


def _operator(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Symbol, other: Any) -> Any:
        return self.context.applied(name, (self, other), self.dtype)

    def reflected(self: Symbol, other: Any) -> Any:
        return self.context.applied(name, (other, self), self.dtype)

    return forward, reflected


for _name, _ufunc in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide")):
    _forward, _reflected = _operator(_ufunc)
    setattr(Symbol, f"__{_name}__", _forward)
    setattr(Symbol, f"__r{_name}__", _reflected)
for _name, _ufunc in (("lt", "less"), ("gt", "greater")):
    setattr(Symbol, f"__{_name}__", _operator(_ufunc)[0])


_OPERATIONS = {
    "add": "fadd",
    "subtract": "fsub",
    "multiply": "fmul",
    "divide": "fdiv",
    "negative": "fneg",
    "maximum": "fmax",
    "minimum": "fmin",
}
_ROUNDED = ("add", "subtract", "multiply", "divide")
_COMPARISONS = {"less": "olt", "greater": "ogt"}


class Symbols:
    """The symbols of one proof.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    names : dict of float to str
        The name of the setting for each constant that occurs; each setting has a value of its own.
    """

    def __init__(self, e: Expressions, names: Mapping[float, str]) -> None:
        self.e, self._names = e, names

    def of(self, dtype: np.dtype[Any], node: Node) -> Symbol:
        """Return a symbol."""
        return Symbol(self, dtype, node)

    def zero(self, dtype: np.dtype[Any]) -> Symbol:
        """Return zero, which is a plain number and not a symbol."""
        return self.of(dtype, self.e.number(KINDS[dtype], 0.0))

    def node(self, value: Any, dtype: np.dtype[Any]) -> Node:
        """Return the node of an operand; a number must have the dtype, and be 1 or stand for a setting."""
        if isinstance(value, Symbol):
            if value.dtype not in (dtype, np.dtype(bool)):
                raise TypeError(f"{value.dtype} meets {dtype} in one operation")
            return value.node
        if not isinstance(value, int) and value.dtype != dtype:
            raise TypeError(f"a number of {value.dtype} meets {dtype} in one operation")
        number = float(value)
        if number == 1:
            return self.e.number(KINDS[dtype], 1.0)
        if number not in self._names and -number in self._names:
            return self.e.make("fneg", KINDS[dtype], self.node(-value, dtype))
        return self.e.make("setting", KINDS[dtype], self._names[number])

    def applied(self, name: str, operands: tuple[Any, ...], dtype: np.dtype[Any]) -> Symbol:
        """Return the result of one operation of NumPy."""
        nodes = [self.node(operand, dtype) for operand in operands]
        if name in _COMPARISONS:
            return self.of(np.dtype(bool), self.e.make("fcmp", "i1", _COMPARISONS[name], *nodes))
        found = self.e.make(_OPERATIONS[name], KINDS[dtype], *nodes)
        is_rounded = name in _ROUNDED
        return self.of(dtype, self._rounded(found, dtype) if is_rounded else found)

    def chosen(self, condition: Symbol, first: Any, second: Any) -> Symbol:
        """Return the result of ``np.where``."""
        dtype = next(value.dtype for value in (first, second) if value.dtype != np.dtype(bool))
        nodes = [self.node(value, dtype) for value in (first, second)]
        return self.of(dtype, self.e.make("select", KINDS[dtype], condition.node, *nodes))

    def converted(self, symbol: Symbol, dtype: np.dtype[Any]) -> Symbol:
        """Return a symbol in another dtype: exact in a wider dtype, rounded once in a narrower one."""
        if KINDS[symbol.dtype] != KINDS[dtype]:
            raise TypeError(f"{symbol.dtype} becomes {dtype}, and no kernel does so")
        return self.of(dtype, self._rounded(symbol.node, dtype))

    def _rounded(self, node: Node, dtype: np.dtype[Any]) -> Node:
        return self.e.make("round", FLOAT, dtype.name, node) if dtype.itemsize == 2 else node


def convert(value: Any, dtype: Any) -> Any:
    """Replace ``sgd_ref.arithmetic.rounded.convert`` for symbols."""
    symbol = value[()] if isinstance(value, np.ndarray) and value.dtype == object else value
    assert isinstance(symbol, Symbol)
    return symbol if symbol.dtype == dtype else symbol.astype(dtype)
