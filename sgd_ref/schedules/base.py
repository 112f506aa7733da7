"""The base of all learning-rate schedules: settings, and a formula whose value is rounded correctly, once."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Protocol, Self

import numpy as np

from sgd_ref.arithmetic import exact, interval
from sgd_ref.arithmetic.formats import FLOAT32, FORMATS
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.read_only import ReadOnlyDict
from sgd_ref.validation import (
    finite_real,
    integer_at_least,
    non_negative_real,
    positive_real,
    reject_value,
)

_LARGEST_FLOAT32 = float(FORMATS[FLOAT32].largest)


class LearningRateSchedule:
    """A learning rate that depends on the step; subclass it and override `__call__` to write your own.

    If your schedule is to be compared, printed or saved, override `get_config`, too. Settings never change
    after construction.

    Examples
    --------
    >>> class Harmonic(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return np.float32(1 / (step + 1))
    >>> Harmonic()(3)
    np.float32(0.25)
    """

    def __call__(self, step: int) -> np.float32:
        """Return the learning rate of call `step` of the optimizer, counted from 0.

        The schedule counts calls, not updates: under gradient accumulation there are more calls than updates.

        Parameters
        ----------
        step : int
            Number of calls made before, at least 0.

        Returns
        -------
        float32
            The rate, without a unit.

        Raises
        ------
        NotImplementedError
            If the subclass does not override this method.

        Examples
        --------
        >>> from sgd_ref.schedules import ExponentialDecay
        >>> ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)(10)
        np.float32(0.125)
        """
        raise NotImplementedError(f"{type(self).__name__} must override __call__(self, step)")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain data, under the keys of Keras."""
        raise NotImplementedError(f"{type(self).__name__} must override get_config(self) to be serializable")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the schedule whose `get_config` returned `config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LearningRateSchedule) or type(self) is not type(other):
            return NotImplemented
        try:
            return self is other or self.get_config() == other.get_config()
        except NotImplementedError:
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        try:
            config = self.get_config()
        except NotImplementedError:
            return object.__repr__(self)
        arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
        return f"{type(self).__name__}({arguments})"


class Arithmetic(Protocol):
    """The numbers that a formula computes with: the module `interval` (fast) or the module `exact`."""

    def number(self, value: Fraction | float, /) -> Any:
        """Return a number of this arithmetic."""

    def power(self, base: Any, exponent: Any, /) -> Any:
        """Return `base` to the power of `exponent`."""

    def cosine_of_pi_times(self, x: Any, /) -> Any:
        """Return cos(pi * x)."""


class FormulaSchedule(LearningRateSchedule):
    """A schedule with a formula, which is evaluated as if in real numbers.

    The value is the float32 nearest to the formula, ties to even, for the settings rounded to float32 and
    the exact step. The formula runs on intervals first. If both ends of the result round to the same float32,
    so does every number between them. Otherwise the formula runs on exact numbers (Ziv's strategy). A value
    halfway between two floats is rational. Rational values are computed exactly, except powers with too many
    digits to be halfway. An irrational value is rounded wrongly only if its relative distance to halfway is
    below about
    2**-400. Among the 2**224 combinations of five settings and a step of 64 bits, not one is expected to be
    so near.

    Parameters
    ----------
    config : dict
        The settings, checked, under the names of the arguments of the constructor.

    Extending
    ---------
    A subclass gives its checked settings to this constructor, and overrides ``formula(step, settings,
    arithmetic)``, which returns the value as a number of this arithmetic. A formula that decides between
    cases, such as periods, reads the settings of the schedule. ``exact_settings`` has those that are numbers,
    rounded to float32, as fractions; ``config`` is the dict of all settings.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = ReadOnlyDict(config, "config of a schedule", "give the optimizer another schedule")
        rounded = {
            name: float(nearest(Fraction(value), np.float32))
            for name, value in config.items()
            if type(value) in (int, float)
        }
        self._enclosing_settings = _settings_in(interval, rounded)
        self.exact_settings = _settings_in(exact, rounded)

    def __setattr__(self, name: str, value: object) -> None:
        # The constructor has already rounded the settings for the formula: a change of this dict would have
        # no effect.
        if name in vars(self) or name in vars(self).get("config", ()):
            raise AttributeError(
                f"{name} is fixed when the schedule is constructed, got {value!r}; "
                "give the optimizer another schedule"
            )
        super().__setattr__(name, value)

    def __call__(self, step: int) -> np.float32:
        """Return the float32 nearest to the formula, ties to even; see ``LearningRateSchedule.__call__``.

        Raises
        ------
        TypeError
            If `step` is not an integer.
        ValueError
            If `step` is negative.

        Examples
        --------
        >>> from sgd_ref.schedules import InverseTimeDecay
        >>> InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)(30)
        np.float32(0.125)
        """
        step = integer_at_least("step", step, 0)
        try:
            value = self.formula(step, self._enclosing_settings, interval)
        except ArithmeticError:
            return self._rounded_exactly(step)
        if max(-value.lower, value.upper) <= _LARGEST_FLOAT32:
            lowest, highest = np.float32(value.lower), np.float32(value.upper)
            # Both ends can be zeros, of different sign.
            if lowest == highest != 0:
                return lowest
        return self._rounded_exactly(step)

    def _rounded_exactly(self, step: int) -> np.float32:
        value: np.float32 = nearest(self.formula(step, self.exact_settings, exact), np.float32)
        return value

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value as a number of `arithmetic`.

        Parameters
        ----------
        step : int
            Number of calls made before, at least 0.
        settings : namespace
            The numbers among the settings, rounded to float32, as numbers of `arithmetic`.
        arithmetic : Arithmetic
            The functions that the formula may use besides ``+ - * /``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override formula(self, step, settings, arithmetic)"
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain data, under the keys of Keras."""
        return dict(self.config)


def real_setting(name: str, value: Any, check: Callable[[str, Any], float] = finite_real) -> float:
    """Return `value` as a Python float that passes `check` and is finite in float32."""
    number = check(name, value)
    if abs(nearest(Fraction(number), np.float32)) == np.inf:
        reject_value(name, value, "a real number that is finite in float32")
    return number


def length_setting(name: str, value: Any) -> int | float:
    """Return a number of steps, of any real type, that is positive and finite in float32."""
    positive_real(name, value)
    length = _integer_or_float(value)
    if not 0 < nearest(Fraction(length), np.float32) < np.inf:
        reject_value(name, value, "a real number that is greater than 0 and finite in float32")
    return length


def length_or_zero_setting(name: str, value: Any) -> int | float:
    """Return a number of steps, of any real type, that is 0 or more and finite in float32."""
    real_setting(name, value, non_negative_real)
    return _integer_or_float(value)


def _integer_or_float(value: Any) -> int | float:
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _settings_in(arithmetic: Arithmetic, values: dict[str, float]) -> SimpleNamespace:
    return SimpleNamespace(**{name: arithmetic.number(value) for name, value in values.items()})
