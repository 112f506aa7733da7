"""Modules of kernels as LLVM has optimised them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.selfcheck.proof.check import module_of
from numba_kernels.shared.element import Variant

ModuleOf = Callable[..., str]


@functools.cache
def _module(dtype: np.dtype[Any], variant: Variant | None, in_hardware: bool | None) -> str:
    if variant is None:
        return module_of(accumulation_kernel(dtype, in_hardware))
    return module_of(update_kernel(dtype, variant, in_hardware))


@pytest.fixture(scope="session")
def module() -> ModuleOf:
    """Return the function from dtype, variant and the way of converting float16 to a module."""
    return lambda dtype, variant, in_hardware=None: _module(dtype, variant, in_hardware)
