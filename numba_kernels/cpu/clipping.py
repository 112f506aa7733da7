"""The clipping factors of a call, from sums of squares, written to where the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cpu.factors import global_factor
from numba_kernels.cpu.norm import Measurement, norm
from numba_kernels.cpu.plan import Group
from sgd_ref.arithmetic.formats import FLOAT64, Array


def clip_each(groups: Sequence[Group], measurements: Sequence[Measurement]) -> None:
    """Write the divisor of each gradient, which is clipped by its own norm."""
    for group, measurement in zip(groups, measurements, strict=True):
        set_divisors(group, measurement.norms())


def set_divisors(group: Group, norms: Array) -> None:
    """Write the divisors of the gradients of a group, given the norm of each."""
    # The factor is the setting itself, which was written when the plan was made; NaN stays NaN.
    with np.errstate(invalid="ignore"):
        np.maximum(norms, group.factors[:, 0], out=group.factors[:, 1])


def clip_all(
    groups: Sequence[Group], measurements: Sequence[Measurement], clipnorm: float, dtype: np.dtype[Any]
) -> np.float64 | None:
    """Write the factor of all gradients, which are clipped by their common norm.

    Parameters
    ----------
    groups : sequence of Group
        All groups that take part in the call.
    measurements : sequence of Measurement
        One for each group.
    clipnorm : float
        The setting ``global_clipnorm``.
    dtype : dtype
        The narrowest dtype that holds all gradients.

    Returns
    -------
    float64 or None
        The factor, if its dtype is float64 and the kernels of narrower groups cannot compute in it; otherwise
        None.
    """
    return set_factor(groups, clipnorm, norm(measurements, dtype), dtype)


def set_factor(
    groups: Sequence[Group], clipnorm: float, norm: float, dtype: np.dtype[Any]
) -> np.float64 | None:
    """Write the factor of all gradients, as `clip_all` does, given their norm."""
    factor = global_factor(clipnorm, dtype)(norm)
    for group in groups:
        group.factors[:, 0] = factor
    return np.float64(factor) if dtype == FLOAT64 else None
