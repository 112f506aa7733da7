"""The roof without PyTorch: the driver's own copy from device memory to device memory."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from numba_kernels.benchmarks.device.peers import NotOffered, Prepared
from numba_kernels.benchmarks.workload import BLOCK, Workload

DEFAULT_STREAM = 0


def roof(workload: Workload) -> Prepared:
    """Return a copy that reads and writes as many bytes as a step."""
    from numba_kernels.cuda.arrays.arrays import view
    from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda

    if IS_SIMULATED:
        raise NotOffered("the simulator has no memory of its own")
    size = workload.bytes_moved // 2
    source, target = (cuda.device_array(size, np.uint8) for _ in range(2))
    begin, end = (view(name, array).address for name, array in (("source", source), ("target", target)))
    filled = min(size, BLOCK)
    source[:filled].copy_to_device(np.random.default_rng(1).integers(256, size=filled, dtype=np.uint8))
    while filled < size:
        part = min(filled, size - filled)
        _copy(begin + filled, begin, part)
        filled += part
    # The closure also keeps both arrays alive, since the copy gets only their addresses.
    kept = source, target
    return Prepared(lambda: _copy(end, begin, kept[0].size), cuda.synchronize)


def _copy(target: int, source: int, size: int) -> None:
    driver: Any = importlib.import_module("cuda.bindings.driver")
    (error,) = driver.cuMemcpyDtoDAsync(target, source, size, DEFAULT_STREAM)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver could not copy {size} bytes: {error.name}")


PREPARE = {"roof driver": roof}
