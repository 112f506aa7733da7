"""The list of all kernels that an optimizer on the device may launch, for the check of machine code."""

from __future__ import annotations

from collections.abc import Iterator

from numba_kernels.cuda.device.counting import PREPARATION
from numba_kernels.cuda.device.elementwise import update_kernel
from numba_kernels.cuda.device.exact import exact_kernel, finish_kernel
from numba_kernels.cuda.device.gather import gather_kernel, scatter_kernel
from numba_kernels.cuda.device.norm import decision_kernel
from numba_kernels.cuda.device.sums import sum_kernel
from numba_kernels.cuda.toolkit import Kernel
from numba_kernels.shared.element import ACCUMULATED, DIVIDED, PLAIN, VARIANTS
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import holds


def all_kernels() -> Iterator[Kernel]:
    """Yield every kernel, each made when it is needed.

    Kernels that clip by a factor in float64 are rare and take minutes to build; only the plainest and the
    fullest of them are included.

    >>> names = [kernel.name for kernel in all_kernels()]
    >>> len(names) == len(set(names)), "update_bfloat16_nesterov_divided_averages" in names
    (True, True)
    """
    yield PREPARATION
    for dtype in FORMATS:
        for variant in VARIANTS:
            yield update_kernel(dtype, variant)
            if dtype != FLOAT64 and variant in (VARIANTS[0], VARIANTS[-1]):
                yield update_kernel(dtype, variant, is_wide=True)
        for gradient in (PLAIN, DIVIDED, ACCUMULATED):
            yield sum_kernel(dtype, gradient, True)
            yield sum_kernel(dtype, gradient, False)
            yield exact_kernel(dtype, gradient)
        for is_global in (False, True):
            yield decision_kernel(dtype, is_global)
            yield finish_kernel(dtype, is_global)
        yield scatter_kernel(dtype)
        for target in FORMATS:
            if holds(target, dtype):
                yield gather_kernel(dtype, target)
