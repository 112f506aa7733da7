"""The settings of an optimizer in the form that the kernels of one dtype take."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.shared.element import (
    ACCUMULATED,
    CLASSIC,
    DIVIDED,
    KERAS,
    NESTEROV,
    NO_MOMENTUM,
    PLAIN,
    Variant,
)
from numba_kernels.shared.slots import (
    EMA_COMPLEMENT,
    EMA_MOMENTUM,
    FIRST_AVERAGE,
    HIGHEST,
    LEARNING_RATE,
    LOSS_SCALE,
    MOMENTUM,
    OVERWRITE,
    SETTINGS,
    STEPS,
    WEIGHT_DECAY,
)
from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.settings import Settings


class Constants:
    """The settings, rounded to one dtype and stored as float64.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    dtype : dtype
        The dtype of the variables.
    rule : int
        The rule of the kernels: ``element.KERAS`` or ``element.PYTORCH``.

    Attributes
    ----------
    values : ndarray of float64, shape (SETTINGS,)
        The argument of a kernel; `set_call` writes the numbers that differ from call to call.
    """

    def __init__(self, settings: Settings, dtype: np.dtype[Any], rule: int = KERAS) -> None:
        self.dtype, self.rule = dtype, rule
        self._wide = promoted([dtype, FLOAT32])
        self.values = np.ones(SETTINGS)
        self._rate: np.float32 | None = None
        self._others: tuple[float | np.float32 | None, bool, bool] = None, False, False
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Write the numbers that stay the same from call to call."""
        values = self.values
        if settings.gradient_accumulation_steps is not None:
            values[STEPS] = self._rounded(settings.gradient_accumulation_steps)
        # No number is above infinity, so that nothing is clipped.
        values[HIGHEST] = np.inf if settings.clipvalue is None else self._rounded(settings.clipvalue)
        values[WEIGHT_DECAY] = 0.0 if settings.weight_decay is None else self._rounded(settings.weight_decay)
        values[MOMENTUM] = self._rounded(settings.momentum)
        momentum = setting(settings.ema_momentum, self.dtype)
        values[EMA_MOMENTUM] = momentum
        values[EMA_COMPLEMENT] = 1 - momentum
        # This comes last, since an interrupt may leave only a part of the numbers written.
        self.settings = settings

    def set_call(
        self,
        learning_rate: np.float32,
        loss_scale: float | np.float32 | None,
        is_first_average: bool,
        overwrites: bool,
    ) -> None:
        """Write the numbers of one call, unless they equal those of the last call."""
        # The comparison takes a twentieth of the 1.7 microseconds of writing. Rates are compared by identity,
        # since 0.0 equals -0.0.
        others = loss_scale, is_first_average, overwrites
        if learning_rate is self._rate and others == self._others:
            return
        # An interrupt may leave only a part of the numbers written.
        self._rate = None
        with np.errstate(all="ignore"):
            # A float32 needs no second rounding on its way to any of the four dtypes.
            self.values[LEARNING_RATE] = learning_rate.astype(self.dtype)
            self.values[LOSS_SCALE] = 1.0 if loss_scale is None else self._wide.type(loss_scale)
        self.values[FIRST_AVERAGE] = is_first_average
        self.values[OVERWRITE] = overwrites
        self._others = others
        self._rate = learning_rate

    def variant(self, has_loss_scale: bool) -> Variant:
        """Return the variant of the kernel that makes the update."""
        settings = self.settings
        momentum = NO_MOMENTUM
        if settings.momentum != 0:
            momentum = NESTEROV if settings.nesterov else CLASSIC
        gradient = self.gradient(has_loss_scale)
        if settings.clipnorm is not None:
            gradient = max(gradient, DIVIDED)
        return Variant(momentum, gradient, settings.use_ema, self.rule)

    def gradient(self, has_loss_scale: bool) -> int:
        """Return the kind of transformation of a gradient before clipping."""
        if self.settings.gradient_accumulation_steps is not None:
            return ACCUMULATED
        return DIVIDED if has_loss_scale else PLAIN

    def _rounded(self, value: float) -> float:
        return float(setting(value, self.dtype))
