"""The settings of SGD besides the learning rate, checked once and never changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS
from sgd_ref.arithmetic.rounded import nearest, promoted, setting
from sgd_ref.base.losses import Losses
from sgd_ref.validation import (
    boolean,
    finite_real,
    integer_at_least,
    optimizer_name,
    positive_real,
    reject_value,
    unit_interval,
)

CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")
"""Mutually exclusive settings: at most one may be set."""


def _at_least_one(name: str, value: Any) -> int:
    return integer_at_least(name, value, 1)


def _at_least_two(name: str, value: Any) -> int:
    return integer_at_least(name, value, 2)


def _checked_by(check: Callable[[str, Any], Any], default: Any = None) -> Any:
    """Return a field with the check of its values; a field with the default None accepts None, too."""
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class Settings:
    """The settings of SGD, as Python numbers; each is rounded to a dtype where it is used.

    This is the only list of the settings: the checks of the constructor and the keys of a config are derived
    from it.

    >>> Settings.checked(momentum=0.9).momentum
    0.9
    >>> Settings.checked(momentum=1.5)
    Traceback (most recent call last):
    ValueError: momentum must be a real number in [0, 1], got 1.5
    """

    momentum: float = _checked_by(unit_interval, 0.0)
    nesterov: bool = _checked_by(boolean, False)
    weight_decay: float | None = _checked_by(finite_real)
    clipnorm: float | None = _checked_by(positive_real)
    clipvalue: float | None = _checked_by(positive_real)
    global_clipnorm: float | None = _checked_by(positive_real)
    use_ema: bool = _checked_by(boolean, False)
    ema_momentum: float = _checked_by(unit_interval, 0.99)
    ema_overwrite_frequency: int | None = _checked_by(_at_least_one)
    name: str = _checked_by(optimizer_name, "SGD")
    loss_scale_factor: float | None = _checked_by(positive_real)
    gradient_accumulation_steps: int | None = _checked_by(_at_least_two)

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
        checked: dict[str, Any] = {}
        for setting_field in fields(cls):
            value = getattr(settings, setting_field.name)
            is_off = value is None and setting_field.default is None
            check = setting_field.metadata["check"]
            checked[setting_field.name] = None if is_off else check(setting_field.name, value)
        clippings = {name: checked[name] for name in CLIPPINGS if checked[name] is not None}
        if len(clippings) > 1:
            listed = ", ".join(f"{name}={value}" for name, value in clippings.items())
            raise ValueError(
                f"at most one of clipnorm, clipvalue and global_clipnorm may be set, got {listed}"
            )
        return cls(**checked)

    @property
    def clips(self) -> bool:
        """Whether a clipping is set."""
        return any(getattr(self, name) is not None for name in CLIPPINGS)

    @property
    def clips_by_norm(self) -> bool:
        """Whether a clipping is set that limits a norm."""
        return self.clipnorm is not None or self.global_clipnorm is not None

    def rounded(self, dtype: np.dtype[Any]) -> RoundedSettings:
        """Return the settings that are combined with arrays, as numbers of one dtype.

        >>> Settings(momentum=0.9).rounded(np.dtype("float32")).momentum
        np.float32(0.9)
        """
        return RoundedSettings(self, dtype)

    def check_dtypes(
        self, dtypes: Iterable[np.dtype[Any]], learning_rate: np.float32 | None, losses: Losses
    ) -> None:
        """Check the settings in the dtypes in which they will be used.

        Parameters
        ----------
        dtypes : iterable of dtype
            The dtypes of the variables.
        learning_rate : float32 or None
            The learning rate if it is a number.
        losses : Losses
            The warnings already given.

        Raises
        ------
        ValueError
            If a clip or scale setting is not finite and normal in a dtype where it is used.

        Warns
        -----
        UserWarning
            If a setting is lost, as the module ``losses`` says, or the number of steps changes.
        """
        used = set(dtypes)
        for name in CLIPPINGS:
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
                losses.tell(name, value, dtype)


SETTINGS = tuple(setting_field.name for setting_field in fields(Settings))
"""The names of the settings, in the order of the constructor."""


class RoundedSettings:
    """The settings that are combined with arrays, in one dtype; each is rounded once, when it is read.

    Parameters
    ----------
    settings : Settings
        A setting that is None cannot be read.
    dtype : dtype
        The dtype of the arrays.
    """

    def __init__(self, settings: Settings, dtype: np.dtype[Any]) -> None:
        self._settings, self._dtype = settings, dtype

    @property
    def momentum(self) -> Any:
        """The factor of the velocity."""
        return setting(self._settings.momentum, self._dtype)

    @property
    def weight_decay(self) -> Any:
        """The factor of weight decay, without the learning rate."""
        assert self._settings.weight_decay is not None
        return setting(self._settings.weight_decay, self._dtype)

    @property
    def ema_momentum(self) -> Any:
        """The factor of the average."""
        return setting(self._settings.ema_momentum, self._dtype)

    @property
    def gradient_accumulation_steps(self) -> Any:
        """The divisor of a sum of gradients."""
        assert self._settings.gradient_accumulation_steps is not None
        return setting(self._settings.gradient_accumulation_steps, self._dtype)


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
