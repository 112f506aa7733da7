"""Clipping in other orders, whose intermediate results may leave the range of a dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.bounds.running_error.array import TermedArray, termed
from sgd_ref.conformance.deviations.observed.subnormals import FlushedArray


def in_other_orders(
    clipped: Any, g: Any, norm: Any, clipnorm: Any, may_divide_norm: bool = True
) -> TermedArray:
    """Return a clipped gradient whose terms allow for every order of its three factors.

    ``g * clipnorm`` may lose its digits below the smallest normal number before the norm divides it.
    ``norm / clipnorm`` may overflow, so that a gradient that it divides becomes 0.

    Parameters
    ----------
    clipped : ndarray
        The gradient after clipping, in the order of the rule.
    g : ndarray
        The gradient before.
    norm, clipnorm : number
        The norm and its limit.
    may_divide_norm : bool, default True
        Whether the norm may be divided by its limit. Nobody is known to do so with a global norm.

    Examples
    --------
    >>> from sgd_ref.conformance.bounds.running_error.array import allowance
    >>> g, norm, limit = np.array([512.0], "f2"), np.float16(1024), np.float16(0.0078125)
    >>> found = in_other_orders(termed(g * limit / norm, roundings=2), g, norm, limit)
    >>> float(found[0]), float(allowance(found)[0]) >= float(found[0])
    (0.00390625, True)
    """
    plain = np.asarray(clipped)
    form = FORMATS[plain.dtype]
    made = clipped if isinstance(clipped, TermedArray) else termed(plain)
    made.flushes = made.flushes or isinstance(clipped, FlushedArray)
    with np.errstate(all="ignore"):
        if not math.isfinite(float(norm)):
            return made
        largest, smallest = float(form.largest), float(form.smallest_normal)
        divisor = max(float(norm), float(clipnorm))
        size, result = (np.abs(convert(np.asarray(array), FLOAT64)) for array in (g, plain))
        product = size * float(clipnorm)
        # Later, terms are multiplied by this number; see ``allowance``.
        multiple = 2 * max(made.roundings, 1)
        terms = made.terms
        if may_divide_norm and float(norm) / float(clipnorm) > largest:
            terms = np.maximum(terms, result / multiple * 2.0**form.precision)
        lost = np.where((product < smallest) & (product > 0), smallest / divisor / multiple, 0.0)
        terms = terms + np.where(np.isfinite(lost), lost, 0.0)
    found = termed(plain, terms, made.roundings)
    found.flushes = made.flushes
    return found
