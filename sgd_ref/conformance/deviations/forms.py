"""Forms of a rule that are no deviations: velocities without the rate, and norms of more than is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values

Rest = Sequence[Array | None]
"""For each variable the elements of its gradient that a norm has beside those of a case, folded to a few."""


class SumsKept(SGD):
    """The state has what PyTorch and Optax keep: sums of gradients, which the rate of a call multiplies.

    ``t = momentum * t + g`` and ``w = w - learning_rate * t``: the rule of ``rate-outside-velocity``,
    reported as `t` itself. So no rounding stands between what was seen of the state and what the next call
    starts from.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update as if the rate were -1, so that mistakes, too, act on sums."""
        if self.settings.momentum == 0:
            return super().update(values, gradients, call)
        self._rates = {g.dtype: call.rate(g.dtype) for g in gradients if g is not None}
        return super().update(values, gradients, call._replace(learning_rate=np.float32(-1)))

    def moved(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum by the rate."""
        return w - self._rates[g.dtype] * super().moved(_nothing(w), old, new, g, momentum, rate)

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum that looks ahead by the rate."""
        return w - self._rates[g.dtype] * super().moved_by_nesterov(_nothing(w), old, new, g, momentum, rate)


class WholeNorms(SGD):
    """Norms are those of whole gradients, of which the variables of the case are a sample.

    Attributes
    ----------
    rests : sequence of sequence of ndarray or None
        For each call, for each variable, a few numbers with the squares of the elements that are not there.
    others : sequence of ndarray or None
        For each call, the same of variables that are not in the case at all; they count in a common norm.
    left_out : int
        How many elements these are, for the roundings of their sum.
    """

    rests: Sequence[Rest] = ()
    others: Sequence[Array | None] = ()
    left_out: int = 0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._made = -1
        self._with_gradients = 0
        self._rest_of: dict[int, Array] = {}

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Count the calls, each of which has rests of its own."""
        self._made += 1
        super().perform(call, loss_scale)

    def clip(self, gradients: Gradients) -> Gradients:
        """Remember which gradient is that of which variable."""
        rests = self.rests[self._made] if self.rests else (None,) * len(gradients)
        self._rest_of = {
            id(g): rest
            for g, rest in zip(gradients, rests, strict=True)
            if g is not None and rest is not None
        }
        self._with_gradients = sum(g is not None for g in gradients)
        return super().clip(gradients)

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm with the elements that are not there."""
        found = (self._rest_of.get(id(g)) for g in gradients)
        more = [rest for rest in found if rest is not None]
        # The norm of one gradient among several is its own, as that of a mistake may be.
        is_common = self.settings.global_clipnorm is not None or len(gradients) > 1
        if self.others and is_common and len(gradients) == self._with_gradients:
            other = self.others[self._made]
            more += [] if other is None else [other]
        if not more:
            return super().norm(gradients)
        norm = super().norm([*gradients, *more])
        if hasattr(norm, "roundings"):
            unit = FORMATS[norm.dtype].precision - FORMATS[promoted([norm.dtype, FLOAT32])].precision
            norm.roundings += math.ceil(self.left_out * 2.0**unit)
        return norm


def folded(square: float, dtype: np.dtype[Any]) -> Array:
    """Return three numbers of a dtype whose squares sum to a number, but for some 2**-70 of it.

    Parameters
    ----------
    square : float
        At least 0.
    dtype : dtype
        Of the numbers.

    Examples
    --------
    >>> numbers = folded(2.0, np.dtype("float32"))
    >>> float(numbers[0]), float((numbers.astype("float64") ** 2).sum())
    (1.4142135381698608, 2.0)
    """
    numbers = []
    left = square
    for _ in range(3):
        with np.errstate(all="ignore"):
            number = setting(math.sqrt(left), dtype) if math.isfinite(left) else dtype.type(left)
            if math.isfinite(left) and float(number) ** 2 > left:
                number = np.nextafter(number, dtype.type(0))
        numbers.append(number)
        left = max(left - float(number) ** 2, 0.0) if math.isfinite(left) else 0.0
    return np.array(numbers, dtype)


def _nothing(w: Array) -> Array:
    return np.full_like(np.asarray(w), -0.0)
