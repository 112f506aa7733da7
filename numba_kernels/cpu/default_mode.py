"""Python code in the default floating-point mode, on threads where a library has set another mode."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import kernel


@functools.cache
def _switches() -> tuple[Any, Any]:
    @kernel("enter_mode", "int64()")
    def enter() -> Any:
        return enter_default_mode()

    @kernel("leave_mode", "void(int64)")
    def leave(mode: int) -> None:
        leave_default_mode(mode)

    return enter, leave


@contextmanager
def in_default_mode() -> Iterator[None]:
    """Round to nearest and keep subnormals within a ``with`` statement; then restore the mode of the thread.

    XLA and TensorFlow set flush-to-zero on the threads from which they call Python.

    Examples
    --------
    >>> import numpy as np
    >>> with in_default_mode():
    ...     bool(np.float32(2.0**-126) / np.float32(2.0) > 0)
    True
    """
    enter, leave = _switches()
    mode = enter()
    try:
        yield
    finally:
        leave(mode)
