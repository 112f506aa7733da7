"""Memory of the device: it is released between turns, and not while a step is timed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def give_back() -> None:
    """Return to the driver the memory that PyTorch and Numba keep unused in their pools."""
    gc.collect()
    torch, toolkit = sys.modules.get("torch"), sys.modules.get("numba_kernels.cuda.toolkit")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if toolkit is not None and not toolkit.IS_SIMULATED:
        toolkit.cuda.current_context().memory_manager.deallocations.clear()


@contextmanager
def without_collection() -> Iterator[None]:
    """Stop Python's garbage collection, which takes time and may free memory of the device."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_collecting:
            gc.enable()
