"""Helper functions of kernels, always inlined.

By itself, LLVM does not inline long functions such as those of the half types, and a loop with a call is not
vectorised: the update of bfloat16 with Nesterov momentum was 15 times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])

inlined: Callable[[Function], Function] = register_jitable(forceinline=True)
reordered: Callable[[Function], Function] = register_jitable(forceinline=True, fastmath={"reassoc"})
"""A decorator for functions that sum in any order, and for no others."""
