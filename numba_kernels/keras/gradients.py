"""Gradients of Keras as arrays that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, holds


def as_narrow(gradient: Array, dtype: np.dtype[Any]) -> Array:
    """Return a gradient, rounded once if its dtype is wider than that of its variable.

    ``keras.optimizers.LossScaleOptimizer`` divides gradients of float16 in float32. The reference does so,
    too, and rounds the result once.

    >>> as_narrow(np.ones(2, "float32"), np.dtype("float16")).dtype
    dtype('float16')
    """
    if gradient.dtype in FORMATS and not holds(dtype, gradient.dtype):
        with np.errstate(all="ignore"):
            return convert(gradient, dtype)
    return gradient
