"""A value that no faithful evaluation gives, and its description in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

DIGITS = 17
"""Significant decimal digits of a float64, so that no two different numbers print alike."""

DIGITS_OF_SINGLE = 9
"""The same for a float32, and more than half types need."""


@dataclass(frozen=True)
class Violation:
    """A value that no faithful evaluation gives.

    Attributes
    ----------
    call : int
        Counted from 0; the number of calls stands for the record after finalisation.
    quantity : str
        Such as "variables" or "learning_rate".
    variable : str
        Name of the variable; empty for a scalar.
    element : tuple of int
        Index of the element.
    observed : float
        The observed value.
    lower, upper : float
        The least and the greatest possible value; if `lower` is greater, no number is possible.
    nan : bool
        Whether NaN would be possible.
    digits : int
        Significant decimal digits that tell any two numbers of the dtype apart.

    Examples
    --------
    >>> print(Violation(2, "variables", "kernel", (0, 3), 0.875, math.inf, -math.inf, nan=True))
    call 2, variables of kernel[0, 3]: 0.875, where NaN is the only possible value
    >>> print(Violation(0, "calls", "", (), 2.0, 1.0, 1.0))
    call 0, calls: 2, where 1 is the only possible value
    """

    call: int
    quantity: str
    variable: str
    element: tuple[int, ...]
    observed: float
    lower: float
    upper: float
    nan: bool = False
    digits: int = DIGITS

    def __str__(self) -> str:
        where = f"call {self.call}, {self.quantity}"
        if self.variable:
            where += f" of {self.variable}{list(self.element)}"
        return f"{where}: {self._shown(self.observed)}{self._what_is_possible()}"

    def _what_is_possible(self) -> str:
        if not self.lower <= self.upper:
            return ", where NaN is the only possible value"
        lower, upper = self._shown(self.lower), self._shown(self.upper)
        or_nan = ", and NaN is possible" if self.nan else ""
        if self.lower != self.upper:
            return f" is outside of [{lower}, {upper}]{or_nan}"
        if self.observed == self.lower == 0:
            return ", where a zero of the other sign is the only possible value"
        only = (
            f"{lower} and NaN are the only possible values"
            if self.nan
            else f"{lower} is the only possible value"
        )
        return f", where {only}"

    def _shown(self, value: float) -> str:
        return "NaN" if math.isnan(value) else f"{value:.{self.digits}g}"
