"""Any subclass of the reference, run on arrays that know their terms."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.aliasing import memory_of
from sgd_ref.base.call import Call
from sgd_ref.conformance.bounds.running_error.array import PER_OPERATION, TermedArray, termed
from sgd_ref.conformance.bounds.running_error.orders import in_other_orders
from sgd_ref.conformance.deviations import DEFINITION, Basis, compose
from sgd_ref.conformance.deviations.observed.clipping import NormOfRoundedSquares
from sgd_ref.conformance.deviations.observed.subnormals import FlushedArray, SubnormalsFlushed
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.norm import euclidean_norm
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number, Numbers

UNKNOWN = 6 * PER_OPERATION
"""The number of roundings assumed for an array that a stage returns without terms: that of six operations."""

QUANTITIES = ("variables", "velocities", "averages", "accumulators")


class Termed(SGD):
    """The reference on arrays that know their terms; deviations come before it among the base classes.

    Attributes
    ----------
    termed : Values
        The results of the last call. An array whose bits differ from those of the optimizer's array is out of
        date.
    norm_overflowed : bool
        Whether a norm of finite gradients was rounded to infinity in some call.
    """

    termed: Values | None
    norm_overflowed: bool

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.termed = None
        self.norm_overflowed = False
        self._norms: dict[tuple[int, ...], tuple[list[Array], Any]] = {}

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Make the call, and keep the terms."""
        state = call.state
        self._norms = {}
        held = {
            "variables": memory_of(state.variables),
            "velocities": state.velocities,
            "averages": state.averages,
            "accumulators": state.accumulators,
        }
        values = Values(**{quantity: self._known(quantity, arrays) for quantity, arrays in held.items()})
        gradients = [None if g is None else termed(g, roundings=1) for g in call.gradients]
        with np.errstate(all="ignore"):
            advanced = self.advance(values, call._replace(gradients=gradients), loss_scale)
        for quantity, arrays in held.items():
            for array, result in zip(arrays, getattr(advanced, quantity), strict=True):
                array[...] = np.asarray(result)
        self.termed = advanced
        state.calls += 1
        self._state = state

    def _known(self, quantity: str, arrays: list[Array]) -> list[Array]:
        kept = [None] * len(arrays) if self.termed is None else getattr(self.termed, quantity)
        return [known(array, old) for array, old in zip(arrays, kept, strict=True)]

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale, and keep the terms: a quotient that overflows may be kept in a wider dtype."""
        unscaled = super().unscale(gradients, loss_scale)
        if loss_scale is None:
            return unscaled
        return [
            termed(new, old.terms / float(loss_scale), old.roundings + 2 * PER_OPERATION)
            if new is not None and isinstance(old, TermedArray)
            else new
            for new, old in zip(unscaled, gradients, strict=True)
        ]

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm, with as many roundings as a sum of its squares may have."""
        plain = [np.asarray(g) for g in gradients]
        norm = self._exact_norm(gradients)
        with np.errstate(invalid="ignore"):
            if np.isinf(norm) and all(np.isfinite(g).all() for g in plain):
                self.norm_overflowed = True
        return _termed_norm(norm, gradients, PER_OPERATION)

    def _exact_norm(self, gradients: list[Array]) -> Any:
        """Return the norm of the definition, which a step needs for the factor and for its roundings."""
        key = tuple(map(id, gradients))
        if key not in self._norms:
            # With the arrays themselves, so that no other array gets the place of one.
            self._norms[key] = gradients, super().norm([np.asarray(g) for g in gradients])
        return self._norms[key][1]

    def clipped(self, g: Numbers, norm: Number, clipnorm: Number) -> Numbers:
        """Clip, and allow for products and quotients that leave the range of the dtype."""
        return in_other_orders(super().clipped(g, norm, clipnorm), g, norm, clipnorm)

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip, and keep the roundings of the norm."""
        clipped = super().clip_by_global_norm(gradients, clipnorm)
        norm = self.norm([g for g in gradients if g is not None])
        return [
            None
            if new is None or old is None
            else in_other_orders(
                termed(new, roundings=UNKNOWN + _roundings_of(old) + _roundings_in(new, norm)),
                old,
                norm,
                clipnorm,
                may_divide_norm=False,
            )
            for new, old in zip(clipped, gradients, strict=True)
        ]

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Allow for the form of the old and the new velocity, with up to twice the terms."""
        moved = super().moved_by_nesterov(w, old, new, g, momentum, rate)
        if isinstance(moved, TermedArray):
            moved.roundings *= 2
        return moved

    def averaged(self, average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
        """Allow for a complement that is rounded apart from the momentum."""
        return rule.average(average, w, termed(np.asarray(ema_momentum)))


class NormKept(Termed):
    """The same, with a norm that is kept in float64 where it would be rounded to infinity.

    A faithful evaluation need not round an intermediate result to the dtype. PyTorch's fused kernels and MLX
    clip half gradients by a norm in float32, which is finite where that of float16 is infinite. Infinities
    of a norm that a deviation computes by itself remain: its squares may overflow. No dtype is wider than
    float64.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm in its own dtype, or in float64 if it is too large for its own dtype."""
        norm = super().norm(gradients)
        if norm.dtype == FLOAT64 or not np.isinf(np.asarray(norm)):
            return norm
        digits = FORMATS[FLOAT64].precision - FORMATS[norm.dtype].precision
        kept = euclidean_norm([np.asarray(g) for g in gradients], FLOAT64)
        return termed(kept, roundings=norm.roundings << digits)


class Repairing(SGD):
    """Gives terms to arrays that a deviating stage returns without terms; it comes before the deviations."""

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Make the step, and give terms to arrays without terms."""
        advanced = _repaired(values, super().advance(values, call, loss_scale))
        if isinstance(self, SubnormalsFlushed):
            for array in (array for quantity in QUANTITIES for array in getattr(advanced, quantity)):
                array.flushes = True
        return advanced

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale; scaled gradients are as large as the scale, unscaled ones are not."""
        return _repaired_gradients(None, super().unscale(gradients, loss_scale))

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate, and give terms to arrays without terms."""
        return _repaired(values, super().accumulate(values, gradients))

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean, and give terms to arrays without terms."""
        means, reset = super().mean(values, gradients)
        return _repaired_gradients(gradients, means), _repaired(values, reset)

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm, with as many roundings as a sum of its squares may have."""
        norm = super().norm(gradients)
        if isinstance(norm, TermedArray):
            return norm
        # Squares and root may be rounded by themselves, too.
        return _termed_norm(
            norm,
            gradients,
            2 * PER_OPERATION,
            getattr(self, "adds_in_half_types", False),
            isinstance(self, NormOfRoundedSquares),
        )

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip, round to the dtypes of the gradients, and give terms to arrays without terms."""
        clipped = [
            _rounded_like(new, old) for new, old in zip(super().clip(gradients), gradients, strict=True)
        ]
        return _repaired_gradients(None, clipped)

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay the weights, and give terms to arrays without terms."""
        return _repaired(values, super().decay(values, gradients, call))

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, and give terms to arrays without terms."""
        return _repaired(values, super().update(values, gradients, call))

    def average(self, values: Values, call: Call) -> Values:
        """Average, and give terms to arrays without terms."""
        return _repaired(values, super().average(values, call))


def known(array: Array, kept: Array | None) -> TermedArray:
    """Return an array with the terms that are kept for it; as single terms if these belong to other bits."""
    if isinstance(kept, TermedArray) and np.asarray(kept).tobytes() == array.tobytes():
        return kept
    return termed(array)


@cache
def composed(
    names: frozenset[str], basis: Basis = DEFINITION, keeps_norm: bool = False
) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    """Return the optimizer with some deviations on arrays that know their terms, and its wrapper.

    Parameters
    ----------
    names : frozenset of str
        Names of deviations.
    basis : Basis, optional
        The rule that the deviations are added to.
    keeps_norm : bool, default False
        Whether a norm that is too large for its dtype is kept in a wider one.

    Examples
    --------
    >>> composed(frozenset(["ascends"]))[0].__name__
    'TermedRule'
    """
    arrays = NormKept if keeps_norm else Termed
    base = arrays if basis.optimizer is SGD else type("TermedBase", (basis.optimizer, arrays), {})
    optimizer, wrapper = compose(names.union(basis.names), base, basis.wrapper)
    return type("TermedRule", (Repairing, *basis.forms, optimizer), {}), wrapper


def _termed_norm(
    norm: Any,
    gradients: list[Array],
    more: int,
    adds_in_half_types: bool = False,
    adds_in_dtypes: bool = False,
) -> TermedArray:
    """Return a norm with its roundings; by default, half types are added at least in float32.

    With `adds_in_dtypes` the squares of each gradient may be added in the dtype of this gradient, if it is
    float32, although the norm is wider.
    """
    # The relative error of the root is half that of the sum.
    roundings = sum(g.size for g in gradients) / 2
    if norm.dtype in HALF_FORMATS and not adds_in_half_types:
        roundings *= 2.0 ** (FORMATS[norm.dtype].precision - FORMATS[FLOAT32].precision)
    elif norm.dtype == FLOAT64 and adds_in_dtypes and any(g.dtype != FLOAT64 for g in gradients):
        roundings *= 2.0 ** (FORMATS[FLOAT64].precision - FORMATS[FLOAT32].precision)
    # A norm of one gradient may be in a narrower dtype; a scalar gradient looks like such a norm.
    before = max((_roundings_of(g) if g.ndim else _roundings_in(norm, g) for g in gradients), default=0)
    return termed(np.asarray(norm), roundings=math.ceil(roundings) + before + more)


def _roundings_of(array: Any) -> int:
    return array.roundings if isinstance(array, TermedArray) else 0


def _roundings_in(array: Any, other: Any) -> int:
    """Return how often a norm or another array was rounded, in units of the dtype of an array."""
    digits = FORMATS[array.dtype].precision - FORMATS[other.dtype].precision
    return math.ceil(_roundings_of(other) * 2.0**digits)


def _rounded_like(new: Array | None, old: Array | None) -> Array | None:
    """Return a clipped gradient in the dtype of the gradient; the norm may have been kept in a wider one."""
    if new is None or old is None or new.dtype == old.dtype:
        return new
    terms = new.terms if isinstance(new, TermedArray) else None
    roundings = UNKNOWN + _roundings_of(old) + _roundings_in(old, new)
    return termed(convert(np.asarray(new), old.dtype), terms, roundings)


def _repaired(before: Values, after: Values) -> Values:
    def of(quantity: str) -> list[Array]:
        pairs = zip(getattr(after, quantity), getattr(before, quantity), strict=True)
        return [_with_terms(array, old) for array, old in pairs]

    return Values(*map(of, QUANTITIES))


def _repaired_gradients(before: Gradients | None, after: Gradients) -> Gradients:
    olds = [None] * len(after) if before is None else before
    return [
        None if gradient is None else _with_terms(gradient, old)
        for gradient, old in zip(after, olds, strict=True)
    ]


def _with_terms(array: Array, old: Array | None) -> TermedArray:
    """Return an array with terms; if it has none, they are derived from its change."""
    if isinstance(array, TermedArray):
        return array
    roundings = UNKNOWN + getattr(old, "roundings", 0)
    if old is None or np.shape(old) != np.shape(array):
        made = termed(array, roundings=roundings)
    else:
        new, kept = termed(array), termed(np.asarray(old))
        with np.errstate(all="ignore"):
            made = termed(array, kept.terms + termed(np.asarray(new) - np.asarray(kept)).terms, roundings)
    # An array that flushes still flushes after the stage that gave it terms.
    made.flushes = isinstance(array, FlushedArray) or getattr(old, "flushes", False)
    return made
