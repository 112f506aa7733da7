"""Python code in the default mode of a thread that flushes subnormals."""

from __future__ import annotations

import numpy as np
import pytest

from numba_kernels.cpu import addresses
from numba_kernels.cpu.addresses import IS_ARM, IS_X86
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.default_mode import in_default_mode
from sgd_ref.arithmetic.rounded import flushes_subnormals


@pytest.mark.skipif(not (IS_X86 or IS_ARM), reason="the mode of other processors is not known")
def test_a_thread_that_flushes_keeps_subnormals_inside_and_flushes_again_outside() -> None:
    @kernel("test_flush", "void(int64)")
    def set_mode(mode: int) -> None:
        addresses._set_mode_of_rounding(mode)

    set_mode(addresses.DEFAULT_MODE | addresses.FLUSH_BITS)
    try:
        before = flushes_subnormals()
        with in_default_mode():
            inside = flushes_subnormals(), float(np.float32(2.0**-126) / np.float32(2.0))
        after = flushes_subnormals()
    finally:
        set_mode(addresses.DEFAULT_MODE)
    assert (before, inside, after) == (True, (False, 2.0**-127), True)
