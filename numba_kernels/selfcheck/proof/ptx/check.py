"""All elementwise kernels for CUDA, proven one by one from their PTX, in several processes."""

from __future__ import annotations

import importlib.util
import os
from typing import NamedTuple

from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.wheels import REMEDY
from numba_kernels.selfcheck.proof.check import START, Advance, Findings, add_all, pool_of
from numba_kernels.selfcheck.proof.proving import Proof
from numba_kernels.selfcheck.proof.ptx.proving import prove
from numba_kernels.selfcheck.ptx import texts
from numba_kernels.shared.element import VARIANTS, Variant
from sgd_ref.arithmetic.formats import BY_NAME, FORMATS

PURPOSE = (
    "Is the PTX of the elementwise kernels (numba_kernels.cuda) the rule (sgd_ref.rule) for all numbers?"
)

OUTSIDE = (
    "outside of this proof: norms, sums of squares and the factors made of them; gradients of narrower "
    "dtypes under one global_clipnorm with float64; other sizes and threads than those tried, and the "
    "counting of calls (executed PTX tries them); the assembler"
)


class Kernel(NamedTuple):
    """An elementwise kernel for CUDA.

    Attributes
    ----------
    dtype : str
        The name of its dtype.
    variant : Variant
        Its variant.
    """

    dtype: str
    variant: Variant

    @property
    def name(self) -> str:
        """The name of the kernel."""
        return f"update_{self.dtype}_{self.variant.name}"


def why_not() -> str | None:
    """Return the reason why there can be no PTX in this process; None if there can be."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed; {REMEDY}"
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return "NUMBA_ENABLE_CUDASIM must be 0 or not set: the simulator has no PTX"
    try:
        texts.folder()
    except CouldNotRun as problem:
        return str(problem)
    return None


def kernels(extent: Extent) -> list[Kernel]:
    """Return the elementwise kernels of an extent.

    >>> len(kernels(Extent()))
    72
    """
    chosen = [
        Kernel(dtype.name, variant)
        for dtype in FORMATS
        for variant in (VARIANTS if extent.tier != QUICK else extent.variants(dtype))
    ]
    return [kernel for kernel in chosen if extent.wants(f"{START}/{kernel.name}")]


def proof_of(kernel: Kernel) -> Proof:
    """Return the proof of one kernel, whose PTX is built, or taken from the folder of texts."""
    from numba_kernels.cuda.device.elementwise import update_kernel  # noqa: PLC0415

    dtype = BY_NAME[kernel.dtype]
    return prove(texts.text_of(update_kernel(dtype, kernel.variant)), dtype, kernel.variant)


def run(extent: Extent, advance: Advance = lambda doing, done, parts: None) -> Findings:
    """Prove all elementwise kernels for CUDA of an extent.

    Parameters
    ----------
    extent : Extent
        The extent; if it has several processes, each takes one kernel at a time.
    advance : callable, optional
        Called with the progress.
    """
    findings = Findings()
    reason = why_not()
    if reason is not None:
        findings.not_run.append(reason)
        return findings
    with pool_of(extent, findings) as pool:
        add_all(findings, pool, proof_of, kernels(extent), advance)
    return findings
