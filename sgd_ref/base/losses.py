"""Settings that a dtype does not have: one policy for all of them, and for all ways in.

A setting is lost in a dtype where it becomes 0 although it is not, or infinite, or 1 although it is strictly
between 0 and 1. Clippings and scales are refused there, since they would undo every gradient. The others,
which are the learning rate, ``momentum``, ``weight_decay`` and ``ema_momentum``, are used as they then are,
with a warning. There is one warning for each optimizer, setting and dtype, at the first value that is lost,
whether it came by the constructor, ``build``, the setter, a schedule, a callable, ``set_weights`` or
``load``; the settings in a checkpoint were told when its optimizer was built.

The learning rate is lost in float32, through which it passes, or in the dtype of a variable. A value of a
schedule or a callable that becomes 1 is not told, since it is off by no more than any rounding. A schedule's
own rounding is not told either, so that one that ends at 0, or so near to it that its value is 0, is silent.
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
    """The warnings that the user of one optimizer has had, and the range of learning rates that need none.

    Attributes
    ----------
    lowest, highest : float
        A rate whose absolute value is strictly between them is kept in every dtype for which there is no
        warning yet.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, np.dtype[Any]]] = set()
        self._dtypes: list[np.dtype[Any]] = []
        self.lowest, self.highest = 0.0, math.inf

    def use(self, dtypes: Iterable[np.dtype[Any]]) -> None:
        """Remember the dtypes of the variables, in which the learning rates will be used."""
        self._dtypes = list(dict.fromkeys(dtypes))
        self._set_limits()

    def keep(self, rate: float) -> bool:
        """Whether a learning rate needs no warning."""
        return self.lowest < abs(rate) < self.highest

    def forget_rate(self) -> None:
        """Forget the warnings about the learning rate, since another one takes its place."""
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
        """Warn of a setting that is lost in a dtype, unless that was done before.

        Parameters
        ----------
        name : str
            Of the setting.
        value : float or None
            As it was given, finite; None where it is off.
        dtype : dtype
            Where it is used.
        near_one : bool
            Whether it is lost, too, where it is strictly between 0 and 1 and becomes 1.
        """
        if value is None or value == 0 or (name, dtype) in self._told:
            return
        rounded = float(setting(value, dtype))
        becomes_one = near_one and abs(value) < 1 == abs(rounded)
        if rounded != 0 and math.isfinite(rounded) and not becomes_one:
            return
        # Before the warning, which may be an error, since the value is told then, too.
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
    """Return the ``stacklevel`` of a warning, of the function that calls this, that names the user's line.

    A setting comes in by many ways, through more or fewer functions of these packages.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in PACKAGES:
        level, frame = level + 1, frame.f_back
    return level
