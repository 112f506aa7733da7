"""The compilation, in advance, of all kernels that a check needs; several processes share the work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cpu import cache, distinct, quick_clipping, rounding, totals
from numba_kernels.cpu.factors import factor_kernel
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.cpu.sums import exact_kernel, sum_kernel
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import ACCUMULATED, DIVIDED, PLAIN, Variant
from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64, FORMATS

NAME = "kernels compiled"

UPDATE, ACCUMULATE, SUM, EXACT = "update", "accumulate", "sum", "exact"
FACTOR, NORM, CLIP, ROWS = "factor", "norm", "clip", "rows"

NORM_KERNELS: dict[str, Callable[[], Any]] = {
    "totals": totals.totals_kernel,
    "wide-totals": totals.wide_totals_kernel,
    "decision": rounding.narrow_decision,
    "decisions": rounding.narrow_decisions,
    "wide-decision": rounding.wide_decision,
    "own-norms": quick_clipping.own_norms_kernel,
}
"""The kernels that compute norms from sums of chunks; all compute in float64."""


class Kernel(NamedTuple):
    """One kernel, not yet compiled.

    Attributes
    ----------
    kind : str
        "update", "accumulate", "sum", "exact", "factor", "norm", "clip" or "rows".
    dtype : str
        The name of the dtype of its variables.
    options : tuple
        The other arguments that select it.
    """

    kind: str
    dtype: str
    options: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The kernel in words."""
        options = [
            option.name if isinstance(option, Variant) else str(option).lower() for option in self.options
        ]
        return "/".join([self.kind, self.dtype, *options])

    @property
    def is_elementwise(self) -> bool:
        """Whether each element has a result of its own."""
        return self.kind in (UPDATE, ACCUMULATE)

    @property
    def may_fuse(self) -> bool:
        """Whether its source asks for fused multiply-adds: the sums of squares for a norm in float64."""
        return self.kind == SUM and self.options[1] is True

    @property
    def computes_in(self) -> np.dtype[Any]:
        """The dtype of its arithmetic."""
        return FLOAT64 if self.dtype == FLOAT64.name or not self.is_elementwise else FLOAT32

    def compiled(self) -> Any:
        """Return the compiled function, from the cache if possible."""
        if self.kind == NORM:
            return NORM_KERNELS[self.options[0]]()
        make: dict[str, Any] = {
            FACTOR: factor_kernel,
            UPDATE: update_kernel,
            ACCUMULATE: accumulation_kernel,
            SUM: sum_kernel,
            EXACT: exact_kernel,
            CLIP: quick_clipping.common_norm_kernel,
            ROWS: distinct.sums_kernel,
        }
        (dtype,) = (dtype for dtype in FORMATS if dtype.name == self.dtype)
        return make[self.kind](dtype, *self.options)


def kernels_of(extent: Extent) -> Iterator[Kernel]:
    """Yield all kernels of an extent; those that take longest to compile come first.

    >>> sum(kernel.kind == "update" for kernel in kernels_of(Extent()))
    90
    """
    for dtype, variant in extent.kernels():
        yield Kernel(UPDATE, dtype.name, (variant,))
    # The kernels for processors that do not convert float16.
    for variant in extent.variants(FLOAT16)[-1 if extent.tier == QUICK else 0 :]:
        yield Kernel(UPDATE, FLOAT16.name, (variant, False))
    for dtype in FORMATS:
        for gradient in (PLAIN, DIVIDED, ACCUMULATED):
            if dtype != FLOAT64:
                yield Kernel(SUM, dtype.name, (gradient, False))
            # In narrower dtypes, only for a norm in float64, in models with both.
            if dtype == FLOAT64 or gradient == PLAIN or extent.tier != QUICK:
                yield Kernel(SUM, dtype.name, (gradient, True))
            yield Kernel(EXACT, dtype.name, (gradient,))
        yield Kernel(ACCUMULATE, dtype.name)
        yield Kernel(FACTOR, dtype.name)
        yield Kernel(ROWS, dtype.name)
        if dtype != FLOAT64:
            yield Kernel(CLIP, dtype.name)
    for name in NORM_KERNELS:
        yield Kernel(NORM, FLOAT64.name, (name,))


def compile_all(kernels: list[Kernel]) -> Result:
    """Compile kernels, or take them from the cache."""
    started = time.perf_counter()
    for kernel in kernels:
        kernel.compiled()
    return Result(NAME, cases=len(kernels), seconds=time.perf_counter() - started)


def shares(kernels: list[Kernel], count: int) -> list[list[Kernel]]:
    """Split kernels into lists that take about equally long.

    >>> shares([Kernel("sum", "a"), Kernel("sum", "b"), Kernel("sum", "c")], 2)[1]
    [Kernel(kind='sum', dtype='b', options=())]
    """
    return [kernels[start::count] for start in range(min(count, len(kernels)))]


def is_kept() -> bool:
    """Whether another process can use the kernels that one process has compiled."""
    folder = cache.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
