"""The check of the machine code of kernels: packed operations, and fused ones only where asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cpu.addresses import IS_ARM, IS_X86
from numba_kernels.selfcheck.comparison import timed
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code.compiling import Kernel, kernels_of
from numba_kernels.selfcheck.result import Result
from sgd_ref.arithmetic.formats import FLOAT64

NAME = "machine code"
START = "machine-code"

FUSED = {
    "x86": re.compile(r"^\s*(vfn?m(?:add|sub)\w*|vfmaddsub\w*|vfmsubadd\w*)\s", re.MULTILINE),
    "arm": re.compile(r"^\s*(fml[as]|fn?m(?:add|sub))[.\s]", re.MULTILINE),
}
"""Instructions that round a product and a sum once, where the rule rounds twice."""

PACKED = {
    ("x86", 4): re.compile(r"^\s*v?(?:mul|div)ps\s.*%[xyz]mm", re.MULTILINE),
    ("x86", 8): re.compile(r"^\s*v?(?:mul|div)pd\s.*%[xyz]mm", re.MULTILINE),
    ("arm", 4): re.compile(r"^\s*f(?:mul|div)(?:\.4s\s|\s+v\d+\.4s|\s+z\d+\.s)", re.MULTILINE),
    ("arm", 8): re.compile(r"^\s*f(?:mul|div)(?:\.2d\s|\s+v\d+\.2d|\s+z\d+\.d)", re.MULTILINE),
}
"""Instructions for products or quotients of whole vectors, for numbers of 4 and of 8 bytes."""


class Instructions(NamedTuple):
    """The counted instructions in the machine code of a kernel.

    Attributes
    ----------
    packed : int
        Number of packed products and quotients.
    fused : tuple of str
        Every fused multiply-add.
    """

    packed: int
    fused: tuple[str, ...]


def check(extent: Extent, kernels: Iterable[Kernel] | None = None) -> Result:
    """Check the machine code of all kernels of the extent.

    Parameters
    ----------
    extent : Extent
        Every kernel that the extent compiles is checked.
    kernels : iterable of Kernel, optional
        Kernels to check instead.
    """
    result = Result(NAME)
    with timed(result):
        for kernel in kernels_of(extent) if kernels is None else kernels:
            identifier = f"{START}/{kernel.name}"
            if not extent.wants(identifier):
                continue
            if processor() is None:
                result.skips("how the machine code of this processor looks is not known here")
                continue
            found = instructions(assembly(kernel.compiled()), kernel.computes_in)
            result.cases += 1
            result.compared += found.packed
            again = f"\n  again: {extent.command(identifier)}"
            if found.fused and not kernel.may_fuse:
                result.differs(
                    f"{identifier}\n  fuses products and sums: {' '.join(sorted(set(found.fused)))}{again}",
                    len(found.fused),
                )
            if kernel.is_elementwise and not found.packed:
                result.differs(f"{identifier}\n  has no packed multiplication or division{again}")
    return result


def processor() -> str | None:
    """Return the family of the processor, if its machine code is known here."""
    if IS_X86:
        return "x86"
    return "arm" if IS_ARM else None


def assembly(kernel: Any) -> str:
    """Return the assembly of a compiled kernel.

    Numba has no assembly of a kernel from the cache. But the library of the kernel has the optimised module,
    from which the same code generator makes the same machine code again.
    """
    (compiled,) = kernel.overloads.values()
    library = compiled.library
    return str(library._codegen._tm.emit_assembly(library._get_module_for_linking()))


def instructions(text: str, dtype: np.dtype[Any], family: str | None = None) -> Instructions:
    r"""Return the counted instructions of an assembly.

    Parameters
    ----------
    text : str
        The assembly as LLVM writes it.
    dtype : dtype
        The dtype of the computation.
    family : str, optional
        "x86" or "arm"; that of this machine by default.

    Examples
    --------
    >>> instructions("\tvmulps\t%zmm1, %zmm2, %zmm3\n", np.dtype("float32"), "x86")
    Instructions(packed=1, fused=())
    """
    family = family or processor() or ""
    size = 8 if dtype == FLOAT64 else 4
    return Instructions(len(PACKED[family, size].findall(text)), tuple(FUSED[family].findall(text)))
