"""The wheels for building and disassembling: their versions, and the tools in them."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from sgd_ref.base.installing import how_to_install

REMEDY = f"install it with: {how_to_install('cuda', 'cuda-code')}"

COMPILERS = ("numba", "numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")
"""The packages that decide which instructions are generated."""

NVDISASM, CUOBJDUMP = "nvidia-cuda-nvdisasm", "nvidia-cuda-cuobjdump"

NEEDED = (*COMPILERS, "nvidia-cuda-nvrtc", NVDISASM, CUOBJDUMP)


def version(wheel: str) -> str:
    """Return the version of a wheel that is installed.

    Raises
    ------
    CouldNotRun
        If it is not.
    """
    try:
        return importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        raise CouldNotRun(f"the check of CUDA code needs the wheel {wheel}; {REMEDY}") from None


def require_all() -> None:
    """Raise `CouldNotRun` unless all wheels are installed; a toolkit of the system is no substitute.

    The version of such a toolkit is unknown, and the machine code depends on it.
    """
    for wheel in NEEDED:
        version(wheel)


def tool(wheel: str) -> Path:
    """Return the path of the program of a wheel, which has the last word of the wheel's name.

    Raises
    ------
    CouldNotRun
        If the wheel is not installed, or has no such program.
    """
    version(wheel)
    name = wheel.rpartition("-")[2]
    for file in importlib.metadata.files(wheel) or ():
        path = Path(str(file.locate()))
        if path.stem == name and path.parent.name == "bin" and path.is_file():
            return path
    raise CouldNotRun(f"the wheel {wheel} {version(wheel)} must bring the program {name}; {REMEDY}")
