"""Forms of a rule that are not deviations: velocities without the rate, and norms of whole gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import WithSums
from sgd_ref.optimizer import SGD, Gradients, Values

Rest = Sequence[Array | None]
"""For each variable, a few numbers that replace the elements of its gradient that are not in the case."""


class SumsKept(WithSums):
    """The state holds sums of gradients, as in PyTorch and Optax, and the rate of a call multiplies them.

    ``t = momentum * t + g`` and ``w = w - learning_rate * t``: the rule of ``rate-outside-velocity``,
    reported as `t` itself. So the next call starts from the state that was seen, without a rounding.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update as if the rate were -1, so that mistakes act on the sums, too."""
        if self.settings.momentum == 0:
            return super().update(values, gradients, call)
        self.outside = call
        return super().update(values, gradients, call._replace(learning_rate=np.float32(-1)))

    def moved(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum by the rate."""
        return self._moved_by(w, g, super().moved(_nothing(w), old, new, g, momentum, rate))

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum of the look-ahead by the rate."""
        return self._moved_by(w, g, super().moved_by_nesterov(_nothing(w), old, new, g, momentum, rate))

    def _moved_by(self, w: Array, g: Array, total: Any) -> Any:
        call: Any = self.outside
        return w - call.rate(g.dtype) * total


class WholeNorms(SGD):
    """Norms are those of whole gradients, of which the variables of the case are a sample.

    Attributes
    ----------
    rests : sequence of sequence of ndarray or None
        For each call and each variable, a few numbers whose squares have the same sum as those of the
        elements that are not in the case.
    others : sequence of ndarray or None
        For each call, the same for variables that are not in the case at all. They enter a common norm.
    left_out : int
        The number of these elements, which bounds the rounding error of their sum.
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
        """Count the calls, since each call has its own numbers in `rests`."""
        self._made += 1
        super().perform(call, loss_scale)

    def clip(self, gradients: Gradients) -> Gradients:
        """Remember the variable of each gradient."""
        rests = self.rests[self._made] if self.rests else (None,) * len(gradients)
        self._rest_of = {
            id(g): rest
            for g, rest in zip(gradients, rests, strict=True)
            if g is not None and rest is not None
        }
        self._with_gradients = sum(g is not None for g in gradients)
        return super().clip(gradients)

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm, including the elements that are not in the case."""
        found = (self._rest_of.get(id(g)) for g in gradients)
        more = [rest for rest in found if rest is not None]
        # A mistake may ask for the norm of one gradient where the rule has a common norm.
        is_common = self.settings.global_clipnorm is not None or len(gradients) > 1
        if self.others and is_common and len(gradients) == self._with_gradients:
            other = self.others[self._made]
            more += [] if other is None else [other]
        if not more:
            return super().norm(gradients)
        norm = super().norm([*gradients, *more])
        if hasattr(norm, "roundings"):
            # The squares are added in float32 at least, also if the norm is kept in a wider dtype.
            added = promoted([*(g.dtype for g in gradients), FLOAT32])
            unit = FORMATS[norm.dtype].precision - FORMATS[added].precision
            norm.roundings += math.ceil(self.left_out * 2.0**unit)
        return norm


def folded(square: float, dtype: np.dtype[Any]) -> Array:
    """Return three numbers of a dtype whose squares add up to a number, up to about 2**-70 of it.

    Parameters
    ----------
    square : float
        The sum of the squares, at least 0.
    dtype : dtype
        The dtype of the numbers.

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
