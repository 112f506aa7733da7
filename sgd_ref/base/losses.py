"""Settings that a dtype cannot represent: one policy for all of them, however they are set.

A dtype loses a setting if the rounded setting is infinite, or 0 although the setting is not, or 1 although
the setting is strictly between 0 and 1. Lost clippings and scales are refused, since they would undo every
gradient. The other settings (learning rate, ``momentum``, ``weight_decay`` and ``ema_momentum``) are used as
rounded, with a warning. There is one warning for each optimizer, setting and dtype, at the first value that
is lost. The value may come from the constructor, ``build``, the setter, a schedule, a callable,
``set_weights`` or ``load``. The settings in a checkpoint give no warning: the user was warned when the
optimizer was built.

The learning rate can be lost in float32, to which it is rounded first, or in the dtype of a variable. A value
of a schedule or a callable that becomes 1 gives no warning, since its error is no larger than that of any
rounding. A schedule's own rounding gives no warning either, so that a schedule may end at 0, or at a value
that rounds to 0.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS
from sgd_ref.arithmetic.rounded import setting

PACKAGES = ("sgd_ref", "numba_kernels")


class Losses:
    """The warnings that one optimizer has given, and the range of learning rates that need no warning.

    Attributes
    ----------
    lowest, highest : float
        If the absolute value of a rate is strictly between them, every dtype without a warning so far keeps
        the rate.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, np.dtype[Any]]] = set()
        self._dtypes: list[np.dtype[Any]] = []
        self.lowest, self.highest = 0.0, math.inf

    def use(self, dtypes: Iterable[np.dtype[Any]]) -> None:
        """Remember the dtypes of the variables, since learning rates will be used in these dtypes."""
        self._dtypes = list(dict.fromkeys(dtypes))
        self._set_limits()

    def keep(self, rate: float) -> bool:
        """Whether a learning rate needs no warning."""
        return self.lowest < abs(rate) < self.highest

    def forget_rate(self) -> None:
        """Forget the warnings about the learning rate, since another rate replaces it."""
        self._told = {(name, dtype) for name, dtype in self._told if name != "learning_rate"}
        self._set_limits()

    def tell_rate(self, rate: np.float32, near_one: bool = False) -> None:
        """Warn of a learning rate that a dtype of the variables loses."""
        for dtype in self._dtypes:
            self.tell("learning_rate", float(rate), dtype, near_one)

    def tell_given_rate(self, given: Any, rate: np.float32) -> None:
        """Warn of a value of a schedule or a callable that float32 or a dtype of the variables loses."""
        self.tell("learning_rate", float(given), FLOAT32, near_one=False)
        self.tell_rate(rate)

    def tell(self, name: str, value: float | None, dtype: np.dtype[Any], near_one: bool = True) -> None:
        """Warn of a setting that is lost in a dtype, unless this warning was given before.

        Parameters
        ----------
        name : str
            The name of the setting.
        value : float or None
            The value as it was given, finite; None if the setting is off.
        dtype : dtype
            The dtype in which the setting is used.
        near_one : bool
            Whether a setting strictly between 0 and 1 that becomes 1 is lost, too.
        """
        if value is None or value == 0 or (name, dtype) in self._told:
            return
        rounded = float(setting(value, dtype))
        becomes_one = near_one and abs(value) < 1 == abs(rounded)
        if rounded != 0 and math.isfinite(rounded) and not becomes_one:
            return
        # This comes before the warning, which may be an error, since the user knows of the value then, too.
        self._told.add((name, dtype))
        self._set_limits()
        warnings.warn(f"{name}={value!r} becomes {rounded:g} in {dtype}", stacklevel=level_of_user())

    def _set_limits(self) -> None:
        untold = [FORMATS[dtype] for dtype in self._dtypes if ("learning_rate", dtype) not in self._told]
        # Half of the smallest subnormal goes to zero, and half a unit past the largest number to infinity.
        self.lowest = max((math.ldexp(1.0, f.minimum_exponent - f.precision) for f in untold), default=0.0)
        self.highest = min(
            (float(f.largest) + math.ldexp(0.5, 1 - f.minimum_exponent - f.precision + 1) for f in untold),
            default=math.inf,
        )


def level_of_user() -> int:
    """Return the ``stacklevel`` with which a warning of the calling function names the user's line.

    The number of functions of these packages between the two depends on how the setting is given.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in PACKAGES:
        level, frame = level + 1, frame.f_back
    return level
