"""Scaling the loss, so that small gradients survive in half precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, is_supported
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.variables import FLOATS


def scaled_loss(loss: Any, factor: float | np.float32 | None) -> Any:
    """Return ``loss * factor``; an array is scaled in the wider of float32 and its dtype."""
    if factor is None:
        return loss
    if isinstance(loss, (np.ndarray, np.generic)):
        if not is_supported(loss.dtype):
            raise TypeError(f"loss must have one of the dtypes {FLOATS}, got {loss.dtype}")
        dtype = promoted([loss.dtype, FLOAT32])
        with np.errstate(all="ignore"):
            return convert(np.asarray(loss), dtype)[()] * setting(float(factor), dtype)
    return loss * float(factor)
