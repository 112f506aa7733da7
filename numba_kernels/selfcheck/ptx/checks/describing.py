"""The description of a run of PTX: the executed code, the versions, and the meaning of the results."""

from __future__ import annotations

import importlib.metadata

from numba_kernels import machine
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code.cuda.wheels import COMPILERS, version
from numba_kernels.selfcheck.ptx import texts

SHOWN = "processor", "system", "Python", "numpy", "ml_dtypes"

NOTHING_ON_A_DEVICE = (
    "device: none. The kernels' PTX, which a launch hands to the assembler, is executed on this processor",
    "not checked: the assembler, limits of a launch, weak order of memory, PyTorch, time",
)


def description(extent: Extent) -> list[str]:
    """Return the machine, the versions, the tier and the seed."""
    return [
        *(f"{name}: {value}" for name, value in machine.description().items() if name in SHOWN),
        *(f"{name}: {version(name)}" for name in COMPILERS),
        f"cuda-bindings: {importlib.metadata.version('cuda-bindings')}",
        f"PTX: {texts.folder().name}",
        *NOTHING_ON_A_DEVICE,
        f"tier: {extent.tier}; seed: {extent.seed}",
    ]
