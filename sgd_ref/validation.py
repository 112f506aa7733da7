"""Checks of settings: each names the argument, what was given and what is accepted."""

from __future__ import annotations

import math
import numbers
from typing import Any, NoReturn

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, Array


def reject_type(name: str, value: object, accepted: str) -> NoReturn:
    """Raise the TypeError for an argument of the wrong type."""
    raise TypeError(f"{name} must be {accepted}, got {_shown(value)} of type {type(value).__name__}")


def reject_value(name: str, value: object, accepted: str) -> NoReturn:
    """Raise the ValueError for an argument of the right type and the wrong value."""
    raise ValueError(f"{name} must be {accepted}, got {_shown(value)}")


def finite_real(name: str, value: Any, accepted: str = "a finite real number") -> float:
    """Return `value` as a Python float.

    >>> finite_real("learning_rate", 1)
    1.0
    >>> finite_real("learning_rate", float("nan"))
    Traceback (most recent call last):
    ValueError: learning_rate must be a finite real number, got nan
    """
    # bfloat16, unlike the floats of NumPy, is not registered as a real number.
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, BFLOAT16.type)):
        reject_type(name, value, accepted)
    try:
        number = float(value)
    except OverflowError:
        reject_value(name, value, accepted)
    if not math.isfinite(number):
        reject_value(name, value, accepted)
    return number


def positive_real(name: str, value: Any) -> float:
    """Return `value` as a finite, positive Python float."""
    accepted = "a finite real number greater than 0"
    number = finite_real(name, value, accepted)
    if number <= 0:
        reject_value(name, value, accepted)
    return number


def non_negative_real(name: str, value: Any) -> float:
    """Return `value` as a finite Python float that is 0 or more."""
    accepted = "a finite real number of at least 0"
    number = finite_real(name, value, accepted)
    if number < 0:
        reject_value(name, value, accepted)
    return number


def unit_interval(name: str, value: Any) -> float:
    """Return `value` as a Python float in [0, 1]."""
    accepted = "a real number in [0, 1]"
    number = finite_real(name, value, accepted)
    if not 0 <= number <= 1:
        reject_value(name, value, accepted)
    return number


def integer_at_least(name: str, value: Any, minimum: int) -> int:
    """Return `value` as a Python integer that is `minimum` or more."""
    accepted = f"an integer of at least {minimum}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        reject_type(name, value, accepted)
    number = int(value)
    if number < minimum:
        reject_value(name, value, accepted)
    return number


def boolean(name: str, value: Any) -> bool:
    """Return `value`, which must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        reject_type(name, value, "True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Return `value`, which must be a non-empty string."""
    if not isinstance(value, str):
        reject_type(name, value, "a string")
    if not value:
        reject_value(name, value, "a string that is not empty")
    return value


def ndarray(name: str, value: Any) -> Array:
    """Return `value`, which must be an ndarray, and not a masked array."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        reject_type(name, value, "an ndarray")
    return value


def optimizer_name(name: str, value: Any) -> str:
    """Return `value`, which must be a name that Keras accepts: not empty, and without a slash."""
    checked = text(name, value)
    if "/" in checked:
        reject_value(name, value, "a string without '/'")
    return checked


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:
        # Python refuses to write out an integer of thousands of digits.
        shown = object.__repr__(value)
    return shown if len(shown) <= 200 else shown[:197] + "..."
