"""Compilation, at the first step, of all kernels that the steps of a group of variables may need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cpu.factors import global_factor
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.cpu.norm import compile_norms
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.sums import exact_kernel, sum_kernel
from numba_kernels.cpu.tasks import Work
from numba_kernels.shared.element import PLAIN
from sgd_ref.arithmetic.formats import FLOAT64


def compiled_work(
    group: Group, has_loss_scale: bool, dtypes_of_norm: Sequence[np.dtype[Any]], threads: int
) -> Work:
    """Return the work of a group, with all kernels compiled that a later step may need.

    Parameters
    ----------
    group : Group
        The variables, with their settings.
    has_loss_scale : bool
        Whether gradients are divided by a scale.
    dtypes_of_norm : sequence of dtype
        The dtypes that a common norm of all gradients may be rounded to.
    threads : int
        The number of threads, at least 1.
    """
    settings, dtype = group.constants.settings, group.dtype
    variant = group.constants.variant(has_loss_scale)
    gradient = group.constants.gradient(has_loss_scale)
    is_narrower = False
    if settings.clipnorm is not None or settings.global_clipnorm is not None:
        sum_kernel(dtype, gradient, dtype == FLOAT64)
        exact_kernel(dtype, gradient)
        compile_norms(dtypes_of_norm, of_each=settings.clipnorm is not None)
    if settings.global_clipnorm is not None:
        for wide in dtypes_of_norm:
            global_factor(settings.global_clipnorm, wide)
        is_narrower = dtype != FLOAT64 and FLOAT64 in dtypes_of_norm
        sum_kernel(dtype, gradient, FLOAT64 in dtypes_of_norm)
    if has_loss_scale and settings.loss_scale_factor is None:
        sum_kernel(dtype, PLAIN, False)
    return Work(
        group,
        variant,
        update_kernel(dtype, variant),
        update_kernel(dtype, variant._replace(gradient=PLAIN)) if is_narrower else None,
        None if settings.gradient_accumulation_steps is None else accumulation_kernel(dtype),
        threads,
    )
