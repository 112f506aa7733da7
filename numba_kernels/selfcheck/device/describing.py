"""The machine, the device and the versions for which the results of a check hold."""

from __future__ import annotations

import importlib.metadata

from numba_kernels import machine
from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda
from numba_kernels.selfcheck.extent import Extent

PACKAGES = "numba", "numba-cuda", "cuda-core", "cuda-bindings", "nvidia-nvvm", "torch", "cupy-cuda13x"
SHOWN = "processor", "system", "Python", "numpy", "ml_dtypes"


def description(extent: Extent) -> list[str]:
    """Return the machine, the device, the versions, the tier and the seed."""
    return [
        *(f"{name}: {value}" for name, value in machine.description().items() if name in SHOWN),
        *(f"{name}: {version}" for name in PACKAGES if (version := _version(name))),
        f"device: {device()}",
        f"tier: {extent.tier}; seed: {extent.seed}",
    ]


def device() -> str:
    """Return name, compute capability and memory of the device, or a text that there is no device."""
    if IS_SIMULATED:
        return "none: the simulator of Numba runs the kernels as Python, and nothing ran on a device"
    found = cuda.get_current_device()
    major, minor = found.compute_capability
    name = found.name.decode() if isinstance(found.name, bytes) else found.name
    driver = ".".join(map(str, cuda.runtime.get_version()))
    _, total = cuda.current_context().get_memory_info()
    return f"{name}, compute capability {major}.{minor}, {total / 2**30:.0f} GiB, CUDA {driver}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
