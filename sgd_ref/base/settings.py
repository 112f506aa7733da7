"""The settings of SGD besides the learning rate, checked once and never changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self, TypeVar

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS
from sgd_ref.arithmetic.rounded import nearest, promoted, setting
from sgd_ref.validation import (
    boolean,
    finite_real,
    integer_at_least,
    optimizer_name,
    positive_real,
    reject_value,
    unit_interval,
)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """The settings of SGD, as Python numbers; each is rounded to a dtype where it is used.

    >>> Settings.checked(momentum=0.9).momentum
    0.9
    >>> Settings.checked(momentum=1.5)
    Traceback (most recent call last):
    ValueError: momentum must be a real number in [0, 1], got 1.5
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    name: str = "SGD"
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None

    @classmethod
    def checked(cls, **given: Any) -> Self:
        """Return the settings if each is of the right type and in its range.

        Raises
        ------
        TypeError
            If a setting has the wrong type.
        ValueError
            If a setting is out of its range, or two clippings are set at once.
        """
        settings = cls(**given)
        checked = cls(
            momentum=unit_interval("momentum", settings.momentum),
            nesterov=boolean("nesterov", settings.nesterov),
            weight_decay=_optional(finite_real, "weight_decay", settings.weight_decay),
            clipnorm=_optional(positive_real, "clipnorm", settings.clipnorm),
            clipvalue=_optional(positive_real, "clipvalue", settings.clipvalue),
            global_clipnorm=_optional(positive_real, "global_clipnorm", settings.global_clipnorm),
            use_ema=boolean("use_ema", settings.use_ema),
            ema_momentum=unit_interval("ema_momentum", settings.ema_momentum),
            ema_overwrite_frequency=_optional(
                _at_least_one, "ema_overwrite_frequency", settings.ema_overwrite_frequency
            ),
            name=optimizer_name("name", settings.name),
            loss_scale_factor=_optional(positive_real, "loss_scale_factor", settings.loss_scale_factor),
            gradient_accumulation_steps=_optional(
                _at_least_two, "gradient_accumulation_steps", settings.gradient_accumulation_steps
            ),
        )
        clippings = {
            name: value
            for name in ("clipnorm", "clipvalue", "global_clipnorm")
            if (value := getattr(checked, name)) is not None
        }
        if len(clippings) > 1:
            listed = ", ".join(f"{name}={value}" for name, value in clippings.items())
            raise ValueError(
                f"at most one of clipnorm, clipvalue and global_clipnorm may be set, got {listed}"
            )
        return checked

    def check_dtypes(self, dtypes: Iterable[np.dtype[Any]], learning_rate: np.float32 | None) -> None:
        """Check the settings in the dtypes in which they will be used.

        Parameters
        ----------
        dtypes : iterable of dtype
            The dtypes of the variables.
        learning_rate : float32 or None
            The learning rate where it is a number.

        Raises
        ------
        ValueError
            If a clip or scale setting is not finite and normal where it is used.

        Warns
        -----
        UserWarning
            If a setting strictly between 0 and 1 becomes 0 or 1, or the number of steps changes.
        """
        used = set(dtypes)
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            wider = {promoted(list(used))} if name == "global_clipnorm" else set()
            for dtype in used | wider:
                _check_normal(name, getattr(self, name), dtype)
        for dtype in used:
            _check_normal("loss_scale_factor", self.loss_scale_factor, promoted([dtype, FLOAT32]))
            _check_steps(self.gradient_accumulation_steps, dtype)
            for name, value in (
                ("learning_rate", None if learning_rate is None else float(learning_rate)),
                ("momentum", self.momentum),
                ("weight_decay", self.weight_decay),
                ("ema_momentum", self.ema_momentum if self.use_ema else None),
            ):
                _warn_if_lost(name, value, dtype)


def _optional(check: Callable[[str, Any], Value], name: str, value: Any) -> Value | None:
    return None if value is None else check(name, value)


def _at_least_one(name: str, value: Any) -> int:
    return integer_at_least(name, value, 1)


def _at_least_two(name: str, value: Any) -> int:
    return integer_at_least(name, value, 2)


def _check_normal(name: str, value: float | None, dtype: np.dtype[Any]) -> None:
    if value is None:
        return
    rounded = float(setting(value, dtype))
    smallest = FORMATS[dtype].smallest_normal
    if not math.isfinite(rounded) or Fraction(rounded) < smallest:
        raise ValueError(
            f"{name} must be finite and normal in {dtype}, where it is used "
            f"(from {float(smallest):g} to {float(FORMATS[dtype].largest):g}), got {value!r}"
        )


def _check_steps(steps: int | None, dtype: np.dtype[Any]) -> None:
    if steps is None:
        return
    rounded = float(nearest(steps, dtype))
    if not math.isfinite(rounded):
        largest = float(FORMATS[dtype].largest)
        accepted = f"finite in {dtype}, where gradients are divided by it (at most {largest:g})"
        reject_value("gradient_accumulation_steps", steps, accepted)
    if rounded != steps:
        warnings.warn(
            f"gradient_accumulation_steps={steps} becomes {rounded:g} in {dtype}, so that the mean of the "
            "gradients is off by that ratio",
            stacklevel=5,
        )


def _warn_if_lost(name: str, value: float | None, dtype: np.dtype[Any]) -> None:
    if value is None or not 0 < abs(value) < 1:
        return
    rounded = float(setting(value, dtype))
    if abs(rounded) in (0.0, 1.0):
        warnings.warn(f"{name}={value!r} becomes {rounded:g} in {dtype}", stacklevel=5)
