"""The operations of the update on the device: instructions that the compiler may not fuse.

Numba lets the device's compiler fuse a product and a sum, and has no switch against it. NVIDIA's library has
functions with a rounding in their names, and these are never fused. After this module is imported,
``numba_kernels.shared.operations`` compiles to these functions on the device.

If the two numbers have different dtypes, Numba silently uses the plain operation instead, and only the
machine code shows it. For such pairs, NumPy may not even agree with Numba: Numba treats a Python float as a
float64, and NumPy gives it the dtype of the other operand. So the simulator refuses such pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.toolkit import IS_SIMULATED, libdevice, overload, types
from numba_kernels.shared import operations
from numba_kernels.shared.operations import Operations

PAIRS = frozenset(
    [(np.float32, np.float32), *((a, b) for a in (float, np.float64) for b in (float, np.float64))]
)
"""Pairs of types that Numba treats as one dtype."""


def _choose(operation: Any, single: Any, double: Any) -> None:
    # Otherwise it is compared with the functions below, which have no annotations, and is not taken.
    @overload(operation, target="cuda", strict=False)
    def chosen(a: Any, b: Any) -> Any:
        if a == b == types.float32:
            return single
        return double if a == b == types.float64 else None


def _checked(operation: Any) -> Any:
    """Return an operation for the simulator that takes only pairs with an instruction on the device."""

    def checked(a: Any, b: Any) -> Any:
        if (type(a), type(b)) not in PAIRS:
            raise TypeError(
                f"{operation.__name__} must be given two float32 or two float64, "
                f"got {type(a).__name__} and {type(b).__name__}"
            )
        return operation(a, b)

    return checked


if not IS_SIMULATED:
    # Numba compiles functions of Python, and those of the library are none.
    _choose(
        operations.multiply,
        lambda a, b: libdevice.fmul_rn(a, b),  # noqa: PLW0108
        lambda a, b: libdevice.dmul_rn(a, b),  # noqa: PLW0108
    )
    _choose(
        operations.add,
        lambda a, b: libdevice.fadd_rn(a, b),  # noqa: PLW0108
        lambda a, b: libdevice.dadd_rn(a, b),  # noqa: PLW0108
    )
    _choose(
        operations.subtract,
        lambda a, b: libdevice.fsub_rn(a, b),  # noqa: PLW0108
        # The library has no subtraction of float64, which is the addition of the opposite.
        lambda a, b: libdevice.dadd_rn(a, -b),
    )
    _choose(
        operations.divide,
        lambda a, b: libdevice.fdiv_rn(a, b),  # noqa: PLW0108
        lambda a, b: libdevice.ddiv_rn(a, b),  # noqa: PLW0108
    )

IN_THE_DTYPE = (
    Operations(*map(_checked, operations.IN_THE_DTYPE)) if IS_SIMULATED else operations.IN_THE_DTYPE
)
multiply, add, subtract, divide = IN_THE_DTYPE
