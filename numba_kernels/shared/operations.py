"""The operations of the update, each rounded once to the dtype: the only arithmetic that kernels contain.

LLVM fuses a product and a sum only with permission, which nothing here gives; `selfcheck/machine_code`
verifies this in the machine code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_kernels.shared.inlining import inlined


class Operations(NamedTuple):
    """The four operations in one arithmetic."""

    multiply: Any
    add: Any
    subtract: Any
    divide: Any


@inlined
def multiply(a: Any, b: Any) -> Any:
    """Return the product, rounded once."""
    return a * b


@inlined
def add(a: Any, b: Any) -> Any:
    """Return the sum, rounded once."""
    return a + b


@inlined
def subtract(a: Any, b: Any) -> Any:
    """Return the difference, rounded once."""
    return a - b


@inlined
def divide(a: Any, b: Any) -> Any:
    """Return the quotient, rounded once."""
    return a / b


IN_THE_DTYPE = Operations(multiply, add, subtract, divide)


def rounded_to(rounded: Any, in_float32: Operations = IN_THE_DTYPE) -> Operations:
    """Return the operations of a half type: those of float32, with each result rounded by `rounded`.

    Here, rounding twice gives the result of rounding once: float32 has at least two digits more than twice
    those of either half type (S. A. Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30,
    1995).
    """
    multiply, add, subtract, divide = in_float32

    @inlined
    def multiply_rounded(a: Any, b: Any) -> Any:
        return rounded(multiply(a, b))

    @inlined
    def add_rounded(a: Any, b: Any) -> Any:
        return rounded(add(a, b))

    @inlined
    def subtract_rounded(a: Any, b: Any) -> Any:
        return rounded(subtract(a, b))

    @inlined
    def divide_rounded(a: Any, b: Any) -> Any:
        return rounded(divide(a, b))

    return Operations(multiply_rounded, add_rounded, subtract_rounded, divide_rounded)
