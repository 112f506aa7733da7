"""Gradients narrower than their variables: unscaled, or added up row by row, before they are widened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.bounds.enclosure import Arithmetic, arithmetic_of
from sgd_ref.conformance.bounds.step import Prepared, layers_of, moved, prepared, unscaled
from sgd_ref.conformance.bounds.sums import sum_in_any_order
from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.conformance.deviations.observed.scaling import GivenDtypes
from sgd_ref.gradients import Gradient, SparseRows
from sgd_ref.optimizer import SGD, Gradients


class UnscaledBeforeWidening(GivenDtypes):
    """A gradient of a float64 variable is divided by the loss scale, and rounded, in its own dtype.

    In `apply` of `keras/src/optimizers/base_optimizer.py`, ``g / scale`` comes before any cast.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide the narrow gradients of float64 variables as they were given."""
        unscaled = super().unscale(gradients, loss_scale)
        if loss_scale is None:
            return unscaled
        return [
            _unscaled(g, given, float(loss_scale)) if g is not None and _is_narrow(g, given) else other
            for g, other, given in zip(gradients, unscaled, self.given_dtypes, strict=True)
        ]


class UnscaledBeforeWidenings(Walk):
    """The same on enclosures."""

    has_bounds_of_its_own = True

    def prepared(
        self, gradient: Array | SparseRows, arithmetic: Arithmetic, loss_scale: float | None
    ) -> Prepared:
        """Unscale in the arithmetic of the gradient."""
        if loss_scale is None or arithmetic.dtype != FLOAT64 or gradient.dtype == FLOAT64:
            return super().prepared(gradient, arithmetic, loss_scale)
        own = arithmetic_of(gradient.dtype, arithmetic.flushes)
        # The scale of float64 variables is a double; the scale of narrower gradients is rounded to float32.
        scale = float(np.float32(loss_scale))
        return Prepared(moved(prepared(gradient, own, scale).gradient, arithmetic))


class RowsAddedBeforeWidening(SGD):
    """Rows that occur twice are added, and their sum is rounded, in the dtype of the gradient.

    TensorFlow makes indexed slices dense in this way, by ``tf.math.unsorted_segment_sum`` before any cast.
    """

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Make the gradients dense before they are checked."""
        dense = [g.to_dense() if isinstance(g, SparseRows) else g for g in gradients]
        return super().validated(dense, variables)


class RowsAddedBeforeWidenings(Walk):
    """The same on enclosures."""

    has_bounds_of_its_own = True

    def prepared(
        self, gradient: Array | SparseRows, arithmetic: Arithmetic, loss_scale: float | None
    ) -> Prepared:
        """Add the layers in the arithmetic of the gradient."""
        if gradient.dtype == arithmetic.dtype:
            return super().prepared(gradient, arithmetic, loss_scale)
        own = arithmetic_of(gradient.dtype, arithmetic.flushes)
        total = sum_in_any_order(layers_of(gradient, own)).kept()
        return unscaled([replace(moved(total, arithmetic), arithmetic=arithmetic)], arithmetic, loss_scale)


def _is_narrow(gradient: Array, given: np.dtype[Any] | None) -> bool:
    return gradient.dtype == FLOAT64 and given is not None and given != FLOAT64


def _unscaled(gradient: Array, given: np.dtype[Any] | None, loss_scale: float) -> Array:
    assert given is not None
    wide = promoted([given, FLOAT32])
    with np.errstate(all="ignore"):
        quotient = convert(gradient, wide) / setting(loss_scale, wide)
    return convert(convert(np.asarray(quotient), given), gradient.dtype)
